//! What a Collector reads in an export of each signal: every field and every kind of value.

use std::time::{Duration, SystemTime};

use futures_executor::block_on;
use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::{
    Event, Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Array, InstrumentationScope, KeyValue, Value as Attribute};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{LogBatch, LogExporter as _, SdkLoggerProvider};
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use serde_json::{Value, json};

use super::Deployment;
use crate::support::PROTOCOLS;

fn resource() -> Resource {
    let service = KeyValue::new("service.name", "checkout");
    Resource::builder_empty().with_schema_url([service], "https://example.com/resource").build()
}

fn resource_json() -> Value {
    json!({"attributes": [{"key": "service.name", "value": {"stringValue": "checkout"}}]})
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("a scope")
        .with_version("1.2")
        .with_schema_url("https://example.com/scope")
        .with_attributes([KeyValue::new("of", "scope")])
        .build()
}

fn scope_json() -> Value {
    json!({
        "name": "a scope",
        "version": "1.2",
        "attributes": [{"key": "of", "value": {"stringValue": "scope"}}],
    })
}

fn attributes() -> Vec<KeyValue> {
    vec![
        KeyValue::new("string", "\u{1f680} \"quoted\"\n"),
        KeyValue::new("empty", ""),
        KeyValue::new("bool", true),
        KeyValue::new("int", i64::MIN),
        KeyValue::new("double", -0.5),
        KeyValue::new("strings", Attribute::Array(Array::String(vec!["a".into(), "b".into()]))),
        KeyValue::new("bools", Attribute::Array(Array::Bool(vec![true, false]))),
        KeyValue::new("ints", Attribute::Array(Array::I64(vec![0, i64::MAX]))),
        KeyValue::new("doubles", Attribute::Array(Array::F64(vec![0.25, 1e300]))),
    ]
}

fn attributes_json() -> Value {
    json!([
        {"key": "string", "value": {"stringValue": "\u{1f680} \"quoted\"\n"}},
        {"key": "empty", "value": {"stringValue": ""}},
        {"key": "bool", "value": {"boolValue": true}},
        {"key": "int", "value": {"intValue": "-9223372036854775808"}},
        {"key": "double", "value": {"doubleValue": -0.5}},
        {"key": "strings", "value": {"arrayValue": {"values": [
            {"stringValue": "a"}, {"stringValue": "b"},
        ]}}},
        {"key": "bools", "value": {"arrayValue": {"values": [
            {"boolValue": true}, {"boolValue": false},
        ]}}},
        {"key": "ints", "value": {"arrayValue": {"values": [
            {"intValue": "0"}, {"intValue": "9223372036854775807"},
        ]}}},
        {"key": "doubles", "value": {"arrayValue": {"values": [
            {"doubleValue": 0.25}, {"doubleValue": 1e300},
        ]}}},
    ])
}

/// A second of the year 2026.
fn second(nth: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600 + nth)
}

fn second_json(nth: u64) -> String {
    format!("{}000000000", 1_767_225_600 + nth)
}

fn context(id: u8, state: &[(&str, &str)]) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes([id; 16]),
        SpanId::from_bytes([id; 8]),
        TraceFlags::SAMPLED,
        false,
        TraceState::from_key_value(state.iter().copied()).unwrap(),
    )
}

fn span() -> SpanData {
    let mut events = SpanEvents::default();
    events.events.push(Event::new("an event", second(2), attributes(), 4));
    events.dropped_count = 5;
    let mut links = SpanLinks::default();
    links.links.push(Link::new(context(3, &[]), attributes(), 6));
    links.dropped_count = 7;
    SpanData {
        span_context: context(1, &[("vendor", "state")]),
        parent_span_id: SpanId::from_bytes([2; 8]),
        parent_span_is_remote: true,
        span_kind: SpanKind::Server,
        name: "GET /".into(),
        start_time: second(1),
        end_time: second(3),
        attributes: attributes(),
        dropped_attributes_count: 8,
        events,
        links,
        status: Status::error("it failed"),
        instrumentation_scope: scope(),
    }
}

#[test]
fn a_collector_reads_each_field_of_a_span() {
    let Some(deployment) = Deployment::start(&[]) else { return };
    for protocol in PROTOCOLS {
        let exporters = deployment.builder(protocol).build().unwrap();
        let mut exporter = exporters.span_exporter().unwrap();
        exporter.set_resource(&resource());
        block_on(exporter.export(vec![span()])).unwrap();
        let expected = json!({"resourceSpans": [{
            "resource": resource_json(),
            "schemaUrl": "https://example.com/resource",
            "scopeSpans": [{
                "scope": scope_json(),
                "schemaUrl": "https://example.com/scope",
                "spans": [{
                    "traceId": "01".repeat(16),
                    "spanId": "01".repeat(8),
                    "traceState": "vendor=state",
                    "parentSpanId": "02".repeat(8),
                    // Sampled; it is known whether the parent is remote; it is.
                    "flags": 0x301,
                    "name": "GET /",
                    "kind": 2,
                    "startTimeUnixNano": second_json(1),
                    "endTimeUnixNano": second_json(3),
                    "attributes": attributes_json(),
                    "droppedAttributesCount": 8,
                    "events": [{
                        "timeUnixNano": second_json(2),
                        "name": "an event",
                        "attributes": attributes_json(),
                        "droppedAttributesCount": 4,
                    }],
                    "droppedEventsCount": 5,
                    "links": [{
                        "traceId": "03".repeat(16),
                        "spanId": "03".repeat(8),
                        "attributes": attributes_json(),
                        "droppedAttributesCount": 6,
                        "flags": 0x101,
                    }],
                    "droppedLinksCount": 7,
                    "status": {"message": "it failed", "code": 2},
                }],
            }],
        }]});
        assert_eq!(deployment.collector.exports().last(), Some(&expected), "{protocol}");
    }
}

