//! A service whose telemetry otlp-mtls sends.

mod service;

use std::error::Error;
use std::time::Duration;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let telemetry = otlp_mtls::init()?;
    service::emit(telemetry.logger_provider().ok_or("logs are off")?);
    telemetry.shutdown(Duration::from_secs(5))?;
    service::finish();
    Ok(())
}
