//! Metrics about the exporters and, with `install`, the processors before them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::{Duration, UNIX_EPOCH};

use opentelemetry::logs::{Logger, LoggerProvider};
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{Span, Tracer, TracerProvider};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use otlp_mtls::testing::{Collector, Reply};
use otlp_mtls::{Batch, Exporters, Protocol, Providers, RetryPolicy, Signal};

use crate::status::points;
use crate::support::{
    SOON, TRANSPORTS, alone, builder, export, mtls_builder, mtls_collector, once,
    plaintext_builder, plaintext_collector,
};
use crate::warnings::warnings_of;

fn meters(exporters: &Exporters) -> SdkMeterProvider {
    let exporter = exporters.metric_exporter().unwrap();
    SdkMeterProvider::builder().with_periodic_exporter(exporter).build()
}

fn names(collector: &Collector) -> BTreeSet<String> {
    collector.metrics().into_iter().map(|metric| metric.name).collect()
}

#[test]
fn the_expiry_of_certificates_is_a_gauge_of_a_custom_provider() {
    for protocol in TRANSPORTS {
        let (pki, collector) = mtls_collector();
        let exporters = mtls_builder(&pki, &collector, protocol).build().unwrap();
        let meters = meters(&exporters);
        exporters.register_metrics(&meters);
        export(&exporters, Signal::Traces).unwrap();
        meters.force_flush().unwrap();

        let status = exporters.status().credentials.remove(0);
        let seen = points(&collector, "otlp_mtls.certificate.not_after");
        let certificates = [
            ("ca", status.anchor.as_ref().unwrap()),
            ("client", &status.chain[0]),
            ("server", status.server.as_ref().unwrap()),
        ];
        let expected = certificates.map(|(role, certificate)| {
            let expires = certificate.not_after.unwrap().duration_since(UNIX_EPOCH).unwrap();
            let attributes = [("role", role), ("subject", &certificate.subject)]
                .map(|(name, value)| (format!("otlp_mtls.certificate.{name}"), value.to_owned()));
            (attributes.to_vec(), expires.as_secs() as i64)
        });
        assert_eq!(seen, expected, "{protocol}");
        assert_eq!(points(&collector, "otlp_mtls.tls.handshakes"), [(vec![], 1)]);
        let [(_, 1)] = points(&collector, "otlp_mtls.traces.exports")[..] else { panic!() };
        // Metrics in development exist only on request.
        assert!(names(&collector).iter().all(|name| name.starts_with("otlp_mtls.")));
        exporters.shutdown(Providers::new().with_meter_provider(&meters), SOON).unwrap();
    }
}

#[test]
fn metrics_in_development_are_opt_in() {
    let collector = plaintext_collector();
    let exporters =
        plaintext_builder(&collector, Protocol::Grpc).with_sdk_metrics(true).build().unwrap();
    let meters = meters(&exporters);
    exporters.register_metrics(&meters);
    export(&exporters, Signal::Logs).unwrap();
    meters.force_flush().unwrap();
    let [(_, 1)] = points(&collector, "otel.sdk.exporter.log.exported")[..] else { panic!() };
    let [(_, 0)] = points(&collector, "otel.sdk.exporter.log.inflight")[..] else { panic!() };
    exporters.shutdown(Providers::new().with_meter_provider(&meters), SOON).unwrap();
}

/// Points with equal attributes would replace one another.
#[test]
fn every_handle_has_a_name_of_its_own() {
    let collector = plaintext_collector();
    let build = || plaintext_builder(&collector, Protocol::Grpc).build().unwrap();
    let (first, second) = (build(), build());
    let meters = meters(&first);
    first.register_metrics(&meters);
    second.register_metrics(&meters);
    export(&first, Signal::Traces).unwrap();
    export(&second, Signal::Traces).unwrap();
    export(&second, Signal::Traces).unwrap();
    meters.force_flush().unwrap();
    let points = points(&collector, "otlp_mtls.traces.exports");
    let mut counts: Vec<_> = points.iter().map(|(_, count)| *count).collect();
    counts.sort_unstable();
    assert_eq!(counts, [1, 2], "{points:?}");
    for (attributes, _) in points {
        let [(name_key, name), (kind_key, kind)] = &attributes[..] else { panic!() };
        assert_eq!((&**name_key, &**kind_key), ("otel.component.name", "otel.component.type"));
        assert_eq!(kind, "otlp_grpc_span_exporter");
        let number = name.strip_prefix("otlp_grpc_span_exporter/").unwrap();
        assert!(number.parse::<u64>().is_ok(), "{name}");
    }
    first.shutdown(Providers::new().with_meter_provider(&meters), SOON).unwrap();
}

