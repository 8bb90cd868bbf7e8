//! Tests of what we encode differently from upstream: [`super::upstream::DIFFERENCES`].

use std::sync::mpsc;
use std::time::{Duration, UNIX_EPOCH};

use opentelemetry::logs::{AnyValue, LogRecord, Logger};
use opentelemetry::metrics::MeterProvider;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::{metric, number_data_point};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::Temporality;
use prost::Message;

use super::data::{Source, logger, provider};
use super::{to_json, whole};
use crate::signal::Signal;

fn no_resource() -> Resource {
    Resource::builder_empty().build()
}

#[test]
fn a_time_after_2554_is_the_latest() {
    let mut span = Source::new(&[]).one_span();
    span.start_time = UNIX_EPOCH + Duration::from_secs(u64::MAX / 1_000_000_000 + 1);
    span.end_time = UNIX_EPOCH + Duration::from_secs(i64::MAX as u64);
    let request = whole::traces(&no_resource(), &[span]);
    let request = ExportTraceServiceRequest::decode(&*request).unwrap();
    let span = &request.resource_spans[0].scope_spans[0].spans[0];
    assert_eq!([span.start_time_unix_nano, span.end_time_unix_nano], [u64::MAX; 2]);
}

#[test]
fn an_unsigned_value_over_the_largest_signed_is_a_double() {
    let (sender, collected) = mpsc::channel();
    let provider = provider(Temporality::Cumulative, move |metrics| {
        let _ = sender.send(whole::metrics(metrics));
    })
    .build();
    let counter = provider.meter("test").u64_counter("counter").build();
    for value in [i64::MAX as u64, 1 << 63, u64::MAX] {
        counter.add(value, &[KeyValue::new("value", value.to_string())]);
    }
    provider.force_flush().unwrap();
    let request = ExportMetricsServiceRequest::decode(&*collected.recv().unwrap()).unwrap();
    let metric = &request.resource_metrics[0].scope_metrics[0].metrics[0];
    let Some(metric::Data::Sum(sum)) = &metric.data else { panic!("{metric:?}") };
    for point in &sum.data_points {
        let Some(Value::StringValue(added)) = &point.attributes[0].value.as_ref().unwrap().value
        else {
            panic!("{point:?}")
        };
        let expected = match added.parse::<u64>().unwrap() {
            value if value == i64::MAX as u64 => number_data_point::Value::AsInt(i64::MAX),
            value => number_data_point::Value::AsDouble(value as f64),
        };
        assert_eq!(point.value, Some(expected));
    }
    assert_eq!(sum.data_points.len(), 3);
}

#[test]
fn a_record_without_an_observed_time_is_encoded_without_one() {
    let records = [(logger().create_log_record(), InstrumentationScope::default())];
    let request = whole::logs(&no_resource(), &records);
    let request = ExportLogsServiceRequest::decode(&*request).unwrap();
    let record = &request.resource_logs[0].scope_logs[0].log_records[0];
    assert_eq!(record.observed_time_unix_nano, 0);
}

/// prost and the protobuf libraries of most languages decode at most 100 nested messages.
#[test]
fn values_are_nested_no_deeper_than_receivers_read() {
    for wrap in [
        |inner| AnyValue::ListAny(Box::new(vec![inner])),
        |inner| AnyValue::Map(Box::new([("key".into(), inner)].into())),
    ] {
        let depth = 200;
        let body = (0..depth).fold(AnyValue::Int(7), |inner, _| wrap(inner));
        let mut record = logger().create_log_record();
        record.set_body(body.clone());
        record.add_attribute("key", body);
        let request = whole::logs(&no_resource(), &[(record, InstrumentationScope::default())]);
        let request = ExportLogsServiceRequest::decode(&*request).unwrap();
        let record = &request.resource_logs[0].scope_logs[0].log_records[0];
        let mut value = record.body.as_ref().unwrap();
        let mut levels = 0;
        loop {
            value = match &value.value {
                Some(Value::ArrayValue(array)) => &array.values[0],
                Some(Value::KvlistValue(list)) => list.values[0].value.as_ref().unwrap(),
                other => break assert_eq!(*other, None),
            };
            levels += 1;
        }
        assert_eq!(levels, 31);
    }
}

#[test]
fn json_has_words_for_what_is_no_number_and_is_one_line() {
    let mut span = Source::new(&[]).one_span();
    span.attributes = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0]
        .map(|value| KeyValue::new("a\nkey", value))
        .into();
    let json = to_json(Signal::Traces, &whole::traces(&no_resource(), &[span]));
    let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
    let span = &parsed["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    let values: Vec<_> = span["attributes"].as_array().unwrap().iter().collect();
    let doubles: Vec<_> =
        values.iter().map(|value| value["value"]["doubleValue"].to_string()).collect();
    assert_eq!(doubles, ["\"NaN\"", "\"Infinity\"", "\"-Infinity\"", "-0.0"]);
    assert!(!json.contains(['\n', ' ']), "{json}");
}
