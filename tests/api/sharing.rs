//! The number of connections and handshakes for all signals.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use otlp_mtls::testing::{Collector, Fixture, Pki, Reply};
use otlp_mtls::{Exporters, Pem, Protocol, Signal};

use crate::support::{
    Exporter, SOON, TRANSPORTS, mtls_builder, mtls_collector, once, plaintext_builder,
    plaintext_collector,
};

/// The first exports of all signals, started at the same time.
fn export_all_at_once(exporters: &Exporters) {
    let barrier = Barrier::new(Signal::ALL.len());
    thread::scope(|scope| {
        for signal in Signal::ALL {
            let barrier = &barrier;
            scope.spawn(move || {
                let exporter = Exporter::new(exporters, signal);
                barrier.wait();
                futures_executor::block_on(exporter.export()).unwrap();
            });
        }
    });
}

#[test]
fn three_first_exports_at_once_share_one_connection_and_one_handshake() {
    for protocol in TRANSPORTS {
        // Repeated, because a race is lost rarely.
        for _ in 0..20 {
            let (pki, collector) = mtls_collector();
            let exporters = mtls_builder(&pki, &collector, protocol).build().unwrap();
            export_all_at_once(&exporters);
            assert_eq!((collector.connections(), collector.handshakes()), (1, 1), "{protocol}");
        }
    }
}

#[test]
fn so_do_they_over_plaintext_grpc() {
    let collector = plaintext_collector();
    let exporters = plaintext_builder(&collector, Protocol::Grpc).build().unwrap();
    export_all_at_once(&exporters);
    assert_eq!(collector.connections(), 1);
}

#[test]
fn http_1_1_reuses_connections_one_export_at_a_time() {
    let collector = plaintext_collector();
    let exporters = plaintext_builder(&collector, Protocol::HttpProtobuf).build().unwrap();
    let held: Vec<_> = Signal::ALL.map(|signal| Exporter::new(&exporters, signal)).into();
    for _ in 0..3 {
        for exporter in &held {
            futures_executor::block_on(exporter.export()).unwrap();
        }
    }
    assert_eq!(collector.connections(), 1);
}

#[test]
fn settings_that_differ_are_not_shared() {
    for protocol in TRANSPORTS {
        let (pki, collector) = mtls_collector();
        let other = pki.client_named("other");
        let exporters = mtls_builder(&pki, &collector, protocol)
            .with_signal(Signal::Logs, |logs| {
                logs.with_client_identity(
                    Pem::bytes(other.certificate_pem()),
                    Pem::bytes(other.key_pem()),
                )
            })
            .build()
            .unwrap();
        export_all_at_once(&exporters);
        assert_eq!((collector.connections(), collector.handshakes()), (2, 2), "{protocol}");
        for request in collector.requests() {
            let client = request.client_certificate.unwrap();
            let expected = if request.signal == Signal::Logs { "other" } else { "test-client" };
            assert_eq!(client.common_name(), Some(expected));
        }
    }
}

#[test]
fn protocols_of_two_families_are_not_shared() {
    let (pki, collector) = mtls_collector();
    let exporters = mtls_builder(&pki, &collector, Protocol::Grpc)
        .with_signal(Signal::Metrics, |metrics| {
            metrics
                .with_protocol(Protocol::HttpProtobuf)
                .with_endpoint(format!("{}/v1/metrics", collector.endpoint()))
        })
        .build()
        .unwrap();
    export_all_at_once(&exporters);
    assert_eq!(collector.connections(), 2);
}

#[test]
fn a_new_connection_resumes_no_session() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for protocol in TRANSPORTS {
            let (pki, _) = mtls_collector();
            let collector = Collector::builder()
                .with_tls(pki.server(Fixture::Good))
                .with_client_ca(pki.ca_pem())
                .with_tls_versions(&[version])
                .start()
                .unwrap();
            let exporters = mtls_builder(&pki, &collector, protocol).build().unwrap();
            let exporter = Exporter::new(&exporters, Signal::Traces);
            futures_executor::block_on(exporter.export()).unwrap();
            collector.close_connections();
            futures_executor::block_on(exporter.export()).unwrap();
            assert!(collector.wait_until(SOON, |seen| seen.handshakes() == 2), "{protocol}");
            assert_eq!(collector.resumptions(), 0, "{protocol}");
            assert_eq!(collector.client_certificates().len(), 2, "{protocol}");
        }
    }
}

