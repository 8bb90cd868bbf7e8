//! Logs.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{
    BatchConfigBuilder, BatchLogProcessor, LoggerProviderBuilder, SdkLoggerProvider,
};

use super::counting::Counting;
use super::providers::Provider;
use super::{Setup, Telemetry};
use crate::config::{BatchSettings, Output};
use crate::error::Error;
use crate::signal::Signal;

pub(super) fn provider(setup: &Setup<'_>) -> Result<Arc<dyn Provider>, Error> {
    let Setup { exporters, drain, resource, outputs } = setup;
    let mut builder = SdkLoggerProvider::builder().with_resource(resource.clone());
    for output in *outputs {
        builder = match output {
            Output::Otlp => {
                let exporter = exporters.log_exporter_for(drain)?;
                let BatchSettings { schedule_delay, max_queue_size, max_export_batch_size } =
                    exporters.sdk().batch_logs;
                let batch = BatchConfigBuilder::default()
                    .with_scheduled_delay(schedule_delay)
                    .with_max_queue_size(max_queue_size)
                    .with_max_export_batch_size(max_export_batch_size)
                    .build();
                let processor =
                    BatchLogProcessor::builder(exporter).with_batch_config(batch).build();
                builder.with_log_processor(Counting::new(processor, exporters.stats(Signal::Logs)?))
            }
            Output::Console => console(builder),
        };
    }
    Ok(Arc::new(builder.build()))
}

/// [One by one](https://opentelemetry.io/docs/specs/otel/logs/sdk_exporters/stdout/), as they come.
#[cfg(feature = "console")]
fn console(builder: LoggerProviderBuilder) -> LoggerProviderBuilder {
    builder.with_simple_exporter(opentelemetry_stdout::LogExporter::default())
}

/// Refused before.
#[cfg(not(feature = "console"))]
fn console(builder: LoggerProviderBuilder) -> LoggerProviderBuilder {
    builder
}

impl Telemetry {
    /// The logger provider, for a bridge such as `opentelemetry-appender-tracing`: OpenTelemetry
    /// has no global one. `None` if logs are off.
    pub fn logger_provider(&self) -> Option<&SdkLoggerProvider> {
        self.provider()
    }
}

impl Provider for SdkLoggerProvider {
    fn signal(&self) -> Signal {
        Signal::Logs
    }

    /// There is none.
    fn set_global(&self) {}

    fn flush(&self) -> OTelSdkResult {
        self.force_flush()
    }

    fn shut_down(&self, timeout: Duration) -> OTelSdkResult {
        self.shutdown_with_timeout(timeout)
    }
}
