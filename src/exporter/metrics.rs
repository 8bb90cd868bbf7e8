//! Metrics.

use std::time::Duration;

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;

use super::client::Client;
use crate::error::Error;

/// Exports metrics, for a periodic reader of the SDK.
#[derive(Debug)]
pub struct MetricExporter {
    upstream: opentelemetry_otlp::MetricExporter,
    client: Client,
}

impl MetricExporter {
    pub(crate) fn new(client: Client, temporality: Temporality) -> Result<Self, Error> {
        let builder =
            opentelemetry_otlp::MetricExporter::builder().with_http().with_temporality(temporality);
        let upstream = client.configure(builder).build().map_err(|error| client.error(error))?;
        Ok(Self { upstream, client })
    }
}

impl PushMetricExporter for MetricExporter {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.client.count(points(metrics), self.upstream.export(metrics)).await
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.upstream.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.client.shut_down()?;
        self.upstream.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.upstream.temporality()
    }
}

/// The number of metric points.
fn points(metrics: &ResourceMetrics) -> u64 {
    fn count<T>(data: &MetricData<T>) -> usize {
        match data {
            MetricData::Gauge(gauge) => gauge.data_points().count(),
            MetricData::Sum(sum) => sum.data_points().count(),
            MetricData::Histogram(histogram) => histogram.data_points().count(),
            MetricData::ExponentialHistogram(histogram) => histogram.data_points().count(),
        }
    }
    let metrics = metrics.scope_metrics().flat_map(|scope| scope.metrics());
    let points = metrics.map(|metric| match metric.data() {
        AggregatedMetrics::F64(data) => count(data),
        AggregatedMetrics::U64(data) => count(data),
        AggregatedMetrics::I64(data) => count(data),
    });
    points.sum::<usize>() as u64
}
