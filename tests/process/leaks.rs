//! What was made and dropped leaves no thread and no socket behind.

use futures_executor::block_on;
use opentelemetry_sdk::trace::SpanExporter;
use otlp_mtls::testing::{Collector, Fixture, Pki};
use otlp_mtls::{Exporters, Pem, Protocol};

use crate::{SOON, in_a_process};

#[test]
fn a_hundred_exporters_leave_nothing_behind() {
    in_a_process("leaks::a_hundred_exporters_leave_nothing_behind", &[], || {
        let pki = Pki::new();
        let client = pki.client(Fixture::Good);
        let collector = Collector::builder()
            .with_tls(pki.server(Fixture::Good))
            .with_client_ca(pki.ca_pem())
            .start()
            .unwrap();
        for round in 0..100 {
            let protocol = [Protocol::Grpc, Protocol::HttpProtobuf][round % 2];
            let exporters = Exporters::builder()
                .with_endpoint(collector.endpoint())
                .with_protocol(protocol)
                .with_ca_certificate(Pem::bytes(pki.ca_pem()))
                .with_client_identity(
                    Pem::bytes(client.certificate_pem()),
                    Pem::bytes(client.key_pem()),
                )
                .build()
                .unwrap();
            // A handle alone needs no thread.
            assert_eq!(io_threads(), 0);
            let exporter = exporters.span_exporter().unwrap();
            block_on(exporter.export(Vec::new())).unwrap();
            assert_eq!(io_threads(), 1);
            drop((exporter, exporters));
            // Signalled and not joined, so a moment is granted.
            assert!(collector.wait_until(SOON, |seen| seen.open_connections() == 0));
            while io_threads() > 0 {
                std::thread::yield_now();
            }
        }
        assert_eq!(collector.connections(), 100);
    });
}

/// How many I/O threads this process has.
fn io_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        // A thread may end between the two looks.
        std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
    };
    tasks.filter_map(name).filter(|name| name.trim() == "otlp-mtls-io").count()
}
