//! Batches that are too large, for the collector or for `with_max_request_size`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_executor::block_on;
use opentelemetry::logs::{LogRecord as _, Logger as _, LoggerProvider as _};
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use otlp_mtls::status::ExportStatus;
use otlp_mtls::testing::{Collector, Reply};
use otlp_mtls::{Compression, Exporters, FailureKind, Protocol, Signal};

use crate::support::{
    PROTOCOLS, SOON, TRANSPORTS, last_failure, once, plaintext_builder, plaintext_collector, span,
};

/// The messages of servers for a message that is too large.
const REFUSALS: [(Protocol, i32, &str); 6] = [
    (Protocol::HttpProtobuf, 413, ""),
    (Protocol::HttpJson, 413, ""),
    // Go
    (Protocol::Grpc, 8, "grpc: received message larger than max (5000000 vs. 4194304)"),
    // C, also used by Python
    (Protocol::Grpc, 8, "CLIENT: Received message larger than max (5000000 vs. 4194304)"),
    // .NET
    (Protocol::Grpc, 8, "Received message exceeds the maximum configured message size."),
    // Java
    (Protocol::Grpc, 8, "gRPC message exceeds maximum size 4194304: 5000000"),
];

/// A collector that refuses larger requests, and counts the refusals.
fn limited(bytes: usize, refusal: Reply) -> (Collector, Arc<AtomicUsize>) {
    let (collector, refused) = (plaintext_collector(), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&refused);
    collector.set_reply(move |request| {
        if request.body.len() <= bytes {
            return Reply::Accept;
        }
        counter.fetch_add(1, Ordering::Relaxed);
        refusal.clone()
    });
    (collector, refused)
}

fn too_large(protocol: Protocol) -> Reply {
    let (_, code, words) = *REFUSALS.iter().find(|(of, ..)| *of == protocol).unwrap();
    reply(protocol, code, words)
}

fn reply(protocol: Protocol, code: i32, words: &str) -> Reply {
    match protocol {
        Protocol::Grpc => Reply::Grpc { code, message: words.to_owned(), retry_delay: None },
        _ => Reply::Http { status: code as u16, headers: Vec::new() },
    }
}

/// Spans whose names are numbers.
fn spans(count: usize) -> Vec<SpanData> {
    (0..count).map(|n| SpanData { name: n.to_string().into(), ..span("") }).collect()
}

fn export(exporters: &Exporters, spans: Vec<SpanData>) -> Result<(), String> {
    let exporter = exporters.span_exporter().unwrap();
    block_on(exporter.export(spans)).map_err(|error| error.to_string())
}

fn status(exporters: &Exporters, signal: Signal) -> ExportStatus {
    let exports = exporters.status().exports;
    exports.into_iter().find(|exports| exports.signal == signal).unwrap()
}

/// The number of times that each name has arrived.
fn names(collector: &Collector) -> BTreeMap<String, usize> {
    let mut names = BTreeMap::new();
    for span in collector.spans() {
        *names.entry(span.name).or_default() += 1;
    }
    names
}

fn each_once(count: usize) -> BTreeMap<String, usize> {
    (0..count).map(|n| (n.to_string(), 1)).collect()
}

#[test]
fn a_batch_refused_as_too_large_arrives_in_parts() {
    for (protocol, code, words) in REFUSALS {
        let (collector, refused) = limited(100_000, reply(protocol, code, words));
        let exporters = once(plaintext_builder(&collector, protocol)).build().unwrap();
        export(&exporters, spans(10_000)).unwrap();
        assert_eq!(names(&collector), each_once(10_000), "{words}");
        assert!(refused.load(Ordering::Relaxed) > 0, "{words}");
        let status = status(&exporters, Signal::Traces);
        assert_eq!((status.succeeded, status.failed), (1, 0), "{words}");
        assert_eq!((status.delivered, status.dropped), (10_000, 0), "{words}");
        assert!(status.last_failure.is_none(), "{words}");
    }
}

