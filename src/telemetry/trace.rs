//! Traces.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::global;
use opentelemetry::propagation::TextMapCompositePropagator;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};
use opentelemetry_sdk::trace::SdkTracerProvider;

use super::{Provider, Telemetry};
use crate::error::Error;
use crate::exporter::Delivery;
use crate::exporters::Exporters;
use crate::signal::Signal;

pub(super) fn install(
    exporters: &Exporters,
    delivery: &Arc<Delivery>,
) -> Result<Arc<dyn Provider>, Error> {
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporters.span_exporter_for(delivery)?)
        .with_resource(exporters.resource())
        .build();
    global::set_tracer_provider(provider.clone());
    global::set_text_map_propagator(TextMapCompositePropagator::new(vec![
        Box::new(TraceContextPropagator::new()),
        Box::new(BaggagePropagator::new()),
    ]));
    Ok(Arc::new(provider))
}

impl Telemetry {
    /// The tracer provider, which is also OpenTelemetry's global one.
    pub fn tracer_provider(&self) -> Option<&SdkTracerProvider> {
        self.provider()
    }
}

impl Provider for SdkTracerProvider {
    fn signal(&self) -> Signal {
        Signal::Traces
    }

    fn shut_down(&self, timeout: Duration) -> OTelSdkResult {
        self.shutdown_with_timeout(timeout)
    }
}
