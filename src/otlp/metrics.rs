//! Encodes metrics.

use std::ops::Range;

use opentelemetry::KeyValue;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::{
    AggregatedMetrics, ExponentialBucket, ExponentialHistogramDataPoint, HistogramDataPoint,
    Metric, MetricData, ResourceMetrics, ScopeMetrics,
};

use super::common::{Items, Scope, attributes, resource, unix_nanos};
use super::schema::{
    buckets, exponential_histogram, exponential_histogram_data_point as exponential_point,
    export_metrics_service_request, gauge, histogram, histogram_data_point as histogram_point,
    metric, number_data_point as number_point, resource_metrics, scope_metrics, sum,
};
use super::wire::{LONG, MEDIUM, SHORT, Writer};

/// A batch whose items are data points.
#[derive(Debug)]
pub(crate) struct Metrics<'a>(pub(crate) &'a ResourceMetrics);

impl Items for Metrics<'_> {
    fn len(&self) -> usize {
        self.0.scope_metrics().map(points_of_scope).sum()
    }

    fn own(&self, items: Range<usize>) -> usize {
        let mut window = Window(items);
        let scopes = self.0.scope_metrics().map(|scope| {
            let points = window.take(points_of_scope(scope)).len();
            if scope.scope().name() == env!("CARGO_PKG_NAME") { points } else { 0 }
        });
        scopes.sum()
    }

    fn write(&self, items: Range<usize>, writer: &mut Writer) {
        let mut window = Window(items);
        writer.message(export_metrics_service_request::RESOURCE_METRICS, LONG, |writer| {
            let resource = self.0.resource();
            self::resource(writer, resource_metrics::RESOURCE, resource);
            for scope_metrics in self.0.scope_metrics() {
                if window.has_some_of(points_of_scope(scope_metrics)) {
                    writer.message(resource_metrics::SCOPE_METRICS, LONG, |writer| {
                        self::scope_metrics(writer, scope_metrics, &mut window);
                    });
                } else {
                    window.take(points_of_scope(scope_metrics));
                }
            }
            let schema_url = resource.schema_url().unwrap_or_default();
            writer.string(resource_metrics::SCHEMA_URL, schema_url);
        });
    }
}

/// The range of data points to write, relative to the current position.
struct Window(Range<usize>);

impl Window {
    /// Whether any of the next `count` points is to be written.
    fn has_some_of(&self, count: usize) -> bool {
        self.0.start < count && !self.0.is_empty()
    }

    /// Advances past the next `count` points. Returns which of them are to be written.
    fn take(&mut self, count: usize) -> Range<usize> {
        let Range { start, end } = self.0;
        self.0 = start.saturating_sub(count)..end.saturating_sub(count);
        start.min(count)..end.min(count)
    }
}

fn points_of_scope(scope: &ScopeMetrics) -> usize {
    scope.metrics().map(points_of).sum()
}

fn points_of(metric: &Metric) -> usize {
    fn count<T>(data: &MetricData<T>) -> usize {
        match data {
            MetricData::Gauge(gauge) => gauge.data_points().count(),
            MetricData::Sum(sum) => sum.data_points().count(),
            MetricData::Histogram(histogram) => histogram.data_points().count(),
            MetricData::ExponentialHistogram(histogram) => histogram.data_points().count(),
        }
    }
    match metric.data() {
        AggregatedMetrics::F64(data) => count(data),
        AggregatedMetrics::U64(data) => count(data),
        AggregatedMetrics::I64(data) => count(data),
    }
}

fn scope_metrics(writer: &mut Writer, metrics: &ScopeMetrics, window: &mut Window) {
    let scope = Scope::new(metrics.scope());
    scope.write(writer, scope_metrics::SCOPE);
    for metric in metrics.metrics() {
        let points = window.take(points_of(metric));
        if points.is_empty() {
            continue;
        }
        writer.message(scope_metrics::METRICS, MEDIUM, |writer| {
            writer.string(metric::NAME, metric.name());
            writer.string(metric::DESCRIPTION, metric.description());
            writer.string(metric::UNIT, metric.unit());
            match metric.data() {
                AggregatedMetrics::F64(data) => self::data(writer, data, points),
                AggregatedMetrics::U64(data) => self::data(writer, data, points),
                AggregatedMetrics::I64(data) => self::data(writer, data, points),
            }
        });
    }
    writer.string(scope_metrics::SCHEMA_URL, scope.schema_url());
}

