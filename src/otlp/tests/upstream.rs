//! Encodes the same data by opentelemetry-proto, and corrects what it gets wrong: [`DIFFERENCES`].

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::InstrumentationScope;
use opentelemetry::logs::LogRecord;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point;
use opentelemetry_proto::transform::logs::tonic::group_logs_by_resource_and_scope;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{LogBatch, SdkLogRecord};
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::trace::SpanData;
use prost::Message;

/// Where our encoding differs from that of opentelemetry-proto 0.33. Each row has a test.
#[allow(dead_code)] // For readers only.
pub(crate) const DIFFERENCES: &[(&str, &str, &str)] = &[
    ("what", "opentelemetry-proto", "here"),
    ("a time after the year 2554", "the low 64 bits", "the latest time that OTLP has"),
    ("an unsigned value over i64::MAX", "0", "the nearest double"),
    ("a log record without an observed time", "a panic", "no observed time, as OTLP allows"),
    ("values nested deeper than receivers read", "sent, and the batch refused", "no value there"),
    ("NaN and the infinities in JSON", "null", "\"NaN\", \"Infinity\", \"-Infinity\""),
    ("JSON", "indented", "on one line"),
];

/// Clamps to the latest time of OTLP.
fn representable(time: SystemTime) -> SystemTime {
    time.min(UNIX_EPOCH + Duration::from_nanos(u64::MAX))
}

pub(crate) fn traces(resource: &Resource, spans: &[SpanData]) -> ExportTraceServiceRequest {
    let mut spans = spans.to_vec();
    for span in &mut spans {
        span.start_time = representable(span.start_time);
        span.end_time = representable(span.end_time);
        for event in &mut span.events.events {
            event.timestamp = representable(event.timestamp);
        }
    }
    let resource_spans = group_spans_by_resource_and_scope(spans, &resource.into());
    ExportTraceServiceRequest { resource_spans }
}

pub(crate) fn logs(
    resource: &Resource,
    records: &[(SdkLogRecord, InstrumentationScope)],
) -> ExportLogsServiceRequest {
    let mut records = records.to_vec();
    for (record, _) in &mut records {
        if let Some(time) = record.timestamp() {
            record.set_timestamp(representable(time));
        }
        let observed = record.observed_timestamp().unwrap_or(UNIX_EPOCH);
        record.set_observed_timestamp(representable(observed));
    }
    let borrowed: Vec<_> = records.iter().map(|(record, scope)| (record, scope)).collect();
    let batch = LogBatch::new(&borrowed);
    let resource_logs = group_logs_by_resource_and_scope(&batch, &resource.into());
    ExportLogsServiceRequest { resource_logs }
}

pub(crate) fn metrics(metrics: &ResourceMetrics) -> ExportMetricsServiceRequest {
    let mut request = ExportMetricsServiceRequest::from(metrics);
    let sdk = metrics.scope_metrics().flat_map(|scope| scope.metrics());
    let scopes =
        request.resource_metrics.iter_mut().flat_map(|resource| &mut resource.scope_metrics);
    for (sdk, metric) in sdk.zip(scopes.flat_map(|scope| &mut scope.metrics)) {
        let AggregatedMetrics::U64(sdk) = sdk.data() else { continue };
        let values: Vec<_> = match sdk {
            MetricData::Gauge(gauge) => gauge.data_points().map(|point| point.value()).collect(),
            MetricData::Sum(sum) => sum.data_points().map(|point| point.value()).collect(),
            MetricData::Histogram(_) | MetricData::ExponentialHistogram(_) => continue,
        };
        let points = match &mut metric.data {
            Some(Data::Gauge(gauge)) => &mut gauge.data_points,
            Some(Data::Sum(sum)) => &mut sum.data_points,
            _ => continue,
        };
        for (value, point) in values.into_iter().zip(points) {
            if value > i64::MAX as u64 {
                point.value = Some(number_data_point::Value::AsDouble(value as f64));
            }
        }
    }
    request
}

/// A message in canonical form, in which messages can be compared even if they contain NaN.
pub(crate) trait Canonical: Message {
    fn canonical(self) -> Vec<u8>;
}

impl Canonical for ExportTraceServiceRequest {
    fn canonical(self) -> Vec<u8> {
        self.encode_to_vec()
    }
}

impl Canonical for ExportMetricsServiceRequest {
    fn canonical(self) -> Vec<u8> {
        self.encode_to_vec()
    }
}

/// Sorted: upstream emits scopes in the order of a hash map.
impl Canonical for ExportLogsServiceRequest {
    fn canonical(mut self) -> Vec<u8> {
        for resource in &mut self.resource_logs {
            resource.scope_logs.sort_by_key(|scope| {
                let first = scope.log_records.first().map(Message::encode_to_vec);
                (scope.scope.as_ref().map(Message::encode_to_vec), scope.schema_url.clone(), first)
            });
        }
        self.encode_to_vec()
    }
}
