//! The logger provider.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{
    BatchConfigBuilder, BatchLogProcessor, LogExporter, LoggerProviderBuilder, SdkLoggerProvider,
    SimpleLogProcessor,
};

use super::counting::Counting;
use super::providers::Provider;
use super::{Setup, Telemetry};
use crate::config::{BatchSettings, OutputTarget, Processor};
use crate::error::Error;
use crate::signal::Signal;

pub(super) fn provider(setup: &Setup<'_>) -> Result<Arc<dyn Provider>, Error> {
    let Setup { exporters, drain, resource, outputs, .. } = setup;
    let mut builder = SdkLoggerProvider::builder().with_resource(resource.clone());
    for output in *outputs {
        let batch = match &output.processor {
            Processor::Batch(own) => Some(exporters.sdk().batch_logs.or(own)),
            Processor::Simple | Processor::Periodic(_) => None,
        };
        builder = match output.target {
            OutputTarget::Otlp => {
                let capacity = batch.map(|batch| batch.max_queue_size);
                let queue = setup.queue(Signal::Logs, capacity)?;
                let exporter = exporters.log_exporter_for(drain, Some(Arc::clone(&queue)))?;
                match batch {
                    Some(batch) => {
                        builder.with_log_processor(Counting::new(batched(exporter, batch), queue))
                    }
                    None => builder.with_log_processor(Counting::new(
                        SimpleLogProcessor::new(exporter),
                        queue,
                    )),
                }
            }
            OutputTarget::Console => console(builder, batch),
        };
    }
    Ok(Arc::new(builder.build()))
}

fn batched<E: LogExporter + 'static>(exporter: E, settings: BatchSettings) -> BatchLogProcessor {
    let BatchSettings { schedule_delay, max_queue_size, max_export_batch_size } = settings;
    let batch = BatchConfigBuilder::default()
        .with_scheduled_delay(schedule_delay)
        .with_max_queue_size(max_queue_size)
        .with_max_export_batch_size(max_export_batch_size)
        .build();
    BatchLogProcessor::builder(exporter).with_batch_config(batch).build()
}

#[cfg(feature = "console")]
fn console(builder: LoggerProviderBuilder, batch: Option<BatchSettings>) -> LoggerProviderBuilder {
    let exporter = opentelemetry_stdout::LogExporter::default();
    match batch {
        Some(batch) => builder.with_log_processor(batched(exporter, batch)),
        None => builder.with_simple_exporter(exporter),
    }
}

/// Unreachable: `console` was rejected earlier.
#[cfg(not(feature = "console"))]
fn console(builder: LoggerProviderBuilder, _batch: Option<BatchSettings>) -> LoggerProviderBuilder {
    builder
}

impl Telemetry {
    /// The logger provider, for a bridge such as `opentelemetry-appender-tracing`. OpenTelemetry has no global
    /// one. `None` if logs are off.
    pub fn logger_provider(&self) -> Option<&SdkLoggerProvider> {
        self.provider()
    }
}

impl Provider for SdkLoggerProvider {
    fn signal(&self) -> Signal {
        Signal::Logs
    }

    /// OpenTelemetry has no global logger provider.
    fn set_global(&self) {}

    fn flush(&self) -> OTelSdkResult {
        self.force_flush()
    }

    fn shut_down(&self, timeout: Duration) -> OTelSdkResult {
        self.shutdown_with_timeout(timeout)
    }
}
