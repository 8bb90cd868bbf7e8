//! Dials a server: name resolution, TCP, a proxy's tunnel, TLS.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::uri::{Authority, Scheme};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ProtocolVersion};
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::progress::Progress;
use super::runtime::blocking;
use super::stream::{Greeted, Stream};
use super::tunnel::{self, Via};
use crate::config::Address;
use crate::failure::{FailureKind, Peer, Session, Side, Stage};
use crate::tls::{Generation, Handshake, Notes};

/// The kernel's interval of TCP keepalive.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// A server's address and how to connect to it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: Address,
    /// The scheme and authority of requests.
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
    /// The name that its certificate must have; `None` over plaintext.
    pub(crate) server_name: Option<ServerName<'static>>,
    /// The proxy to connect through; `None` for a direct connection.
    pub(crate) proxy: Option<Via>,
    pub(crate) family: Family,
    /// The limit for name resolution, TCP and TLS together.
    pub(crate) connect_timeout: Duration,
    /// The age after which a connection carries no new request; `None` for no limit.
    pub(crate) max_age: Option<Duration>,
    /// How long the kernel waits for sent data to be acknowledged, and for the peer to read
    /// (`TCP_USER_TIMEOUT`).
    pub(crate) user_timeout: Duration,
}

/// The versions of HTTP to use with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// HTTP/2 if ALPN selects it, otherwise HTTP/1.1.
    Any,
    /// Only HTTP/2. `is_assumed`: also without ALPN.
    Http2 { is_assumed: bool },
}

/// A connection before HTTP.
pub(super) struct Dialled {
    pub(super) stream: Box<dyn Stream>,
    alpn: Alpn,
    /// Whether the server may still reject our certificate: in TLS 1.3 it does so after our side of
    /// the handshake.
    pub(super) awaits_verdict: bool,
}

/// What ALPN selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Alpn {
    H2,
    Http1,
    /// There is no TLS, or the server does not support ALPN.
    Nothing,
}

impl Dialled {
    /// Whether to speak HTTP/2 on it.
    pub(super) fn is_http2(&self, family: Family) -> Result<bool, FailureKind> {
        match (self.alpn, family) {
            (Alpn::H2, _) | (Alpn::Nothing, Family::Http2 { is_assumed: true }) => Ok(true),
            (Alpn::Http1 | Alpn::Nothing, Family::Any) => Ok(false),
            (Alpn::Http1, Family::Http2 { .. })
            | (Alpn::Nothing, Family::Http2 { is_assumed: false }) => {
                Err(FailureKind::NoHttp2 { refused_by: Side::Us, by_alpn: true })
            }
        }
    }
}

impl Target {
    /// Dials with these credentials. `progress` records each step, also for a dial that fails or is
    /// still running. The caller applies the deadline.
    pub(super) async fn dial(
        &self,
        credentials: Option<&Generation>,
        only_http1: bool,
        progress: &Arc<Progress>,
    ) -> Result<Dialled, FailureKind> {
        let stream = self.connect(progress).await?;
        let (stream, ahead) = match &self.proxy {
            Some(via) => {
                progress.reach(Stage::Tunnelling);
                let stream = via.secure(stream, progress).await?;
                tunnel::open(stream, &via.proxy, &self.address).await?
            }
            None => (stream, Bytes::new()),
        };
        let greeting = progress.read(|evidence| evidence.greeting.clone());
        let stream = Greeted::new(stream, ahead, greeting);
        let (Some(server_name), Some(credentials)) = (&self.server_name, credentials) else {
            return Ok(Dialled {
                stream: Box::new(stream),
                alpn: Alpn::Nothing,
                awaits_verdict: false,
            });
        };

        progress.reach(Stage::Handshaking);
        let notes = Notes::default();
        progress.note(|seen| seen.handshake = Some(Handshake::default()));
        let mut config = credentials.noting(&notes);
        if only_http1 {
            config.alpn_protocols.retain(|protocol| protocol != b"h2");
        }
        let connector = TlsConnector::from(Arc::new(config));
        let shaken = connector.connect(server_name.clone(), stream).await;
        progress.note(|seen| seen.handshake = Some(notes.read()));
        let stream = shaken
            .map_err(|error| progress.read(|evidence| evidence.classify(&error, false, false)))?;
        let (_, session) = stream.get_ref();
        let alpn = match session.alpn_protocol() {
            Some(b"h2") => Alpn::H2,
            Some(_) => Alpn::Http1,
            None => Alpn::Nothing,
        };
        if notes.read().certificate_requested {
            credentials.request();
        }
        let awaits_verdict = session.protocol_version() == Some(ProtocolVersion::TLSv1_3)
            && notes.read().certificate_requested;
        progress.note(|seen| {
            // A caller's own verifier does not record the chain.
            if let (Some(chain), Some(handshake)) =
                (session.peer_certificates(), &mut seen.handshake)
            {
                handshake.server_chain = chain.iter().map(|der| der.clone().into_owned()).collect();
            }
            seen.session = Some(agreed(session));
        });
        Ok(Dialled { stream: Box::new(stream), alpn, awaits_verdict })
    }

