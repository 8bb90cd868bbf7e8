//! opentelemetry-otlp on tonic: TLS, wired as its documentation says.

use std::error::Error;
use std::fs;

use opentelemetry_otlp::WithTonicConfig;
use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig, Identity};

/// It reads endpoint, timeout and compression from the environment, and of certificates nothing.
pub(crate) fn with_tls<B: WithTonicConfig>(builder: B) -> Result<B, Box<dyn Error>> {
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
