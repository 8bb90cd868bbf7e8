//! OpenTelemetry OTLP exporters over TLS and mutual TLS, configured by the `OTEL_*` environment.
//!
//! ```no_run
//! use opentelemetry::global;
//! use opentelemetry::trace::{Span, Tracer};
//!
//! fn main() -> Result<(), otlp_mtls::Error> {
//!     let _telemetry = otlp_mtls::init()?;
//!     global::tracer("shop").start("checkout").end();
//!     Ok(()) // the guard flushes
//! }
//! ```
//!
//! # Dependencies
//!
//! ```toml
//! [dependencies]
//! otlp-mtls = "0.1"
//! ```
//!
//! [`opentelemetry`] and [`opentelemetry_sdk`] are re-exported. In another minor version beside ours, `opentelemetry` has
//! globals of its own: what is recorded by those goes nowhere, without an error. `cargo tree --invert opentelemetry`
//! fails where there are several, and names them.
//!
//! A service on rustls with ring adds this crate without its default features, which bring aws-lc-rs: of two providers
//! rustls chooses none, and the service's own `ClientConfig::builder()` panics. The exporters work with both.
//!
//! ```toml
//! otlp-mtls = { version = "0.1", default-features = false, features = ["base", "ring"] }
//! ```
//!
//! # Configuration
//!
//! [`init`] reads the environment alone. [`Exporters::builder`] has a setter for each variable, and
//! for what has none. For each setting, the first of these that has it wins: the builder for one
//! signal, the builder for all, the variable of one signal, that of all, the default of the
//! [specification].
//!
//! | variable | setter |
//! |---|---|
//! | `OTEL_EXPORTER_OTLP_ENDPOINT` | [`with_endpoint`](ExportersBuilder::with_endpoint) |
//! | `OTEL_EXPORTER_OTLP_PROTOCOL` | [`with_protocol`](ExportersBuilder::with_protocol) |
//! | `OTEL_EXPORTER_OTLP_CERTIFICATE` | [`with_ca_certificate`](ExportersBuilder::with_ca_certificate) |
//! | `OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE`, `OTEL_EXPORTER_OTLP_CLIENT_KEY` | [`with_client_identity`](ExportersBuilder::with_client_identity) |
//! | `OTEL_EXPORTER_OTLP_INSECURE` | [`with_insecure`](ExportersBuilder::with_insecure) |
//! | `OTEL_EXPORTER_OTLP_HEADERS` | [`with_headers`](ExportersBuilder::with_headers) |
//! | `OTEL_EXPORTER_OTLP_COMPRESSION` | [`with_compression`](ExportersBuilder::with_compression) |
//! | `OTEL_EXPORTER_OTLP_TIMEOUT` (ms) | [`with_timeout`](ExportersBuilder::with_timeout) |
//! | `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE` | [`with_temporality`](ExportersBuilder::with_temporality) |
//! | `OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION` | [`with_histogram_aggregation`](ExportersBuilder::with_histogram_aggregation) |
//!
//! What is set up at all is said by `OTEL_SDK_DISABLED`, `OTEL_{TRACES,METRICS,LOGS}_EXPORTER` and
//! `OTEL_PROPAGATORS`: see [`init`].
//!
//! With the feature `config-file`, `OTEL_CONFIG_FILE` names a file of the [declarative configuration] that is read in
//! place of all these variables. Without it, the variable is an error.
//!
//! # Trust
//!
//! A CA that is named replaces the platform's roots, which are loaded only for an `https` endpoint
//! without one ([`rustls_native_certs`] finds them; it honours `SSL_CERT_FILE` and
//! `SSL_CERT_DIR`). Nothing switches verification off. Whatever is set and cannot be used is an
//! [`Error`] of [`build`](ExportersBuilder::build): there is no silent fall-back.
//!
//! # Rotation
//!
//! Files are looked at when an export starts, at most every 10 seconds, and at once after a failure
//! that stale credentials may explain. What is new and can be used moves all signals to a new
//! connection; what cannot be used changes nothing and is reported by a warning and by
//! [`Exporters::status`]. [`CredentialSource`] is for what is not in files.
//!
//! # When it fails
//!
//! A [`Failure`] says who refused whom, what either side showed, and what to do: in the error that
//! the SDK logs, in [`Exporters::status`], and to
//! [`with_failure_handler`](ExportersBuilder::with_failure_handler). [`Exporters::check`] goes the whole
//! way to the collector once, and reports.
//!
//! # Cryptography
//!
//! The rustls `CryptoProvider` is the one given to
//! [`with_crypto_provider`](ExportersBuilder::with_crypto_provider), else the process's default,
//! else the compiled one, `aws-lc-rs` before `ring`. A process default is never installed.
//!
//! # Runtimes
//!
//! All I/O is on a thread of its own, `otlp-mtls-io`, which is started with the first exporter and
//! ends with the last: exporters work under any async runtime and none.
//!
//! # Features
//!
//! - `base`: the default features without a provider of cryptography
//! - `grpc`, `http` (default), `http-json`: the protocols
//! - `trace`, `metrics`, `logs` (default): the signals
//! - `aws-lc-rs` (default), `ring`, `fips`: cryptography
//! - `gzip` (default), `zstd`: compression
//! - `proxy`: obeys `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`. It is the one feature that changes what a
//!   build does without a change of code: that is what it is for
//! - `serde`: `Serialize` for status and reports
//! - `tracing`: `init_tracing` and `Telemetry::tracing_layer`, for spans and events of the crate
//!   `tracing`
//! - `b3`: Zipkin's propagators
//! - `config-file`: `OTEL_CONFIG_FILE`, the [declarative configuration] in YAML
//! - `console`: signals on standard output. Its format is meant for people, and [not standardised]
//! - `opentelemetry-http`: `Exporters::http_client`, an `HttpClient` of that crate
//! - `opentelemetry-otlp`: `upstream`, the exporters of that crate on this crate's TLS
//! - `testing`: a throw-away PKI and an in-process collector
//!
//! [not standardised]: https://opentelemetry.io/docs/specs/otel/trace/sdk_exporters/stdout/
//! [declarative configuration]: https://opentelemetry.io/docs/specs/otel/configuration/#declarative-configuration
//! [specification]: https://opentelemetry.io/docs/specs/otel/protocol/exporter/

