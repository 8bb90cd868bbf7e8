//! Traces.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::global;
use opentelemetry::propagation::{TextMapCompositePropagator, TextMapPropagator};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};
use opentelemetry_sdk::trace::{BatchSpanProcessor, SdkTracerProvider, TracerProviderBuilder};

use super::counting::Counting;
use super::{Provider, Setup, Telemetry};
use crate::config::{Output, Propagator};
use crate::error::Error;
use crate::signal::Signal;

pub(super) fn provider(setup: &Setup<'_>) -> Result<Arc<dyn Provider>, Error> {
    let Setup { exporters, delivery, resource, outputs } = setup;
    let mut builder = SdkTracerProvider::builder().with_resource(resource.clone());
    for output in *outputs {
        builder = match output {
            Output::Otlp => {
                let exporter = exporters.span_exporter_for(delivery)?;
                let processor = BatchSpanProcessor::builder(exporter).build();
                builder.with_span_processor(Counting::new(
                    processor,
                    exporters.ledger(Signal::Traces)?,
                ))
            }
            Output::Console => console(builder),
        };
    }
    Ok(Arc::new(builder.build()))
}

/// [One by one](https://opentelemetry.io/docs/specs/otel/trace/sdk_exporters/stdout/), as they end.
#[cfg(feature = "console")]
fn console(builder: TracerProviderBuilder) -> TracerProviderBuilder {
    builder.with_simple_exporter(opentelemetry_stdout::SpanExporter::default())
}

/// Refused before.
#[cfg(not(feature = "console"))]
fn console(builder: TracerProviderBuilder) -> TracerProviderBuilder {
    builder
}

/// Sets the global propagator, which is also there for a service that has no spans of its own. None
/// at all is one that does nothing.
pub(super) fn set_propagators(propagators: &[Propagator]) {
    let propagators = propagators.iter().map(|propagator| match propagator {
        Propagator::TraceContext => {
            Box::new(TraceContextPropagator::new()) as Box<dyn TextMapPropagator + Send + Sync>
        }
        Propagator::Baggage => Box::new(BaggagePropagator::new()),
    });
    global::set_text_map_propagator(TextMapCompositePropagator::new(propagators.collect()));
}

impl Telemetry {
    /// The tracer provider, which is also OpenTelemetry's global one; `None` if traces are off.
    pub fn tracer_provider(&self) -> Option<&SdkTracerProvider> {
        self.provider()
    }
}

impl Provider for SdkTracerProvider {
    fn signal(&self) -> Signal {
        Signal::Traces
    }

    fn set_global(&self) {
        global::set_tracer_provider(self.clone());
    }

    fn shut_down(&self, timeout: Duration) -> OTelSdkResult {
        self.shutdown_with_timeout(timeout)
    }
}
