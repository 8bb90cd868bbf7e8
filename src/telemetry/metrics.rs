//! Metrics.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::global;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::{
    Aggregation, Instrument, InstrumentKind, SdkMeterProvider, Stream,
};

use super::{Provider, Telemetry};
use crate::config::HistogramAggregation;
use crate::error::Error;
use crate::exporter::Delivery;
use crate::exporters::Exporters;
use crate::signal::Signal;

pub(super) fn install(
    exporters: &Exporters,
    delivery: &Arc<Delivery>,
) -> Result<Arc<dyn Provider>, Error> {
    let builder = SdkMeterProvider::builder()
        .with_periodic_exporter(exporters.metric_exporter_for(delivery)?)
        .with_resource(exporters.resource());
    let builder = match exporters.histogram_aggregation() {
        HistogramAggregation::ExplicitBucket => builder,
        HistogramAggregation::Base2ExponentialBucket => builder.with_view(exponential),
    };
    let provider = builder.build();
    global::set_meter_provider(provider.clone());
    Ok(Arc::new(provider))
}

/// The [specification's default](https://opentelemetry.io/docs/specs/otel/metrics/sdk/#base2-exponential-bucket-histogram-aggregation):
/// 160 buckets, and the finest scale.
fn exponential(instrument: &Instrument) -> Option<Stream> {
    if instrument.kind() != InstrumentKind::Histogram {
        return None;
    }
    let aggregation = Aggregation::Base2ExponentialHistogram {
        max_size: 160,
        max_scale: 20,
        record_min_max: true,
    };
    // The aggregation is valid, which is all that could be wrong with the stream.
    Stream::builder().with_aggregation(aggregation).build().ok()
}

impl Telemetry {
    /// The meter provider, which is also OpenTelemetry's global one.
    pub fn meter_provider(&self) -> Option<&SdkMeterProvider> {
        self.provider()
    }
}

impl Provider for SdkMeterProvider {
    fn signal(&self) -> Signal {
        Signal::Metrics
    }

    fn shut_down(&self, timeout: Duration) -> OTelSdkResult {
        self.shutdown_with_timeout(timeout)
    }
}
