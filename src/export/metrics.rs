//! Metrics.

use std::time::Duration;

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;

use super::lane::Lane;
use crate::otlp::Metrics;

/// Exports metrics, for a periodic reader of the SDK. Several exports may run at once.
#[derive(Debug)]
pub struct MetricExporter {
    lane: Lane,
    temporality: Temporality,
}

impl MetricExporter {
    pub(crate) fn new(lane: Lane, temporality: Temporality) -> Self {
        Self { lane, temporality }
    }
}

impl PushMetricExporter for MetricExporter {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.lane.export(&Metrics(metrics)).await
    }

    /// The exporter buffers nothing.
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        self.lane.shut_down()
    }

    fn temporality(&self) -> Temporality {
        self.temporality
    }
}
