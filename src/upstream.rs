//! The exporters of the crate [opentelemetry-otlp](https://docs.rs/opentelemetry-otlp) over this
//! crate's TLS, for services that have to keep them.
//!
//! Endpoint, protocol, headers, timeout, compression and temporality are those of the
//! [`Exporters`]. Everything else is upstream's: retries, logs, and the outcome of a batch. Their
//! exports are not in [`Exporters::status`], and do not call the failure handler. They cannot be built
//! together with [`with_bearer_token_file`](crate::ExportersBuilder::with_bearer_token_file) or
//! [`with_header_provider`](crate::ExportersBuilder::with_header_provider).
//!
//! They work under any async runtime or without one. Over gRPC a connection is kept after a
//! rotation until the collector or a failure ends it; over HTTP they use the connection of this
//! crate's own exporters.
//!
//! If compression is off in the settings, upstream still reads `OTEL_EXPORTER_OTLP_COMPRESSION` of
//! the process: its builder can set a compression, but not switch it off.

use std::time::Duration;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, Uri};
use opentelemetry_otlp::{WithExportConfig, WithHttpConfig, WithTonicConfig};
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};

use crate::config::Settings;
use crate::error::Error;
use crate::exporters::{Exporters, HttpClient};
use crate::net::IoExecutor;
use crate::protocol::{Compression, Protocol};
use crate::signal::Signal;

/// Upstream has no unlimited timeout.
const NO_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// Upstream's exporter of spans.
///
/// # Errors
///
/// As [`Exporters::connector`], and [`Error::Upstream`] if upstream rejects the settings.
#[cfg(feature = "trace")]
pub fn span_exporter(exporters: &Exporters) -> Result<opentelemetry_otlp::SpanExporter, Error> {
    let builder = opentelemetry_otlp::SpanExporter::builder();
    let signal = Signal::Traces;
    let built = match protocol(exporters, signal)? {
        Protocol::Grpc => over_grpc(builder.with_tonic(), exporters, signal)?.build(),
        _ => over_http(builder.with_http(), exporters, signal)?.build(),
    };
    built.map_err(|source| refused(signal, source))
}

/// Upstream's exporter of metrics.
///
/// # Errors
///
/// As [`Exporters::connector`], and [`Error::Upstream`] if upstream rejects the settings.
#[cfg(feature = "metrics")]
pub fn metric_exporter(exporters: &Exporters) -> Result<opentelemetry_otlp::MetricExporter, Error> {
    let builder =
        opentelemetry_otlp::MetricExporter::builder().with_temporality(exporters.temporality());
    let signal = Signal::Metrics;
    let built = match protocol(exporters, signal)? {
        Protocol::Grpc => over_grpc(builder.with_tonic(), exporters, signal)?.build(),
        _ => over_http(builder.with_http(), exporters, signal)?.build(),
    };
    built.map_err(|source| refused(signal, source))
}

/// Upstream's exporter of log records.
///
/// # Errors
///
/// As [`Exporters::connector`], and [`Error::Upstream`] if upstream rejects the settings.
#[cfg(feature = "logs")]
pub fn log_exporter(exporters: &Exporters) -> Result<opentelemetry_otlp::LogExporter, Error> {
    let builder = opentelemetry_otlp::LogExporter::builder();
    let signal = Signal::Logs;
    let built = match protocol(exporters, signal)? {
        Protocol::Grpc => over_grpc(builder.with_tonic(), exporters, signal)?.build(),
        _ => over_http(builder.with_http(), exporters, signal)?.build(),
    };
    built.map_err(|source| refused(signal, source))
}

fn protocol(exporters: &Exporters, signal: Signal) -> Result<Protocol, Error> {
    let settings = exporters.route(signal)?.settings;
    if let Some(token) = &settings.token {
        let source = format!("they cannot read the bearer token of {}", token.file.origin);
        return Err(Error::Upstream { signal, source: source.into() });
    }
    if exporters.has_header_provider() {
        let source = "they cannot call with_header_provider()";
        return Err(Error::Upstream { signal, source: source.into() });
    }
    Ok(*settings.protocol)
}

fn refused(signal: Signal, source: opentelemetry_otlp::ExporterBuildError) -> Error {
    Error::Upstream { signal, source: source.into() }
}

fn timeout(settings: &Settings) -> Duration {
    settings.timeout.unwrap_or(NO_TIMEOUT)
}

