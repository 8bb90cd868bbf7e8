//! Servers that are no collectors: each does one thing wrong.

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
        // Ends with the test's process: nobody waits for it.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, serve) = (stream.unwrap(), Arc::clone(&serve));
                counter.fetch_add(1, Ordering::SeqCst);
                // A client that goes away in the middle is one of the things that happen.
                thread::spawn(move || drop(serve(stream)));
            }
        });
        Self { addr, accepted }
    }

    /// Hears something, says this, and closes once the client has.
    pub(super) fn saying(words: &'static [u8]) -> Self {
        Self::start(move |mut stream| {
            let _heard = stream.read(&mut [0; 4096])?;
            stream.write_all(words)?;
            stream.shutdown(std::net::Shutdown::Write)?;
            io::copy(&mut stream, &mut io::sink()).map(drop)
        })
    }

    /// Resets each connection that this accepts.
    #[cfg(target_os = "linux")]
    pub(super) fn resetting_on(listener: TcpListener) -> Self {
        Self::on(listener, |stream| stream.peek(&mut [0]).map(drop))
    }

    /// Says this at once, as a server of HTTP/2 does.
    pub(super) fn greeting(words: &'static [u8]) -> Self {
        Self::start(move |mut stream| {
            stream.write_all(words)?;
            io::copy(&mut stream, &mut io::sink()).map(drop)
        })
    }

    /// Resets the connection: it closes without having read what came.
    pub(super) fn resetting() -> Self {
        Self::start(|stream| stream.peek(&mut [0]).map(drop))
    }

    /// Does its handshake, and then hears what comes until the client closes.
    pub(super) fn tls(config: ServerConfig) -> Self {
        Self::tls_then(config, |stream| io::copy(stream, &mut io::sink()).map(drop))
    }

    /// Does its handshake, and closes without a word.
    pub(super) fn closing_after_tls(config: ServerConfig) -> Self {
        Self::tls_then(config, |_| Ok(()))
    }

    /// Does its handshake, hears something, and says this.
    pub(super) fn saying_over_tls(config: ServerConfig, words: &'static [u8]) -> Self {
        Self::tls_then(config, move |stream| {
            let _heard = stream.read(&mut [0; 4096])?;
            stream.write_all(words)
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
            let shaken = (|| {
                while session.is_handshaking() {
                    session.complete_io(&mut stream)?;
                }
                then(&mut rustls::Stream::new(&mut session, &mut stream))
            })();
            // The alert, if there is one; then what the client says still, so that nothing is reset.
            while session.wants_write() {
                session.write_tls(&mut stream)?;
            }
            stream.shutdown(std::net::Shutdown::Write)?;
            io::copy(&mut stream, &mut io::sink())?;
            shaken
        })
    }

    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

/// A port whose queue is full: the kernel drops what knocks.
pub(super) struct Deaf {
    pub(super) addr: SocketAddr,
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl Deaf {
    pub(super) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let listener = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
            socket.listen(0).unwrap().into_std().unwrap()
        });
        let addr = listener.local_addr().unwrap();
        let knock = || TcpStream::connect_timeout(&addr, Duration::from_millis(200)).ok();
        let queue = std::iter::from_fn(knock).collect();
        Self { addr, _listener: listener, _queue: queue }
    }
}
