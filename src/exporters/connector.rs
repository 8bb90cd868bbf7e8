//! Connections to a signal's collector for other clients.

use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use tower_service::Service;

use super::Exporters;
use crate::config::Settings;
use crate::error::Error;
use crate::export::{Transport, worded};
use crate::net::ConnectorStream;
use crate::signal::Signal;

/// The error type of tower's and upstream's clients.
pub(super) type BoxError = Box<dyn StdError + Send + Sync>;

impl Exporters {
    /// A connector to a signal's collector for other clients: for tonic's
    /// `Endpoint::connect_with_connector_lazy`, or for hyper's clients.
    ///
    /// Give an `Endpoint` an `http://` URI, and the `https://` one as its `origin`: if one of
    /// tonic's TLS features is enabled, it refuses `https://` with any connector.
    ///
    /// # Errors
    ///
    /// [`Error::NotExported`] if the signal is switched off or goes to the console alone, and
    /// [`Error::StartThread`] if there is no I/O thread yet and none can be started.
    pub fn connector(&self, signal: Signal) -> Result<Connector, Error> {
        Ok(Connector(self.route(signal)?))
    }

    pub(crate) fn route(&self, signal: Signal) -> Result<Route, Error> {
        let pipeline = self.pipeline(signal)?;
        let (settings, transport) = (Arc::clone(&pipeline.settings), self.transport(pipeline)?);
        Ok(Route { settings, transport })
    }
}

/// A signal's settings and the client that dials its collector.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) settings: Arc<Settings>,
    pub(crate) transport: Arc<Transport>,
}

impl Route {
    /// Refuses URIs of other servers, and `https` if the endpoint is plaintext.
    pub(super) fn admit(&self, uri: &Uri) -> Result<(), OtherServer> {
        let endpoint = &self.settings.endpoint;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        // Over TLS the default port is that of `https`, even if the client has an `http` URI.
        let port = uri.port_u16().unwrap_or(if endpoint.secure { 443 } else { 80 });
        let is_downgrade = !endpoint.secure && uri.scheme_str() == Some("https");
        let address = &endpoint.address;
        let is_its_port = address.port().is_none_or(|its| its == port);
        if host.eq_ignore_ascii_case(address.host()) && is_its_port && !is_downgrade {
            return Ok(());
        }
        // Not the whole URI: its path or query may contain a token.
        let asked = format!("{}://{host}:{port}", uri.scheme_str().unwrap_or("http"));
        let (signal, endpoint) = (self.settings.signal, endpoint.to_string());
        Err(OtherServer { asked, signal, endpoint })
    }
}

/// The request is for another server.
#[derive(Debug, thiserror::Error)]
#[error("{asked} is not the endpoint of {signal}, which is {endpoint}")]
pub(super) struct OtherServer {
    asked: String,
    signal: Signal,
    endpoint: String,
}

/// Dials a signal's collector with the current credentials, for a client that speaks HTTP itself.
///
/// Another host or port than the signal's is refused, and so is `https` where the signal's endpoint
/// is plaintext. The URI of a Unix domain socket is `http://localhost`. If a dial fails, the error
/// contains a [`Failure`](crate::Failure).
///
/// Over OTLP/HTTP, ALPN decides between HTTP/1.1 and HTTP/2: hyper-util's client needs its feature `http2`.
///
/// A client keeps its connection after a rotation until either side closes it; the next one uses
/// the new certificate. See [`Exporters::connector`].
#[derive(Clone, Debug)]
pub struct Connector(Route);

impl Service<Uri> for Connector {
    type Response = ConnectorStream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<ConnectorStream, BoxError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let route = self.0.clone();
        Box::pin(async move {
            route.admit(&uri)?;
            let dialled = route.transport.client().dial().await;
            Ok(dialled.map_err(|error| worded(&error, &route.settings))?)
        })
    }
}
