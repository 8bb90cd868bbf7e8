//! Servers that misbehave on purpose: what they send is written down as bytes or as frames. `tests/process` uses this
//! file as well.
//!
//! ```ignore
//! let server = Scripted::http1(|_| vec![Step::Send(b"HTTP/1.1 403 \r\ncontent-length: 9\r\n\r\n".to_vec()), Step::Close]);
//! let server = Scripted::http2(|request| vec![
//!     Step::Send(headers(request.stream, &[(":status", "200")], false)),
//!     Step::Send(reset(request.stream, 2)),
//! ]);
//! ```

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use otlp_mtls::testing::Identity;
use rustls::crypto::aws_lc_rs;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A part of an answer.
pub(crate) enum Step {
    Send(Vec<u8>),
    /// The same, so many times.
    Repeat(usize, Vec<u8>),
    /// Closes the connection.
    Close,
    /// Neither says nor reads anything more.
    Hold,
}

/// What a script answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    /// Counted from zero, over all connections.
    pub(crate) index: usize,
    /// Zero over HTTP/1.1.
    pub(crate) stream: u32,
}

/// When a script is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// After the request.
    Read,
    /// After its headers. Over HTTP/2, no more than the first 65,535 bytes of bodies are taken.
    Early,
}

/// A server that answers each request by a script.
pub(crate) struct Scripted {
    pub(crate) addr: SocketAddr,
    seen: Arc<Seen>,
}

/// What has come so far.
#[derive(Default)]
struct Seen {
    requests: AtomicUsize,
    connections: AtomicUsize,
    pings: AtomicUsize,
}

type Script = dyn Fn(Request) -> Vec<Step> + Send + Sync;

impl Scripted {
    /// Over HTTP/1.1.
    pub(crate) fn http1(script: impl Fn(Request) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::start(move |stream, seen| http1(stream, seen, When::Read, &script))
    }

    /// Over HTTP/1.1, before the request's body is read.
    pub(crate) fn early_http1(
        script: impl Fn(Request) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        Self::start(move |stream, seen| http1(stream, seen, When::Early, &script))
    }

    /// Over plaintext HTTP/2, as gRPC has it.
    pub(crate) fn http2(script: impl Fn(Request) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::start(move |stream, seen| http2(stream, seen, When::Read, &script))
    }

    /// Over plaintext HTTP/2, before the request's body is read.
    pub(crate) fn early_http2(
        script: impl Fn(Request) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        Self::start(move |stream, seen| http2(stream, seen, When::Early, &script))
    }

    /// Over HTTP/2 by ALPN.
    pub(crate) fn tls_http2(
        identity: &Identity,
        script: impl Fn(Request) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth();
        let chain = identity.certificate_ders().to_vec();
        let mut config = config.with_single_cert(chain, identity.key_der()).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let config = Arc::new(config);
        Self::start(move |stream, seen| {
            let session = ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
            http2(StreamOwned::new(session, stream), seen, When::Read, &script)
        })
    }

    fn start(serve: impl Fn(TcpStream, &Seen) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let seen = Arc::<Seen>::default();
        let shared = Arc::clone(&seen);
        let serve = Arc::new(serve);
        // Ends with the test's process: nobody waits for it.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, serve) = (stream.unwrap(), Arc::clone(&serve));
                let seen = Arc::clone(&shared);
                seen.connections.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    let socket = stream.try_clone().unwrap();
                    // A client that goes away in the middle is one of the things that happen.
                    drop(serve(stream, &seen));
                    drop(socket.shutdown(Shutdown::Both));
                });
            }
        });
        Self { addr, seen }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub(crate) fn tls_endpoint(&self) -> String {
        format!("https://localhost:{}", self.addr.port())
    }

    /// How many requests have come.
    pub(crate) fn requests(&self) -> usize {
        self.seen.requests.load(Ordering::SeqCst)
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// How many PINGs were to be answered.
    pub(crate) fn pings(&self) -> usize {
        self.seen.pings.load(Ordering::SeqCst)
    }
}

/// Runs a script for the next request. False if the connection is to be closed.
fn play(to: &mut impl Write, seen: &Seen, stream: u32, script: &Script) -> io::Result<bool> {
    for step in script(Request { index: seen.requests.fetch_add(1, Ordering::SeqCst), stream }) {
        match step {
            Step::Send(bytes) => to.write_all(&bytes)?,
            Step::Repeat(times, bytes) => {
                let pieces = bytes.repeat(1000);
                for _ in 0..times / 1000 {
                    to.write_all(&pieces)?;
                }
                to.write_all(&bytes.repeat(times % 1000))?;
            }
            Step::Close => return Ok(false),
            Step::Hold => loop {
                to.flush()?;
                thread::park();
            },
        }
        to.flush()?;
    }
    Ok(true)
}

