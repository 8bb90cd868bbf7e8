//! Logs.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::SdkLoggerProvider;

use super::{Provider, Telemetry};
use crate::error::Error;
use crate::exporter::Delivery;
use crate::exporters::Exporters;
use crate::signal::Signal;

pub(super) fn install(
    exporters: &Exporters,
    delivery: &Arc<Delivery>,
) -> Result<Arc<dyn Provider>, Error> {
    let provider = SdkLoggerProvider::builder()
        .with_batch_exporter(exporters.log_exporter_for(delivery)?)
        .with_resource(exporters.resource())
        .build();
    Ok(Arc::new(provider))
}

impl Telemetry {
    /// The logger provider, for a bridge such as `opentelemetry-appender-tracing`: OpenTelemetry
    /// has no global one.
    pub fn logger_provider(&self) -> Option<&SdkLoggerProvider> {
        self.provider()
    }
}

impl Provider for SdkLoggerProvider {
    fn signal(&self) -> Signal {
        Signal::Logs
    }

    fn shut_down(&self, timeout: Duration) -> OTelSdkResult {
        self.shutdown_with_timeout(timeout)
    }
}
