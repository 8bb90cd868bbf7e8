//! Shared by the tests: a batch of each signal, and builders with their own environment.

use std::ffi::OsString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use opentelemetry_sdk::error::OTelSdkResult;
use otlp_mtls::testing::{Collector, Fixture, Identity, Pki};
use otlp_mtls::{
    Exporters, ExportersBuilder, Failure, Pem, Protocol, RetryPolicy, ShutdownLoss, Signal,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

pub(crate) use crate::exporter::{Exporter, span};

/// A generous limit: a test that waits this long has failed.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A port without a listener. A port that was bound and released could be reused by another test.
pub(crate) const NOBODY: u16 = 1;

/// All protocols.
pub(crate) const PROTOCOLS: [Protocol; 3] =
    [Protocol::Grpc, Protocol::HttpProtobuf, Protocol::HttpJson];

/// One protocol of each family.
pub(crate) const TRANSPORTS: [Protocol; 2] = [Protocol::Grpc, Protocol::HttpProtobuf];

/// A builder that sees only these variables, not the process's.
pub(crate) fn with_vars<V: Into<OsString> + Clone>(
    vars: Vec<(&'static str, V)>,
) -> ExportersBuilder {
    let vars: Vec<(&str, OsString)> =
        vars.into_iter().map(|(name, value)| (name, value.into())).collect();
    Exporters::builder().with_env(move |name| {
        vars.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone())
    })
}

/// A builder with an empty environment.
pub(crate) fn builder() -> ExportersBuilder {
    Exporters::builder().with_env(|_| None)
}

/// Serializes the tests that create a `Telemetry`: only one may exist, and `cargo test` runs all tests in one
/// process.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A PKI, and a collector that requires one of its client certificates.
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

/// A client's TLS configuration that does not use this crate.
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

/// A builder for that collector, with a good client identity.
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

/// Disables retries: a failing export would be retried until its timeout.
pub(crate) fn once(builder: ExportersBuilder) -> ExportersBuilder {
    builder.with_retry(RetryPolicy::disabled())
}

/// Exports one item of a signal on the caller's thread and waits for the result.
pub(crate) fn export(exporters: &Exporters, signal: Signal) -> OTelSdkResult {
    futures_executor::block_on(Exporter::new(exporters, signal).export())
}

/// The number of a signal's items that a collector has accepted.
pub(crate) fn items(collector: &Collector, signal: Signal) -> usize {
    match signal {
        Signal::Traces => collector.spans().len(),
        // Each metric has one point.
        Signal::Metrics => {
            collector.metrics().iter().filter(|metric| !is_own(&metric.name)).count()
        }
        Signal::Logs => collector.log_records().len(),
    }
}

/// The cause of a signal's last failed export.
pub(crate) fn last_failure(exporters: &Exporters, signal: Signal) -> Failure {
    let status = exporters.status();
    let export = status.exports.into_iter().find(|export| export.signal == signal).unwrap();
    export.last_failure.expect("a failure")
}

/// Whether a metric is about the exporters themselves.
pub(crate) fn is_own(name: &str) -> bool {
    name.starts_with("otlp_mtls.") || name.starts_with("otel.sdk.")
}

/// The number of items that each signal lost.
pub(crate) fn lost_items(lost: &[ShutdownLoss]) -> Vec<(Signal, u64)> {
    lost.iter().map(|lost| (lost.signal, lost.items)).collect()
}
