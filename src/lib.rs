//! OpenTelemetry OTLP exporters over TLS and mutual TLS, configured by the `OTEL_*` environment.

mod config;
mod error;
mod exporter;
mod exporters;
mod failure;
mod signal;
mod telemetry;
mod tls;
mod transport;

#[cfg(feature = "testing")]
pub mod testing;

pub use config::{
    Compression, HistogramAggregation, Origin, Overrides, Pem, Protocol, Retry, TlsVersion,
};
pub use error::{
    CredentialProblem, EndpointProblem, Error, HeaderProblem, KeyMismatch, Lost, Place,
};
#[cfg(feature = "logs")]
pub use exporter::LogExporter;
#[cfg(feature = "metrics")]
pub use exporter::MetricExporter;
#[cfg(feature = "trace")]
pub use exporter::SpanExporter;
pub use exporters::{Exporters, ExportersBuilder};
pub use failure::{Failure, FailureKind};
pub use rustls;
pub use signal::Signal;
pub use telemetry::{Telemetry, init};
