//! The work of a Rust peer; those in other languages do the same with spans.

use std::io::Read;

use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{Span, SpanKind, Tracer, TracerProvider};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::logs::{LogExporter, SdkLoggerProvider};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanExporter};

/// Of metrics, all of which are in each export: ten instruments, each within the SDK's limit.
const SERIES: u64 = 10_000;
const SERIES_PER_INSTRUMENT: u64 = 1_000;

/// What to send. The providers take their settings from the environment: their batches are larger than ours, so that a
/// flush is all that starts an export.
pub(crate) struct Work {
    pub(crate) signal: Signal,
    /// Spans, log records or data points
    count: u64,
    /// Of an export; metrics are always exported whole.
    batch: u64,
    /// Of a span or log record
    attributes: Attributes,
    /// The number of spans before the measured ones; 0 if all are measured.
    warm_up: u64,
}

#[derive(Clone, Copy)]
pub(crate) enum Signal {
    Traces,
    Logs,
    Metrics,
}

impl Work {
    /// From the program's arguments: `COUNT SIGNAL BATCH ATTRIBUTES WARM_UP`.
    pub(crate) fn from_arguments() -> Self {
        let mut arguments = std::env::args().skip(1);
        let mut next =
            || arguments.next().expect("arguments: COUNT SIGNAL BATCH ATTRIBUTES WARM_UP");
        let count = next().parse().expect("a count");
        let signal = match next().as_str() {
            "traces" => Signal::Traces,
            "logs" => Signal::Logs,
            "metrics" => Signal::Metrics,
            other => panic!("no signal: {other}"),
        };
        let batch = next().parse().expect("the size of a batch");
        let attributes = Attributes::new(next().parse().expect("a number of attributes"));
        let warm_up = next().parse().expect("a number of spans");
        Self { signal, count, batch, attributes, warm_up }
    }

    pub(crate) fn traces(&self, exporter: impl SpanExporter + 'static) {
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).build();
        let tracer = provider.tracer("checkout");
        for number in 1..=self.count {
            tracer
                .span_builder("GET /orders/{order_id}")
                .with_kind(SpanKind::Server)
                .with_attributes(self.attributes.of(number))
                .start(&tracer)
                .end();
            if self.ends_batch(number) {
                provider.force_flush().expect("the sink accepts all");
            }
            if number == self.warm_up {
                pause();
            }
        }
        provider.shutdown().expect("nothing is left to lose");
        finish();
    }

    pub(crate) fn logs(&self, exporter: impl LogExporter + 'static) {
        let provider = SdkLoggerProvider::builder().with_batch_exporter(exporter).build();
        let logger = provider.logger("checkout");
        for number in 1..=self.count {
            let mut record = logger.create_log_record();
            record.set_severity_number(Severity::Info);
            record.set_severity_text("INFO");
            record.set_body(AnyValue::from(format!("order {number} was placed")));
            for KeyValue { key, value, .. } in self.attributes.of(number) {
                record.add_attribute(key, any_value(value));
            }
            logger.emit(record);
            if self.ends_batch(number) {
                provider.force_flush().expect("the sink accepts all");
            }
        }
        provider.shutdown().expect("nothing is left to lose");
        finish();
    }

    pub(crate) fn metrics(&self, exporter: impl PushMetricExporter) {
        let provider = SdkMeterProvider::builder().with_periodic_exporter(exporter).build();
        let meter = provider.meter("checkout");
        for number in 0..SERIES / SERIES_PER_INSTRUMENT {
            match number % 3 {
                0 => {
                    let counter = meter.u64_counter(format!("orders.{number}")).build();
                    record_series(|value, series| counter.add(value, series));
                }
                1 => {
                    let histogram = meter.f64_histogram(format!("latency.{number}")).build();
                    record_series(|value, series| histogram.record(value as f64, series));
                }
                _ => {
                    let gauge = meter.u64_gauge(format!("queue.{number}")).build();
                    record_series(|value, series| gauge.record(value, series));
                }
            }
        }
        // The shutdown is the last export.
        for _ in 1..self.count / SERIES {
            provider.force_flush().expect("the sink accepts all");
        }
        provider.shutdown().expect("nothing is left to lose");
        finish();
    }

    fn ends_batch(&self, number: u64) -> bool {
        number.is_multiple_of(self.batch) || number == self.count
    }
}

/// One measurement for each series of an instrument
fn record_series(record: impl Fn(u64, &[KeyValue])) {
    for series in 0..SERIES_PER_INSTRUMENT {
        let attributes = [
            KeyValue::new("http.route", format!("/orders/{series}")),
            KeyValue::new("http.request.method", "GET"),
            KeyValue::new("http.response.status_code", 200),
        ];
        record(series, &attributes);
    }
}

/// As instrumentation records them: names are constants; values are constants, numbers, and strings made for the request.
struct Attributes(Vec<&'static str>);

impl Attributes {
    const COMMON: [&str; 8] = [
        "http.request.method",
        "http.route",
        "http.response.status_code",
        "url.scheme",
        "url.path",
        "server.address",
        "server.port",
        "user_agent.original",
    ];

    fn new(count: usize) -> Self {
        let more =
            (Self::COMMON.len()..count).map(|index| &*format!("app.attribute.{index}").leak());
        Self(Self::COMMON.into_iter().chain(more).take(count).collect())
    }

    /// Each eight have the same values, so that all attributes cost about the same.
    fn of(&self, number: u64) -> Vec<KeyValue> {
        let value = |index| -> Value {
            match index % Self::COMMON.len() {
                0 => "GET".into(),
                1 => "/orders/{order_id}".into(),
                2 => 200.into(),
                3 => "https".into(),
                4 => format!("/orders/{}", 1_000_000_000_000 + number).into(),
                5 => "checkout.shop.svc.cluster.local".to_owned().into(),
                6 => 8443.into(),
                _ => "grpc-java-okhttp/1.71.0".to_owned().into(),
            }
        };
        let keys = self.0.iter().enumerate();
        keys.map(|(index, &key)| KeyValue::new(key, value(index))).collect()
    }
}

fn any_value(value: Value) -> AnyValue {
    match value {
        Value::Bool(value) => value.into(),
        Value::I64(value) => value.into(),
        Value::String(value) => value.into(),
        other => panic!("no attribute here has such a value: {other:?}"),
    }
}

/// Says that the warm-up is done, and waits until the driver has read what this process has used so far.
fn pause() {
    println!("warm");
    let _ = std::io::stdin().read_line(&mut String::new());
}

/// Says that all is done, and waits until the driver has read what this process used.
fn finish() {
    println!("done");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}
