//! A Collector that listens on a Unix domain socket.

use otlp_mtls::{Protocol, Signal};

use super::{OtelCollector, on_both, on_grpc};
use crate::servers::go_builds;
use crate::support::{builder, export};

#[test]
fn a_collector_on_a_socket_receives_every_signal() {
    if !go_builds() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("otlp.sock");
    let mut settings = on_both(&["tls: null"]);
    settings.push(on_grpc("transport: unix"));
    settings.push(on_grpc(&format!("endpoint: {}", socket.display())));
    let collector = OtelCollector::start(directory.path(), &settings);
    let exporters = builder()
        .with_protocol(Protocol::Grpc)
        .with_endpoint(format!("unix://{}", socket.display()))
        .build()
        .unwrap();
    for signal in Signal::ALL {
        export(&exporters, signal).unwrap();
        assert!(!collector.received(signal).is_empty(), "{signal}");
    }
}
