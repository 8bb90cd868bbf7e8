//! TCP, then TLS, under one deadline.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioIo;
use rustls::ProtocolVersion;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::proxy;
use crate::config::Proxy;
use crate::failure::{FailureKind, Scene};
use crate::lock::lock;
use crate::net::blocking;
use crate::observation::{Greeting, Handshake, Notes, Observation, Session};
use crate::tls::{Snapshot, Store};

/// How often the kernel asks an idle peer whether it is there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// How long the kernel waits for what it has sent to be acknowledged.
#[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
const USER_TIMEOUT: Duration = Duration::from_secs(90);

/// How long an export waits for a look at credentials: a file system may hang.
const LOOKING: Duration = Duration::from_secs(1);

/// What dials one collector.
#[derive(Debug)]
pub(super) struct Connector {
    tcp: HttpConnector<Resolver>,
    /// Whether the dial that goes on has its addresses.
    resolved: Arc<AtomicBool>,
    address: Uri,
    /// What connects us to the collector; `None` where we do that ourselves.
    proxy: Option<Proxy>,
    tls: Option<Tls>,
    timeout: Duration,
    /// Held while the store looks: a file system that hangs is to hang one thread.
    looking: Arc<tokio::sync::Mutex<()>>,
}

/// The TLS side of a connector.
#[derive(Debug)]
pub(super) struct Tls {
    pub(super) store: Arc<Store>,
    pub(super) server_name: ServerName<'static>,
}

