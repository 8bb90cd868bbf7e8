//! `init_tracing`, and the layer for a custom subscriber.

use std::collections::BTreeSet;

use opentelemetry::global;
use opentelemetry::trace::{Span, Tracer};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use otlp_mtls::testing::{Collector, Pki};
use otlp_mtls::{Error, Exporters, Pem};
use tracing::Instrument;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt};

use crate::{SOON, in_a_process, is_child, mtls_collector, mtls_vars, print_in_a_process};

/// Runs a service's `main` that exports over mutual TLS, and returns what arrived and what it printed;
/// `None` in the service.
fn serve(
    name: &str,
    protocol: &str,
    vars: &[(&str, &str)],
    service: impl FnOnce(),
) -> Option<(Collector, String)> {
    // The child uses the parent's collector.
    if is_child() {
        in_a_process(name, &[], service);
        return None;
    }
    let (pki, directory) = (Pki::new(), tempfile::tempdir().unwrap());
    let collector = mtls_collector(&pki);
    let tls = mtls_vars(&pki, &collector, directory.path(), protocol);
    let tls = tls.each_ref().map(|(name, value)| (*name, value.as_str()));
    let printed = print_in_a_process(name, &[&tls, vars].concat(), service).unwrap();
    Some((collector, printed))
}

fn body(record: &LogRecord) -> &str {
    match record.body.as_ref().and_then(|body| body.value.as_ref()) {
        Some(Value::StringValue(body)) => body,
        other => panic!("{other:?}"),
    }
}

fn bodies(collector: &Collector) -> BTreeSet<String> {
    collector.log_records().iter().map(|record| body(record).to_owned()).collect()
}

fn names(collector: &Collector) -> BTreeSet<String> {
    collector.spans().into_iter().map(|span| span.name).collect()
}

fn set<const N: usize>(words: [&str; N]) -> BTreeSet<String> {
    words.map(str::to_owned).into()
}

/// The record has the trace and span IDs of its current span.
fn are_linked(collector: &Collector) {
    let (spans, records) = (collector.spans(), collector.log_records());
    let span = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    let record = |text: &str| records.iter().find(|record| body(record) == text).unwrap();
    assert_eq!(names(collector), set(["checkout", "payment"]));
    assert_eq!(bodies(collector), set(["begun", "paid", "outside"]));
    assert_eq!(span("payment").parent_span_id, span("checkout").span_id);
    for (text, name) in [("begun", "checkout"), ("paid", "payment")] {
        let (record, span) = (record(text), span(name));
        assert!(!span.trace_id.is_empty());
        assert_eq!((&record.trace_id, &record.span_id), (&span.trace_id, &span.span_id), "{text}");
        assert_eq!(record.severity_text, "INFO");
    }
    assert!(record("outside").trace_id.is_empty());
    assert_eq!((collector.connections(), collector.handshakes()), (1, 1));
}

#[test]
fn links_records_to_spans_in_plain_main() {
    let name = "init_tracing::links_records_to_spans_in_plain_main";
    for protocol in ["grpc", "http/protobuf"] {
        let served = serve(name, protocol, &[], || {
            let _telemetry = otlp_mtls::init_tracing().unwrap();
            tracing::info!("outside");
            let _checkout = tracing::info_span!("checkout").entered();
            tracing::info!("begun");
            tracing::info_span!("payment").in_scope(|| tracing::info!(amount = 3, "paid"));
        });
        let Some((collector, printed)) = served else { return };
        are_linked(&collector);
        let line = printed.lines().find(|line| line.contains("paid")).expect(&printed);
        assert!(
            line.contains("INFO checkout:payment: process::init_tracing: paid amount=3"),
            "{line}"
        );
    }
}

#[test]
fn links_records_to_spans_in_tokio() {
    let name = "init_tracing::links_records_to_spans_in_tokio";
    let served = serve(name, "grpc", &[], || {
        async fn pay() {
            tokio::task::yield_now().await;
            tracing::info!("paid");
        }
        #[tokio::main(flavor = "current_thread")]
        async fn main() {
            let _telemetry = otlp_mtls::init_tracing().unwrap();
            let checkout = async {
                tokio::task::yield_now().await;
                tracing::info!("begun");
                let payment = tracing::info_span!("payment");
                tokio::spawn(pay().instrument(payment)).await.unwrap();
            };
            let other = async {
                tokio::task::yield_now().await;
                tracing::info!("outside");
            };
            tokio::join!(checkout.instrument(tracing::info_span!("checkout")), other);
        }
        main();
    });
    if let Some((collector, _)) = served {
        are_linked(&collector);
    }
}