#[test]
fn compressed_batches_too() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        for protocol in PROTOCOLS {
            let (collector, _) = limited(100_000, too_large(protocol));
            let builder = once(plaintext_builder(&collector, protocol));
            let exporters = builder.with_compression(compression).build().unwrap();
            export(&exporters, spans(4_000)).unwrap();
            assert_eq!(names(&collector), each_once(4_000), "{protocol} {compression}");
        }
    }
}

/// Another connection may lead to another collector with a larger limit.
#[test]
fn the_limit_is_remembered_until_the_connection_ends() {
    for protocol in TRANSPORTS {
        let (collector, refused) = limited(100_000, too_large(protocol));
        let exporters = plaintext_builder(&collector, protocol).build().unwrap();
        let exporter = exporters.span_exporter().unwrap();
        let refused_by = |spans| {
            let before = refused.load(Ordering::Relaxed);
            block_on(exporter.export(spans)).unwrap();
            refused.load(Ordering::Relaxed) - before
        };
        assert!(refused_by(spans(3_000)) > 0, "{protocol}");
        assert_eq!(refused_by(spans(3_000)), 0, "{protocol}");
        assert_eq!(collector.connections(), 1, "{protocol}");

        collector.close_connections();
        assert!(collector.wait_until(SOON, |collector| collector.open_connections() == 0));
        // This creates a new connection.
        refused_by(spans(1));
        assert!(refused_by(spans(3_000)) > 0, "{protocol}");
        assert_eq!(collector.connections(), 2, "{protocol}");
        assert_eq!(collector.spans().len(), 9_001, "{protocol}");
    }
}

/// An item that is too large alone says nothing about smaller requests.
#[test]
fn the_limit_is_remembered_after_a_larger_item_was_refused() {
    for protocol in TRANSPORTS {
        let (collector, refused) = limited(100_000, too_large(protocol));
        let exporters = plaintext_builder(&collector, protocol).build().unwrap();
        let exporter = exporters.span_exporter().unwrap();
        block_on(exporter.export(spans(3_000))).unwrap();
        let large = SpanData { name: "x".repeat(1_000_000).into(), ..span("") };
        block_on(exporter.export(vec![large])).unwrap_err();
        let before = refused.load(Ordering::Relaxed);
        block_on(exporter.export(spans(3_000))).unwrap();
        assert_eq!(refused.load(Ordering::Relaxed), before, "{protocol}");
        assert_eq!(collector.spans().len(), 6_000, "{protocol}");
    }
}

/// Such as one behind a proxy that is set up wrong.
#[test]
fn a_collector_that_refuses_any_size_is_not_asked_about_each_item() {
    for protocol in TRANSPORTS {
        let (collector, refused) = limited(0, too_large(protocol));
        let exporters = once(plaintext_builder(&collector, protocol)).build().unwrap();
        let exporter = exporters.span_exporter().unwrap();
        for _ in 0..2 {
            block_on(exporter.export(spans(512))).unwrap_err();
            let requests = refused.swap(0, Ordering::Relaxed);
            assert!((1..=32).contains(&requests), "{protocol}: {requests}");
        }
        assert_eq!(status(&exporters, Signal::Traces).dropped, 1_024, "{protocol}");
        // What it accepts now shows that it was not the size.
        collector.set_reply(|_| Reply::Accept);
        for most in [32, 1] {
            let before = collector.requests().len();
            block_on(exporter.export(spans(512))).unwrap();
            let requests = collector.requests().len() - before;
            assert!((1..=most).contains(&requests), "{protocol}: {requests}");
        }
        assert_eq!(collector.spans().len(), 1_024, "{protocol}");
    }
}