/// A connection, before any HTTP.
pub(super) struct Dialled {
    pub(super) stream: Box<dyn Stream>,
    pub(super) seen: Observation,
    /// What ALPN agreed on.
    pub(super) alpn: Alpn,
    /// Whether the server may yet refuse our certificate: TLS 1.3 does so after our handshake.
    pub(super) awaits_verdict: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alpn {
    H2,
    Http1,
    /// There was no TLS, or the server knows no ALPN.
    Nothing,
}

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Tls {
    async fn look(&self, turn: OwnedMutexGuard<()>, force: bool) {
        let store = Arc::clone(&self.store);
        let look = blocking(move || {
            let _turn = turn;
            store.look(force)
        });
        // What it finds is the store's to report.
        let _ = look.await;
    }
}

impl Connector {
    /// `timeout` is for name resolution, TCP and TLS together.
    pub(super) fn new(
        address: Uri,
        proxy: Option<Proxy>,
        tls: Option<Tls>,
        timeout: Duration,
    ) -> Self {
        let resolved = Arc::<AtomicBool>::default();
        let mut tcp = HttpConnector::new_with_resolver(Resolver(Arc::clone(&resolved)));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE / 6));
        tcp.set_keepalive_retries(Some(3));
        // Divided by the number of addresses, so that a dead one does not take all of it.
        tcp.set_connect_timeout(Some(timeout));
        // No keepalive is sent while data is unacknowledged, and an export may have no limit.
        #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
        tcp.set_tcp_user_timeout(Some(USER_TIMEOUT));
        Self { tcp, resolved, address, proxy, tls, timeout, looking: Arc::default() }
    }

    /// The instant at which a dial that begins now is given up.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The credentials to dial with now; `None` over plaintext.
    pub(super) fn credentials(&self) -> Option<Snapshot> {
        self.tls.as_ref().map(|tls| tls.store.current())
    }

    /// Has the credentials looked at, if it is time to and nobody is at it, and waits until that is
    /// done or takes too long: then it goes on behind the exports' backs.
    pub(super) async fn look(&self) {
        if let Some(tls) = &self.tls
            && tls.store.is_due()
            && let Ok(turn) = Arc::clone(&self.looking).try_lock_owned()
        {
            let _ = timeout(LOOKING, tls.look(turn, false)).await;
        }
    }

    /// Has the credentials looked at now, and waits for that as `look` does. Whoever had the turn
    /// before may have found newer ones than those `since` when they failed: then that is enough.
    pub(super) async fn look_now(&self, since: u64) {
        let Some(tls) = &self.tls else {
            return;
        };
        let look = async {
            let turn = Arc::clone(&self.looking).lock_owned().await;
            if tls.store.current().generation == since {
                tls.look(turn, true).await;
            }
        };
        let _ = timeout(LOOKING, look).await;
    }

    /// Keeps the books on a dial.
    pub(super) fn count(&self, failure: Option<&FailureKind>, seen: &Observation) {
        if let Some(tls) = &self.tls {
            tls.store.note_handshake(seen, failure.map(FailureKind::name));
        }
    }

    /// Dials with these credentials. What is seen on the way goes into the observation, also of a
    /// dial that fails or goes on still.
    pub(super) async fn dial(
        &self,
        credentials: Option<&Snapshot>,
        deadline: Instant,
        seen: &Mutex<Observation>,
    ) -> Result<Dialled, FailureKind> {
        let after = self.timeout;
        let tcp = timeout_at(deadline, self.connect(seen))
            .await
            .unwrap_or_else(|_elapsed| Err(self.late(&lock(seen), after)))?;
        let (Some(tls), Some(credentials)) = (&self.tls, credentials) else {
            let (stream, alpn, seen) = (Box::new(tcp), Alpn::Nothing, lock(seen).clone());
            return Ok(Dialled { stream, seen, alpn, awaits_verdict: false });
        };

        let notes = Notes::default();
        lock(seen).handshake = Some(Handshake::default());
        let connector = TlsConnector::from(Arc::new(credentials.noting(&notes)));
        let handshake = connector.connect(tls.server_name.clone(), tcp);
        let shaken = timeout_at(deadline, handshake).await;
        lock(seen).handshake = Some(notes.read());
        let stream = shaken.map_err(|_elapsed| FailureKind::HandshakeTimeout { after })?.map_err(
            |error| {
                let credentials = Some(credentials);
                Scene { seen: &lock(seen), credentials }.handshake(error)
            },
        )?;
        let (_, session) = stream.get_ref();
        let alpn = match session.alpn_protocol() {
            Some(b"h2") => Alpn::H2,
            Some(_) => Alpn::Http1,
            None => Alpn::Nothing,
        };
        let mut handshake = notes.read();
        // A verifier that was brought along takes no notes.
        if let Some(chain) = session.peer_certificates() {
            handshake.server_chain = chain.iter().map(|der| der.clone().into_owned()).collect();
        }
        if handshake.certificate_requested {
            credentials.request();
        }
        let awaits_verdict = session.protocol_version() == Some(ProtocolVersion::TLSv1_3)
            && handshake.certificate_requested;
        let mut seen = lock(seen);
        seen.handshake = Some(handshake);
        seen.session = Some(Session {
            version: session.protocol_version(),
            cipher_suite: session.negotiated_cipher_suite().map(|suite| suite.suite()),
            key_exchange: session.negotiated_key_exchange_group().map(|group| group.name()),
            alpn: session.alpn_protocol().map(<[u8]>::to_vec),
        });
        Ok(Dialled { stream: Box::new(stream), seen: seen.clone(), alpn, awaits_verdict })
    }

    /// IP addresses are not resolved.
    fn is_resolved(&self) -> bool {
        let host = self.address.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host.parse::<IpAddr>().is_ok() || self.resolved.load(Ordering::Relaxed)
    }

    /// What a dial failed of that took too long, by how far it came.
    pub(super) fn late(&self, seen: &Observation, after: Duration) -> FailureKind {
        match (&self.proxy, seen.peer, &seen.handshake, &seen.session) {
            (Some(proxy), _, None, _) => {
                FailureKind::ProxyTimeout { proxy: proxy.to_string(), after }
            }
            (None, None, _, _) if !self.is_resolved() => {
                let words = format!("no answer from the name servers within {after:?}");
                let source = io::Error::new(io::ErrorKind::TimedOut, words);
                FailureKind::Resolve { source: source.into() }
            }
            (_, _, None, _) => FailureKind::ConnectTimeout { after },
            (_, _, Some(_), None) => FailureKind::HandshakeTimeout { after },
            (_, _, Some(_), Some(_)) => FailureKind::Http2Timeout { after },
        }
    }

    async fn connect(&self, seen: &Mutex<Observation>) -> Result<Heard, FailureKind> {
        self.resolved.store(false, Ordering::Relaxed);
        // Cloned, for a `Service` is called by `&mut`; it is a handle.
        let dialled = self.proxy.as_ref().map_or(&self.address, |proxy| &proxy.uri);
        let tcp = self.tcp.clone().call(dialled.clone()).await;
        let tcp = tcp.map(TokioIo::into_inner).map_err(|error| self.unconnected(&error))?;
        lock(seen).peer = tcp.peer_addr().ok();
        let (stream, ahead) = match &self.proxy {
            Some(proxy) => proxy::tunnel(tcp, proxy, &self.address).await?,
            None => (tcp, Bytes::new()),
        };
        let greeting = lock(seen).greeting.clone();
        Ok(Heard { stream, ahead, greeting: Some(greeting) })
    }

    /// Why there is no TCP connection.
    fn unconnected(&self, error: &(dyn std::error::Error + 'static)) -> FailureKind {
        let mut cause = Some(error);
        let mut found = None;
        let mut is_resolution = false;
        while let Some(error) = cause {
            if let Some(ResolveError(source)) = error.downcast_ref() {
                (found, is_resolution) = (Some(copy(source)), true);
                break;
            }
            if let Some(source) = error.downcast_ref::<io::Error>() {
                found = Some(copy(source));
                break;
            }
            cause = error.source();
        }
        let source = found.unwrap_or_else(|| io::Error::other(error.to_string()));
        match &self.proxy {
            Some(proxy) => {
                FailureKind::ProxyUnreachable { proxy: proxy.to_string(), source: source.into() }
            }
            None if is_resolution => FailureKind::Resolve { source: source.into() },
            // Of one address, where there are several.
            None if source.kind() == io::ErrorKind::TimedOut => {
                FailureKind::ConnectTimeout { after: self.timeout }
            }
            None => FailureKind::connect(source),
        }
    }
}

/// A TCP stream whose first bytes are heard.
pub(super) struct Heard {
    stream: TcpStream,
    /// What came through a tunnel before anybody read it.
    ahead: Bytes,
    /// `None` once there was something to hear.
    greeting: Option<Greeting>,
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.ahead.is_empty() {
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        } else {
            let length = self.ahead.len().min(buf.remaining());
            buf.put_slice(&self.ahead.split_to(length));
        }
        let heard = &buf.filled()[before..];
        if !heard.is_empty()
            && let Some(greeting) = self.greeting.take()
        {
            greeting.hear(heard);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Heard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The same error again, for `io::Error` is not `Clone`.
fn copy(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

/// The system's resolver, called in the scope of our own I/O. Notes that it is done.
#[derive(Clone, Debug)]
struct Resolver(Arc<AtomicBool>);

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct ResolveError(io::Error);

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = ResolveError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolved = Arc::clone(&self.0);
        Box::pin(async move {
            // The connector puts the port in.
            let resolve = move || (name.as_str(), 0).to_socket_addrs();
            let addresses = blocking(resolve).await.and_then(|addresses| addresses);
            resolved.store(true, Ordering::Relaxed);
            addresses.map_err(ResolveError)
        })
    }
}
