//! Log records.

use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::LogBatch;

use super::lane::Lane;
use crate::otlp::Logs;

/// Exports log records, for a log processor of the SDK. Several exports may run at once.
#[derive(Debug)]
pub struct LogExporter {
    lane: Lane,
    resource: Resource,
}

impl LogExporter {
    pub(crate) fn new(lane: Lane) -> Self {
        Self { lane, resource: Resource::builder_empty().build() }
    }
}

impl opentelemetry_sdk::logs::LogExporter for LogExporter {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        self.lane.export(&Logs::new(&self.resource, &batch)).await
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        self.lane.shut_down()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.clone();
    }
}
