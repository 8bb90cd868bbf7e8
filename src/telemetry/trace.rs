//! The tracer provider and the propagators.

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
    BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, SimpleSpanProcessor, SpanExporter,
    TracerProviderBuilder,
};

#[cfg(feature = "b3")]
use super::b3::B3Propagator;
use super::counting::Counting;
use super::providers::Provider;
use super::{Setup, Telemetry};
use crate::config::{BatchSettings, OutputTarget, Processor, Propagator};
use crate::error::Error;
use crate::exporters::Exporters;
use crate::signal::Signal;

pub(super) fn provider(setup: &Setup<'_>) -> Result<Arc<dyn Provider>, Error> {
    let Setup { exporters, drain, resource, outputs, .. } = setup;
    let sdk = exporters.sdk();
    let mut builder = SdkTracerProvider::builder()
        .with_resource(resource.clone())
        .with_sampler(sdk.sampler.clone())
        .with_span_limits(sdk.span_limits);
    for output in *outputs {
        let batch = match &output.processor {
            Processor::Batch(own) => Some(sdk.batch_spans.or(own)),
            Processor::Simple | Processor::Periodic(_) => None,
        };
        builder = match output.target {
            OutputTarget::Otlp => {
                let capacity = batch.map(|batch| batch.max_queue_size);
                let queue = setup.queue(Signal::Traces, capacity)?;
                let exporter = exporters.span_exporter_for(drain, Some(Arc::clone(&queue)))?;
                match batch {
                    Some(batch) => {
                        builder.with_span_processor(Counting::new(batched(exporter, batch), queue))
                    }
                    None => builder.with_span_processor(Counting::new(
                        SimpleSpanProcessor::new(exporter),
                        queue,
                    )),
                }
            }
            OutputTarget::Console => console(builder, batch),
        };
    }
    Ok(Arc::new(builder.build()))
}

fn batched<E: SpanExporter + 'static>(exporter: E, settings: BatchSettings) -> BatchSpanProcessor {
    let BatchSettings { schedule_delay, max_queue_size, max_export_batch_size } = settings;
    let batch = BatchConfigBuilder::default()
        .with_scheduled_delay(schedule_delay)
        .with_max_queue_size(max_queue_size)
        .with_max_export_batch_size(max_export_batch_size)
        .build();
    BatchSpanProcessor::builder(exporter).with_batch_config(batch).build()
}

#[cfg(feature = "console")]
fn console(builder: TracerProviderBuilder, batch: Option<BatchSettings>) -> TracerProviderBuilder {
    let exporter = opentelemetry_stdout::SpanExporter::default();
    match batch {
        Some(batch) => builder.with_span_processor(batched(exporter, batch)),
        None => builder.with_simple_exporter(exporter),
    }
}

/// Unreachable: `console` was rejected earlier.
#[cfg(not(feature = "console"))]
fn console(builder: TracerProviderBuilder, _batch: Option<BatchSettings>) -> TracerProviderBuilder {
    builder
}

/// Sets the global propagator, also for a service that records no spans. An empty list sets one that does
/// nothing.
pub(super) fn set_propagator(exporters: &Exporters) {
    if let Some(given) = exporters.sdk().propagator.clone() {
        return global::set_text_map_propagator(GivenPropagator(given));
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

/// A propagator given to the builder.
#[derive(Debug)]
struct GivenPropagator(Arc<dyn TextMapPropagator + Send + Sync>);

impl TextMapPropagator for GivenPropagator {
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
    /// The tracer provider, which is also OpenTelemetry's global one. `None` if traces are off.
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