#[test]
fn a_collector_reads_each_field_of_a_log_record() {
    let Some(deployment) = Deployment::start(&[]) else { return };
    for protocol in PROTOCOLS {
        let exporters = deployment.builder(protocol).build().unwrap();
        let mut exporter = exporters.log_exporter().unwrap();
        exporter.set_resource(&resource());
        let provider = SdkLoggerProvider::builder().build();
        let mut record = provider.logger("").create_log_record();
        record.set_timestamp(second(1));
        record.set_observed_timestamp(second(2));
        record.set_severity_number(Severity::Warn2);
        record.set_severity_text("warning");
        record.set_event_name("an.event");
        record.set_trace_context(
            TraceId::from_bytes([1; 16]),
            SpanId::from_bytes([2; 8]),
            Some(TraceFlags::SAMPLED),
        );
        let list = vec![AnyValue::Int(1), AnyValue::Bytes(Box::new(vec![0, 255]))];
        record.add_attribute("list", AnyValue::ListAny(Box::new(list)));
        let map = [("a key".into(), AnyValue::Double(0.5))];
        record.set_body(AnyValue::Map(Box::new(map.into_iter().collect())));
        block_on(exporter.export(LogBatch::new(&[(&record, &scope())]))).unwrap();
        let expected = json!({"resourceLogs": [{
            "resource": resource_json(),
            "schemaUrl": "https://example.com/resource",
            "scopeLogs": [{
                "scope": scope_json(),
                "schemaUrl": "https://example.com/scope",
                "logRecords": [{
                    "timeUnixNano": second_json(1),
                    "observedTimeUnixNano": second_json(2),
                    "severityNumber": 14,
                    "severityText": "warning",
                    "body": {"kvlistValue": {"values": [
                        {"key": "a key", "value": {"doubleValue": 0.5}},
                    ]}},
                    "attributes": [{"key": "list", "value": {"arrayValue": {"values": [
                        {"intValue": "1"}, {"bytesValue": "AP8="},
                    ]}}}],
                    "flags": 1,
                    "traceId": "01".repeat(16),
                    "spanId": "02".repeat(8),
                    "eventName": "an.event",
                }],
            }],
        }]});
        assert_eq!(deployment.collector.exports().last(), Some(&expected), "{protocol}");
    }
}

/// The times are the SDK's, and not compared.
#[test]
fn a_collector_reads_each_kind_of_metric() {
    let Some(deployment) = Deployment::start(&[]) else { return };
    for protocol in PROTOCOLS {
        let exporters = deployment.builder(protocol).build().unwrap();
        let reader = PeriodicReader::builder(exporters.metric_exporter().unwrap())
            .with_interval(Duration::from_secs(3600))
            .build();
        let provider =
            SdkMeterProvider::builder().with_resource(resource()).with_reader(reader).build();
        let meter = provider.meter_with_scope(scope());
        let attribute = [KeyValue::new("a", "b")];
        let counter = meter.u64_counter("counter").with_unit("By").with_description("sums up");
        counter.build().add(3, &attribute);
        meter.i64_up_down_counter("up_down").build().add(-3, &attribute);
        meter.f64_gauge("gauge").build().record(0.5, &attribute);
        let histogram = meter.f64_histogram("histogram").with_boundaries(vec![1.25, 2.5]).build();
        [0.5, 1.5, 9.5].into_iter().for_each(|value| histogram.record(value, &attribute));
        provider.force_flush().unwrap();

        let mut received = deployment.collector.exports().pop().unwrap();
        let metrics = &mut received["resourceMetrics"][0]["scopeMetrics"][0]["metrics"];
        let metrics = metrics.as_array_mut().unwrap();
        metrics.sort_by_key(|metric| metric["name"].to_string());
        for point in metrics.iter_mut().flat_map(|metric| {
            let metric = metric.as_object_mut().unwrap();
            metric.values_mut().filter_map(|data| data.get_mut("dataPoints"))
        }) {
            let point = point[0].as_object_mut().unwrap();
            for time in ["startTimeUnixNano", "timeUnixNano"] {
                assert_ne!(point.remove(time), Some(json!("0")));
            }
        }
        let attributes = json!([{"key": "a", "value": {"stringValue": "b"}}]);
        let expected = json!({"resourceMetrics": [{
            "resource": resource_json(),
            "schemaUrl": "https://example.com/resource",
            "scopeMetrics": [{
                "scope": scope_json(),
                "schemaUrl": "https://example.com/scope",
                "metrics": [
                    {"name": "counter", "description": "sums up", "unit": "By", "sum": {
                        "dataPoints": [{"attributes": attributes, "asInt": "3"}],
                        "aggregationTemporality": 2,
                        "isMonotonic": true,
                    }},
                    {"name": "gauge", "gauge": {
                        "dataPoints": [{"attributes": attributes, "asDouble": 0.5}],
                    }},
                    {"name": "histogram", "histogram": {
                        "dataPoints": [{
                            "attributes": attributes,
                            "count": "3",
                            "sum": 11.5,
                            "bucketCounts": ["1", "1", "1"],
                            "explicitBounds": [1.25, 2.5],
                            "min": 0.5,
                            "max": 9.5,
                        }],
                        "aggregationTemporality": 2,
                    }},
                    {"name": "up_down", "sum": {
                        "dataPoints": [{"attributes": attributes, "asInt": "-3"}],
                        "aggregationTemporality": 2,
                    }},
                ],
            }],
        }]});
        assert_eq!(received, expected, "{protocol}");
    }
}
