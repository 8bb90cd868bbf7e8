//! The status of credentials, and reloads.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use otlp_mtls::error::CredentialProblem;
use otlp_mtls::testing::{Fixture, Pki};
use otlp_mtls::{Error, Pem, Signal};

use super::{CA, CERTIFICATE, Files, HOUR, KEY, Running, Service, WAYS, Way};
use crate::support::{
    builder, mtls_builder, mtls_collector, plaintext_builder, plaintext_collector, with_vars,
};

#[test]
fn credentials_and_their_replacement() {
    for way in WAYS {
        let before = SystemTime::now();
        let service = Service::new(way);
        service.export().unwrap();
        let first = service.running.status();
        assert!((before..SystemTime::now()).contains(&first.loaded));
        assert_eq!(first.generation, 0);
        assert!(!first.fips);
        assert_eq!(first.refusal, None);
        let mut signals = first.signals.clone();
        signals.sort();
        let mut all = Signal::ALL;
        all.sort();
        assert_eq!(signals, all);

        let [leaf] = first.chain.as_slice() else { panic!("{:?}", first.chain) };
        let seen = service.collector.client_certificates().remove(0);
        assert_eq!(leaf.subject, "CN=first");
        assert_eq!(leaf.subject, seen.subject());
        assert_eq!(leaf.issuer, "CN=otlp-mtls test ca");
        assert_eq!(leaf.fingerprint, seen.fingerprint());
        assert_eq!(leaf.names, [""; 0]);
        assert!(leaf.not_before < Some(before) && Some(before) < leaf.not_after);
        let [ca] = first.trust_anchors.as_slice() else { panic!("{:?}", first.trust_anchors) };
        assert_eq!(ca.subject, "CN=otlp-mtls test ca");

        let second = service.pki.client(Fixture::Intermediate);
        service.files.replace_identity(&second);
        let bundle = format!("{}{}", service.pki.ca_pem(), service.pki.other_ca_pem());
        service.files.replace("ca.crt", bundle);
        service.export().unwrap();
        let status = service.running.status();
        assert_eq!(status.generation, 1);
        assert!(status.loaded > first.loaded);
        let seen = service.collector.client_certificates().remove(1);
        let subjects: Vec<_> = status.chain.iter().map(|facts| &*facts.subject).collect();
        assert_eq!(subjects, ["CN=test-client", "CN=otlp-mtls test intermediate"]);
        assert_eq!(status.chain[0].fingerprint, seen.fingerprint());
        assert_eq!(status.chain[0].issuer, status.chain[1].subject);
        let subjects: Vec<_> = status.trust_anchors.iter().map(|facts| &*facts.subject).collect();
        assert_eq!(subjects, ["CN=otlp-mtls test ca", "CN=otlp-mtls other test ca"]);
    }
}

#[test]
fn alternative_names() {
    let pki = Pki::new();
    let identity = pki.server(Fixture::Good);
    let exporters = builder()
        .with_endpoint("https://localhost")
        .with_ca_certificate(Pem::bytes(pki.ca_pem()))
        .with_client_identity(
            Pem::bytes(identity.certificate_pem()),
            Pem::bytes(identity.key_pem()),
        )
        .build()
        .unwrap();
    let names = &exporters.status().credentials[0].chain[0].names;
    assert_eq!(names, &["localhost", "127.0.0.1", "::1"]);
}

#[test]
fn one_entry_for_each_set_of_credentials() {
    let (pki, collector) = mtls_collector();
    let other = pki.client_named("other");
    let exporters = mtls_builder(&pki, &collector, Way::Grpc.protocol())
        .with_signal(Signal::Logs, |logs| {
            logs.with_client_identity(
                Pem::bytes(other.certificate_pem()),
                Pem::bytes(other.key_pem()),
            )
        })
        .build()
        .unwrap();
    let mut shown: Vec<_> = exporters
        .status()
        .credentials
        .into_iter()
        .map(|credentials| (credentials.chain[0].subject.clone(), credentials.signals.len()))
        .collect();
    shown.sort();
    assert_eq!(shown, [("CN=other".to_owned(), 1), ("CN=test-client".to_owned(), 2)]);

    let collector = plaintext_collector();
    let plain = plaintext_builder(&collector, Way::Grpc.protocol()).build().unwrap();
    assert!(plain.status().credentials.is_empty());
    plain.reload().unwrap();
}

#[test]
fn a_reload_does_not_wait_for_the_interval() {
    for way in WAYS {
        let service = Service::with(way, rustls::DEFAULT_VERSIONS, |builder| {
            builder.with_reload_interval(HOUR)
        });
        service.is(0, "first", 0);
        service.running.exporters.reload().unwrap();
        service.is(0, "first", 0);

        service.files.replace_identity(&service.pki.client_named("second"));
        service.is(0, "first", 0);
        service.running.exporters.reload().unwrap();
        assert_eq!(service.running.status().chain[0].subject, "CN=second");
        service.is(1, "second", 1);

        service.files.write("client.key", "");
        service.is(1, "second", 1);
        assert_eq!(service.running.refusal(), None, "nobody has looked");
        let error = service.running.exporters.reload().unwrap_err();
        let Error::Credential { problem: CredentialProblem::Empty, .. } = &error else {
            panic!("{error:?}");
        };
        let path = service.files.path("client.key");
        assert!(error.to_string().starts_with(&format!("{KEY}: {}: ", path.display())), "{error}");
        assert_eq!(service.still_is(1, "second", 1), format!("{error:?}"));

        service.files.replace_identity(&service.pki.client_named("third"));
        service.running.exporters.reload().unwrap();
        service.is(2, "third", 2);
        assert_eq!(service.running.refusal(), None);
    }
}

#[test]
fn the_interval_by_its_variable() {
    for (interval, name) in [("0", "second"), ("3600000", "first")] {
        let pki = Pki::new();
        let files = Files::new(&pki);
        let collector = Way::Http2.collector(&pki, rustls::DEFAULT_VERSIONS);
        let running = Running::new(with_vars(vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", PathBuf::from(collector.endpoint())),
            ("OTEL_RUST_EXPORTER_OTLP_RELOAD_INTERVAL", interval.into()),
            (CA, files.path("ca.crt")),
            (CERTIFICATE, files.path("client.crt")),
            (KEY, files.path("client.key")),
        ]));
        assert_eq!(running.seen(&collector, Signal::Logs), (0, "first".to_owned()));
        files.replace_identity(&pki.client_named("second"));
        assert_eq!(running.seen(&collector, Signal::Logs).1, name, "{interval}");
    }
}

/// Bytes and rustls configurations from the application do not change.
#[test]
fn only_files_and_sources_rotate() {
    let (pki, collector) = mtls_collector();
    let running = Running::new(
        mtls_builder(&pki, &collector, Way::Grpc.protocol()).with_reload_interval(Duration::ZERO),
    );
    for signal in Signal::ALL {
        assert_eq!(running.seen(&collector, signal), (0, "test-client".to_owned()));
    }
    running.exporters.reload().unwrap();
    assert_eq!(running.status().generation, 0);

    let config = running.exporters.client_config(Signal::Traces).unwrap();
    let custom = Running::new(
        builder()
            .with_endpoint(collector.endpoint())
            .with_protocol(Way::Grpc.protocol())
            .with_rustls_config(config)
            .with_reload_interval(Duration::ZERO),
    );
    assert_eq!(custom.seen(&collector, Signal::Traces).1, "test-client");
    custom.exporters.reload().unwrap();
    assert_eq!(custom.status().generation, 0);
    assert!(custom.status().chain.is_empty());
}
