//! Tunnels through an HTTP proxy, by CONNECT, over TLS if its URL is `https://`.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use http::uri::{Parts, Uri};
use http::{Method, Request};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio_rustls::TlsConnector;

use super::credentials::Watcher;
use super::progress::Progress;
use super::runtime::spawn;
use super::stream::{Greeted, Stream};
use crate::config::{Address, Proxy};
use crate::failure::{Evidence, FailureKind, Stage};
use crate::tls::{Notes, Store};

/// The proxy to a server.
#[derive(Clone, Debug)]
pub(crate) struct Via {
    pub(super) proxy: Proxy,
    /// The credentials to verify it with; `None` for plaintext.
    credentials: Option<Arc<Watcher<Store>>>,
}

impl Via {
    pub(crate) fn new(proxy: Proxy, store: Option<Arc<Store>>) -> Self {
        Self { proxy, credentials: store.map(|store| Arc::new(Watcher::new(store))) }
    }

    pub(super) fn credentials(&self) -> Option<&Watcher<Store>> {
        self.credentials.as_deref()
    }

    /// Speaks TLS with the proxy, if its URL is `https://`.
    pub(super) async fn secure(
        &self,
        stream: Box<dyn Stream>,
        progress: &Progress,
    ) -> Result<Box<dyn Stream>, FailureKind> {
        let (Some(tls), Some(credentials)) = (&self.proxy.tls, &self.credentials) else {
            return Ok(stream);
        };
        let current = credentials.current();
        progress.note(|seen| seen.proxy_credentials = Some(current.clone()));
        let notes = Notes::default();
        let config = Arc::new(current.noting(&notes));
        // Separate evidence, because the proxy's certificate is not the collector's.
        let mut seen = Evidence {
            credentials: Some(current),
            stage: Stage::Handshaking,
            ..Evidence::default()
        };
        let stream = Greeted::new(stream, Bytes::new(), seen.greeting.clone());
        let shaken = TlsConnector::from(config).connect(tls.server_name.clone(), stream).await;
        let handshake = notes.read();
        match shaken {
            Ok(stream) => {
                credentials.note_handshake(&handshake, true, None);
                Ok(Box::new(stream))
            }
            Err(error) => {
                seen.handshake = Some(handshake.clone());
                let reason = Box::new(seen.classify(&error, false, false));
                credentials.note_handshake(&handshake, false, Some(reason.name()));
                Err(FailureKind::ProxyTls { proxy: self.proxy.to_string(), reason })
            }
        }
    }
}

/// Opens a tunnel through the proxy to a collector. Returns the stream and the bytes that were already
/// read beyond the proxy's answer.
pub(super) async fn open(
    stream: Box<dyn Stream>,
    proxy: &Proxy,
    collector: &Address,
) -> Result<(Box<dyn Stream>, Bytes), FailureKind> {
    let refused = |status| FailureKind::ProxyRefused { proxy: proxy.to_string(), status };
    let silent = |_: hyper::Error| refused(None);

    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(silent)?;
    spawn(connection.with_upgrades());
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.method_mut() = Method::CONNECT;
    *request.uri_mut() = authority(collector);
    // RFC 9112, section 3.2.
    if let Ok(host) = HeaderValue::from_str(&request.uri().to_string()) {
        request.headers_mut().insert(HOST, host);
    }
    if let Some(authorization) = &proxy.authorization {
        request.headers_mut().insert(PROXY_AUTHORIZATION, authorization.clone());
    }
    let response = sender.send_request(request).await.map_err(silent)?;
    if !response.status().is_success() {
        return Err(refused(Some(response.status().as_u16())));
    }
    let upgraded = hyper::upgrade::on(response).await.map_err(silent)?;
    match upgraded.downcast::<TokioIo<Box<dyn Stream>>>() {
        Ok(parts) => Ok((parts.io.into_inner(), parts.read_buf)),
        // Not reached: it is the stream that was given to hyper above.
        Err(_other) => Err(refused(None)),
    }
}

/// The target of CONNECT: host and port, without a scheme.
fn authority(collector: &Address) -> Uri {
    let mut parts = Parts::default();
    parts.authority = collector.to_string().parse().ok();
    // It cannot fail: an authority alone is a complete URI.
    Uri::from_parts(parts).unwrap_or_default()
}
