//! otlp-mtls, configured by the environment.

mod work;

use work::{Signal, Work};

fn main() -> Result<(), otlp_mtls::Error> {
    // As a service has it.
    let _runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let work = Work::from_arguments();
    let exporters = otlp_mtls::Exporters::from_env()?;
    match work.signal {
        Signal::Traces => work.traces(exporters.span_exporter()?),
        Signal::Logs => work.logs(exporters.log_exporter()?),
        Signal::Metrics => work.metrics(exporters.metric_exporter()?),
    }
    Ok(())
}