#[test]
fn rust_log_decides_what_is_recorded() {
    let name = "init_tracing::rust_log_decides_what_is_recorded";
    let everything = set(["debug", "info", "warn"]);
    for (rust_log, spans, records) in [
        ("", set(["at info"]), set(["info", "warn"])),
        ("debug", set(["at debug", "at info"]), everything.clone()),
        ("warn", set([]), set(["warn"])),
        ("off", set([]), set([])),
        ("warn,process::init_tracing=debug", set(["at debug", "at info"]), everything.clone()),
        ("elsewhere=debug", set([]), set([])),
        ("no such=level=at all", set(["at info"]), set(["info", "warn"])),
    ] {
        let served = serve(name, "grpc", &[("RUST_LOG", rust_log)], || {
            let _telemetry = otlp_mtls::init_tracing().unwrap();
            let _info = tracing::info_span!("at info").entered();
            let _debug = tracing::debug_span!("at debug").entered();
            tracing::debug!("debug");
            tracing::info!("info");
            tracing::warn!("warn");
        });
        let Some((collector, printed)) = served else { return };
        assert_eq!(names(&collector), spans, "{rust_log}");
        assert_eq!(bodies(&collector), records, "{rust_log}");
        for record in &everything {
            let line = format!("process::init_tracing: {record}");
            assert_eq!(printed.contains(&line), records.contains(record), "{rust_log}: {printed}");
        }
    }
}

/// All events about our own I/O are printed, and none is exported.
#[test]
fn our_own_io_is_not_exported() {
    let name = "init_tracing::our_own_io_is_not_exported";
    for protocol in ["grpc", "http/protobuf"] {
        // Each item is a batch, because telemetry about one export would be part of a later one.
        let vars = [
            ("RUST_LOG", "trace"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1"),
            ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "1"),
        ];
        let served = serve(name, protocol, &vars, || {
            let telemetry = otlp_mtls::init_tracing().unwrap();
            for _ in 0..3 {
                tracing::info_span!("mine").in_scope(|| tracing::info!("said in my span"));
            }
            telemetry.shutdown(SOON).unwrap();
        });
        let Some((collector, printed)) = served else { return };
        for whose in [" h2::", " rustls::", " hyper_util::", " opentelemetry_sdk: "] {
            assert!(printed.contains(whose), "{whose}: {printed}");
        }
        assert_eq!(names(&collector), set(["mine"]));
        assert_eq!(collector.spans().len(), 3);
        for span in collector.spans() {
            let events: Vec<_> = span.events.iter().map(|event| event.name.as_str()).collect();
            assert_eq!(events, ["said in my span"]);
        }
        assert_eq!(bodies(&collector), set(["said in my span"]));
        assert_eq!(collector.log_records().len(), 3);
    }
}

#[test]
fn warnings_about_the_configuration_are_printed() {
    let name = "init_tracing::warnings_about_the_configuration_are_printed";
    let vars = [
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_METRICS_EXPORTER", "none"),
        ("OTEL_LOGS_EXPORTER", "none"),
        ("OTEL_PROPAGATORS", "none,jaeger"),
    ];
    let printed = print_in_a_process(name, &vars, || {
        let _telemetry = otlp_mtls::init_tracing().unwrap();
    });
    if let Some(printed) = printed {
        for expected in [
            "OTEL_TRACES_EXPORTER: `zipkin` is ignored, expected otlp, console or none",
            "OTEL_PROPAGATORS: `jaeger` is ignored, expected tracecontext, baggage, b3, b3multi or none",
        ] {
            assert_eq!(printed.matches(expected).count(), 1, "{expected}: {printed}");
        }
    }
}

#[test]
fn a_disabled_sdk_still_prints() {
    let name = "init_tracing::a_disabled_sdk_still_prints";
    let vars = [("OTEL_SDK_DISABLED", "true")];
    let printed = print_in_a_process(name, &vars, || {
        let telemetry = otlp_mtls::init_tracing().unwrap();
        tracing::info_span!("checkout").in_scope(|| tracing::info!("paid"));
        telemetry.shutdown(SOON).unwrap();
        tracing::info!("after the end");
    });
    if let Some(printed) = printed {
        for expected in ["INFO checkout: process::init_tracing: paid", "after the end"] {
            assert!(printed.contains(expected), "{printed}");
        }
    }
}

#[test]
fn with_another_subscriber_nothing_is_installed() {
    let name = "init_tracing::with_another_subscriber_nothing_is_installed";
    in_a_process(name, &[], || {
        let before = std::fs::read_dir("/proc/self/task").map(Iterator::count).ok();
        let mine = tracing_subscriber::registry();
        tracing::subscriber::set_global_default(mine).unwrap();
        let error = otlp_mtls::init_tracing().unwrap_err();
        assert!(matches!(error, Error::SubscriberAlreadySet), "{error}");
        assert!(error.to_string().contains("Telemetry::tracing_layer()"), "{error}");

        assert!(!global::tracer("test").start("a span").is_recording());
        let fields = global::get_text_map_propagator(|propagator| propagator.fields().count());
        assert_eq!(fields, 0);
        // The I/O thread is signalled, but not joined.
        let end = std::time::Instant::now() + SOON;
        while std::fs::read_dir("/proc/self/task").map(Iterator::count).ok() != before {
            assert!(std::time::Instant::now() < end);
            std::thread::yield_now();
        }
        // There is no collector, so metrics about the exporters are lost.
        let _lost = otlp_mtls::init().unwrap().shutdown(std::time::Duration::ZERO);
    });
}

