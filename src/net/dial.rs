//! To a server: name resolution, TCP, a proxy's tunnel, TLS.

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

/// How often the kernel asks an idle peer whether it is there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Where a server is, and how it is spoken to.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: Address,
    /// What requests are addressed to.
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
    /// The name that its certificate must have; `None` over plaintext.
    pub(crate) server_name: Option<ServerName<'static>>,
    /// What connects us to it; `None` where we do that ourselves.
    pub(crate) proxy: Option<Via>,
    pub(crate) family: Family,
    /// For name resolution, TCP and TLS together.
    pub(crate) connect_timeout: Duration,
    /// How long the kernel waits for what it has sent to be acknowledged, and for the peer to read.
    pub(crate) user_timeout: Duration,
}

/// Which versions of HTTP a server is spoken to in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// HTTP/2 where ALPN says so, otherwise HTTP/1.1.
    Any,
    /// HTTP/2 alone. `is_assumed` where there is no ALPN.
    Http2 { is_assumed: bool },
}

/// A connection before any HTTP.
pub(super) struct Dialled {
    pub(super) stream: Box<dyn Stream>,
    alpn: Alpn,
    /// Whether the server may yet refuse our certificate: TLS 1.3 does so after our handshake.
    pub(super) awaits_verdict: bool,
}

/// What ALPN agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Alpn {
    H2,
    Http1,
    /// There was no TLS, or the server knows no ALPN.
    Nothing,
}

impl Dialled {
    /// Whether HTTP/2 is spoken on it.
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
    /// Dials with these credentials. What is seen on the way is written down, also of a dial that fails
    /// or goes on still; the deadline is the caller's.
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
            // A verifier that was brought along takes no notes.
            if let (Some(chain), Some(handshake)) =
                (session.peer_certificates(), &mut seen.handshake)
            {
                handshake.server_chain = chain.iter().map(|der| der.clone().into_owned()).collect();
            }
            seen.session = Some(agreed(session));
        });
        Ok(Dialled { stream: Box::new(stream), alpn, awaits_verdict })
    }

    /// The server, or the proxy before it.
    async fn connect(&self, progress: &Arc<Progress>) -> Result<Box<dyn Stream>, FailureKind> {
        progress.reach(Stage::Connecting);
        let dialled = match (&self.proxy, &self.address) {
            (Some(via), _) => via.proxy.uri.clone(),
            // They are whole, which is all that could be wrong with them.
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
        // Divided by the number of addresses, so that a dead one does not take all of it.
        tcp.set_connect_timeout(Some(self.connect_timeout));
        // No keepalive is sent while data is unacknowledged.
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
            // Of one address, where there are several.
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

/// The same error again, for `io::Error` is not `Clone`.
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
        // Of another file Linux says what it says where nobody listens: that the connection is refused.
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

    /// Nobody gets here: such an endpoint is refused by `build()`.
    pub(super) async fn connect(_path: &Path) -> io::Result<Box<dyn Stream>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// The system's resolver, which tells the dial that it is done. It is not called for IP addresses.
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
            // The connector puts the port in.
            let resolve = move || (name.as_str(), 0).to_socket_addrs();
            let addresses = blocking(resolve).await.and_then(|addresses| addresses);
            progress.reach(Stage::Connecting);
            addresses.map_err(ResolveError)
        })
    }
}
