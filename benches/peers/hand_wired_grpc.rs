//! opentelemetry-otlp on tonic.

mod tonic_tls;
mod work;

use std::error::Error;

use opentelemetry_otlp::{LogExporter, MetricExporter, SpanExporter};
use tonic_tls::with_tls;
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
