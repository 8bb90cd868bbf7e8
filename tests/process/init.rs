//! `init`, with the process's environment and OpenTelemetry's globals.

use opentelemetry::global;
use opentelemetry::logs::{Logger, LoggerProvider};
use opentelemetry::trace::{Span, Tracer};
use otlp_mtls::testing::{Accept, Collector, Pki, Reply};
use otlp_mtls::{Exporters, Signal};
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;

use crate::{SOON, in_a_process, is_child, mtls_collector, mtls_vars};

/// Runs a service's `main` in a process with the variables for mutual TLS.
fn with_a_collector(name: &str, service: impl FnOnce()) {
    // The child uses the parent's collector.
    if is_child() {
        return in_a_process(name, &[], service);
    }
    for protocol in ["grpc", "http/protobuf", "http/json"] {
        let (pki, directory) = (Pki::new(), tempfile::tempdir().unwrap());
        let collector = mtls_collector(&pki);
        let tls = mtls_vars(&pki, &collector, directory.path(), protocol);
        let mut vars = tls.each_ref().map(|(name, value)| (*name, value.as_str())).to_vec();
        vars.push(("OTEL_SERVICE_NAME", "the-service"));
        vars.push(("OTEL_RESOURCE_ATTRIBUTES", "service.name=another, team = light%20blue%2C"));
        in_a_process(name, &vars, || unreachable!("the parent has no service"));

        assert_eq!(collector.spans().len(), 1, "{protocol}");
        assert!(collector.metric_points() >= 1, "{protocol}");
        assert_eq!((collector.connections(), collector.handshakes()), (1, 1), "{protocol}");
        assert_eq!(collector.resource_attribute("service.name").as_deref(), Some("the-service"));
        assert_eq!(collector.resource_attribute("team").as_deref(), Some("light blue,"));
        assert_eq!(collector.client_certificates()[0].common_name(), Some("test-client"));
        let signals: Vec<_> = collector.requests().iter().map(|request| request.signal).collect();
        assert!(signals.contains(&Signal::Metrics) && signals.contains(&Signal::Traces));
    }
}

/// Uses only OpenTelemetry's globals, like a service.
pub(crate) fn work() {
    global::tracer("test").start("work").end();
    global::meter("test").u64_counter("work").build().add(1, &[]);
}

#[test]
fn in_plain_main() {
    with_a_collector("init::in_plain_main", || {
        let _telemetry = otlp_mtls::init().unwrap();
        work();
    });
}

#[test]
fn in_tokio_main() {
    with_a_collector("init::in_tokio_main", || {
        #[tokio::main(flavor = "current_thread")]
        async fn main() {
            let _telemetry = otlp_mtls::init().unwrap();
            work();
        }
        main();
    });
}

#[test]
fn before_tokio_main() {
    with_a_collector("init::before_tokio_main", || {
        let telemetry = otlp_mtls::init().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build();
        runtime.unwrap().block_on(async { work() });
        telemetry.shutdown(SOON).unwrap();
    });
}

#[test]
fn batch_and_interval_settings_are_the_sdk_s() {
    // The defaults are 512 spans and one minute, longer than this test waits.
    let vars = [("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1"), ("OTEL_METRIC_EXPORT_INTERVAL", "10")];
    in_a_process("init::batch_and_interval_settings_are_the_sdk_s", &vars, || {
        let collector = Collector::builder().start().unwrap();
        let exporters = Exporters::builder().with_endpoint(collector.endpoint()).build().unwrap();
        let telemetry = exporters.install().unwrap();
        for _ in 0..3 {
            work();
        }
        assert!(collector.wait_for(Signal::Metrics, 1, SOON));
        telemetry.shutdown(SOON).unwrap();
        let requests = collector.requests();
        let batches = requests.iter().filter(|request| request.signal == Signal::Traces);
        assert_eq!(batches.map(|batch| batch.items()).collect::<Vec<_>>(), [1, 1, 1]);
    });
}

#[test]
fn a_wrong_configuration_is_an_error_of_main() {
    let vars = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://localhost:4317"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.crt"),
    ];
    in_a_process("init::a_wrong_configuration_is_an_error_of_main", &vars, || {
        let words = format!("{:?}", otlp_mtls::init().unwrap_err());
        let expected = "OTEL_EXPORTER_OTLP_CERTIFICATE: /nowhere/ca.crt: there is no such file";
        assert!(words.starts_with(expected), "{words}");
    });
}

