//! What `Telemetry` delivers, and how it reports losses.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider};
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{Span, Tracer, TracerProvider};
use opentelemetry_sdk::Resource;
use otlp_mtls::testing::{Accept, Reply};
use otlp_mtls::{Error, Protocol, RetryPolicy, ShutdownLoss, Signal, Telemetry};

use crate::support::{
    NOBODY, PROTOCOLS, SOON, TRANSPORTS, alone, builder, items, lost_items, mtls_builder,
    mtls_collector, plaintext_collector,
};

/// One span, one metric point and one log record.
pub(crate) fn emit(telemetry: &Telemetry) {
    telemetry.tracer_provider().unwrap().tracer("test").start("a span").end();
    telemetry.meter_provider().unwrap().meter("test").u64_counter("counter").build().add(1, &[]);
    let logger = telemetry.logger_provider().unwrap().logger("test");
    let mut record = logger.create_log_record();
    record.set_body(AnyValue::from("a log record"));
    logger.emit(record);
}

/// In the order of the providers.
const EACH_ONE: [(Signal, u64); 3] = [(Signal::Traces, 1), (Signal::Metrics, 1), (Signal::Logs, 1)];

fn lost(result: Result<(), Error>) -> Vec<ShutdownLoss> {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Undelivered { .. }), "{error}");
    error.losses().to_vec()
}

#[test]
fn a_shutdown_delivers_everything() {
    let _alone = alone();
    for protocol in TRANSPORTS {
        let (pki, collector) = mtls_collector();
        let resource = Resource::builder().with_service_name("the-service").build();
        let exporters =
            mtls_builder(&pki, &collector, protocol).with_resource(resource).build().unwrap();
        let telemetry = exporters.install().unwrap();
        emit(&telemetry);
        telemetry.shutdown(SOON).unwrap();
        for signal in Signal::ALL {
            assert_eq!(items(&collector, signal), 1, "{protocol} {signal}");
        }
        assert_eq!(collector.resource_attribute("service.name").as_deref(), Some("the-service"));
        assert_eq!((collector.connections(), collector.handshakes()), (1, 1));
    }
}

#[test]
fn a_flush_delivers_what_there_is_so_far() {
    let _alone = alone();
    for protocol in TRANSPORTS {
        let (pki, collector) = mtls_collector();
        let telemetry =
            mtls_builder(&pki, &collector, protocol).build().unwrap().install().unwrap();
        for times in 1..=2 {
            emit(&telemetry);
            telemetry.flush(SOON).unwrap();
            for signal in Signal::ALL {
                assert_eq!(items(&collector, signal), times, "{protocol} {signal}");
            }
        }
        collector.set_reply(|_| Reply::Http { status: 400, headers: Vec::new() });
        emit(&telemetry);
        let error = telemetry.flush(SOON).unwrap_err();
        assert!(error.to_string().starts_with("flush lost telemetry:"), "{error}");
        assert_eq!(lost_items(error.losses()), EACH_ONE, "{error}");
        assert!(error.to_string().contains("HTTP status 400"), "{error}");
        // The next flush does not report these losses.
        collector.set_reply(|_| Reply::Accept);
        emit(&telemetry);
        telemetry.flush(SOON).unwrap();
    }
}

#[test]
fn a_flush_ends_at_its_timeout_and_exports_in_flight_continue() {
    let _alone = alone();
    for protocol in TRANSPORTS {
        let (pki, collector) = mtls_collector();
        collector.set_reply(|_| Reply::Hold);
        let builder = mtls_builder(&pki, &collector, protocol).with_timeout(SOON);
        let telemetry = builder.build().unwrap().install().unwrap();
        emit(&telemetry);
        let (begun, time) = (Instant::now(), Duration::from_secs(1));
        let error = telemetry.flush(time).unwrap_err();
        assert!(begun.elapsed() >= time, "{:?}", begun.elapsed());
        let lost = error.losses();
        assert_eq!(lost_items(lost), EACH_ONE, "{error}");
        assert!(lost.iter().all(|lost| lost.unfinished_after == Some(time)), "{error}");
        collector.set_reply(|_| Reply::Accept);
        collector.release();
        telemetry.flush(SOON).unwrap();
        for signal in [Signal::Traces, Signal::Logs] {
            assert_eq!(items(&collector, signal), 1, "{protocol} {signal}");
        }
    }
}

