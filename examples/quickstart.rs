//! `init()` against a collector that requires mutual TLS: over gRPC, then over HTTP.
//!
//! `cargo run --example quickstart` is self-contained: it issues certificates, starts a collector, and runs the
//! service (itself again) with the variables that an operator sets.

use std::error::Error;
use std::process::Command;

use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry::trace::{Span, Tracer};
use opentelemetry::{KeyValue, global};
use otlp_mtls::testing::{Collector, Fixture, Pki};

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().any(|argument| argument == "service") { Ok(service()?) } else { operator() }
}

/// The service.
fn service() -> Result<(), otlp_mtls::Error> {
    let telemetry = otlp_mtls::init()?;

    let mut span = global::tracer("quickstart").start("checkout");
    span.set_attribute(KeyValue::new("cart.items", 3));
    span.end();
    global::meter("quickstart").u64_counter("orders").build().add(1, &[]);
    if let Some(provider) = telemetry.logger_provider() {
        let logger = provider.logger("quickstart");
        let mut record = logger.create_log_record();
        record.set_severity_number(Severity::Info);
        record.set_body(AnyValue::from("order placed"));
        logger.emit(record);
    }
    Ok(()) // The guard is dropped here and flushes.
}

/// The operator: certificates, a collector, and six variables.
fn operator() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let pki = Pki::new();
    let ca = pki.write_ca_to(directory.path())?;
    let (certificate, key) =
        pki.client_named("checkout-service").write_to(directory.path(), "client")?;

    for protocol in ["grpc", "http/protobuf"] {
        let collector = Collector::builder()
            .with_tls(pki.server(Fixture::Good))
            .with_client_ca(pki.ca_pem())
            .start()?;
        let status = Command::new(std::env::current_exe()?)
            .arg("service")
            .env("OTEL_SERVICE_NAME", "checkout")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
            .env("OTEL_EXPORTER_OTLP_CERTIFICATE", &ca)
            .env("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &certificate)
            .env("OTEL_EXPORTER_OTLP_CLIENT_KEY", &key)
            .status()?;
        if !status.success() {
            return Err(format!("the service failed: {status}").into());
        }
        report(protocol, &collector);
    }
    Ok(())
}

fn report(protocol: &str, collector: &Collector) {
    let clients: Vec<_> = collector
        .client_certificates()
        .iter()
        .map(|certificate| certificate.subject().to_owned())
        .collect();
    println!(
        "{protocol}: {} span, {} metric point, {} log record on {} connection with {} handshake; \
         client certificate: {}",
        collector.spans().len(),
        // Without the exporters' own metrics.
        collector.metrics().iter().filter(|metric| metric.name == "orders").count(),
        collector.log_records().len(),
        collector.connections(),
        collector.handshakes(),
        clients.join(", "),
    );
}
