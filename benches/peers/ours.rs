//! otlp-mtls, configured by the environment.

mod work;

fn main() -> Result<(), otlp_mtls::Error> {
    // As a service has it.
    let _runtime = tokio::runtime::Runtime::new().expect("a runtime");
    work::run(otlp_mtls::Exporters::from_env()?.span_exporter()?);
    Ok(())
}
