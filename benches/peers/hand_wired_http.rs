//! opentelemetry-otlp on reqwest's blocking client, which is its default, wired as its documentation
//! says; with the argument `http1`, without HTTP/2.

mod work;

use std::error::Error;
use std::fs;

use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use reqwest::blocking::Client;
use reqwest::{Certificate, Identity};

fn main() -> Result<(), Box<dyn Error>> {
    // As a service has it.
    let _runtime = tokio::runtime::Runtime::new()?;
    let mut client = Client::builder();
    if let Some((ca, identity)) = tls()? {
        client = client.tls_certs_only([ca]).identity(identity);
    }
    if std::env::args().nth(1).as_deref() == Some("http1") {
        client = client.http1_only();
    }
    // It reads endpoint and timeout from the environment, and of certificates nothing.
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_http_client(client.build()?)
        .build()?;
    work::run(exporter);
    Ok(())
}

fn tls() -> Result<Option<(Certificate, Identity)>, Box<dyn Error>> {
    let Ok(ca) = std::env::var("OTEL_EXPORTER_OTLP_CERTIFICATE") else {
        return Ok(None);
    };
    let mut identity = fs::read(std::env::var("OTEL_EXPORTER_OTLP_CLIENT_KEY")?)?;
    identity.extend(fs::read(std::env::var("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE")?)?);
    Ok(Some((Certificate::from_pem(&fs::read(ca)?)?, Identity::from_pem(&identity)?)))
}
