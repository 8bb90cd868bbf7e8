//! What the tests have in common: one batch of each signal, and environments that are not the
//! process's.

use std::ffi::OsString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use opentelemetry::InstrumentationScope;
use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter as _, SdkLoggerProvider};
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use otlp_mtls::testing::{Collector, Fixture, Identity, Pki};
use otlp_mtls::{
    Exporters, ExportersBuilder, Failure, LogExporter, Lost, Pem, Protocol, Retry, Signal,
    SpanExporter,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

/// Longer than anything here takes; a test that waits it out has failed.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A port at which nobody listens. One that was bound and dropped may be the next test's.
pub(crate) const NOBODY: u16 = 1;

/// Every way that OTLP travels.
pub(crate) const PROTOCOLS: [Protocol; 3] =
    [Protocol::Grpc, Protocol::HttpProtobuf, Protocol::HttpJson];

/// One protocol of each family.
pub(crate) const TRANSPORTS: [Protocol; 2] = [Protocol::Grpc, Protocol::HttpProtobuf];

/// A builder that sees these variables, and none of the process's.
pub(crate) fn with_vars<V: Into<OsString> + Clone>(
    vars: Vec<(&'static str, V)>,
) -> ExportersBuilder {
    let vars: Vec<(&str, OsString)> =
        vars.into_iter().map(|(name, value)| (name, value.into())).collect();
    Exporters::builder().with_env(move |name| {
        vars.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone())
    })
}

/// A builder that sees no environment at all.
pub(crate) fn builder() -> ExportersBuilder {
    Exporters::builder().with_env(|_| None)
}

/// For a test that has a `Telemetry`: there is one at a time, and `cargo test` runs all tests in one
/// process.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A PKI, and a collector that demands a client certificate of it.
pub(crate) fn mtls_collector() -> (Pki, Collector) {
    let pki = Pki::new();
    let collector = Collector::builder()
        .with_tls(pki.server(Fixture::Good))
        .with_client_ca(pki.ca_pem())
        .start()
        .unwrap();
    (pki, collector)
}

pub(crate) fn plaintext_collector() -> Collector {
    Collector::builder().start().unwrap()
}

/// A client's configuration that is none of ours.
pub(crate) fn tls_client(
    ca: &str,
    identity: Option<&Identity>,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        None => config.with_no_client_auth(),
        Some(identity) => {
            let key = provider.key_provider.load_private_key(identity.key_der()).unwrap();
            let certified = CertifiedKey::new(identity.certificate_ders().to_vec(), key);
            config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.into()
}

/// A builder for that collector, with the good client's identity.
pub(crate) fn mtls_builder(
    pki: &Pki,
    collector: &Collector,
    protocol: Protocol,
) -> ExportersBuilder {
    let client = pki.client(Fixture::Good);
    builder()
        .with_endpoint(collector.endpoint())
        .with_protocol(protocol)
        .with_ca_certificate(Pem::bytes(pki.ca_pem()))
        .with_client_identity(Pem::bytes(client.certificate_pem()), Pem::bytes(client.key_pem()))
}

pub(crate) fn plaintext_builder(collector: &Collector, protocol: Protocol) -> ExportersBuilder {
    builder().with_endpoint(collector.endpoint()).with_protocol(protocol)
}

/// Without this, a failing export is tried again until its timeout.
pub(crate) fn once(builder: ExportersBuilder) -> ExportersBuilder {
    builder.with_retry(Retry::disabled())
}

/// One signal's exporter, with one item to export: the same for all three.
pub(crate) enum Exporter {
    Traces(SpanExporter),
    /// The reader exports, when flushed.
    Metrics(SdkMeterProvider),
    Logs(LogExporter, SdkLoggerProvider),
}

impl Exporter {
    pub(crate) fn new(exporters: &Exporters, signal: Signal) -> Self {
        match signal {
            Signal::Traces => Self::Traces(exporters.span_exporter().unwrap()),
            Signal::Metrics => {
                let reader = PeriodicReader::builder(exporters.metric_exporter().unwrap())
                    .with_interval(Duration::from_secs(3600))
                    .build();
                let provider = SdkMeterProvider::builder().with_reader(reader).build();
                provider.meter("test").u64_counter("a_counter").build().add(1, &[]);
                Self::Metrics(provider)
            }
            Signal::Logs => {
                Self::Logs(exporters.log_exporter().unwrap(), SdkLoggerProvider::builder().build())
            }
        }
    }

    /// Exports one item and returns the exporter's own result, on any executor.
    pub(crate) async fn export(&self) -> OTelSdkResult {
        match self {
            Self::Traces(exporter) => exporter.export(vec![span("a span")]).await,
            Self::Metrics(provider) => provider.force_flush(),
            Self::Logs(exporter, provider) => {
                let logger = provider.logger("test");
                let mut record = logger.create_log_record();
                record.set_observed_timestamp(SystemTime::now());
                record.set_severity_number(Severity::Info);
                record.set_body(AnyValue::from("a log record"));
                let scope = InstrumentationScope::builder("test").build();
                exporter.export(LogBatch::new(&[(&record, &scope)])).await
            }
        }
    }
}

/// Exports one item of a signal and waits for the result, on the caller's thread.
pub(crate) fn export(exporters: &Exporters, signal: Signal) -> OTelSdkResult {
    futures_executor::block_on(Exporter::new(exporters, signal).export())
}

pub(crate) fn span(name: &'static str) -> SpanData {
    SpanData {
        span_context: SpanContext::new(
            TraceId::from(1),
            SpanId::from(1),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        ),
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: name.into(),
        start_time: SystemTime::UNIX_EPOCH,
        end_time: SystemTime::UNIX_EPOCH,
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::builder("test").build(),
    }
}

/// How many items of a signal a collector has accepted.
pub(crate) fn items(collector: &Collector, signal: Signal) -> usize {
    match signal {
        Signal::Traces => collector.spans().len(),
        // Each has one point.
        Signal::Metrics => {
            collector.metrics().iter().filter(|metric| !is_own(&metric.name)).count()
        }
        Signal::Logs => collector.log_records().len(),
    }
}

/// Why a signal's last export failed.
pub(crate) fn last_failure(exporters: &Exporters, signal: Signal) -> Failure {
    let status = exporters.status();
    let export = status.exports.into_iter().find(|export| export.signal == signal).unwrap();
    export.last_failure.expect("a failure")
}

/// Whether a metric is about the exporters themselves.
pub(crate) fn is_own(name: &str) -> bool {
    name.starts_with("otlp_mtls.") || name.starts_with("otel.sdk.")
}

/// The items that each signal has lost, without the metrics about the exporters themselves.
pub(crate) fn lost_items(lost: &[Lost]) -> Vec<(Signal, u64)> {
    let items = |lost: &Lost| match lost.signal {
        Signal::Metrics => lost.items.min(1),
        _ => lost.items,
    };
    lost.iter().map(|lost| (lost.signal, items(lost))).collect()
}
