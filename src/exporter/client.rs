//! Upstream's view of a transport: an HTTP client.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{HeaderValue, USER_AGENT};
use http::{HeaderMap, Request, Response};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{ExporterBuildError, RetryPolicy, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};

use super::delivery::{Delivery, Extent, leave_word};
use super::ledger::Ledger;
#[cfg(feature = "http-json")]
use crate::config::Protocol;
use crate::config::{Compression, Settings};
use crate::failure::{Failure, FailureKind};
use crate::lock::lock;
use crate::otlp::Payload;
use crate::tls::Snapshot;
use crate::transport::{Call, Transport};

/// The [form that the specification gives](https://opentelemetry.io/docs/specs/otel/protocol/exporter/#user-agent).
const AGENT: &str =
    concat!("otlp-mtls/", env!("CARGO_PKG_VERSION"), " OTel-OTLP-Exporter-Rust/0.33");

/// One signal's way to its collector.
#[derive(Clone)]
pub(crate) struct Client {
    settings: Arc<Settings>,
    headers: Arc<HeaderMap>,
    /// `None` after the shutdown: OpenTelemetry's globals keep an exporter for ever, but not its
    /// connection.
    transport: Arc<Mutex<Option<Arc<Transport>>>>,
    delivery: Arc<Delivery>,
    ledger: Arc<Ledger>,
}

impl Client {
    pub(crate) fn new(
        settings: Arc<Settings>,
        transport: Arc<Transport>,
        delivery: Arc<Delivery>,
        ledger: Arc<Ledger>,
    ) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.extend(settings.headers.value.clone());
        Self {
            headers: Arc::new(headers),
            settings,
            transport: Arc::new(Mutex::new(Some(transport))),
            delivery,
            ledger,
        }
    }

    /// Builds one of upstream's exporters so that neither the process's environment nor a policy
    /// of upstream's decides anything.
    pub(super) fn configure<B: WithExportConfig + WithHttpConfig>(&self, builder: B) -> B {
        let builder = builder
            .with_endpoint(self.settings.endpoint.to_string())
            .with_protocol(self.encoding())
            // The transport has a timeout of its own, and cancels what upstream would leave.
            .with_timeout(std::time::Duration::MAX)
            .with_retry_policy(RetryPolicy::disabled())
            .with_http_client(self.clone());
        match *self.settings.compression {
            Some(Compression::Gzip) => {
                builder.with_compression(opentelemetry_otlp::Compression::Gzip)
            }
            Some(Compression::Zstd) => {
                builder.with_compression(opentelemetry_otlp::Compression::Zstd)
            }
            None => builder,
        }
    }

    #[cfg(feature = "http-json")]
    fn encoding(&self) -> opentelemetry_otlp::Protocol {
        match *self.settings.protocol {
            Protocol::HttpJson => opentelemetry_otlp::Protocol::HttpJson,
            _ => opentelemetry_otlp::Protocol::HttpBinary,
        }
    }

    #[cfg(not(feature = "http-json"))]
    fn encoding(&self) -> opentelemetry_otlp::Protocol {
        opentelemetry_otlp::Protocol::HttpBinary
    }

    pub(super) fn error(&self, source: ExporterBuildError) -> crate::Error {
        crate::Error::Exporter { signal: self.settings.signal, source }
    }

    /// For the exporters' own `shutdown`: after it, nothing is exported.
    pub(super) fn shut_down(&self) -> OTelSdkResult {
        self.slot().take().map(drop).ok_or(OTelSdkError::AlreadyShutdown)
    }

    /// Runs one of upstream's exports, of this many items, and keeps the books. Without items there is
    /// [nothing to send](https://opentelemetry.io/docs/specs/otlp/#otlpgrpc-request-response).
    pub(super) async fn count(
        &self,
        items: u64,
        export: impl Future<Output = OTelSdkResult>,
    ) -> OTelSdkResult {
        self.transport()?;
        if items == 0 {
            return Ok(());
        }
        self.delivery.count(self.settings.signal, items, &self.ledger, export).await
    }

    /// Sends a body that is encoded already. What the collector has accepted it may have remarked on.
    pub(crate) async fn send(
        &self,
        compression: Option<Compression>,
        body: Bytes,
    ) -> Result<Option<Failure>, Failure> {
        let call = Call {
            signal: self.settings.signal,
            path: self.settings.endpoint.path.clone(),
            headers: Arc::clone(&self.headers),
            payload: Payload { protocol: *self.settings.protocol, compression, body: body.clone() },
            max_response_size: self.settings.max_response_size,
            timeout: *self.settings.timeout,
            drain: self.delivery.drain(),
        };
        // Somebody else may have shut the exporter down in between.
        let transport = self.transport().map_err(|_| self.failure(FailureKind::Shutdown, None))?;
        let kind = match transport.send(call).await {
            Ok(remark) => return Ok(remark.map(|kind| self.failure(kind, None))),
            // What the collector limits may be either.
            Err(FailureKind::TooLarge { bytes, .. }) => {
                let plain = compression.and_then(|it| decompress(it, &body)?.ok());
                FailureKind::TooLarge { bytes, uncompressed: plain.map(|plain| plain.len()) }
            }
            Err(kind) => kind,
        };
        Err(self.failure(kind, transport.credentials().as_ref()))
    }

    fn failure(&self, kind: FailureKind, credentials: Option<&Snapshot>) -> Failure {
        Failure::new(kind, &self.settings, credentials)
    }

    fn transport(&self) -> Result<Arc<Transport>, OTelSdkError> {
        self.slot().clone().ok_or(OTelSdkError::AlreadyShutdown)
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<Transport>>> {
        lock(&self.transport)
    }
}