/// Longer than the SDK's own timeout.
#[test]
fn a_flush_waits_until_its_timeout() {
    let _alone = alone();
    let (pki, collector) = mtls_collector();
    collector.set_reply(|_| Reply::After(Duration::from_secs(6), Box::new(Reply::Accept)));
    let builder = mtls_builder(&pki, &collector, Protocol::Grpc).with_timeout(SOON);
    let telemetry = builder.build().unwrap().install().unwrap();
    emit(&telemetry);
    telemetry.flush(SOON).unwrap();
    assert_eq!(items(&collector, Signal::Traces), 1);
}

/// The specification requires that both are safe to call concurrently.
#[test]
fn flushes_and_shutdowns_at_once_lose_nothing() {
    const FLUSHES: usize = 4;
    const SPANS: usize = 250;
    let _alone = alone();
    for protocol in TRANSPORTS {
        let (pki, collector) = mtls_collector();
        let telemetry =
            mtls_builder(&pki, &collector, protocol).build().unwrap().install().unwrap();
        let provider = telemetry.tracer_provider().unwrap().clone();
        let metrics = telemetry.meter_provider().unwrap().clone();
        let has_ended = Barrier::new(FLUSHES + 2);
        thread::scope(|scope| {
            for _ in 0..FLUSHES {
                scope.spawn(|| {
                    for _ in 0..SPANS {
                        provider.tracer("test").start("a span").end();
                    }
                    has_ended.wait();
                    // Later calls return an error.
                    drop((provider.force_flush(), metrics.force_flush()));
                });
            }
            scope.spawn(|| {
                has_ended.wait();
                drop(provider.shutdown_with_timeout(SOON));
            });
            has_ended.wait();
            drop(telemetry.shutdown(SOON));
        });
        assert_eq!(collector.spans().len(), FLUSHES * SPANS, "{protocol}");
    }
}

#[test]
fn dropping_the_guard_delivers_everything() {
    let _alone = alone();
    let (pki, collector) = mtls_collector();
    let exporters = mtls_builder(&pki, &collector, Protocol::Grpc).build().unwrap();
    let telemetry = exporters.install().unwrap();
    emit(&telemetry);
    drop(telemetry);
    for signal in Signal::ALL {
        assert_eq!(items(&collector, signal), 1, "{signal}");
    }
    assert!(collector.wait_until(SOON, |seen| seen.open_connections() == 0));
}

#[test]
fn a_collector_that_refuses_is_an_error_with_what_was_lost() {
    let _alone = alone();
    for protocol in TRANSPORTS {
        let exporters = builder()
            .with_endpoint(format!("http://127.0.0.1:{NOBODY}"))
            .with_protocol(protocol)
            .build()
            .unwrap();
        let telemetry = exporters.install().unwrap();
        emit(&telemetry);
        let error = telemetry.shutdown(Duration::from_secs(2)).unwrap_err();
        let words = error.to_string();
        for expected in ["1 span not", " metric point", "1 log record not", "connection refused"] {
            assert!(words.contains(expected), "{protocol}: {words}");
        }
        assert_eq!(lost(Err(error)).len(), 3);
    }
}

#[test]
fn a_collector_that_never_answers_is_an_error_at_the_timeout() {
    let _alone = alone();
    for protocol in TRANSPORTS {
        let (pki, collector) = mtls_collector();
        collector.set_reply(|_| Reply::Hold);
        let telemetry =
            mtls_builder(&pki, &collector, protocol).build().unwrap().install().unwrap();
        emit(&telemetry);
        // Much shorter than the 10 s of an export and the 5 s of the meter provider.
        let (begun, time) = (Instant::now(), Duration::from_secs(1));
        let lost = lost(telemetry.shutdown(time));
        assert!(begun.elapsed() >= time, "{:?}", begun.elapsed());
        assert_eq!(lost.len(), 3, "{lost:?}");
        assert!(lost_items(&lost).iter().all(|(_, items)| *items == 1), "{lost:?}");
        assert!(collector.requests().is_empty());
    }
}

/// The SDK may report that first. Its providers wrap the error of a processor that has not finished.
#[test]
fn a_shutdown_without_time_reports_everything() {
    let _alone = alone();
    let collector = plaintext_collector();
    collector.set_accept(Accept::Silence);
    for _ in 0..20 {
        let exporters = builder().with_endpoint(collector.endpoint()).build().unwrap();
        let telemetry = exporters.install().unwrap();
        emit(&telemetry);
        let losses = lost(telemetry.shutdown(Duration::ZERO));
        for signal in [Signal::Traces, Signal::Logs] {
            let loss = losses.iter().find(|loss| loss.signal == signal);
            assert_eq!(loss.map(|loss| loss.items), Some(1), "{losses:?}");
        }
    }
}

