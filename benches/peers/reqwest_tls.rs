//! opentelemetry-otlp on reqwest's blocking client, which is its default, wired as its documentation
//! says.

use std::error::Error;
use std::fs;

use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use reqwest::blocking::{Client, ClientBuilder};
use reqwest::{Certificate, Identity};

/// It reads endpoint, timeout and compression from the environment, and of certificates nothing.
pub(crate) fn with<B: WithExportConfig + WithHttpConfig>(client: Client, builder: B) -> B {
    builder.with_protocol(Protocol::HttpBinary).with_http_client(client)
}

pub(crate) fn client() -> Result<ClientBuilder, Box<dyn Error>> {
    let client = Client::builder();
    Ok(match tls()? {
        Some((ca, identity)) => client.tls_certs_only([ca]).identity(identity),
        None => client,
    })
}

fn tls() -> Result<Option<(Certificate, Identity)>, Box<dyn Error>> {
    let Ok(ca) = std::env::var("OTEL_EXPORTER_OTLP_CERTIFICATE") else {
        return Ok(None);
    };
    let mut identity = fs::read(std::env::var("OTEL_EXPORTER_OTLP_CLIENT_KEY")?)?;
    identity.extend(fs::read(std::env::var("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE")?)?);
    Ok(Some((Certificate::from_pem(&fs::read(ca)?)?, Identity::from_pem(&identity)?)))
}