#[test]
fn a_wrong_configuration_sets_no_subscriber() {
    let vars = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://localhost:4317"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.crt"),
    ];
    in_a_process("init_tracing::a_wrong_configuration_sets_no_subscriber", &vars, || {
        let words = otlp_mtls::init_tracing().unwrap_err().to_string();
        assert!(words.starts_with("OTEL_EXPORTER_OTLP_CERTIFICATE: /nowhere/ca.crt"), "{words}");
        tracing::subscriber::set_global_default(tracing_subscriber::registry()).unwrap();
    });
}

#[test]
fn a_process_has_one_subscriber() {
    let vars = [("OTEL_SDK_DISABLED", "true")];
    in_a_process("init_tracing::a_process_has_one_subscriber", &vars, || {
        let first = otlp_mtls::init_tracing().unwrap();
        assert!(matches!(otlp_mtls::init_tracing(), Err(Error::AlreadyInstalled)));
        first.shutdown(SOON).unwrap();
        // `tracing` has one global subscriber. The rest can be set up again.
        assert!(matches!(otlp_mtls::init_tracing(), Err(Error::SubscriberAlreadySet)));
        otlp_mtls::init().unwrap().shutdown(SOON).unwrap();
    });
}

/// A filter may confuse the check whether an event is enabled with the next event.
#[test]
fn a_filter_on_our_events_loses_no_others() {
    let name = "init_tracing::a_filter_on_our_events_loses_no_others";
    let printed = print_in_a_process(name, &[], || {
        let directory = tempfile::tempdir().unwrap();
        let ca = Pki::new().write_ca_to(directory.path()).unwrap();
        let exporters = Exporters::builder().with_endpoint("https://localhost:1");
        let exporters = exporters.with_ca_certificate(Pem::file(&ca)).build().unwrap();
        let mine = Targets::new().with_target("process", tracing::Level::INFO);
        let subscriber = tracing_subscriber::registry()
            .with(tracing_subscriber::fmt::layer().with_filter(mine))
            .with(tracing_subscriber::fmt::layer().with_writer(std::io::sink));
        tracing::subscriber::with_default(subscriber, || {
            std::fs::write(&ca, "garbage").unwrap();
            exporters.reload().unwrap_err();
            tracing::info!("my own");
        });
    });
    if let Some(printed) = printed {
        assert!(printed.contains("my own"), "{printed}");
    }
}

/// The layer also works for a subscriber that is not global, and ignores signals that are off.
#[test]
fn the_layer_exports_what_is_on() {
    let name = "init_tracing::the_layer_exports_what_is_on";
    for (traces, logs) in [("otlp", "otlp"), ("none", "otlp"), ("otlp", "none"), ("none", "none")] {
        let vars = [("OTEL_TRACES_EXPORTER", traces), ("OTEL_LOGS_EXPORTER", logs)];
        let printed = print_in_a_process(name, &vars, || {
            let collector = Collector::builder().start().unwrap();
            let exporters = Exporters::builder().with_endpoint(collector.endpoint());
            let telemetry = exporters.build().unwrap().install().unwrap();
            for layer_is_first in [true, false] {
                let work = || {
                    tracing::info_span!("mine").in_scope(|| tracing::debug!("said in my span"));
                };
                let registry = tracing_subscriber::registry();
                if layer_is_first {
                    tracing::subscriber::with_default(
                        registry
                            .with(telemetry.tracing_layer())
                            .with(tracing_subscriber::fmt::layer()),
                        work,
                    );
                } else {
                    tracing::subscriber::with_default(
                        registry
                            .with(tracing_subscriber::fmt::layer())
                            .with(telemetry.tracing_layer()),
                        work,
                    );
                }
            }
            let [traces, logs] = ["OTEL_TRACES_EXPORTER", "OTEL_LOGS_EXPORTER"]
                .map(|name| std::env::var(name).unwrap() == "otlp");
            telemetry.shutdown(SOON).unwrap();
            assert_eq!(collector.spans().len(), 2 * usize::from(traces));
            let records = collector.log_records();
            assert_eq!(records.len(), 2 * usize::from(logs));
            assert!(records.iter().all(|record| record.trace_id.is_empty() != traces));
        });
        let Some(printed) = printed else { return };
        assert_eq!(printed.matches("mine: process::init_tracing: said in my span").count(), 2);
    }
}
