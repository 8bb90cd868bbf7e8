//! opentelemetry-otlp on reqwest's blocking client, which is its default, wired as its documentation
//! says; with the last argument `http1`, without HTTP/2.

mod work;

use std::error::Error;
use std::fs;

use opentelemetry_otlp::{
    LogExporter, MetricExporter, Protocol, SpanExporter, WithExportConfig, WithHttpConfig,
};
use reqwest::blocking::Client;
use reqwest::{Certificate, Identity};
use work::{Signal, Work};

fn main() -> Result<(), Box<dyn Error>> {
    // As a service has it.
    let _runtime = tokio::runtime::Runtime::new()?;
    let work = Work::from_arguments();
    let client = client()?;
    match work.signal {
        Signal::Traces => work.traces(with(client, SpanExporter::builder().with_http()).build()?),
        Signal::Logs => work.logs(with(client, LogExporter::builder().with_http()).build()?),
        Signal::Metrics => {
            work.metrics(with(client, MetricExporter::builder().with_http()).build()?);
        }
    }
    Ok(())
}

/// It reads endpoint, timeout and compression from the environment, and of certificates nothing.
fn with<B: WithExportConfig + WithHttpConfig>(client: Client, builder: B) -> B {
    builder.with_protocol(Protocol::HttpBinary).with_http_client(client)
}

fn client() -> Result<Client, Box<dyn Error>> {
    let mut client = Client::builder();
    if let Some((ca, identity)) = tls()? {
        client = client.tls_certs_only([ca]).identity(identity);
    }
    if std::env::args().next_back().as_deref() == Some("http1") {
        client = client.http1_only();
    }
    Ok(client.build()?)
}

fn tls() -> Result<Option<(Certificate, Identity)>, Box<dyn Error>> {
    let Ok(ca) = std::env::var("OTEL_EXPORTER_OTLP_CERTIFICATE") else {
        return Ok(None);
    };
    let mut identity = fs::read(std::env::var("OTEL_EXPORTER_OTLP_CLIENT_KEY")?)?;
    identity.extend(fs::read(std::env::var("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE")?)?);
    Ok(Some((Certificate::from_pem(&fs::read(ca)?)?, Identity::from_pem(&identity)?)))
}
