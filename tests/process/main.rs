//! What depends on, or changes, the state of a whole process: its environment, OpenTelemetry's and
//! rustls' globals, `tracing`'s subscriber, its threads. Each test runs in a process of its own.
#![allow(clippy::unwrap_used)]

mod hostile;
mod init;
#[cfg(target_os = "linux")]
mod leaks;
mod provider;
mod roots;
mod rotation;
mod suppression;

use std::process::Command;
use std::time::Duration;

use otlp_mtls::testing::{Collector, Fixture, Pki};
use otlp_mtls::{Exporters, ExportersBuilder, Pem, Protocol};

/// Longer than anything here takes; a test that waits it out has failed.
const SOON: Duration = Duration::from_secs(30);

/// A builder for a collector that demands mutual TLS, with the good client's identity.
fn mtls_builder(pki: &Pki, collector: &Collector, protocol: Protocol) -> ExportersBuilder {
    let client = pki.client(Fixture::Good);
    Exporters::builder()
        .with_endpoint(collector.endpoint())
        .with_protocol(protocol)
        .with_ca_certificate(Pem::bytes(pki.ca_pem()))
        .with_client_identity(Pem::bytes(client.certificate_pem()), Pem::bytes(client.key_pem()))
}

/// Names the test that a child process is to run.
const CHILD: &str = "OTLP_MTLS_TEST_CHILD";

/// Whether this is the process that runs a test's body.
fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs a test's body in a process of its own that has these variables, and no other `OTEL_*`.
///
/// `name` is the test's own, with its module. What the child prints is shown if it fails.
fn in_a_process(name: &str, vars: &[(&str, &str)], body: impl FnOnce()) {
    if std::env::var(CHILD).as_deref() == Ok(name) {
        return body();
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("OTEL_") {
            child.env_remove(name);
        }
    }
    child.args(["--exact", name, "--nocapture"]).env(CHILD, name).envs(vars.iter().copied());
    let output = child.output().unwrap();
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert!(stdout.contains("1 passed"), "no test is called {name}: {stdout}");
}