/// The SDK counts dropped items without reporting them.
#[test]
fn items_dropped_by_the_queue_are_reported() {
    let name = "init::items_dropped_by_the_queue_are_reported";
    let vars = [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "10"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "10"),
        ("OTEL_BLRP_MAX_QUEUE_SIZE", "10"),
        ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "10"),
    ];
    let printed = crate::output_of_a_process(name, &vars, || {
        for is_answered in [true, false] {
            let collector = Collector::builder().start().unwrap();
            let exporters =
                Exporters::builder().with_endpoint(collector.endpoint()).build().unwrap();
            let telemetry = exporters.install().unwrap();
            collector.set_reply(|_| Reply::Hold);
            let logger = telemetry.logger_provider().unwrap().logger("test");
            for _ in 0..100 {
                global::tracer("test").start("work").end();
                logger.emit(logger.create_log_record());
            }
            let queued = |signal| {
                let exports = exporters.status().exports;
                exports.iter().find(|exports| exports.signal == signal).unwrap().queued
            };
            if is_answered {
                collector.set_reply(|_| Reply::Accept);
                collector.release();
                telemetry.shutdown(SOON).unwrap();
            } else {
                let time = std::time::Duration::from_millis(300);
                let error = telemetry.shutdown(time).unwrap_err();
                let traces =
                    error.losses().iter().find(|lost| lost.signal == Signal::Traces).unwrap();
                // After the timeout the SDK may finish at once, because each export ends at once.
                let full = if traces.queued > 0 { 0 } else { queued(Signal::Traces) };
                assert_eq!(traces.items + full, 100, "{traces}");
            }
            // One batch in flight, and one in the queue.
            let [spans, records] = [Signal::Traces, Signal::Logs].map(queued);
            assert!((80..=90).contains(&spans), "{spans}");
            assert!((80..=90).contains(&records), "{records}");
            if is_answered {
                assert_eq!(collector.spans().len() as u64 + spans, 100);
                assert_eq!(collector.log_records().len() as u64 + records, 100);
            }
        }
    });
    let Some([_, stderr]) = printed else { return };
    for words in [
        " spans dropped: the SDK's queue was full (OTEL_BSP_MAX_QUEUE_SIZE)",
        " log records dropped: the SDK's queue was full (OTEL_BLRP_MAX_QUEUE_SIZE)",
    ] {
        assert!(stderr.contains(words), "{stderr}");
    }
}

/// Without a subscriber, a service would not notice losses at its end and ignored settings.
#[test]
fn losses_and_warnings_are_on_standard_error_without_a_subscriber() {
    let name = "init::losses_and_warnings_are_on_standard_error_without_a_subscriber";
    let run = |subscribes: &str| {
        let vars = [
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "snappy"),
            ("OTEL_RESOURCE_ATTRIBUTES", "team=blue,oops"),
            ("SUBSCRIBES", subscribes),
        ];
        crate::output_of_a_process(name, &vars, || {
            let to = std::env::var("SUBSCRIBES").unwrap();
            let subscriber =
                tracing_subscriber::registry().with(Targets::new().with_target(to, Level::ERROR));
            tracing::subscriber::set_global_default(subscriber).unwrap();
            let collector = Collector::builder().start().unwrap();
            collector.set_accept(Accept::Silence);
            let exporters = Exporters::builder().with_endpoint(collector.endpoint());
            let telemetry = exporters.build().unwrap().install().unwrap();
            global::tracer("test").start("work").end();
            drop(telemetry);
        })
    };
    for (subscribes, expected) in [("the_service", 1), ("otlp_mtls", 0)] {
        let Some([_, stderr]) = run(subscribes) else { return };
        for words in [
            "otlp-mtls: OTEL_EXPORTER_OTLP_COMPRESSION: `snappy` is ignored",
            "otlp-mtls: OTEL_RESOURCE_ATTRIBUTES: its value (not shown) is ignored",
            "1 span not acknowledged",
        ] {
            assert_eq!(stderr.matches(words).count(), expected, "{subscribes}: {stderr}");
        }
    }
}

/// Without a subscriber to the SDK's log, a service would not notice.
#[test]
fn the_first_failure_of_each_kind_is_on_standard_error_without_a_subscriber() {
    let name = "init::the_first_failure_of_each_kind_is_on_standard_error_without_a_subscriber";
    let vars = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")];
    let run = |subscribes: &str| {
        let vars = [vars.as_slice(), &[("SUBSCRIBES", subscribes)]].concat();
        crate::output_of_a_process(name, &vars, || {
            if std::env::var("SUBSCRIBES").as_deref() == Ok("yes") {
                let subscriber = tracing_subscriber::registry();
                tracing::subscriber::set_global_default(subscriber).unwrap();
            }
            let exporters = Exporters::builder().with_retry(otlp_mtls::RetryPolicy::disabled());
            let telemetry = exporters.build().unwrap().install().unwrap();
            let tracer = telemetry.tracer_provider().unwrap();
            for _ in 0..3 {
                global::tracer("test").start("work").end();
                tracer.force_flush().unwrap_err();
            }
        })
    };
    let Some([_, stderr]) = run("no") else { return };
    let words = "otlp-mtls: traces export to http://127.0.0.1:1 failed: nothing listens there";
    assert_eq!(stderr.matches(words).count(), 1, "{stderr}");
    assert!(stderr.contains("\n  to do: start the collector"), "{stderr}");
    let Some([_, stderr]) = run("yes") else { return };
    assert!(!stderr.contains("otlp-mtls: "), "{stderr}");
}