#[async_trait]
impl HttpClient for Client {
    /// Of upstream's request, the body is used: path and headers are ours, for the process's
    /// environment has changed those that upstream has.
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (compression, body) = encode(request.into_body(), *self.settings.compression)?;
        let answer = self.send(compression, body).await;
        let remark = answer.inspect_err(|failure| leave_word(failure, Extent::All))?;
        if let Some(remark) = remark {
            let rejected = match remark.kind() {
                FailureKind::Rejected { items, .. } => *items,
                _ => 0,
            };
            leave_word(&remark, Extent::Some(rejected));
        }
        // Upstream would log the collector's message as it came.
        Ok(Response::new(Bytes::new()))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { signal, endpoint, protocol, .. } = &*self.settings;
        f.debug_struct("Client")
            .field("signal", signal)
            .field("endpoint", &format_args!("{endpoint}{}", endpoint.shown_path()))
            .field("protocol", protocol)
            .finish_non_exhaustive()
    }
}

/// The body as the settings want it.
///
/// Upstream compresses as it was told to; but told nothing, it reads the process's
/// `OTEL_EXPORTER_OTLP_COMPRESSION`, and cannot be told not to. That is undone here. Where the
/// feature for it is off, the body travels as it is, and says so.
fn encode(
    body: Bytes,
    wanted: Option<Compression>,
) -> std::io::Result<(Option<Compression>, Bytes)> {
    match compression_of(&body) {
        Some(is) if wanted != Some(is) => match decompress(is, &body) {
            Some(plain) => Ok((None, plain?.into())),
            None => Ok((Some(is), body)),
        },
        is => Ok((is, body)),
    }
}

/// How a body is compressed, by its first bytes: neither a protobuf message of OTLP nor JSON begins
/// with them.
fn compression_of(body: &[u8]) -> Option<Compression> {
    match body {
        // RFC 1952, section 2.3.1
        [0x1f, 0x8b, ..] => Some(Compression::Gzip),
        // RFC 8878, section 3.1.1
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Compression::Zstd),
        _ => None,
    }
}

fn decompress(compression: Compression, body: &[u8]) -> Option<std::io::Result<Vec<u8>>> {
    match compression {
        Compression::Gzip => gunzip(body),
        Compression::Zstd => unzstd(body),
    }
}

#[cfg(feature = "gzip")]
fn gunzip(body: &[u8]) -> Option<std::io::Result<Vec<u8>>> {
    let mut plain = Vec::new();
    let read = std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(body), &mut plain);
    Some(read.map(|_length| plain))
}

#[cfg(not(feature = "gzip"))]
fn gunzip(_body: &[u8]) -> Option<std::io::Result<Vec<u8>>> {
    None
}

#[cfg(feature = "zstd")]
fn unzstd(body: &[u8]) -> Option<std::io::Result<Vec<u8>>> {
    Some(zstd::decode_all(body))
}

#[cfg(not(feature = "zstd"))]
fn unzstd(_body: &[u8]) -> Option<std::io::Result<Vec<u8>>> {
    None
}
