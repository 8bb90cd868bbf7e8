//! A service whose telemetry opentelemetry-otlp sends, wired as its documentation says.

mod service;

use std::error::Error;
use std::{env, fs};

use opentelemetry::global;
use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig, Identity};
use opentelemetry_otlp::{LogExporter, MetricExporter, SpanExporter, WithTonicConfig};
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let tls = tls()?;
    let spans = SpanExporter::builder().with_tonic().with_tls_config(tls.clone()).build()?;
    let tracers = SdkTracerProvider::builder().with_batch_exporter(spans).build();
    let metrics = MetricExporter::builder().with_tonic().with_tls_config(tls.clone()).build()?;
    let meters = SdkMeterProvider::builder().with_periodic_exporter(metrics).build();
    let logs = LogExporter::builder().with_tonic().with_tls_config(tls).build()?;
    let loggers = SdkLoggerProvider::builder().with_batch_exporter(logs).build();
    global::set_tracer_provider(tracers.clone());
    global::set_meter_provider(meters.clone());

    service::emit(&loggers);

    tracers.shutdown()?;
    meters.shutdown()?;
    loggers.shutdown()?;
    service::finish();
    Ok(())
}

fn tls() -> Result<ClientTlsConfig, Box<dyn Error>> {
    let file = |variable| Ok::<_, Box<dyn Error>>(fs::read(env::var(variable)?)?);
    let ca = file("OTEL_EXPORTER_OTLP_CERTIFICATE")?;
    let certificate = file("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE")?;
    let key = file("OTEL_EXPORTER_OTLP_CLIENT_KEY")?;
    Ok(ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(ca))
        .identity(Identity::from_pem(certificate, key)))
}
