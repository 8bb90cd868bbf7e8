//! Servers that misbehave in specified ways: a script gives the bytes or frames of each response.
//! `tests/process` uses this file too.
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

/// A step of a script.
pub(crate) enum Step {
    Send(Vec<u8>),
    /// Sends the same bytes this many times.
    Repeat(usize, Vec<u8>),
    /// Closes the connection.
    Close,
    /// Stops reading and writing, but keeps the connection open.
    Hold,
}

/// The request that a script responds to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    /// Counted from zero over all connections.
    pub(crate) index: usize,
    /// Zero over HTTP/1.1.
    pub(crate) stream: u32,
}

/// When the script of a request runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// After the whole request.
    Read,
    /// After the request's headers. Over HTTP/2, the flow-control window limits bodies to 65,535 bytes.
    Early,
}

/// A server that responds to each request with a script.
pub(crate) struct Scripted {
    pub(crate) addr: SocketAddr,
    seen: Arc<Seen>,
}

/// Counts what the server has received.
#[derive(Default)]
struct Seen {
    requests: AtomicUsize,
    connections: AtomicUsize,
    pings: AtomicUsize,
}

type Script = dyn Fn(Request) -> Vec<Step> + Send + Sync;

impl Scripted {
    /// Serves HTTP/1.1.
    pub(crate) fn http1(script: impl Fn(Request) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::start(move |stream, seen| http1(stream, seen, When::Read, &script))
    }

    /// Serves HTTP/1.1, and responds before reading the request's body.
    pub(crate) fn early_http1(
        script: impl Fn(Request) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        Self::start(move |stream, seen| http1(stream, seen, When::Early, &script))
    }

    /// Serves HTTP/2 in plaintext with prior knowledge, like gRPC.
    pub(crate) fn http2(script: impl Fn(Request) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::start(move |stream, seen| http2(stream, seen, When::Read, &script))
    }

    /// Serves HTTP/2 in plaintext, and responds before reading the request's body.
    pub(crate) fn early_http2(
        script: impl Fn(Request) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        Self::start(move |stream, seen| http2(stream, seen, When::Early, &script))
    }

    /// Serves HTTP/2 over TLS, negotiated by ALPN.
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
        // Never joined: it ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, serve) = (stream.unwrap(), Arc::clone(&serve));
                let seen = Arc::clone(&shared);
                seen.connections.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    let socket = stream.try_clone().unwrap();
                    // Ignored: some tests make the client disconnect early.
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

    /// The number of requests received.
    pub(crate) fn requests(&self) -> usize {
        self.seen.requests.load(Ordering::SeqCst)
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// The number of PINGs received, without acknowledgements.
    pub(crate) fn pings(&self) -> usize {
        self.seen.pings.load(Ordering::SeqCst)
    }
}

/// Runs the script of the next request. Returns false if it closes the connection.
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
/// END_STREAM; in SETTINGS and PING frames, ACK.
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
        // The maximum window for each stream, and a large one for the connection.
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

/// An HTTP/2 frame ([RFC 9113, section 4.1](https://www.rfc-editor.org/rfc/rfc9113#section-4.1)).
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Headers or trailers, encoded as literals without indexing ([RFC 7541, section
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

/// A gRPC response of trailers only.
pub(crate) fn grpc_status(stream: u32, fields: &[(&str, &str)]) -> Step {
    let head = [(":status", "200"), ("content-type", "application/grpc")];
    Step::Send(headers(stream, &[&head, fields].concat(), true))
}

/// A successful gRPC response.
pub(crate) fn grpc_accept(stream: u32) -> Step {
    let head = headers(stream, &[(":status", "200"), ("content-type", "application/grpc")], false);
    let message = data(stream, &[0; 5], false);
    Step::Send([head, message, headers(stream, &[("grpc-status", "0")], true)].concat())
}

/// An HTTP/1.1 response.
pub(crate) fn response(status: u16, fields: &[(&str, &str)], body: &[u8]) -> Step {
    let mut head = format!("HTTP/1.1 {status} \r\ncontent-length: {}\r\n", body.len());
    for (name, value) in fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    Step::Send([head.as_bytes(), b"\r\n", body].concat())
}
