//! The exporters of `opentelemetry-otlp` with this crate's TLS, during a rotation.
//!
//! `cargo run --example upstream` starts a collector that requires mutual TLS, and exports all three signals to
//! it continuously: over gRPC, then over HTTP. Meanwhile the client's certificate and key are replaced, and the
//! collector closes its connections, like one that limits their age.

use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use opentelemetry::logs::{LogRecord, Logger, LoggerProvider};
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{Span, Tracer, TracerProvider};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogExporter, SdkLoggerProvider};
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{SdkMeterProvider, Temporality};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanExporter};
use otlp_mtls::testing::{Collector, Fixture, Pki, Reply};
use otlp_mtls::{Exporters, Pem, Protocol, Signal, upstream};

/// A generous limit.
const SOON: Duration = Duration::from_secs(20);

/// The number of exports that must arrive under each identity.
const EXPORTS: usize = 20;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut holds = true;
    for (name, protocol) in [("gRPC", Protocol::Grpc), ("HTTP", Protocol::HttpProtobuf)] {
        let problems = rotate(protocol)?;
        println!("{name}: {} problems", problems.len());
        problems.iter().for_each(|problem| println!("  {problem}"));
        holds &= problems.is_empty();
    }
    println!("verdict: {}", if holds { "nothing lost" } else { "FAILED" });
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Exports during a rotation. Returns the problems found.
pub(crate) fn rotate(protocol: Protocol) -> Result<Vec<String>, Box<dyn Error>> {
    let pki = Pki::new();
    let collector = Collector::builder()
        .with_tls(pki.server(Fixture::Good))
        .with_client_ca(pki.ca_pem())
        .start()?;
    let served = Arc::new(Mutex::new(BTreeMap::<String, usize>::new()));
    let serving = Arc::clone(&served);
    collector.set_reply(move |request| {
        let client = request.client_certificate.as_ref().and_then(|client| client.common_name());
        let mut served = serving.lock().unwrap_or_else(PoisonError::into_inner);
        *served.entry(client.unwrap_or_default().to_owned()).or_default() += 1;
        Reply::Accept
    });
    let wait_for = |client: &str| {
        let is_served = |_: &Collector| {
            let served = served.lock().unwrap_or_else(PoisonError::into_inner);
            served.get(client).is_some_and(|count| *count >= EXPORTS)
        };
        collector.wait_until(SOON, is_served)
    };

    let directory = tempfile::tempdir()?;
    let (certificate, key) = pki.client_named("old").write_to(directory.path(), "client")?;
    let exporters = Exporters::builder()
        .with_env(|_| None)
        .with_endpoint(collector.endpoint())
        .with_protocol(protocol)
        .with_ca_certificate(Pem::bytes(pki.ca_pem()))
        .with_client_identity(Pem::file(certificate), Pem::file(key))
        .with_reload_interval(Duration::ZERO)
        .with_temporality(Temporality::Delta)
        .build()?;
    let export = Signal::ALL
        .iter()
        .map(|signal| exporter(&exporters, *signal))
        .collect::<Result<Vec<_>, _>>()?;

    let mut problems = Vec::new();
    let stop = AtomicBool::new(false);
    let results: Vec<Vec<OTelSdkResult>> = thread::scope(|scope| {
        let export_all = |export: &Export| {
            let numbers = (0..).take_while(|_| !stop.load(Ordering::Relaxed));
            numbers.map(|number| export(item(number))).collect()
        };
        let threads: Vec<_> =
            export.iter().map(|export| scope.spawn(move || export_all(export))).collect();
        if !wait_for("old") {
            problems.push("nothing arrives".to_owned());
        }
        let rotated = pki.client_named("new").write_to(directory.path(), "client");
        problems.extend(rotated.err().map(|error| error.to_string()));
        // Every connection closes after its next request; the new one presents the new certificate.
        collector.goaway_after(Some(1));
        if !wait_for("new") {
            problems.push("nothing arrives under the new certificate".to_owned());
        }
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join().expect("exporting does not panic")).collect()
    });

    for (signal, results) in Signal::ALL.into_iter().zip(&results) {
        problems.extend(losses(&collector, signal, results));
    }
    Ok(problems)
}

/// Exports one item with this name.
pub(crate) type Export = dyn Fn(String) -> OTelSdkResult + Send + Sync;

pub(crate) fn item(number: usize) -> String {
    format!("item-{number}")
}

pub(crate) fn exporter(
    exporters: &Exporters,
    signal: Signal,
) -> Result<Box<Export>, otlp_mtls::Error> {
    Ok(match signal {
        Signal::Traces => traces(upstream::span_exporter(exporters)?),
        Signal::Metrics => metrics(upstream::metric_exporter(exporters)?),
        Signal::Logs => logs(upstream::log_exporter(exporters)?),
    })
}

pub(crate) fn traces(exporter: impl SpanExporter + 'static) -> Box<Export> {
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).build();
    Box::new(move |name| {
        provider.tracer("example").start(name).end();
        provider.force_flush()
    })
}

pub(crate) fn metrics(exporter: impl PushMetricExporter) -> Box<Export> {
    let provider = SdkMeterProvider::builder().with_periodic_exporter(exporter).build();
    Box::new(move |name| {
        provider.meter("example").u64_counter(name).build().add(1, &[]);
        provider.force_flush()
    })
}

pub(crate) fn logs(exporter: impl LogExporter + 'static) -> Box<Export> {
    let provider = SdkLoggerProvider::builder().with_batch_exporter(exporter).build();
    Box::new(move |name| {
        let logger = provider.logger("example");
        let mut record = logger.create_log_record();
        record.add_attribute(name, true);
        logger.emit(record);
        provider.force_flush()
    })
}

/// Exports that failed, and items that have not arrived exactly once.
pub(crate) fn losses(
    collector: &Collector,
    signal: Signal,
    results: &[OTelSdkResult],
) -> Vec<String> {
    let failed = results.iter().filter_map(|result| result.as_ref().err());
    let mut losses: Vec<_> = failed.map(|error| format!("{signal}: {error}")).collect();
    let mut arrived = arrived(collector, signal);
    let mut exported: Vec<_> = (0..results.len()).map(item).collect();
    arrived.sort();
    exported.sort();
    if arrived != exported {
        let (arrived, exported) = (arrived.len(), exported.len());
        losses.push(format!("{signal}: {arrived} arrived of {exported}, not each once"));
    }
    losses
}

/// The names of a signal's items that the collector has accepted.
fn arrived(collector: &Collector, signal: Signal) -> Vec<String> {
    match signal {
        Signal::Traces => collector.spans().into_iter().map(|span| span.name).collect(),
        Signal::Metrics => collector.metrics().into_iter().map(|metric| metric.name).collect(),
        Signal::Logs => {
            let records = collector.log_records().into_iter();
            records.flat_map(|record| record.attributes).map(|attribute| attribute.key).collect()
        }
    }
}
