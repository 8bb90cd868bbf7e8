//! Says whether telemetry would be delivered, and if not, why: `cargo run --example doctor`.
//!
//! It reads the environment as a service does, prints the report, and exits with 1 if a signal would
//! not be delivered. Copied into an image beside a service, it answers from where the service runs.

use std::process::ExitCode;

use otlp_mtls::Exporters;

fn main() -> ExitCode {
    let report = match Exporters::from_env() {
        Ok(exporters) => exporters.check_blocking(),
        Err(error) => {
            println!("no exporters: {error:?}");
            return ExitCode::FAILURE;
        }
    };
    println!("{report}");
    if report.is_delivered() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
