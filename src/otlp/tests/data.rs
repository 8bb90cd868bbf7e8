//! Generates the SDK's data of every kind from arbitrary bytes: those of a property test, or of
//! `fuzz/fuzz_targets/encoder.rs`.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{
    Event, Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Array, InstrumentationScope, Key, KeyValue, StringValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{SdkLogRecord, SdkLogger, SdkLoggerProvider};
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{
    Aggregation, Instrument, MeterProviderBuilder, PeriodicReader, SdkMeterProvider, Stream,
    Temporality,
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

/// Severities at both ends and in between.
const SEVERITIES: [Severity; 4] =
    [Severity::Trace, Severity::Debug4, Severity::Info, Severity::Fatal4];

/// Reads decisions from bytes, one at a time. After the last byte, every decision is 0.
pub(crate) struct Source<'a> {
    bytes: &'a [u8],
    /// Whether doubles are finite: upstream's JSON supports no others.
    is_finite: bool,
}

impl<'a> Source<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, is_finite: false }
    }

    pub(crate) fn finite(bytes: &'a [u8]) -> Self {
        Self { bytes, is_finite: true }
    }

    fn byte(&mut self) -> u8 {
        self.bytes.split_off_first().copied().unwrap_or(0)
    }

    fn bool(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }

    fn bits(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    pub(crate) fn number(&mut self) -> u64 {
        let odd = [0, 1, 127, 128, 16_383, 16_384, i64::MAX as u64, 1 << 63, u64::MAX];
        if self.bool() { self.one_of(&odd) } else { self.bits() }
    }

    fn double(&mut self) -> f64 {
        let odd = [
            0.0,
            -0.0,
            0.1,
            1.0,
            -1.5,
            1e21,
            1e-7,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::MAX,
            f64::MIN_POSITIVE,
            5e-324,
        ];
        let value = if self.bool() { self.one_of(&odd) } else { f64::from_bits(self.bits()) };
        match self.is_finite {
            // Keeps sums finite too.
            true if value.is_finite() => value.clamp(-1e300, 1e300),
            true => 0.5,
            false => value,
        }
    }

    fn text(&mut self) -> String {
        let odd = [
            "",
            "a",
            "key",
            "\0",
            "\"\\/\u{8}\u{c}\n\r\t\u{1f}\u{7f}",
            "é\u{2028}\u{2029}",
            "😀",
            "</script>",
        ];
        match self.below(8) {
            // Lengths around those at which the length's own encoding grows by a byte.
            0 => "x".repeat(120 + self.below(16)),
            1 => "y".repeat(16_370 + self.below(16)),
            2 => {
                let bytes: Vec<_> = (0..self.below(12)).map(|_| self.byte()).collect();
                String::from_utf8_lossy(&bytes).into_owned()
            }
            _ => self.one_of(&odd).to_owned(),
        }
    }

    fn time(&mut self) -> SystemTime {
        let odd = [
            UNIX_EPOCH,
            UNIX_EPOCH - Duration::from_secs(1),
            UNIX_EPOCH + Duration::from_nanos(1),
            UNIX_EPOCH + Duration::from_nanos(u64::MAX),
            // Later than the latest time of OTLP.
            UNIX_EPOCH + Duration::from_nanos(u64::MAX) + Duration::from_nanos(1),
        ];
        if self.bool() { self.one_of(&odd) } else { UNIX_EPOCH + Duration::from_nanos(self.bits()) }
    }

    fn many<T>(&mut self, most: usize, one: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| one(self)).collect()
    }

    fn value(&mut self) -> Value {
        let text = |source: &mut Self| StringValue::from(source.text());
        match self.below(8) {
            0 => Value::Bool(self.bool()),
            1 => Value::I64(self.number() as i64),
            2 => Value::F64(self.double()),
            3 => Value::String(text(self)),
            4 => Value::Array(Array::Bool(self.many(3, Self::bool))),
            5 => Value::Array(Array::I64(self.many(3, |source| source.number() as i64))),
            6 => Value::Array(Array::F64(self.many(3, Self::double))),
            _ => Value::Array(Array::String(self.many(3, text))),
        }
    }

    fn attributes(&mut self) -> Vec<KeyValue> {
        self.many(4, |source| KeyValue::new(source.text(), source.value()))
    }

    fn any_value(&mut self, depth: usize) -> AnyValue {
        match self.below(if depth < 4 { 7 } else { 5 }) {
            0 => AnyValue::Boolean(self.bool()),
            1 => AnyValue::Int(self.number() as i64),
            2 => AnyValue::Double(self.double()),
            3 => AnyValue::String(self.text().into()),
            4 => AnyValue::Bytes(Box::new(self.many(20, Self::byte))),
            5 => AnyValue::ListAny(Box::new(self.many(3, |source| source.any_value(depth + 1)))),
            _ => {
                let entry = |source: &mut Self| (source.text().into(), source.any_value(depth + 1));
                AnyValue::Map(Box::new(
                    self.many(3, entry).into_iter().collect::<HashMap<Key, _>>(),
                ))
            }
        }
    }

    pub(crate) fn resource(&mut self) -> Resource {
        let builder = Resource::builder_empty().with_attributes(self.attributes());
        match self.bool() {
            true => builder.with_schema_url([], self.text()).build(),
            false => builder.build(),
        }
    }

    /// Scopes, some of which differ in a single attribute.
    fn scopes(&mut self) -> [InstrumentationScope; 3] {
        let (name, attributes) = (self.text(), self.attributes());
        let scope =
            |attributes| InstrumentationScope::builder(name.clone()).with_attributes(attributes);
        let more = attributes.iter().cloned().chain([KeyValue::new("one more", self.value())]);
        [
            scope(attributes.clone()).build(),
            scope(more.collect()).with_version("1").build(),
            scope(attributes)
                .with_version("1")
                .with_schema_url(format!("-{}", self.text()))
                .build(),
        ]
    }

    fn span_context(&mut self) -> SpanContext {
        let trace_id = if self.bool() {
            TraceId::INVALID
        } else {
            TraceId::from(u128::from(self.bits()) << 32)
        };
        let state = match self.below(4) {
            0 => TraceState::from_key_value([("a", "b"), ("tenant@vendor", "1=2")]),
            1 => TraceState::from_key_value([("rojo", "00f067aa0ba902b7".repeat(16).as_str())]),
            _ => Ok(TraceState::NONE),
        };
        let (span_id, flags, is_remote) = (self.span_id(), self.byte(), self.bool());
        SpanContext::new(
            trace_id,
            span_id,
            TraceFlags::new(flags),
            is_remote,
            state.unwrap_or_default(),
        )
    }

    fn span_id(&mut self) -> SpanId {
        if self.bool() { SpanId::INVALID } else { SpanId::from(self.bits()) }
    }

    pub(crate) fn one_span(&mut self) -> SpanData {
        let [scope, ..] = self.scopes();
        self.span(scope)
    }

    pub(crate) fn spans(&mut self) -> Vec<SpanData> {
        let scopes = self.scopes();
        self.many(5, |source| {
            let scope = source.one_of(&scopes);
            source.span(scope)
        })
    }

    fn span(&mut self, instrumentation_scope: InstrumentationScope) -> SpanData {
        let mut events = SpanEvents::default();
        events.events = self.many(3, |source| {
            Event::new(source.text(), source.time(), source.attributes(), source.number() as u32)
        });
        events.dropped_count = self.number() as u32;
        let mut links = SpanLinks::default();
        links.links = self.many(2, |source| {
            Link::new(source.span_context(), source.attributes(), source.number() as u32)
        });
        links.dropped_count = self.number() as u32;
        SpanData {
            span_context: self.span_context(),
            parent_span_id: self.span_id(),
            parent_span_is_remote: self.bool(),
            span_kind: self.one_of(&[
                SpanKind::Client,
                SpanKind::Server,
                SpanKind::Producer,
                SpanKind::Consumer,
                SpanKind::Internal,
            ]),
            name: self.text().into(),
            start_time: self.time(),
            end_time: self.time(),
            attributes: self.attributes(),
            dropped_attributes_count: self.number() as u32,
            events,
            links,
            status: match self.below(3) {
                0 => Status::Unset,
                1 => Status::Ok,
                _ => Status::error(self.text()),
            },
            instrumentation_scope,
        }
    }

    pub(crate) fn records(&mut self) -> Vec<(SdkLogRecord, InstrumentationScope)> {
        let (logger, scopes) = (logger(), self.scopes());
        self.many(5, |source| (source.record(&logger), source.one_of(&scopes)))
    }

    fn record(&mut self, logger: &SdkLogger) -> SdkLogRecord {
        let mut record = logger.create_log_record();
        // Upstream panics without it.
        record.set_observed_timestamp(self.time());
        if self.bool() {
            record.set_timestamp(self.time());
        }
        if self.bool() {
            record.set_event_name(self.one_of(&["", "checkout"]));
        }
        if self.bool() {
            record.set_target(self.one_of(&["", "shop::checkout", "shop::cart"]));
        }
        if self.bool() {
            record.set_severity_number(self.one_of(&SEVERITIES));
            record.set_severity_text(self.one_of(&["", "WARN"]));
        }
        if self.bool() {
            record.set_body(self.any_value(0));
        }
        for _ in 0..self.below(8) {
            record.add_attribute(self.text(), self.any_value(0));
        }
        if self.bool() {
            let context = self.span_context();
            let flags = self.bool().then(|| context.trace_flags());
            record.set_trace_context(context.trace_id(), context.span_id(), flags);
        }
        record
    }

    /// Metrics as collected by a meter provider of the SDK.
    pub(crate) fn metrics(
        &mut self,
        resource: &Resource,
        collected: impl Fn(&ResourceMetrics) + Send + Sync + 'static,
    ) {
        let temporality = self.one_of(&[Temporality::Cumulative, Temporality::Delta]);
        let boundaries = self.many(5, |source| f64::from(source.byte()));
        let (max_size, record_min_max) = (2 + self.below(20) as u32, self.bool());
        let view = move |instrument: &Instrument| {
            let aggregation = match instrument.name() {
                name if name.starts_with("exponential") => Aggregation::Base2ExponentialHistogram {
                    max_size,
                    // With 20, the SDK's arithmetic overflows between the smallest and the largest double.
                    max_scale: 19,
                    record_min_max,
                },
                name if name.starts_with("explicit") => {
                    let mut boundaries = boundaries.clone();
                    boundaries.sort_by(f64::total_cmp);
                    boundaries.dedup();
                    Aggregation::ExplicitBucketHistogram { boundaries, record_min_max }
                }
                _ => return None,
            };
            Stream::builder().with_aggregation(aggregation).build().ok()
        };
        let provider = provider(temporality, collected).with_resource(resource.clone());
        let provider = provider.with_view(view).build();
        for scope in self.scopes() {
            let meter = provider.meter_with_scope(scope);
            for _ in 0..self.below(4) {
                self.record_with(&meter);
            }
        }
        let _ = provider.force_flush();
        let _ = provider.shutdown();
    }

    fn record_with(&mut self, meter: &opentelemetry::metrics::Meter) {
        let unit = self.one_of(&["", "By", "{request}"]);
        let description = self.text();
        let points = self.many(4, |source| (source.attributes(), source.number(), source.double()));
        /// Builds and uses any synchronous instrument; they share no trait.
        macro_rules! record {
            ($instrument:ident, $name:literal, $record:ident, $value:expr) => {{
                let builder = meter.$instrument($name);
                let instrument = builder.with_unit(unit).with_description(description).build();
                for (attributes, number, double) in &points {
                    let value = $value;
                    instrument.$record(value(*number, *double), attributes);
                }
            }};
        }
        match self.below(11) {
            0 => record!(u64_counter, "u64_counter", add, |number, _| number),
            1 => record!(f64_counter, "f64_counter", add, |_, double: f64| double.abs()),
            2 => record!(i64_up_down_counter, "i64_up_down", add, |number, _| number as i64),
            3 => record!(f64_up_down_counter, "f64_up_down", add, |_, double| double),
            4 => record!(u64_gauge, "u64_gauge", record, |number, _| number),
            5 => record!(i64_gauge, "i64_gauge", record, |number, _| number as i64),
            6 => record!(f64_gauge, "f64_gauge", record, |_, double| double),
            // Keeps the SDK's sum from overflowing.
            7 => record!(u64_histogram, "explicit_u64", record, |number, _| number >> 4),
            8 => record!(f64_histogram, "explicit_f64", record, |_, double| double),
            9 => record!(u64_histogram, "exponential_u64", record, |number, _| number >> 4),
            _ => record!(f64_histogram, "exponential_f64", record, |_, double| double),
        }
    }
}

pub(crate) fn logger() -> SdkLogger {
    SdkLoggerProvider::builder().build().logger("test")
}

/// A meter provider that collects when flushed.
pub(crate) fn provider(
    temporality: Temporality,
    collected: impl Fn(&ResourceMetrics) + Send + Sync + 'static,
) -> MeterProviderBuilder {
    let reader = PeriodicReader::builder(Collected { temporality, collected });
    SdkMeterProvider::builder().with_reader(reader.with_interval(Duration::MAX).build())
}

/// An exporter that passes each collection to a function.
struct Collected<F> {
    temporality: Temporality,
    collected: F,
}

impl<F> std::fmt::Debug for Collected<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Collected")
    }
}

impl<F: Fn(&ResourceMetrics) + Send + Sync + 'static> PushMetricExporter for Collected<F> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        (self.collected)(metrics);
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        self.temporality
    }
}
