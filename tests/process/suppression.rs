//! No telemetry about our own I/O is exported, while a subscriber at TRACE sees all of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use opentelemetry::trace::TracerProvider;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_sdk::trace::SpanExporter;
use otlp_mtls::testing::Pki;
use otlp_mtls::{Exporters, ExportersBuilder, Protocol, Signal};
use prost::Message;
use tokio::runtime::Builder;
use tracing::Instrument;
use tracing_log::NormalizeEvent;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::exporter::span;
use crate::{SOON, in_a_process, mtls_builder, mtls_collector};

/// The targets of events about our I/O; `hyper` includes hyper-util.
const OURS: [&str; 3] = ["h2", "hyper", "rustls"];

fn is_ours(target: &str) -> Option<&'static str> {
    OURS.into_iter().find(|name| target.starts_with(name))
}

/// Counts the events about our I/O of each target.
#[derive(Clone, Default)]
struct Overheard(Arc<Mutex<BTreeMap<&'static str, usize>>>);

impl<S: tracing::Subscriber> Layer<S> for Overheard {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        if let Some(name) = is_ours(metadata.target()) {
            *self.0.lock().unwrap().entry(name).or_default() += 1;
        }
    }
}

/// Runs a service that exports its spans and all events, and returns what about our I/O
/// reached the collector.
fn overhear(
    protocol: Protocol,
    configure: impl FnOnce(ExportersBuilder) -> ExportersBuilder,
    service: impl FnOnce(&Exporters),
) {
    let pki = Pki::new();
    let collector = mtls_collector(&pki);
    let builder = mtls_builder(&pki, &collector, protocol);
    let exporters = configure(builder).build().unwrap();
    let telemetry = exporters.install().unwrap();
    let (tracer, logger) = (telemetry.tracer_provider(), telemetry.logger_provider());
    let (tracer, logger) = (tracer.unwrap().clone(), logger.unwrap().clone());

    let overheard = Overheard::default();
    let subscriber = tracing_subscriber::registry()
        .with(overheard.clone())
        .with(tracing_opentelemetry::layer().with_tracer(tracer.tracer("test")))
        .with(OpenTelemetryTracingBridge::new(&logger));
    tracing::subscriber::set_global_default(subscriber).unwrap();
    tracing_log::LogTracer::init().unwrap();

    // Repeated, because telemetry about one export would be part of a later one.
    for _ in 0..3 {
        tracing::info_span!("mine").in_scope(|| tracing::info!("said in my span"));
        tracer.force_flush().unwrap();
        logger.force_flush().unwrap();
    }
    service(&exporters);
    telemetry.shutdown(SOON).unwrap();

    let heard = overheard.0.lock().unwrap().clone();
    assert!(OURS.iter().all(|name| heard.get(name) > Some(&0)), "{heard:?}");

    let mut spans = 0;
    for span in collector.spans() {
        assert_eq!(span.name, "mine");
        spans += 1;
        for event in span.events {
            let target = event.attributes.iter().find(|attribute| attribute.key == "target");
            let target = target.and_then(|target| target.value.clone()?.value);
            let Some(Value::StringValue(target)) = target else { panic!("{target:?}") };
            assert_eq!(is_ours(&target), None, "an event of the span: {}", event.name);
        }
    }
    assert!(spans >= 3, "{spans}");
    let mut records = 0;
    for request in collector.requests() {
        if request.signal != Signal::Logs {
            continue;
        }
        let batch = ExportLogsServiceRequest::decode(request.body).unwrap();
        for scope in batch.resource_logs.into_iter().flat_map(|logs| logs.scope_logs) {
            records += scope.log_records.len();
            let target = scope.scope.unwrap().name;
            assert_eq!(is_ours(&target), None, "{:?}", scope.log_records);
        }
    }
    assert!(records >= 3, "{records}");
}

#[test]
fn on_the_io_thread_over_grpc() {
    in_a_process("suppression::on_the_io_thread_over_grpc", &[], || {
        overhear(Protocol::Grpc, |builder| builder, |_| {});
    });
}

#[test]
fn on_the_io_thread_over_http() {
    in_a_process("suppression::on_the_io_thread_over_http", &[], || {
        overhear(Protocol::HttpProtobuf, |builder| builder, |_| {});
    });
}

#[test]
fn awaited_inside_an_instrumented_span() {
    in_a_process("suppression::awaited_inside_an_instrumented_span", &[], || {
        overhear(
            Protocol::Grpc,
            |builder| builder,
            |exporters| {
                let exporter = exporters.span_exporter().unwrap();
                let export = async { exporter.export(vec![span("mine")]).await.unwrap() };
                let runtime = Builder::new_current_thread().build().unwrap();
                runtime.block_on(export.instrument(tracing::info_span!("mine")));
            },
        );
    });
}