    /// Connects to the server, or to the proxy before it.
    async fn connect(&self, progress: &Arc<Progress>) -> Result<Box<dyn Stream>, FailureKind> {
        progress.reach(Stage::Connecting);
        let dialled = match (&self.proxy, &self.address) {
            (Some(via), _) => via.proxy.uri.clone(),
            // It cannot fail: the parts are complete.
            (None, Address::Tcp { .. }) => {
                format!("http://{}", self.address).parse().unwrap_or_default()
            }
            (None, Address::Unix(path)) => {
                let stream = unix::connect(path).await.map_err(FailureKind::connect)?;
                progress.note(|seen| seen.peer = Some(Peer::Unix));
                return Ok(stream);
            }
        };
        let mut tcp = HttpConnector::new_with_resolver(Resolver(Arc::clone(progress)));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE / 6));
        tcp.set_keepalive_retries(Some(3));
        // The connector divides it by the number of addresses, so that a dead one does not use it
        // up.
        tcp.set_connect_timeout(Some(self.connect_timeout));
        // Keepalive does not detect a dead peer while data is unacknowledged; the user timeout
        // does.
        #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
        tcp.set_tcp_user_timeout(Some(self.user_timeout));
        let stream = tcp.call(dialled).await.map_err(|error| self.unconnected(&error))?;
        let stream = stream.into_inner();
        progress.note(|seen| seen.peer = stream.peer_addr().ok().map(Peer::Tcp));
        Ok(Box::new(stream))
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
            Some(Via { proxy, .. }) => {
                FailureKind::ProxyUnreachable { proxy: proxy.to_string(), source: source.into() }
            }
            None if is_resolution => FailureKind::Resolve { source: source.into() },
            // A timeout of one address of several.
            None if source.kind() == io::ErrorKind::TimedOut => {
                FailureKind::ConnectTimeout { after: self.connect_timeout }
            }
            None => FailureKind::connect(source),
        }
    }
}

fn agreed(session: &ClientConnection) -> Session {
    Session {
        version: session.protocol_version(),
        cipher_suite: session.negotiated_cipher_suite().map(|suite| suite.suite()),
        key_exchange: session.negotiated_key_exchange_group().map(|group| group.name()),
        alpn: session.alpn_protocol().map(<[u8]>::to_vec),
    }
}

/// Copies an error: `io::Error` is not `Clone`.
fn copy(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

#[cfg(unix)]
mod unix {
    use std::io;
    use std::os::unix::fs::FileTypeExt;
    use std::path::Path;

    use tokio::net::UnixStream;

    use crate::net::runtime::blocking;
    use crate::net::stream::Stream;

    pub(super) async fn connect(path: &Path) -> io::Result<Box<dyn Stream>> {
        let error = match UnixStream::connect(path).await {
            Ok(stream) => return Ok(Box::new(stream)),
            Err(error) => error,
        };
        // If the file is not a socket, Linux reports `ECONNREFUSED`, as for a socket without a
        // listener.
        let path = path.to_owned();
        let is_other = move || Ok::<_, io::Error>(!path.metadata()?.file_type().is_socket());
        match blocking(is_other).await {
            Ok(Ok(true)) => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a socket")),
            _ => Err(error),
        }
    }
}

#[cfg(not(unix))]
mod unix {
    use std::io;
    use std::path::Path;

    use crate::net::stream::Stream;

    /// Not reached: `build()` rejects such an endpoint.
    pub(super) async fn connect(_path: &Path) -> io::Result<Box<dyn Stream>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// The system's resolver, which reports its end to the dial. It is not called for IP addresses.
#[derive(Clone, Debug)]
struct Resolver(Arc<Progress>);

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
        self.0.reach(Stage::Resolving);
        let progress = Arc::clone(&self.0);
        Box::pin(async move {
            // The connector sets the port.
            let resolve = move || (name.as_str(), 0).to_socket_addrs();
            let addresses = blocking(resolve).await.and_then(|addresses| addresses);
            progress.reach(Stage::Connecting);
            addresses.map_err(ResolveError)
        })
    }
}
