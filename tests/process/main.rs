//! Tests that depend on or change the state of a whole process: its environment, the globals of OpenTelemetry
//! and rustls, `tracing`'s subscriber, its threads. Each test runs in a separate process.
#![allow(clippy::unwrap_used)]

#[cfg(target_os = "linux")]
mod access;
mod config_file;
mod events;
#[path = "../api/exporter.rs"]
#[allow(dead_code, reason = "only its batches are used here")]
mod exporter;
#[cfg(target_os = "linux")]
mod floods;
#[cfg(unix)]
mod fork;
mod hostile;
mod init;
mod init_tracing;
#[cfg(target_os = "linux")]
mod leaks;
#[cfg(target_os = "linux")]
mod memory;
mod provider;
mod roots;
mod rotation;
#[cfg(target_os = "linux")]
#[path = "../api/scripted.rs"]
#[allow(dead_code, reason = "only some of its servers are used here")]
mod scripted;
mod sdk;
mod secrets;
#[cfg(target_os = "linux")]
mod silence;
mod suppression;
mod switches;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use otlp_mtls::testing::{Collector, Fixture, Pki};
use otlp_mtls::{Exporters, ExportersBuilder, Pem, Protocol};

/// A generous limit: a test that waits this long has failed.
const SOON: Duration = Duration::from_secs(30);

/// A builder for a collector that requires mutual TLS, with a good client identity.
fn mtls_builder(pki: &Pki, collector: &Collector, protocol: Protocol) -> ExportersBuilder {
    let client = pki.client(Fixture::Good);
    Exporters::builder()
        .with_endpoint(collector.endpoint())
        .with_protocol(protocol)
        .with_ca_certificate(Pem::bytes(pki.ca_pem()))
        .with_client_identity(Pem::bytes(client.certificate_pem()), Pem::bytes(client.key_pem()))
}

/// A collector that requires mutual TLS.
fn mtls_collector(pki: &Pki) -> Collector {
    let collector = Collector::builder().with_tls(pki.server(Fixture::Good));
    collector.with_client_ca(pki.ca_pem()).start().unwrap()
}

/// The variables of a service that exports to it, with files in a directory.
fn mtls_vars(
    pki: &Pki,
    collector: &Collector,
    directory: &Path,
    protocol: &str,
) -> [(&'static str, String); 5] {
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let ca = pki.write_ca_to(directory).unwrap();
    let (certificate, key) = pki.client(Fixture::Good).write_to(directory, "client").unwrap();
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_owned()),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", path(&ca)),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", path(&certificate)),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", path(&key)),
    ]
}

/// The variable with the name of the test that a child process runs.
const CHILD: &str = "OTLP_MTLS_TEST_CHILD";

/// Whether this is the child process, which runs the test's body.
fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs a test's body in a child process with these variables, and no other `OTEL_*` or `RUST_LOG`.
///
/// `name` is the test's path with its module. The child's output is shown if it fails.
fn in_a_process(name: &str, vars: &[(&str, &str)], body: impl FnOnce()) {
    print_in_a_process(name, vars, body);
}

/// Like [`in_a_process`], but returns the child's standard output. `None` in the child.
fn print_in_a_process(name: &str, vars: &[(&str, &str)], body: impl FnOnce()) -> Option<String> {
    output_of_a_process(name, vars, body).map(|[stdout, _]| stdout)
}

/// Like [`print_in_a_process`], but also returns the child's standard error.
fn output_of_a_process(
    name: &str,
    vars: &[(&str, &str)],
    body: impl FnOnce(),
) -> Option<[String; 2]> {
    output_of_a_child(Command::new(std::env::current_exe().unwrap()), name, vars, body)
}

/// Like [`output_of_a_process`], with a given command that runs this binary.
fn output_of_a_child(
    mut child: Command,
    name: &str,
    vars: &[(&str, &str)],
    body: impl FnOnce(),
) -> Option<[String; 2]> {
    if std::env::var(CHILD).as_deref() == Ok(name) {
        body();
        return None;
    }
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("OTEL_") || name == "RUST_LOG" {
            child.env_remove(name);
        }
    }
    child.args(["--exact", name, "--nocapture"]).env(CHILD, name).envs(vars.iter().copied());
    let output = child.output().unwrap();
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert!(stdout.contains("1 passed"), "no test is called {name}: {stdout}");
    Some([stdout, stderr])
}