/// Writes a range of one metric's points.
fn data<T: Number>(writer: &mut Writer, data: &MetricData<T>, points: Range<usize>) {
    let (first, count) = (points.start, points.len());
    match data {
        MetricData::Gauge(gauge) => writer.message(metric::GAUGE, MEDIUM, |writer| {
            let time = Time {
                start: gauge.start_time().map_or(0, unix_nanos),
                end: unix_nanos(gauge.time()),
            };
            for point in gauge.data_points().skip(first).take(count) {
                writer.message(gauge::DATA_POINTS, SHORT, |writer| {
                    number_point(writer, time, point.value(), point.attributes());
                });
            }
        }),
        MetricData::Sum(sum) => writer.message(metric::SUM, MEDIUM, |writer| {
            let time = Time { start: unix_nanos(sum.start_time()), end: unix_nanos(sum.time()) };
            for point in sum.data_points().skip(first).take(count) {
                writer.message(sum::DATA_POINTS, SHORT, |writer| {
                    number_point(writer, time, point.value(), point.attributes());
                });
            }
            writer.uint(sum::AGGREGATION_TEMPORALITY, temporality(sum.temporality()));
            writer.uint(sum::IS_MONOTONIC, sum.is_monotonic().into());
        }),
        MetricData::Histogram(histogram) => writer.message(metric::HISTOGRAM, MEDIUM, |writer| {
            let time = Time {
                start: unix_nanos(histogram.start_time()),
                end: unix_nanos(histogram.time()),
            };
            for point in histogram.data_points().skip(first).take(count) {
                writer.message(histogram::DATA_POINTS, MEDIUM, |writer| {
                    histogram_point(writer, time, point);
                });
            }
            let temporality = temporality(histogram.temporality());
            writer.uint(histogram::AGGREGATION_TEMPORALITY, temporality);
        }),
        MetricData::ExponentialHistogram(histogram) => {
            writer.message(metric::EXPONENTIAL_HISTOGRAM, MEDIUM, |writer| {
                let time = Time {
                    start: unix_nanos(histogram.start_time()),
                    end: unix_nanos(histogram.time()),
                };
                for point in histogram.data_points().skip(first).take(count) {
                    writer.message(exponential_histogram::DATA_POINTS, MEDIUM, |writer| {
                        exponential_point(writer, time, point);
                    });
                }
                let temporality = temporality(histogram.temporality());
                writer.uint(exponential_histogram::AGGREGATION_TEMPORALITY, temporality);
            });
        }
    }
}

/// The time that a metric's points cover, in nanoseconds since 1970.
#[derive(Clone, Copy)]
struct Time {
    start: u64,
    end: u64,
}

fn number_point<'a, T: Number>(
    writer: &mut Writer,
    time: Time,
    value: T,
    attributes: impl Iterator<Item = &'a KeyValue>,
) {
    writer.fixed64(number_point::START_TIME_UNIX_NANO, time.start);
    writer.fixed64(number_point::TIME_UNIX_NANO, time.end);
    value.write(writer);
    self::attributes(writer, number_point::ATTRIBUTES, attributes);
}

fn histogram_point<T: Number>(writer: &mut Writer, time: Time, point: &HistogramDataPoint<T>) {
    writer.fixed64(histogram_point::START_TIME_UNIX_NANO, time.start);
    writer.fixed64(histogram_point::TIME_UNIX_NANO, time.end);
    writer.fixed64(histogram_point::COUNT, point.count());
    writer.double(histogram_point::SUM, point.sum().to_f64());
    writer.packed(histogram_point::BUCKET_COUNTS, point.bucket_counts(), Writer::raw_fixed64);
    writer.packed(histogram_point::EXPLICIT_BOUNDS, point.bounds(), Writer::raw_double);
    attributes(writer, histogram_point::ATTRIBUTES, point.attributes());
    if let Some(min) = point.min() {
        writer.double(histogram_point::MIN, min.to_f64());
    }
    if let Some(max) = point.max() {
        writer.double(histogram_point::MAX, max.to_f64());
    }
}

fn exponential_point<T: Number>(
    writer: &mut Writer,
    time: Time,
    point: &ExponentialHistogramDataPoint<T>,
) {
    attributes(writer, exponential_point::ATTRIBUTES, point.attributes());
    writer.fixed64(exponential_point::START_TIME_UNIX_NANO, time.start);
    writer.fixed64(exponential_point::TIME_UNIX_NANO, time.end);
    writer.fixed64(exponential_point::COUNT, point.count() as u64);
    writer.double(exponential_point::SUM, point.sum().to_f64());
    writer.sint(exponential_point::SCALE, point.scale().into());
    writer.fixed64(exponential_point::ZERO_COUNT, point.zero_count());
    buckets(writer, exponential_point::POSITIVE, point.positive_bucket());
    buckets(writer, exponential_point::NEGATIVE, point.negative_bucket());
    if let Some(min) = point.min() {
        writer.double(exponential_point::MIN, min.to_f64());
    }
    if let Some(max) = point.max() {
        writer.double(exponential_point::MAX, max.to_f64());
    }
    if point.zero_threshold() != 0.0 {
        writer.double(exponential_point::ZERO_THRESHOLD, point.zero_threshold());
    }
}

fn buckets(writer: &mut Writer, field: u32, buckets: &ExponentialBucket) {
    writer.message(field, SHORT, |writer| {
        writer.sint(buckets::OFFSET, buckets.offset());
        writer.packed(buckets::BUCKET_COUNTS, buckets.counts(), Writer::raw_varint);
    });
}

fn temporality(temporality: Temporality) -> u64 {
    match temporality {
        Temporality::Delta => 1,
        _ => 2,
    }
}

trait Number: Copy {
    /// Writes the value of a point.
    fn write(self, writer: &mut Writer);

    /// The value as written in sums and extremes of histograms.
    fn to_f64(self) -> f64;
}

impl Number for f64 {
    fn write(self, writer: &mut Writer) {
        writer.double(number_point::AS_DOUBLE, self);
    }

    fn to_f64(self) -> f64 {
        self
    }
}

impl Number for i64 {
    fn write(self, writer: &mut Writer) {
        writer.sfixed64(number_point::AS_INT, self);
    }

    fn to_f64(self) -> f64 {
        self as f64
    }
}

/// OTLP's integers are signed. A larger value is sent as the nearest `double`.
impl Number for u64 {
    fn write(self, writer: &mut Writer) {
        match i64::try_from(self) {
            Ok(value) => value.write(writer),
            Err(_) => self.to_f64().write(writer),
        }
    }

    fn to_f64(self) -> f64 {
        self as f64
    }
}
