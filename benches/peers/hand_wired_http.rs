//! opentelemetry-otlp on reqwest's blocking client; with the last argument `http1`, without HTTP/2.

mod reqwest_tls;
mod work;

use std::error::Error;

use opentelemetry_otlp::{LogExporter, MetricExporter, SpanExporter};
use reqwest_tls::{client, with};
use work::{Signal, Work};

fn main() -> Result<(), Box<dyn Error>> {
    // As a service has it.
    let _runtime = tokio::runtime::Runtime::new()?;
    let work = Work::from_arguments();
    let mut client = client()?;
    if std::env::args().next_back().as_deref() == Some("http1") {
        client = client.http1_only();
    }
    let client = client.build()?;
    match work.signal {
        Signal::Traces => work.traces(with(client, SpanExporter::builder().with_http()).build()?),
        Signal::Logs => work.logs(with(client, LogExporter::builder().with_http()).build()?),
        Signal::Metrics => {
            work.metrics(with(client, MetricExporter::builder().with_http()).build()?);
        }
    }
    Ok(())
}
