//! The builder: settings in code override the environment.
//!
//! `cargo run --example builder` starts a collector that requires mutual TLS, and exports to it.

use std::error::Error;
use std::time::Duration;

use opentelemetry::global;
use opentelemetry::trace::{Span, Tracer};
use otlp_mtls::testing::{Collector, Fixture, Pki};
use otlp_mtls::{Exporters, Pem, Protocol, RetryPolicy, Signal, TlsVersion};

fn main() -> Result<(), Box<dyn Error>> {
    let (pki, directory) = (Pki::new(), tempfile::tempdir()?);
    let collector = Collector::builder()
        .with_tls(pki.server(Fixture::Good))
        .with_client_ca(pki.ca_pem())
        .start()?;
    let ca = pki.write_ca_to(directory.path())?;
    let (certificate, key) = pki.client(Fixture::Good).write_to(directory.path(), "client")?;

    let telemetry = Exporters::builder()
        .with_endpoint(collector.endpoint())
        .with_protocol(Protocol::Grpc)
        .with_ca_certificate(Pem::file(ca))
        .with_client_identity(Pem::file(certificate), Pem::file(key))
        .with_min_tls_version(TlsVersion::Tls13)
        .with_headers([("x-tenant", "blue")])
        .with_timeout(Duration::from_secs(3))
        .with_retry(RetryPolicy::default().with_max_attempts(3))
        .with_signal(Signal::Logs, |logs| logs.with_headers([("x-tenant", "blue-logs")]))
        .build()?
        .install()?;

    global::tracer("builder").start("work").end();
    global::meter("builder").u64_counter("work").build().add(1, &[]);
    // Like dropping the guard, but with a chosen timeout and a result.
    telemetry.shutdown(Duration::from_secs(3))?;

    for request in collector.requests() {
        let tenant = request.headers["x-tenant"].to_str()?;
        println!("{} on connection {} from {tenant}", request.signal, request.connection);
    }
    Ok(())
}
