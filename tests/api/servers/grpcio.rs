//! Python's grpcio, with a required client certificate.

use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use otlp_mtls::{Protocol, Signal};
use serde_json::{Value, json};

use super::{Certificates, Reporter, repository};
use crate::support::{SOON, export, once, with_vars};

fn grpc_collector() -> Command {
    let mut command = Command::new("python3");
    command.arg(repository("tests/servers/grpc_collector.py"));
    command
}

fn start(certificates: &Certificates) -> Reporter {
    let mut command = grpc_collector();
    for (option, file) in
        [("--cert", "server.crt"), ("--key", "server.key"), ("--client-ca", "ca.crt")]
    {
        command.arg(option).arg(certificates.path(file));
    }
    Reporter::start(&mut command)
}

#[test]
fn grpcio_receives_every_signal() {
    let Some(certificates) = Certificates::if_here(grpc_collector().arg("--help")) else { return };
    let grpcio = start(&certificates);
    let exporters = certificates.builder(grpcio.port, Protocol::Grpc).build().unwrap();
    for signal in Signal::ALL {
        export(&exporters, signal).unwrap();
    }
    let cn = "my-application";
    let one =
        |signal, name| json!({"signal": signal, "items": 1, "names": [name], "client_cn": cn});
    let expected = [
        one("logs", "a log record"),
        one("metrics", "a_counter"),
        // The metric reader exports again when it is dropped.
        one("metrics", "a_counter"),
        one("traces", "a span"),
    ];
    assert_eq!(grpcio.received(), expected);
}

#[test]
fn grpcio_refuses_a_client_without_a_certificate() {
    let Some(certificates) = Certificates::if_here(grpc_collector().arg("--help")) else { return };
    let grpcio = start(&certificates);
    // Without timeouts of our own, a hang would be noticed.
    let exporters = once(with_vars(certificates.anonymous(grpcio.port, Protocol::Grpc)))
        .with_timeout(Duration::ZERO)
        .with_connect_timeout(10 * SOON)
        .build()
        .unwrap();
    let (sender, ended) = mpsc::channel();
    thread::spawn(move || sender.send(export(&exporters, Signal::Traces)));
    let error = ended.recv_timeout(SOON).unwrap().unwrap_err().to_string();
    // It sends no alert.
    assert!(
        error.contains(
            "it closed the connection after it asked for a client certificate, and we have none"
        ),
        "{error}"
    );
    assert_eq!(grpcio.received(), [] as [Value; 0]);
}