/// No application has recorded them, so they do not count as a loss.
#[test]
fn metrics_about_the_exporters_are_no_loss() {
    let collector = plaintext_collector();
    collector.set_reply(|_| Reply::Http { status: 400, headers: Vec::new() });
    let exporters =
        once(builder()).with_endpoint(collector.endpoint()).with_sdk_metrics(true).build().unwrap();
    let shut_down = |meters: &SdkMeterProvider| {
        exporters.shutdown(Providers::new().with_meter_provider(meters), SOON)
    };
    let first = meters(&exporters);
    exporters.register_metrics(&first);
    first.force_flush().unwrap_err();
    shut_down(&first).unwrap();

    let second = meters(&exporters);
    exporters.register_metrics(&second);
    second.meter("test").u64_counter("of_the_service").build().add(1, &[]);
    let error = shut_down(&second).unwrap_err();
    assert_eq!(error.losses()[0].items, 1, "{error}");
}

/// The number and the total duration of exports of spans with this result.
#[derive(Debug, PartialEq)]
struct Durations {
    error: Option<String>,
    status: Option<(String, String)>,
    count: u64,
    seconds: f64,
}

fn durations(collector: &Collector) -> Vec<Durations> {
    let name = "otel.sdk.exporter.operation.duration";
    let metrics = collector.metrics();
    let metric = metrics.iter().rev().find(|metric| metric.name == name).expect(name);
    assert_eq!(metric.unit, "s");
    let Some(Data::Histogram(histogram)) = metric.data.clone() else { panic!("{metric:?}") };
    let durations = histogram.data_points.into_iter().map(|point| {
        assert!(point.explicit_bounds.is_empty(), "{point:?}");
        let attributes = point.attributes.into_iter().map(|attribute| {
            let value = match attribute.value.unwrap().value.unwrap() {
                Value::StringValue(value) => value,
                Value::IntValue(value) => value.to_string(),
                other => panic!("{other:?}"),
            };
            (attribute.key, value)
        });
        let mut attributes: BTreeMap<String, String> = attributes.collect();
        assert!(attributes.contains_key("otel.component.name"), "{attributes:?}");
        let kind = attributes.remove("otel.component.type").unwrap();
        let durations = Durations {
            error: attributes.remove("error.type"),
            status: attributes.into_iter().find(|(key, _)| key.ends_with(".status_code")),
            count: point.count,
            seconds: point.sum.unwrap(),
        };
        (kind, durations)
    });
    let of_spans = durations.filter(|(kind, _)| kind.ends_with("_span_exporter"));
    of_spans.map(|(_, durations)| durations).collect()
}

#[test]
fn every_export_is_one_duration() {
    for protocol in TRANSPORTS {
        let collector = plaintext_collector();
        let retry = RetryPolicy::default()
            .with_max_attempts(2)
            .with_initial_backoff(Duration::from_millis(100));
        let exporters = plaintext_builder(&collector, protocol)
            .with_retry(retry)
            .with_failure_handler(|_| {})
            .with_sdk_metrics(true)
            .build()
            .unwrap();
        let meters = meters(&exporters);
        exporters.register_metrics(&meters);
        let answer = |replies: Vec<Reply>| {
            let replies = Mutex::new(replies.into_iter());
            collector.set_reply(move |request| match request.signal {
                Signal::Traces => replies.lock().unwrap().next().unwrap_or(Reply::Accept),
                _ => Reply::Accept,
            });
            // The histogram has the result.
            let _ = export(&exporters, Signal::Traces);
        };
        let grpc = |code| Reply::Grpc { code, message: String::new(), retry_delay: None };
        let bad_gateway = || Reply::Http { status: 502, headers: Vec::new() };
        answer(vec![grpc(14), Reply::Accept]);
        answer(vec![Reply::PartialSuccess { rejected: 1, message: String::new() }]);
        answer(vec![grpc(3)]);
        answer(vec![bad_gateway(), bad_gateway()]);
        // The last attempt has no status, although the one before it had one.
        answer(vec![grpc(14), Reply::Close]);
        collector.set_reply(|_| Reply::Accept);
        meters.force_flush().unwrap();

        let durations = durations(&collector);
        let http = |status: &str| ("http.response.status_code".to_owned(), status.to_owned());
        let rpc = |code: &str| ("rpc.response.status_code".to_owned(), code.to_owned());
        let (ok, invalid, name) = match protocol {
            Protocol::Grpc => (rpc("OK"), rpc("INVALID_ARGUMENT"), "INVALID_ARGUMENT"),
            _ => (http("200"), http("400"), "http_4xx"),
        };
        let of = |error: Option<&str>, status| {
            let status = Some(status);
            let same = durations
                .iter()
                .filter(|end| end.error.as_deref() == error && end.status == status);
            same.map(|end| end.count).collect::<Vec<_>>()
        };
        assert_eq!(of(None, ok.clone()), [1], "{protocol}: {durations:#?}");
        assert_eq!(of(Some("rejected"), ok), [1], "{protocol}: {durations:#?}");
        assert_eq!(of(Some(name), invalid), [1], "{protocol}: {durations:#?}");
        assert_eq!(of(Some("http_5xx"), http("502")), [1], "{protocol}: {durations:#?}");
        let unanswered: Vec<_> = durations.iter().filter(|end| end.status.is_none()).collect();
        let [Durations { error: Some(_), count: 1, .. }] = unanswered[..] else {
            panic!("{protocol}: {durations:#?}")
        };
        assert_eq!(durations.len(), 5);
        // It includes the wait between two attempts, at least 80 ms.
        let repaired = durations.iter().find(|end| end.error.is_none()).unwrap();
        assert!(repaired.seconds >= 0.08, "{repaired:?}");
        exporters.shutdown(Providers::new().with_meter_provider(&meters), SOON).unwrap();
    }
}

