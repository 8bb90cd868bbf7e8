//! Servers that are not collectors, with one defect each.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use otlp_mtls::rustls::{ServerConfig, ServerConnection};

/// Counts the connections that it accepts.
pub(super) struct Peer {
    pub(super) addr: SocketAddr,
    accepted: Arc<AtomicUsize>,
}

impl Peer {
    fn start(serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), serve)
    }

    fn on(
        listener: TcpListener,
        serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let addr = listener.local_addr().unwrap();
        let accepted = Arc::<AtomicUsize>::default();
        let (counter, serve) = (Arc::clone(&accepted), Arc::new(serve));
        // Ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, serve) = (stream.unwrap(), Arc::clone(&serve));
                counter.fetch_add(1, Ordering::SeqCst);
                // Some clients close the connection early.
                thread::spawn(move || drop(serve(stream)));
            }
        });
        Self { addr, accepted }
    }

    /// Reads a request, sends these bytes, and closes after the client.
    pub(super) fn replying(bytes: &'static [u8]) -> Self {
        Self::start(move |mut stream| {
            let _read = stream.read(&mut [0; 4096])?;
            stream.write_all(bytes)?;
            stream.shutdown(std::net::Shutdown::Write)?;
            io::copy(&mut stream, &mut io::sink()).map(drop)
        })
    }

    /// Resets each connection to this listener.
    #[cfg(target_os = "linux")]
    pub(super) fn resetting_on(listener: TcpListener) -> Self {
        Self::on(listener, |stream| stream.peek(&mut [0]).map(drop))
    }

    /// Sends these bytes at once, as an HTTP/2 server does.
    pub(super) fn sending(bytes: &'static [u8]) -> Self {
        Self::start(move |mut stream| {
            stream.write_all(bytes)?;
            io::copy(&mut stream, &mut io::sink()).map(drop)
        })
    }

    /// Closes each connection without reading, which resets it.
    pub(super) fn resetting() -> Self {
        Self::start(|stream| stream.peek(&mut [0]).map(drop))
    }

    /// Completes the handshake, and reads until the client closes.
    pub(super) fn tls(config: ServerConfig) -> Self {
        Self::tls_then(config, |stream| io::copy(stream, &mut io::sink()).map(drop))
    }

    /// Completes the handshake, and closes without an alert.
    pub(super) fn closing_after_tls(config: ServerConfig) -> Self {
        Self::tls_then(config, |_| Ok(()))
    }

    /// Completes the handshake, reads a request, and sends these bytes.
    pub(super) fn replying_over_tls(config: ServerConfig, bytes: &'static [u8]) -> Self {
        Self::tls_then(config, move |stream| {
            let _read = stream.read(&mut [0; 4096])?;
            stream.write_all(bytes)
        })
    }

    fn tls_then(
        config: ServerConfig,
        then: impl Fn(&mut rustls::Stream<'_, ServerConnection, TcpStream>) -> io::Result<()>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let config = Arc::new(config);
        Self::start(move |mut stream| {
            let mut session =
                ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
            let done = (|| {
                while session.is_handshaking() {
                    session.complete_io(&mut stream)?;
                }
                then(&mut rustls::Stream::new(&mut session, &mut stream))
            })();
            // The alert, if there is one. Unread data would reset the connection.
            while session.wants_write() {
                session.write_tls(&mut stream)?;
            }
            stream.shutdown(std::net::Shutdown::Write)?;
            io::copy(&mut stream, &mut io::sink())?;
            done
        })
    }

    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

/// A listener with a full backlog: the kernel drops further SYNs.
pub(super) struct FullBacklog {
    pub(super) addr: SocketAddr,
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl FullBacklog {
    pub(super) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let listener = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
            socket.listen(0).unwrap().into_std().unwrap()
        });
        let addr = listener.local_addr().unwrap();
        let connect = || TcpStream::connect_timeout(&addr, Duration::from_millis(200)).ok();
        let queue = std::iter::from_fn(connect).collect();
        Self { addr, _listener: listener, _queue: queue }
    }
}
