//! A service with otlp-mtls, configured by the environment.

mod load;

use std::error::Error;

use load::{Load, SHUTDOWN};

fn main() -> Result<(), Box<dyn Error>> {
    let load = Load::start()?;
    let telemetry = otlp_mtls::init()?;
    let exporters = telemetry.exporters().expect("the SDK is on").clone();
    let emitted = load.emit(telemetry.tracer_provider().expect("traces are on"));
    if let Err(error) = telemetry.shutdown(SHUTDOWN) {
        eprintln!("{error}");
    }
    let status = exporters.status();
    let lost = status.exports.iter().map(|traces| traces.dropped + traces.rejected + traces.queued);
    load::print(emitted, lost.sum());
    Ok(())
}
