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
//! It reads the same environment variables as OpenTelemetry in every other language:
//!
//! | variable, `OTEL_EXPORTER_OTLP_…` | value | setter |
//! |---|---|---|
//! | `ENDPOINT` | `https://collector:4317`; a URL | [`with_endpoint`](ExportersBuilder::with_endpoint) |
//! | `PROTOCOL` | `grpc`, `http/protobuf` (default), `http/json` | [`with_protocol`](ExportersBuilder::with_protocol) |
//! | `CERTIFICATE` | `/etc/otel/certs/ca.crt`; the CAs to trust, in PEM | [`with_ca_certificate`](ExportersBuilder::with_ca_certificate) |
//! | `CLIENT_CERTIFICATE`, `CLIENT_KEY` | `/etc/otel/certs/client.crt`, `client.key`; PEM | [`with_client_identity`](ExportersBuilder::with_client_identity) |
//! | `INSECURE` | `true`: plaintext, for a gRPC endpoint without a scheme | [`with_insecure`](ExportersBuilder::with_insecure) |
//! | `HEADERS` | `name=value,name=value`, values percent-encoded | [`with_headers`](ExportersBuilder::with_headers) |
//! | `COMPRESSION` | `none` (default), `gzip`, `zstd` | [`with_compression`](ExportersBuilder::with_compression) |
//! | `TIMEOUT` | `10000` (default), in milliseconds, for one export with its retries | [`with_timeout`](ExportersBuilder::with_timeout) |
//! | `METRICS_TEMPORALITY_PREFERENCE` | `cumulative` (default), `delta`, `lowmemory` | [`with_temporality`](ExportersBuilder::with_temporality) |
//! | `METRICS_DEFAULT_HISTOGRAM_AGGREGATION` | `explicit_bucket_histogram` (default), `base2_exponential_bucket_histogram` | [`with_histogram_aggregation`](ExportersBuilder::with_histogram_aggregation) |
//!
//! All but the last two also exist per signal: `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`. For each
//! setting, the first one set wins: the builder for one signal, the builder for all signals, the
//! variable of one signal, the variable of all signals, the default of the [specification].
//! [`init`] lists the other variables of the SDK that are read. With the feature `config-file`,
//! `OTEL_CONFIG_FILE` names a file of the [declarative configuration], which is [read instead of
//! the variables][config-file].
//!
//! # Dependencies
//!
//! ```toml
//! [dependencies]
//! otlp-mtls = "0.1"
//! ```
//!
//! `opentelemetry` and `opentelemetry_sdk` are re-exported. A second minor version of
//! `opentelemetry` in the build has globals of its own: what is recorded through them is lost
//! without an error. `cargo tree --invert opentelemetry` fails if there are several versions, and
//! lists them.
//!
//! A service that uses rustls with ring should add this crate without its default features, which
//! include aws-lc-rs: with two providers compiled in, rustls does not choose one, and the service's
//! own `ClientConfig::builder()` panics. The exporters work with either provider.
//!
//! ```toml
//! otlp-mtls = { version = "0.1", default-features = false, features = ["base", "ring"] }
//! ```
//!
//! # Mutual TLS in code
//!
//! ```no_run
//! use otlp_mtls::{Exporters, Pem, Protocol};
//!
//! # fn main() -> Result<(), otlp_mtls::Error> {
//! let _telemetry = Exporters::builder()
//!     .with_endpoint("https://otel-collector.observability.svc:4317")
//!     .with_protocol(Protocol::Grpc)
//!     .with_ca_certificate(Pem::file("/etc/otel/certs/ca.crt"))
//!     .with_client_identity(
//!         Pem::file("/etc/otel/certs/client.crt"),
//!         Pem::file("/etc/otel/certs/client.key"),
//!     )
//!     .build()?
//!     .install()?;
//! # Ok(())
//! # }
//! ```
//!
//! A service with its own providers uses only the exporters:
//!
//! ```no_run
//! use otlp_mtls::Exporters;
//! use otlp_mtls::opentelemetry_sdk::trace::SdkTracerProvider;
//!
//! # fn main() -> Result<(), otlp_mtls::Error> {
//! let exporters = Exporters::from_env()?;
//! let provider = SdkTracerProvider::builder().with_batch_exporter(exporters.span_exporter()?).build();
//! # Ok(())
//! # }
//! ```
//!
//! # The crate `tracing`
//!
//! With the feature `tracing`, that crate's spans and events are exported as spans and log records,
//! and written to standard output:
//!
//! ```no_run
//! # fn main() -> Result<(), otlp_mtls::Error> {
//! let _telemetry = otlp_mtls::init_tracing()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Trust
//!
//! A configured CA replaces the platform's roots, which are loaded only for an `https` endpoint
//! without one (by [rustls-native-certs], which honours `SSL_CERT_FILE` and `SSL_CERT_DIR`).
//! Verification cannot be switched off. Every setting that cannot be used is an [`Error`] of
//! [`build`](ExportersBuilder::build): there is no silent fallback.
//!
//! # Rotation
//!
//! Files are checked for changes when an export starts, at most every 10 seconds, and at once after
//! a failure that stale credentials may explain. Usable new credentials move all signals to a new
//! connection; unusable ones change nothing and are reported by a warning and by
//! [`Exporters::status`]. [`CredentialSource`] is for credentials that are not in files. More:
//! [rotation].
//!
//! # When it fails
//!
//! A [`Failure`] says which side rejected the other, the facts about either side, and what to do.
//! It is in the error that the SDK logs, in [`Exporters::status`], and passed to
//! [`with_failure_handler`](ExportersBuilder::with_failure_handler).
//!
//! [`Exporters::check`] tests every step to the collector once, and reports. The program
//! `otlp-doctor` does the same; `cargo install otlp-mtls --features doctor` installs it.
//!
//! ```no_run
//! # fn check(exporters: &otlp_mtls::Exporters) {
//! let report = exporters.check_blocking(); // or `check().await`
//! if !report.is_delivered() {
//!     eprintln!("{report}");
//! }
//! # }
//! ```
//!
//! # Cryptography
//!
//! The rustls `CryptoProvider` is the one given to
//! [`with_crypto_provider`](ExportersBuilder::with_crypto_provider), else the process's default,
//! else the compiled-in one, `aws-lc-rs` before `ring`. This crate never installs a process
//! default.
//!
//! # Runtimes
//!
//! All I/O runs on a separate thread, `otlp-mtls-io`, which starts with the first exporter and ends
//! with the last: exporters work under any async runtime or without one.
//!
//! # Features
//!
//! `default-features = false` disables all protocols, signals and crypto providers: enable one of
//! each, or `base` and a provider.
//!
//! - `base`: the default features without a crypto provider
//! - `grpc`, `http` (default), `http-json`: the protocols
//! - `trace`, `metrics`, `logs` (default): the signals
//! - `aws-lc-rs` (default), `ring`, `fips`: the crypto providers
//! - `gzip` (default), `zstd`: compression
//! - `proxy`: obeys `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, for proxies with
//!   `http://` and `https://` URLs. It is the only feature that changes behaviour without a change
//!   of code, which is its purpose
//! - `serde`: `Serialize` for status and reports
//! - `tracing`: `init_tracing` and `Telemetry::tracing_layer`, for the spans and events of the
//!   crate `tracing`
//! - `b3`: Zipkin's propagators
//! - `config-file`: `OTEL_CONFIG_FILE`, the [declarative configuration] in YAML
//! - `console`: signals on standard output. Its format is meant for people, and [not standardised]
//! - `opentelemetry-http`: `Exporters::http_client`, an `HttpClient` of that crate
//! - `opentelemetry-otlp`: `upstream`, the exporters of that crate over this crate's TLS
//! - `doctor`: the program `otlp-doctor`
//! - `testing`: a throwaway PKI and an in-process collector
//!
//! # Pages
//!
//! - [README]: each kind of service, the variables, troubleshooting by message, costs
//! - [migrating] from a hand-wired opentelemetry-otlp
//! - [rotation] of certificates, keys and CAs
//! - [metrics] of the crate, for alerts
//! - [spiffe]: servers with an ID instead of a host name
//! - [config-file]: the declarative configuration
//! - [conformance]: the specification, clause by clause
//! - [scale]: fleets of services, and what a collector's restart costs
//! - [benchmarks]: compared with opentelemetry-otlp and other languages
//! - [stability]: the guarantees
//! - [design]: the structure of the code and its reasons
//! - [security]: the threat model
//!
//! [README]: https://docs.rs/crate/otlp-mtls/latest/source/README.md
//! [migrating]: https://docs.rs/crate/otlp-mtls/latest/source/docs/migrating.md
//! [rotation]: https://docs.rs/crate/otlp-mtls/latest/source/docs/rotation.md
//! [metrics]: https://docs.rs/crate/otlp-mtls/latest/source/docs/metrics.md
//! [spiffe]: https://docs.rs/crate/otlp-mtls/latest/source/docs/spiffe.md
//! [config-file]: https://docs.rs/crate/otlp-mtls/latest/source/docs/config-file.md
//! [conformance]: https://docs.rs/crate/otlp-mtls/latest/source/docs/conformance.md
//! [scale]: https://docs.rs/crate/otlp-mtls/latest/source/docs/scale.md
//! [benchmarks]: https://docs.rs/crate/otlp-mtls/latest/source/docs/benchmarks.md
//! [stability]: https://docs.rs/crate/otlp-mtls/latest/source/docs/stability.md
//! [design]: https://docs.rs/crate/otlp-mtls/latest/source/docs/design.md
//! [security]: https://docs.rs/crate/otlp-mtls/latest/source/SECURITY.md
//! [rustls-native-certs]: https://docs.rs/rustls-native-certs
//! [not standardised]: https://opentelemetry.io/docs/specs/otel/trace/sdk_exporters/stdout/
//! [declarative configuration]: https://opentelemetry.io/docs/specs/otel/configuration/#declarative-configuration
//! [specification]: https://opentelemetry.io/docs/specs/otel/protocol/exporter/

#![cfg_attr(docsrs, feature(doc_cfg))]
// With a protocol or a signal switched off, code that only it uses is dead.
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

/// Credentials, and what is known about them.
pub mod credentials {
    pub use crate::tls::{
        CertificateFacts, CredentialSource, CredentialStatus, Credentials, RejectedCredentials,
        TokenStatus,
    };
}

/// The encoder, for `fuzz/`.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod encoder {
    pub use crate::otlp::whole::*;
}

/// The interpretation of answers, for `fuzz/`.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod answer {
    pub use crate::otlp::fuzzing::*;
}

/// The examples of README and docs, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[doc = include_str!("../docs/config-file.md")]
#[doc = include_str!("../docs/metrics.md")]
#[doc = include_str!("../docs/migrating.md")]
#[doc = include_str!("../docs/rotation.md")]
#[doc = include_str!("../docs/scale.md")]
#[doc = include_str!("../docs/spiffe.md")]
struct Pages;
