//! Spans.

use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::SpanData;

use super::client::Client;
use crate::error::Error;

/// Exports spans, for a span processor of the SDK.
#[derive(Debug)]
pub struct SpanExporter {
    upstream: opentelemetry_otlp::SpanExporter,
    client: Client,
}

impl SpanExporter {
    pub(crate) fn new(client: Client) -> Result<Self, Error> {
        let builder = opentelemetry_otlp::SpanExporter::builder().with_http();
        let upstream = client.configure(builder).build().map_err(|error| client.error(error))?;
        Ok(Self { upstream, client })
    }
}

impl opentelemetry_sdk::trace::SpanExporter for SpanExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let items = batch.len() as u64;
        self.client.count(items, self.upstream.export(batch)).await
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        self.client.shut_down()
    }

    /// Nothing is held back that could be flushed.
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.upstream.set_resource(resource);
    }
}