#[test]
fn only_the_item_that_is_too_large_alone_is_lost() {
    for protocol in TRANSPORTS {
        let (collector, _) = limited(10_000, too_large(protocol));
        let exporters = once(plaintext_builder(&collector, protocol)).build().unwrap();
        let mut batch = spans(100);
        batch[70].name = "x".repeat(10_000).into();
        let error = export(&exporters, batch).unwrap_err();
        assert!(error.contains(&collector.endpoint()), "{error}");
        assert!(error.contains("the collector refused a single span as too large"), "{error}");

        let mut expected = each_once(100);
        expected.remove("70");
        assert_eq!(names(&collector), expected, "{protocol}");
        let status = status(&exporters, Signal::Traces);
        assert_eq!((status.succeeded, status.failed), (0, 1), "{protocol}");
        assert_eq!((status.delivered, status.dropped), (99, 1), "{protocol}");
        let failure = status.last_failure.unwrap();
        assert!(matches!(failure.kind(), FailureKind::TooLarge { .. }), "{failure}");
    }
}

#[test]
fn no_request_is_larger_than_allowed() {
    for protocol in PROTOCOLS {
        for signal in Signal::ALL {
            let collector = plaintext_collector();
            let exporters = plaintext_builder(&collector, protocol)
                .with_max_request_size(1_000_000)
                .with_signal(signal, |given| given.with_max_request_size(8_000))
                .build()
                .unwrap();
            export_thousand(&exporters, signal);
            assert!(collector.requests().len() > 1, "{protocol} {signal}");
            for request in collector.requests() {
                assert!(request.body.len() <= 8_000, "{protocol} {signal}");
            }
            let items = match signal {
                Signal::Traces => collector.spans().len(),
                Signal::Metrics => collector.metric_points(),
                Signal::Logs => collector.log_records().len(),
            };
            assert_eq!(items, 1_000, "{protocol} {signal}");
            let status = status(&exporters, signal);
            assert_eq!((status.delivered, status.dropped), (1_000, 0), "{protocol} {signal}");
        }
    }
}

/// Exports a thousand items at once.
fn export_thousand(exporters: &Exporters, signal: Signal) {
    match signal {
        Signal::Traces => export(exporters, spans(1_000)).unwrap(),
        Signal::Metrics => {
            let exporter = exporters.metric_exporter().unwrap();
            let provider = SdkMeterProvider::builder().with_periodic_exporter(exporter).build();
            let meter = provider.meter("test");
            for number in 0..10 {
                let counter = meter.u64_counter(format!("counter_{number}")).build();
                for value in 0..100 {
                    counter.add(1, &[opentelemetry::KeyValue::new("value", value)]);
                }
            }
            provider.shutdown().unwrap();
        }
        Signal::Logs => {
            let exporter = exporters.log_exporter().unwrap();
            let provider = SdkLoggerProvider::builder().build();
            let logger = provider.logger("test");
            let scope = opentelemetry::InstrumentationScope::default();
            let records: Vec<_> = (0..1_000)
                .map(|number| {
                    let mut record = logger.create_log_record();
                    record.set_body(format!("record {number}").into());
                    record
                })
                .collect();
            let records: Vec<_> = records.iter().map(|record| (record, &scope)).collect();
            let batch = opentelemetry_sdk::logs::LogBatch::new(&records);
            block_on(opentelemetry_sdk::logs::LogExporter::export(&exporter, batch)).unwrap();
        }
    }
}

#[test]
fn an_item_that_is_larger_than_allowed_is_not_sent() {
    let collector = plaintext_collector();
    let builder = plaintext_builder(&collector, Protocol::Grpc);
    let exporters = builder.with_max_request_size(1_000).build().unwrap();
    let mut batch = spans(3);
    batch[1].name = "x".repeat(1_000).into();
    let error = export(&exporters, batch).unwrap_err();
    assert!(error.contains("with_max_request_size()"), "{error}");
    let failure = last_failure(&exporters, Signal::Traces);
    let is_named = matches!(
        failure.kind(),
        FailureKind::OverRequestLimit { bytes: 1_000.., limit: 1_000, .. }
    );
    assert!(is_named, "{failure}");
    assert_eq!(names(&collector).into_keys().collect::<Vec<_>>(), ["0", "2"]);
    assert_eq!(status(&exporters, Signal::Traces).dropped, 1);
}
