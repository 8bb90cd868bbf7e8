//! Traces.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{
    Extractor, Injector, TextMapCompositePropagator, TextMapPropagator,
};
use opentelemetry::{Context, global};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, TracerProviderBuilder,
};

#[cfg(feature = "b3")]
use super::b3::B3Propagator;
use super::counting::Counting;
use super::providers::Provider;
use super::{Setup, Telemetry};
use crate::config::{BatchSettings, Output, Propagator};
use crate::error::Error;
use crate::exporters::Exporters;
use crate::signal::Signal;

pub(super) fn provider(setup: &Setup<'_>) -> Result<Arc<dyn Provider>, Error> {
    let Setup { exporters, drain, resource, outputs } = setup;
    let sdk = exporters.sdk();
    let mut builder = SdkTracerProvider::builder()
        .with_resource(resource.clone())
        .with_sampler(sdk.sampler.clone())
        .with_span_limits(sdk.span_limits);
    for output in *outputs {
        builder = match output {
            Output::Otlp => {
                let exporter = exporters.span_exporter_for(drain)?;
                let BatchSettings { schedule_delay, max_queue_size, max_export_batch_size } =
                    sdk.batch_spans;
                let batch = BatchConfigBuilder::default()
                    .with_scheduled_delay(schedule_delay)
                    .with_max_queue_size(max_queue_size)
                    .with_max_export_batch_size(max_export_batch_size)
                    .build();
                let processor =
                    BatchSpanProcessor::builder(exporter).with_batch_config(batch).build();
                builder
                    .with_span_processor(Counting::new(processor, exporters.stats(Signal::Traces)?))
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
pub(super) fn set_propagator(exporters: &Exporters) {
    if let Some(given) = exporters.sdk().propagator.clone() {
        return global::set_text_map_propagator(Given(given));
    }
    let propagators = exporters.switches().propagators().iter();
    let propagators = propagators.map(|propagator| match propagator {
        Propagator::TraceContext => {
            Box::new(TraceContextPropagator::new()) as Box<dyn TextMapPropagator + Send + Sync>
        }
        Propagator::Baggage => Box::new(BaggagePropagator::new()),
        #[cfg(feature = "b3")]
        Propagator::B3 => Box::new(B3Propagator::single()),
        #[cfg(feature = "b3")]
        Propagator::B3Multi => Box::new(B3Propagator::multiple()),
    });
    global::set_text_map_propagator(TextMapCompositePropagator::new(propagators.collect()));
}

/// A propagator that the builder was given.
#[derive(Debug)]
struct Given(Arc<dyn TextMapPropagator + Send + Sync>);

impl TextMapPropagator for Given {
    fn inject_context(&self, context: &Context, injector: &mut dyn Injector) {
        self.0.inject_context(context, injector);
    }

    fn extract_with_context(&self, context: &Context, extractor: &dyn Extractor) -> Context {
        self.0.extract_with_context(context, extractor)
    }

    fn fields(&self) -> FieldIter<'_> {
        self.0.fields()
    }
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

    fn flush(&self) -> OTelSdkResult {
        self.force_flush()
    }

    fn shut_down(&self, timeout: Duration) -> OTelSdkResult {
        self.shutdown_with_timeout(timeout)
    }
}