#[test]
fn losses_are_reported_for_the_signal_that_has_them() {
    let _alone = alone();
    for silent in Signal::ALL {
        let collector = plaintext_collector();
        collector.set_reply(move |request| match request.signal == silent {
            true => Reply::Hold,
            false => Reply::Accept,
        });
        let telemetry =
            builder().with_endpoint(collector.endpoint()).build().unwrap().install().unwrap();
        emit(&telemetry);
        let lost = lost(telemetry.shutdown(Duration::from_secs(2)));
        assert_eq!(lost_items(&lost), [(silent, 1)], "{lost:?}");
    }
}

/// The SDK's providers report success here.
#[test]
fn rejected_items_are_not_reported_as_delivered() {
    let _alone = alone();
    for protocol in TRANSPORTS {
        let (pki, collector) = mtls_collector();
        collector.set_reply(|_| Reply::Http { status: 400, headers: Vec::new() });
        let telemetry =
            mtls_builder(&pki, &collector, protocol).build().unwrap().install().unwrap();
        emit(&telemetry);
        let lost = lost(telemetry.shutdown(SOON));
        assert_eq!(lost_items(&lost), EACH_ONE, "{lost:?}");
        assert!(lost.iter().all(|lost| lost.unfinished_after.is_none()), "{lost:?}");
        assert!(lost.iter().all(|lost| lost.failure.is_some()), "{lost:?}");
    }
}

#[test]
fn partial_success_is_not_reported_as_delivered() {
    let _alone = alone();
    for protocol in PROTOCOLS {
        let (pki, collector) = mtls_collector();
        collector.set_reply(|_| Reply::PartialSuccess { rejected: 1, message: "too old".into() });
        let telemetry =
            mtls_builder(&pki, &collector, protocol).build().unwrap().install().unwrap();
        emit(&telemetry);
        let error = telemetry.shutdown(SOON).unwrap_err();
        let words = error.to_string();
        assert!(
            words
                .contains("the collector accepted the batch, but rejected 1 of its spans: too old"),
            "{protocol}: {words}"
        );
        let lost = lost(Err(error));
        assert_eq!(lost.iter().map(|lost| lost.items).collect::<Vec<_>>(), [1, 1, 1], "{protocol}");
        // It is not retried.
        assert_eq!(collector.requests().len(), 3, "{protocol}");
    }
}

#[test]
fn the_cause_of_a_loss_is_the_last_one() {
    let _alone = alone();
    let collector = plaintext_collector();
    let exporters = builder().with_endpoint(collector.endpoint()).build().unwrap();
    let telemetry = exporters.install().unwrap();
    let tracer = telemetry.tracer_provider().unwrap();
    let flush = || {
        tracer.tracer("test").start("a span").end();
        tracer.force_flush()
    };
    collector.set_reply(|_| Reply::Http { status: 418, headers: Vec::new() });
    flush().unwrap_err();
    collector.set_reply(|_| Reply::Accept);
    flush().unwrap();
    collector.set_reply(|_| Reply::Hold);
    tracer.tracer("test").start("a span").end();
    let words = telemetry.shutdown(Duration::from_secs(1)).unwrap_err().to_string();
    assert!(!words.contains("status 418"), "{words}");
    assert!(words.contains(&collector.endpoint()), "{words}");
    assert!(words.contains("the shutdown left no time for it"), "{words}");
}

/// The crate's own metrics do not count as a loss.
#[test]
fn a_service_that_recorded_nothing_ends_in_silence() {
    let _alone = alone();
    for protocol in TRANSPORTS {
        let (pki, collector) = mtls_collector();
        // There is a metric for the expiry of the client's certificate.
        let exporters = mtls_builder(&pki, &collector, protocol)
            .with_endpoint(format!("https://127.0.0.1:{NOBODY}"))
            .build()
            .unwrap();
        exporters.install().unwrap().shutdown(Duration::from_secs(1)).unwrap();
        // There was an attempt.
        let status = exporters.status();
        let metrics = status.exports.iter().find(|exports| exports.signal == Signal::Metrics);
        assert_eq!(metrics.unwrap().failed, 1, "{protocol}");
    }
}