#[test]
fn two_exporters_at_once_have_a_connection_each() {
    let (pki, collector) = mtls_collector();
    let [one, two] = [(); 2].map(|()| mtls_builder(&pki, &collector, Protocol::Grpc).build());
    let exporter = |exporters| Exporter::new(exporters, Signal::Traces);
    let (one, two) = (one.unwrap(), two.unwrap());
    // A clone shares them.
    let held = [exporter(&one), exporter(&two), exporter(&one.clone())];
    for exporter in &held {
        futures_executor::block_on(exporter.export()).unwrap();
    }
    assert_eq!((collector.connections(), collector.open_connections()), (2, 2));
}

/// Over HTTP/2 and HTTP/1.1: `alpn`.
fn aging(protocol: Protocol, alpn: &[u8], age: Duration) -> (Collector, Exporters) {
    let pki = Pki::new();
    let collector = Collector::builder()
        .with_tls(pki.server(Fixture::Good))
        .with_client_ca(pki.ca_pem())
        .with_alpn(vec![alpn.to_vec()])
        .start()
        .unwrap();
    let builder = once(mtls_builder(&pki, &collector, protocol)).with_timeout(SOON);
    let exporters = builder.with_max_connection_age(age).build().unwrap();
    (collector, exporters)
}

const WAYS: [(Protocol, &[u8]); 3] = [
    (Protocol::Grpc, b"h2"),
    (Protocol::HttpProtobuf, b"h2"),
    (Protocol::HttpProtobuf, b"http/1.1"),
];

/// An age that each connection has reached once it has carried an export.
const YOUNG: Duration = Duration::from_nanos(1);

#[test]
fn a_connection_over_its_maximum_age_carries_no_further_export() {
    for (protocol, alpn) in WAYS {
        for (age, expected) in [
            (YOUNG, 5),
            // No limit.
            (Duration::ZERO, 1),
            (Duration::from_secs(3600), 1),
            (Duration::MAX, 1),
        ] {
            let (collector, exporters) = aging(protocol, alpn, age);
            let exporter = Exporter::new(&exporters, Signal::Traces);
            for _ in 0..5 {
                futures_executor::block_on(exporter.export()).unwrap();
            }
            assert_eq!(collector.spans().len(), 5, "{protocol}, {age:?}");
            assert_eq!(collector.connections(), expected, "{protocol}, {age:?}");
        }
    }
}

#[test]
fn exports_in_flight_finish_on_a_connection_over_its_maximum_age() {
    for (protocol, alpn) in WAYS {
        let (collector, exporters) = aging(protocol, alpn, YOUNG);
        let logs = Exporter::new(&exporters, Signal::Logs);
        collector.set_reply(|request| match request.signal {
            Signal::Traces => Reply::Hold,
            _ => Reply::Accept,
        });
        thread::scope(|scope| {
            let held = scope.spawn(|| {
                let traces = Exporter::new(&exporters, Signal::Traces);
                futures_executor::block_on(traces.export()).unwrap();
            });
            assert!(collector.wait_until(SOON, |seen| seen.received().len() == 1));
            // The answer to the first one over HTTP/2 is on the same connection.
            for _ in 0..2 {
                futures_executor::block_on(logs.export()).unwrap();
            }
            let connections = if alpn == b"h2" { 2 } else { 3 };
            assert_eq!(collector.connections(), connections, "{protocol}");
            assert!(!held.is_finished(), "{protocol}");
            collector.release();
        });
        assert_eq!(collector.received().len(), 3, "{protocol}: nothing is sent again");
        let traces = collector.requests().into_iter().find(|seen| seen.signal == Signal::Traces);
        assert_eq!(traces.unwrap().connection, 0, "{protocol}");
        // The old connection is closed when its last export is finished.
        assert!(collector.wait_until(SOON, |seen| seen.open_connections() <= 1), "{protocol}");
    }
}
