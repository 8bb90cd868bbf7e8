//! A service with opentelemetry-otlp on reqwest's blocking client.

mod load;
#[path = "../peers/reqwest_tls.rs"]
mod reqwest_tls;

use std::error::Error;

use load::Load;
use opentelemetry_otlp::SpanExporter;
use reqwest_tls::{client, with};

fn main() -> Result<(), Box<dyn Error>> {
    let client = client()?.build()?;
    let load = Load::start()?;
    load.run(with(client, SpanExporter::builder().with_http()).build()?);
    Ok(())
}
