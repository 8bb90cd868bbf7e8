//! A CA is replaced on both sides during continuous exports.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use otlp_mtls::failure::ClientCertificateProblem;
use otlp_mtls::testing::{Fixture, Pki};
use otlp_mtls::{FailureKind, Pem, Protocol, Signal};
use tempfile::TempDir;

use super::load::under_load;
use super::{OtelCollector, on_both, on_grpc, on_http};
use crate::servers::go_builds;
use crate::servers::haproxy::with_client;
use crate::support::{SOON, TRANSPORTS, builder, export, last_failure, once};

/// The files of the Collector and of the service, both with one CA, and a second one.
struct Files {
    pki: Pki,
    collector: TempDir,
    service: TempDir,
}

impl Files {
    fn new() -> Self {
        let directory = || tempfile::tempdir().unwrap();
        let files = Self { pki: Pki::new(), collector: directory(), service: directory() };
        files.trust(&files.collector, &[files.pki.ca_pem()]);
        files.trust(&files.service, &[files.pki.ca_pem()]);
        files.identify(Fixture::Good);
        files.serve(Fixture::Good);
        files
    }

    /// Replaces the CAs that one side trusts.
    fn trust(&self, side: &TempDir, cas: &[&str]) {
        replace(&side.path().join("ca.crt"), &cas.concat());
    }

    /// Replaces the Collector's certificate. Certificate and key are one file: a Collector that finds
    /// one of them replaced and the other not fails the handshake.
    fn serve(&self, fixture: Fixture) {
        let server = self.pki.server(fixture);
        let pem = [server.certificate_pem(), server.key_pem()].concat();
        replace(&self.collector.path().join("server.pem"), &pem);
    }

    /// Replaces the service's certificate and key.
    fn identify(&self, fixture: Fixture) {
        let client = self.pki.client(fixture);
        replace(&self.service.path().join("client.crt"), client.certificate_pem());
        replace(&self.service.path().join("client.key"), client.key_pem());
    }
}

/// Replaces a file atomically.
fn replace(path: &Path, content: &str) {
    let new = path.with_extension("new");
    fs::write(&new, content).unwrap();
    fs::rename(new, path).unwrap();
}

fn until(reached: impl Fn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !reached() {
        assert!(Instant::now() < deadline, "the Collector does not reload its files");
        thread::sleep(Duration::from_millis(10));
    }
}

fn collector(files: &Files) -> OtelCollector {
    let mut overlays = on_both(&[
        "tls::cert_file: ${env:CERTIFICATES}/server.pem",
        "tls::key_file: ${env:CERTIFICATES}/server.pem",
        "tls::reload_interval: 10ms",
        "tls::client_ca_file_reload: true",
    ]);
    // New certificates are used by new connections, so connections are short.
    overlays.push(on_grpc("keepalive::server_parameters::max_connection_age: 50ms"));
    overlays.push(on_http("keep_alives_enabled: false"));
    OtelCollector::start(files.collector.path(), &overlays)
}

fn a_ca_is_replaced(protocol: Protocol) {
    let files = Files::new();
    let Files { pki, .. } = &files;
    let (first, second) = (pki.ca_pem(), pki.other_ca_pem());
    let collector = collector(&files);
    let endpoint = format!("https://localhost:{}", collector.port(protocol));
    let builder = || once(builder()).with_endpoint(&endpoint).with_protocol(protocol);
    // One export on a separate connection.
    let probe = |ca: &str, client| {
        let builder = builder().with_ca_certificate(Pem::bytes(ca)).with_failure_handler(|_| {});
        let exporters = with_client(builder, pki, Some(client)).build().unwrap();
        let exported = export(&exporters, Signal::Logs);
        exported.map_err(|_| last_failure(&exporters, Signal::Logs))
    };

    let file = |name| Pem::file(files.service.path().join(name));
    let exporters = builder()
        .with_ca_certificate(file("ca.crt"))
        .with_client_identity(file("client.crt"), file("client.key"))
        .with_reload_interval(Duration::ZERO)
        .build()
        .unwrap();
    let claims = under_load(&exporters, |progress| {
        progress.wait_for(50);
        // Both sides trust both CAs.
        files.trust(&files.service, &[first, second]);
        files.trust(&files.collector, &[first, second]);
        until(|| probe(first, Fixture::OtherCa).is_ok());
        // Both sides have a certificate of the second CA.
        files.serve(Fixture::OtherCa);
        until(|| probe(second, Fixture::OtherCa).is_ok());
        files.identify(Fixture::OtherCa);
        progress.wait_for(50);
        // No side trusts the first CA.
        files.trust(&files.service, &[second]);
        files.trust(&files.collector, &[second]);
        until(|| {
            let refused = probe(second, Fixture::Good).err();
            refused.is_some_and(|failure| match failure.kind() {
                FailureKind::ClientCertificate { problem, .. } => {
                    *problem == ClientCertificateProblem::UnknownIssuer
                }
                _ => panic!("{failure}"),
            })
        });
        progress.wait_for(50);
    });
    claims.count(&exporters, &collector).assert_exact();
    let [credentials] = &exporters.status().credentials[..] else { panic!() };
    for certificate in [credentials.server.as_ref().unwrap(), &credentials.chain[0]] {
        assert_eq!(certificate.issuer, "CN=otlp-mtls other test ca");
    }
}

#[test]
fn a_ca_is_replaced_while_a_collector_reloads_its_certificates() {
    if !go_builds() {
        return;
    }
    thread::scope(|scope| {
        for protocol in TRANSPORTS {
            scope.spawn(move || a_ca_is_replaced(protocol));
        }
    });
}
