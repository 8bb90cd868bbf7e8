//! Log records.

use std::time::Duration;

use opentelemetry::logs::Severity;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::LogBatch;

use super::client::Client;
use crate::error::Error;

/// Exports log records, for a log processor of the SDK.
#[derive(Debug)]
pub struct LogExporter {
    upstream: opentelemetry_otlp::LogExporter,
    client: Client,
}

impl LogExporter {
    pub(crate) fn new(client: Client) -> Result<Self, Error> {
        let builder = opentelemetry_otlp::LogExporter::builder().with_http();
        let upstream = client.configure(builder).build().map_err(|error| client.error(error))?;
        Ok(Self { upstream, client })
    }
}

impl opentelemetry_sdk::logs::LogExporter for LogExporter {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let items = batch.iter().count() as u64;
        self.client.count(items, self.upstream.export(batch)).await
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        self.client.shut_down()
    }

    fn event_enabled(&self, level: Severity, target: &str, name: Option<&str>) -> bool {
        self.upstream.event_enabled(level, target, name)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.upstream.set_resource(resource);
    }
}
