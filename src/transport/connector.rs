//! TCP, then TLS, under one deadline.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioIo;
use rustls::ProtocolVersion;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::runtime::blocking;
use crate::failure::FailureKind;
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
    address: Uri,
    tls: Option<Tls>,
    timeout: Duration,
    /// Held while the store looks: a file system that hangs is to hang one thread.
    looking: Arc<Mutex<()>>,
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
    pub(super) fn new(address: Uri, tls: Option<Tls>, timeout: Duration) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(Resolver);
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
        Self { tcp, address, tls, timeout, looking: Arc::default() }
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

    /// Dials with these credentials.
    pub(super) async fn dial(
        &self,
        credentials: Option<&Snapshot>,
        deadline: Instant,
    ) -> Result<Dialled, FailureKind> {
        let after = self.timeout;
        let tcp = timeout_at(deadline, self.connect())
            .await
            .unwrap_or(Err(FailureKind::ConnectTimeout { after }))?;
        let (Some(tls), Some(credentials)) = (&self.tls, credentials) else {
            let (stream, alpn) = (Box::new(tcp), Alpn::Nothing);
            return Ok(Dialled { stream, alpn, awaits_verdict: false });
        };

        let connector = TlsConnector::from(credentials.config.clone());
        let handshake = connector.connect(tls.server_name.clone(), tcp);
        let stream = timeout_at(deadline, handshake)
            .await
            .map_err(|_elapsed| FailureKind::HandshakeTimeout { after })?
            .map_err(|error| FailureKind::io(error, |source| FailureKind::Connection { source }))?;
        let (_, session) = stream.get_ref();
        let alpn = match session.alpn_protocol() {
            Some(b"h2") => Alpn::H2,
            Some(_) => Alpn::Http1,
            None => Alpn::Nothing,
        };
        let awaits_verdict = session.protocol_version() == Some(ProtocolVersion::TLSv1_3)
            && credentials.certificate_requested.load(Ordering::Relaxed);
        Ok(Dialled { stream: Box::new(stream), alpn, awaits_verdict })
    }

    async fn connect(&self) -> Result<TcpStream, FailureKind> {
        // Cloned, for a `Service` is called by `&mut`; it is a handle.
        let tcp = self.tcp.clone().call(self.address.clone()).await;
        tcp.map(TokioIo::into_inner).map_err(|error| {
            let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
            while let Some(error) = cause {
                if let Some(ResolveError(source)) = error.downcast_ref() {
                    let source = copy(source);
                    return FailureKind::Resolve { source: source.into() };
                }
                if let Some(source) = error.downcast_ref::<io::Error>() {
                    return FailureKind::Connect { source: copy(source).into() };
                }
                cause = error.source();
            }
            FailureKind::Connect { source: io::Error::other(error.to_string()).into() }
        })
    }
}

/// The same error again, for `io::Error` is not `Clone`.
fn copy(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

/// The system's resolver, called in the scope of our own I/O.
#[derive(Clone, Debug)]
struct Resolver;

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
        Box::pin(async move {
            // The connector puts the port in.
            let resolve = move || (name.as_str(), 0).to_socket_addrs();
            blocking(resolve).await.and_then(|addresses| addresses).map_err(ResolveError)
        })
    }
}