#[test]
fn items_beyond_the_queue_are_counted() {
    let _alone = alone();
    let collector = plaintext_collector();
    let hold = || {
        collector.set_reply(|request| match request.signal {
            Signal::Metrics => Reply::Accept,
            _ => Reply::Hold,
        });
    };
    let batch = Batch::default()
        .with_max_queue_size(10)
        .with_max_export_batch_size(10)
        .with_schedule_delay(Duration::from_secs(3600));
    let telemetry = plaintext_builder(&collector, Protocol::Grpc)
        .with_batch(batch)
        .with_sdk_metrics(true)
        .build()
        .unwrap()
        .install()
        .unwrap();
    let tracer = telemetry.tracer_provider().unwrap().tracer("test");
    let logger = telemetry.logger_provider().unwrap().logger("test");
    let emit = |items| {
        for _ in 0..items {
            tracer.start("a span").end();
            logger.emit(logger.create_log_record());
        }
    };
    // A batch is removed from the queue as a whole.
    hold();
    emit(10);
    let begun = |collector: &Collector| {
        let signals: BTreeSet<_> =
            collector.received().into_iter().map(|request| request.signal).collect();
        signals.contains(&Signal::Traces) && signals.contains(&Signal::Logs)
    };
    assert!(collector.wait_until(SOON, begun));
    let told = ["spans", "log records"].map(|items| {
        format!("the queue of {items} is full, and further items are lost; this is reported once")
    });
    assert_eq!(warnings_of(|| emit(15)), told);
    let see = |processed: i64, waiting: i64| {
        telemetry.meter_provider().unwrap().force_flush().unwrap();
        for item in ["span", "log"] {
            let metric = |name: &str| {
                let name = format!("otel.sdk.processor.{item}.{name}");
                // The SDK has some of them, too, in an experimental feature.
                let requests = collector.requests().into_iter();
                let requests = requests.filter(|request| request.signal == Signal::Metrics);
                let metrics = collector.metrics().into_iter();
                let same = metrics.filter(|metric| metric.name == name);
                assert_eq!(same.count(), requests.count(), "{name}");
                let points = points(&collector, &name);
                let points = points.into_iter().map(|(attributes, value)| {
                    let error = attributes.iter().find(|(key, _)| key == "error.type");
                    let kind = &attributes.last().unwrap().1;
                    assert_eq!(*kind, format!("batching_{item}_processor"));
                    (error.map(|(_, error)| error.clone()), value)
                });
                let mut points: Vec<_> = points.collect();
                points.sort();
                points
            };
            let full = Some("queue_full".to_owned());
            assert_eq!(metric("processed"), [(None, processed), (full, 5)]);
            assert_eq!(metric("queue.size"), [(None, waiting)]);
            assert_eq!(metric("queue.capacity"), [(None, 10)]);
        }
    };
    see(10, 10);
    collector.set_reply(|_| Reply::Accept);
    collector.release();
    telemetry.flush(SOON).unwrap();
    see(20, 0);
    assert_eq!((collector.spans().len(), collector.log_records().len()), (20, 20));
    telemetry.shutdown(SOON).unwrap();
}

/// The SDK logs each of them as late.
#[test]
fn items_after_the_shutdown_do_not_count_as_a_full_queue() {
    let _alone = alone();
    let collector = plaintext_collector();
    let batch = Batch::default().with_max_queue_size(1).with_max_export_batch_size(1);
    let exporters =
        plaintext_builder(&collector, Protocol::Grpc).with_batch(batch).build().unwrap();
    let telemetry = exporters.install().unwrap();
    let logger = telemetry.logger_provider().unwrap().logger("test");
    telemetry.shutdown(SOON).unwrap();
    let told = warnings_of(|| (0..3).for_each(|_| logger.emit(logger.create_log_record())));
    assert_eq!(told, [""; 0]);
}

#[test]
fn metrics_in_development_are_off_with_install() {
    let _alone = alone();
    let collector = plaintext_collector();
    let telemetry =
        plaintext_builder(&collector, Protocol::Grpc).build().unwrap().install().unwrap();
    telemetry.tracer_provider().unwrap().tracer("test").start("a span").end();
    // Signals are flushed concurrently.
    for _ in 0..2 {
        telemetry.flush(SOON).unwrap();
    }
    assert!(names(&collector).iter().all(|name| name.starts_with("otlp_mtls.")));
    assert_eq!(points(&collector, "otlp_mtls.traces.exports").len(), 1);
    telemetry.shutdown(SOON).unwrap();
}
