//! opentelemetry-otlp on tonic, wired as its documentation says.

mod work;

use std::error::Error;
use std::fs;

use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig, Identity};
use opentelemetry_otlp::{SpanExporter, WithTonicConfig};

fn main() -> Result<(), Box<dyn Error>> {
    // tonic's channel looks for the runtime when it is made.
    let runtime = tokio::runtime::Runtime::new()?;
    let _context = runtime.enter();
    // It reads endpoint and timeout from the environment, and of certificates nothing.
    let mut builder = SpanExporter::builder().with_tonic();
    if let Ok(ca) = std::env::var("OTEL_EXPORTER_OTLP_CERTIFICATE") {
        let certificate = fs::read(std::env::var("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE")?)?;
        let key = fs::read(std::env::var("OTEL_EXPORTER_OTLP_CLIENT_KEY")?)?;
        builder = builder.with_tls_config(
            ClientTlsConfig::new()
                .ca_certificate(Certificate::from_pem(fs::read(ca)?))
                .identity(Identity::from_pem(certificate, key)),
        );
    }
    work::run(builder.build()?);
    Ok(())
}