#![cfg_attr(docsrs, feature(doc_cfg))]
// With a protocol or a signal switched off, what only it uses stands idle.
#![cfg_attr(
    not(all(
        feature = "grpc",
        feature = "http",
        feature = "trace",
        feature = "metrics",
        feature = "logs"
    )),
    allow(dead_code)
)]

pub mod check;
mod config;
pub mod error;
mod export;
mod exporters;
pub mod failure;
mod lock;
mod net;
mod origin;
mod otlp;
mod process;
mod protocol;
mod secrets;
mod signal;
pub mod status;
mod stderr;
mod telemetry;
mod text;
mod tls;

#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "opentelemetry-otlp")]
pub mod upstream;

pub use config::{
    Batch, Compression, HistogramAggregation, Pem, Protocol, RetryPolicy, SignalBuilder, TlsVersion,
};
pub use error::Error;
#[cfg(feature = "logs")]
pub use export::LogExporter;
#[cfg(feature = "metrics")]
pub use export::MetricExporter;
#[cfg(feature = "trace")]
pub use export::SpanExporter;
#[cfg(feature = "opentelemetry-http")]
pub use exporters::HttpClient;
pub use exporters::{Connector, Exporters, ExportersBuilder};
pub use failure::{Failure, FailureKind};
pub use net::ConnectorStream;
pub use opentelemetry;
pub use opentelemetry_sdk;
pub use rustls;
pub use signal::Signal;
#[cfg(feature = "tracing")]
pub use telemetry::init_tracing;
pub use telemetry::{Providers, ShutdownLoss, Telemetry, init};
pub use tls::{CredentialSource, Credentials};

/// Credentials, and what is seen of them.
pub mod credentials {
    pub use crate::tls::{
        CertificateFacts, CredentialSource, CredentialStatus, Credentials, RejectedCredentials,
    };
}

/// The encoder, for `fuzz/`.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod encoder {
    pub use crate::otlp::whole::*;
}

/// The judgement of answers, for `fuzz/`.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod answer {
    pub use crate::otlp::fuzzing::*;
}

/// The examples of README and docs, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[doc = include_str!("../docs/config-file.md")]
#[doc = include_str!("../docs/migrating.md")]
#[doc = include_str!("../docs/rotation.md")]
struct Pages;