fn compression(settings: &Settings) -> Option<opentelemetry_otlp::Compression> {
    settings.compression.value.map(|compression| match compression {
        Compression::Gzip => opentelemetry_otlp::Compression::Gzip,
        Compression::Zstd => opentelemetry_otlp::Compression::Zstd,
    })
}

fn over_grpc<B: WithExportConfig + WithTonicConfig>(
    builder: B,
    exporters: &Exporters,
    signal: Signal,
) -> Result<B, Error> {
    let settings = exporters.route(signal)?.settings;
    let headers = settings.headers.value.clone();
    let builder = builder
        .with_protocol(opentelemetry_otlp::Protocol::Grpc)
        .with_timeout(timeout(&settings))
        .with_channel(channel(exporters, &settings)?)
        // Instead of `with_metadata`, to which upstream adds the headers of the process's
        // environment.
        .with_interceptor(move |mut request: tonic::Request<()>| {
            let mut all = std::mem::take(request.metadata_mut()).into_headers();
            replace(&mut all, &headers);
            *request.metadata_mut() = MetadataMap::from_headers(all);
            Ok(request)
        });
    Ok(match compression(&settings) {
        Some(compression) => builder.with_compression(compression),
        None => builder,
    })
}

/// A channel whose tasks run on the I/O thread, so that the exporting thread needs no runtime.
fn channel(exporters: &Exporters, settings: &Settings) -> Result<Channel, Error> {
    let endpoint = &settings.endpoint;
    // If one of tonic's TLS features is enabled, by any package of the build, tonic refuses
    // `https://` without its own TLS ("Connecting to HTTPS without TLS enabled"). With `http://` it
    // leaves TLS to the connector, and the origin sets the scheme of the requests.
    let dialled = match endpoint.address.port() {
        Some(_) => uri("http", &endpoint.address.to_string()),
        None => uri("http", endpoint.address.host()),
    };
    let origin = uri(endpoint.scheme().as_str(), endpoint.authority.as_str());
    let channel = Endpoint::from(dialled)
        .origin(origin)
        .timeout(timeout(settings))
        .executor(IoExecutor(exporters.runtime()?))
        .connect_with_connector_lazy(exporters.connector(settings.signal)?);
    Ok(channel)
}

fn uri(scheme: &str, authority: &str) -> Uri {
    let uri = Uri::builder().scheme(scheme).authority(authority);
    // It cannot fail: the URI is complete.
    uri.path_and_query("/").build().unwrap_or_default()
}

fn over_http<B: WithExportConfig + WithHttpConfig>(
    builder: B,
    exporters: &Exporters,
    signal: Signal,
) -> Result<B, Error> {
    let settings = exporters.route(signal)?.settings;
    let endpoint = &settings.endpoint;
    let protocol = match *settings.protocol {
        Protocol::HttpJson => opentelemetry_otlp::Protocol::HttpJson,
        _ => opentelemetry_otlp::Protocol::HttpBinary,
    };
    let client = exporters.http_client(signal)?;
    let headers = settings.headers.value.clone();
    let builder = builder
        .with_protocol(protocol)
        .with_endpoint(format!("{endpoint}{}", endpoint.path))
        .with_timeout(timeout(&settings))
        .with_http_client(WithHeaders { client, headers });
    Ok(match compression(&settings) {
        Some(compression) => builder.with_compression(compression),
        None => builder,
    })
}

/// Sends with the settings' headers, instead of `with_headers`, to which upstream adds the headers
/// of the process's environment.
#[derive(Clone)]
struct WithHeaders {
    client: HttpClient,
    headers: HeaderMap,
}

impl opentelemetry_http::HttpClient for WithHeaders {
    fn send_bytes<'a, 'async_trait>(
        &'a self,
        mut request: http::Request<bytes::Bytes>,
    ) -> std::pin::Pin<
        Box<
            dyn Future<Output = Result<http::Response<bytes::Bytes>, opentelemetry_http::HttpError>>
                + Send
                + 'async_trait,
        >,
    >
    where
        'a: 'async_trait,
        Self: 'async_trait,
    {
        replace(request.headers_mut(), &self.headers);
        self.client.send_bytes(request)
    }
}

impl std::fmt::Debug for WithHeaders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.client.fmt(f)
    }
}

/// Replaces all headers except upstream's own.
fn replace(all: &mut HeaderMap, headers: &HeaderMap) {
    let mut kept = HeaderMap::new();
    for name in [CONTENT_TYPE, CONTENT_ENCODING, USER_AGENT] {
        kept.extend(all.remove(&name).map(|value| (name, value)));
    }
    kept.extend(headers.clone());
    *all = kept;
}
