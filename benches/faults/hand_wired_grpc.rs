//! A service with opentelemetry-otlp on tonic.

mod load;
#[path = "../peers/tonic_tls.rs"]
mod tonic_tls;

use std::error::Error;

use load::Load;
use opentelemetry_otlp::SpanExporter;
use tonic_tls::with_tls;

fn main() -> Result<(), Box<dyn Error>> {
    let load = Load::start()?;
    let _context = load.enter();
    load.run(with_tls(SpanExporter::builder().with_tonic())?.build()?);
    Ok(())
}
