//! opentelemetry-otlp on tonic, wired as its documentation says.

mod work;

use std::error::Error;
use std::fs;

use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig, Identity};
use opentelemetry_otlp::{LogExporter, MetricExporter, SpanExporter, WithTonicConfig};
use work::{Signal, Work};

fn main() -> Result<(), Box<dyn Error>> {
    // tonic's channel looks for the runtime when it is made.
    let runtime = tokio::runtime::Runtime::new()?;
    let _context = runtime.enter();
    let work = Work::from_arguments();
    match work.signal {
        Signal::Traces => work.traces(with_tls(SpanExporter::builder().with_tonic())?.build()?),
        Signal::Logs => work.logs(with_tls(LogExporter::builder().with_tonic())?.build()?),
        Signal::Metrics => work.metrics(with_tls(MetricExporter::builder().with_tonic())?.build()?),
    }
    Ok(())
}

/// It reads endpoint, timeout and compression from the environment, and of certificates nothing.
fn with_tls<B: WithTonicConfig>(builder: B) -> Result<B, Box<dyn Error>> {
    let Ok(ca) = std::env::var("OTEL_EXPORTER_OTLP_CERTIFICATE") else {
        return Ok(builder);
    };
    let certificate = fs::read(std::env::var("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE")?)?;
    let key = fs::read(std::env::var("OTEL_EXPORTER_OTLP_CLIENT_KEY")?)?;
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(fs::read(ca)?))
        .identity(Identity::from_pem(certificate, key));
    Ok(builder.with_tls_config(tls))
}