/// The timeout is an hour. If the collector is known to be unreachable before the shutdown, there is only time for one
/// last attempt.
#[test]
fn a_collector_that_is_known_to_be_out_of_reach_is_not_waited_for() {
    let _alone = alone();
    const HOUR: Duration = Duration::from_secs(3_600);
    for protocol in TRANSPORTS {
        let exporters = builder()
            .with_endpoint(format!("http://127.0.0.1:{NOBODY}"))
            .with_protocol(protocol)
            .with_timeout(Duration::ZERO)
            .with_retry(RetryPolicy::default().with_initial_backoff(HOUR).with_max_backoff(HOUR))
            .build()
            .unwrap();
        let telemetry = exporters.install().unwrap();
        emit(&telemetry);
        let tracers = telemetry.tracer_provider().unwrap().clone();
        thread::spawn(move || tracers.force_flush());
        while !exporters.status().exports.iter().any(|exports| exports.next_attempt.is_some()) {
            thread::yield_now();
        }
        let error = telemetry.shutdown(HOUR).unwrap_err();
        assert_eq!(lost(Err(error)).len(), 3, "{protocol}");
        let failures = exporters.status().exports.into_iter().map(|exports| exports.last_failure);
        let kinds: Vec<_> = failures.map(|failure| failure.unwrap().kind().name()).collect();
        // On a busy machine that time may end before the attempt does.
        let refused = kinds.iter().filter(|kind| **kind == "connection_refused").count();
        let late = kinds.iter().filter(|kind| **kind == "deadline").count();
        assert!(refused > 0 && refused + late == 3, "{protocol}: {kinds:?}");
    }
}

/// Providers that a service has built itself have one common deadline, too.
#[test]
fn custom_providers_are_flushed_and_shut_down_together() {
    use opentelemetry_sdk::logs::SdkLoggerProvider;
    use opentelemetry_sdk::metrics::SdkMeterProvider;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use otlp_mtls::Providers;

    let collector = plaintext_collector();
    let exporters = builder().with_endpoint(collector.endpoint()).build().unwrap();
    let work = || {
        let tracers = SdkTracerProvider::builder()
            .with_batch_exporter(exporters.span_exporter().unwrap())
            .build();
        let meters = SdkMeterProvider::builder()
            .with_periodic_exporter(exporters.metric_exporter().unwrap())
            .build();
        let loggers = SdkLoggerProvider::builder()
            .with_batch_exporter(exporters.log_exporter().unwrap())
            .build();
        tracers.tracer("test").start("a span").end();
        meters.meter("test").u64_counter("counter").build().add(1, &[]);
        let logger = loggers.logger("test");
        logger.emit(logger.create_log_record());
        Providers::new()
            .with_tracer_provider(&tracers)
            .with_meter_provider(&meters)
            .with_logger_provider(&loggers)
    };
    let providers = work();
    exporters.flush(&providers, SOON).unwrap();
    exporters.shutdown(providers, SOON).unwrap();
    for signal in [Signal::Traces, Signal::Logs] {
        assert_eq!(items(&collector, signal), 1, "{signal}");
    }
    // Exporters created later are not affected. Without that, each signal would wait for 5 s, and the meter
    // provider for 10.
    collector.set_reply(|_| Reply::Hold);
    let providers = work();
    let error = exporters.shutdown(providers, Duration::from_millis(500)).unwrap_err();
    assert_eq!(lost_items(error.losses()), EACH_ONE, "{error}");
    assert!(error.to_string().contains("the shutdown left no time for it"), "{error}");
}

#[test]
fn exporters_refuse_after_their_shutdown() {
    use opentelemetry_sdk::error::OTelSdkError;
    use opentelemetry_sdk::trace::SpanExporter;

    let collector = plaintext_collector();
    let exporters = builder().with_endpoint(collector.endpoint()).build().unwrap();
    let exporter = exporters.span_exporter().unwrap();
    exporter.shutdown().unwrap();
    let result = futures_executor::block_on(exporter.export(vec![crate::support::span("late")]));
    assert!(matches!(result, Err(OTelSdkError::AlreadyShutdown)), "{result:?}");
    assert!(matches!(exporter.shutdown(), Err(OTelSdkError::AlreadyShutdown)));
    assert_eq!(collector.connections(), 0);
}
