//! Exporters for providers that a service builds itself.
//!
//! If `OTEL_EXPORTER_OTLP_ENDPOINT` is set, it exports to that collector, for instance that of
//! `examples/collector`; otherwise to one in this process.

use std::error::Error;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{Span, Tracer, TracerProvider};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use otlp_mtls::testing::{Collector, Fixture, Pki};
use otlp_mtls::{Exporters, Pem, Providers};

fn main() -> Result<(), Box<dyn Error>> {
    match std::env::var_os("OTEL_EXPORTER_OTLP_ENDPOINT") {
        Some(endpoint) => {
            work(&Exporters::from_env()?)?;
            println!("exported a span and a metric point to {}", endpoint.display());
        }
        None => {
            let pki = Pki::new();
            let collector = Collector::builder().with_tls(pki.server(Fixture::Good)).start()?;
            let exporters = Exporters::builder()
                .with_endpoint(collector.endpoint())
                .with_ca_certificate(Pem::bytes(pki.ca_pem()))
                .build()?;
            work(&exporters)?;
            let (spans, points) = (collector.spans().len(), collector.metric_points());
            println!("the collector received {spans} span and {points} metric points");
        }
    }
    Ok(())
}

fn work(exporters: &Exporters) -> Result<(), Box<dyn Error>> {
    let resource = Resource::builder()
        .with_service_name("own-providers")
        .with_attribute(KeyValue::new("team", "blue"))
        .build();
    let traces = SdkTracerProvider::builder()
        .with_sampler(Sampler::AlwaysOn)
        .with_resource(resource.clone())
        .with_batch_exporter(exporters.span_exporter()?)
        .build();
    let metrics = SdkMeterProvider::builder()
        .with_resource(resource)
        .with_periodic_exporter(exporters.metric_exporter()?)
        .build();
    // Such as certificate expiry.
    exporters.register_metrics(&metrics);

    traces.tracer("own_providers").start("work").end();
    metrics.meter("own_providers").u64_counter("work").build().add(1, &[]);

    // Concurrently and within one timeout. The SDK's own shutdown reports success even if the last batch was
    // lost.
    let providers = Providers::new().with_tracer_provider(&traces).with_meter_provider(&metrics);
    exporters.shutdown(providers, Duration::from_secs(5))?;
    Ok(())
}