fn http1(mut stream: TcpStream, seen: &Seen, when: When, script: &Script) -> io::Result<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: u64 = length.map_or(0, |length| length.trim().parse().unwrap());
        let read = |stream: &TcpStream| io::copy(&mut stream.take(length), &mut io::sink());
        if when == When::Read {
            read(&stream)?;
        }
        if !play(&mut stream, seen, 0, script)? {
            return Ok(());
        }
        if when == When::Early {
            read(&stream)?;
        }
    }
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
/// END_STREAM, and of SETTINGS and PING also ACK.
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn http2(
    mut stream: impl Read + Write,
    seen: &Seen,
    when: When,
    script: &Script,
) -> io::Result<()> {
    stream.read_exact(&mut [0; 24])?;
    if when == When::Read {
        // The largest window for streams, and a large one for the connection.
        stream.write_all(&frame(SETTINGS, 0, 0, b"\0\x04\x7f\xff\xff\xff"))?;
        stream.write_all(&frame(WINDOW_UPDATE, 0, 0, b"\x3f\xff\0\0"))?;
    } else {
        stream.write_all(&frame(SETTINGS, 0, 0, b""))?;
    }
    stream.flush()?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let [a, b, c, kind, flags, id @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut payload)?;
        let is_request = match when {
            When::Read => matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0,
            When::Early => kind == HEADERS,
        };
        match kind {
            SETTINGS | PING if flags & END_STREAM == 0 => {
                let payload = if kind == PING { payload } else { Vec::new() };
                seen.pings.fetch_add(usize::from(kind == PING), Ordering::SeqCst);
                stream.write_all(&frame(kind, END_STREAM, 0, &payload))?;
                stream.flush()?;
            }
            _ if is_request && !play(&mut stream, seen, u32::from_be_bytes(id), script)? => {
                return Ok(());
            }
            _ => {}
        }
    }
}

/// A frame of HTTP/2 ([RFC 9113, section 4.1](https://www.rfc-editor.org/rfc/rfc9113#section-4.1)).
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Headers or trailers, as literals that enter no table ([RFC 7541, section
/// 6.2.2](https://www.rfc-editor.org/rfc/rfc7541#section-6.2.2)).
pub(crate) fn headers(stream: u32, fields: &[(&str, &str)], is_end: bool) -> Vec<u8> {
    fn string(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        match text.len() {
            short @ ..127 => bytes.push(short as u8),
            long => {
                bytes.push(127);
                let mut rest = long - 127;
                while rest >= 128 {
                    bytes.push(rest as u8 | 128);
                    rest >>= 7;
                }
                bytes.push(rest as u8);
            }
        }
        bytes.extend_from_slice(text.as_bytes());
        bytes
    }
    let fields = fields.iter().map(|(name, value)| [vec![0], string(name), string(value)].concat());
    let flags = END_HEADERS | if is_end { END_STREAM } else { 0 };
    frame(HEADERS, flags, stream, &fields.collect::<Vec<_>>().concat())
}

pub(crate) fn data(stream: u32, bytes: &[u8], is_end: bool) -> Vec<u8> {
    frame(DATA, u8::from(is_end), stream, bytes)
}

pub(crate) fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

/// A gRPC answer of headers alone.
pub(crate) fn grpc_status(stream: u32, fields: &[(&str, &str)]) -> Step {
    let head = [(":status", "200"), ("content-type", "application/grpc")];
    Step::Send(headers(stream, &[&head, fields].concat(), true))
}

/// A gRPC answer that accepts.
pub(crate) fn grpc_accept(stream: u32) -> Step {
    let head = headers(stream, &[(":status", "200"), ("content-type", "application/grpc")], false);
    let message = data(stream, &[0; 5], false);
    Step::Send([head, message, headers(stream, &[("grpc-status", "0")], true)].concat())
}

/// An answer of HTTP/1.1.
pub(crate) fn response(status: u16, fields: &[(&str, &str)], body: &[u8]) -> Step {
    let mut head = format!("HTTP/1.1 {status} \r\ncontent-length: {}\r\n", body.len());
    for (name, value) in fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    Step::Send([head.as_bytes(), b"\r\n", body].concat())
}
