//! Spans.

use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::SpanData;

use super::lane::Lane;
use crate::otlp::Spans;

/// Exports spans, for a span processor of the SDK. Several exports may run at once.
#[derive(Debug)]
pub struct SpanExporter {
    lane: Lane,
    resource: Resource,
}

impl SpanExporter {
    pub(crate) fn new(lane: Lane) -> Self {
        Self { lane, resource: Resource::builder_empty().build() }
    }
}

impl opentelemetry_sdk::trace::SpanExporter for SpanExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.lane.export(&Spans { resource: &self.resource, spans: &batch }).await
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        self.lane.shut_down()
    }

    /// The exporter buffers nothing.
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.clone();
    }
}
