//! The meter provider.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::global;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{
    Aggregation, Instrument, InstrumentKind, MeterProviderBuilder, PeriodicReader,
    SdkMeterProvider, Stream,
};

use super::providers::Provider;
use super::{Setup, Telemetry};
use crate::config::{HistogramAggregation, Output, OutputTarget, Processor};
use crate::error::Error;
use crate::signal::Signal;

/// The default of
/// [`OTEL_METRIC_EXPORT_INTERVAL`](https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#periodic-exporting-metricreader).
const INTERVAL: Duration = Duration::from_secs(60);

/// The default [of the console
/// exporter](https://opentelemetry.io/docs/specs/otel/metrics/sdk_exporters/stdout/).
const CONSOLE_INTERVAL: Duration = Duration::from_secs(10);

pub(super) fn provider(setup: &Setup<'_>) -> Result<Arc<dyn Provider>, Error> {
    let Setup { exporters, drain, resource, outputs, .. } = setup;
    let mut builder = SdkMeterProvider::builder().with_resource(resource.clone());
    for output in *outputs {
        let interval = interval(output, exporters.sdk().metric_interval);
        builder = match output.target {
            OutputTarget::Otlp => {
                let exporter = exporters.metric_exporter_for(drain)?;
                builder.with_reader(reader(exporter, interval))
            }
            OutputTarget::Console => console(builder, interval),
        };
    }
    let builder = match exporters.histogram_aggregation() {
        HistogramAggregation::ExplicitBucket => builder,
        HistogramAggregation::Base2ExponentialBucket => builder.with_view(exponential),
    };
    let provider = builder.build();
    exporters.register_metrics(&provider);
    Ok(Arc::new(provider))
}

/// The interval of one output: its own, that of all outputs, or the default.
fn interval(output: &Output, general: Option<Duration>) -> Duration {
    let own = match output.processor {
        Processor::Periodic(own) => own,
        Processor::Simple | Processor::Batch(_) => None,
    };
    own.or(general).unwrap_or(match output.target {
        OutputTarget::Otlp => INTERVAL,
        OutputTarget::Console => CONSOLE_INTERVAL,
    })
}

fn reader<E: PushMetricExporter>(exporter: E, interval: Duration) -> PeriodicReader<E> {
    PeriodicReader::builder(exporter).with_interval(interval).build()
}

#[cfg(feature = "console")]
fn console(builder: MeterProviderBuilder, interval: Duration) -> MeterProviderBuilder {
    let exporter = opentelemetry_stdout::MetricExporter::default();
    builder.with_reader(reader(exporter, interval))
}

/// Unreachable: `console` was rejected earlier.
#[cfg(not(feature = "console"))]
fn console(builder: MeterProviderBuilder, _interval: Duration) -> MeterProviderBuilder {
    builder
}

/// The [specification's
/// default](https://opentelemetry.io/docs/specs/otel/metrics/sdk/#base2-exponential-bucket-histogram-aggregation):
/// 160 buckets and the finest scale.
fn exponential(instrument: &Instrument) -> Option<Stream> {
    if instrument.kind() != InstrumentKind::Histogram {
        return None;
    }
    let aggregation = Aggregation::Base2ExponentialHistogram {
        max_size: 160,
        max_scale: 20,
        record_min_max: true,
    };
    // Cannot fail: `build` validates only the aggregation, which is valid.
    Stream::builder().with_aggregation(aggregation).build().ok()
}

impl Telemetry {
    /// The meter provider, which is also OpenTelemetry's global one. `None` if metrics are off.
    pub fn meter_provider(&self) -> Option<&SdkMeterProvider> {
        self.provider()
    }
}

impl Provider for SdkMeterProvider {
    fn signal(&self) -> Signal {
        Signal::Metrics
    }

    fn set_global(&self) {
        global::set_meter_provider(self.clone());
    }

    fn flush(&self) -> OTelSdkResult {
        self.force_flush()
    }

    fn shut_down(&self, timeout: Duration) -> OTelSdkResult {
        self.shutdown_with_timeout(timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_has_another_default_interval() {
        for (target, own, general, expected) in [
            (OutputTarget::Otlp, None, None, 60),
            (OutputTarget::Console, None, None, 10),
            (OutputTarget::Otlp, None, Some(7), 7),
            (OutputTarget::Console, None, Some(7), 7),
            (OutputTarget::Otlp, Some(3), Some(7), 3),
            (OutputTarget::Console, Some(3), None, 3),
        ] {
            let output =
                Output { target, processor: Processor::Periodic(own.map(Duration::from_secs)) };
            let interval = interval(&output, general.map(Duration::from_secs));
            assert_eq!(interval, Duration::from_secs(expected), "{target:?} {own:?} {general:?}");
        }
    }
}
