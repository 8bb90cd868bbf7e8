//! A server on grpc-go, with behaviour that a Collector cannot be configured to have.

use std::time::{Duration, Instant};

use futures_executor::block_on;
use otlp_mtls::failure::{ClientCertificateProblem, RejectedVia};
use otlp_mtls::testing::{Fixture, Pki};
use otlp_mtls::{Exporters, ExportersBuilder, FailureKind, Pem, Protocol, RetryPolicy, Signal};
use rustls::AlertDescription;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::haproxy::with_client;
use super::{Reporter, go_builds, go_server};
use crate::support::{Exporter, builder, export, last_failure, once};

/// A server with these flags, and the PKI of both sides.
struct GrpcGo {
    reporter: Reporter,
    pki: Pki,
    _files: TempDir,
}

impl GrpcGo {
    /// `None` if the test is skipped.
    fn start(flags: &[&str]) -> Option<Self> {
        if !go_builds() {
            return None;
        }
        let pki = Pki::new();
        let files = tempfile::tempdir().unwrap();
        let (cert, key) = pki.server(Fixture::Good).write_to(files.path(), "server").unwrap();
        let ca = pki.write_ca_to(files.path()).unwrap();
        let mut command = go_server("grpc_go");
        for (flag, file) in [("--cert", cert), ("--key", key), ("--client-ca", ca)] {
            command.arg(flag).arg(file);
        }
        Some(Self { reporter: Reporter::start(command.args(flags)), pki, _files: files })
    }

    fn builder(&self, client: Option<Fixture>) -> ExportersBuilder {
        let builder = builder()
            .with_endpoint(format!("https://localhost:{}", self.reporter.port))
            .with_protocol(Protocol::Grpc)
            .with_ca_certificate(Pem::bytes(self.pki.ca_pem()))
            .with_retry(RetryPolicy::default().with_initial_backoff(Duration::from_millis(1)));
        with_client(builder, &self.pki, client)
    }

    fn exporters(&self) -> Exporters {
        self.builder(Some(Fixture::Good)).build().unwrap()
    }

    /// The names of the clients whose exports it has accepted.
    fn clients(self) -> Vec<Value> {
        self.reporter.received().iter().map(|export| export["client"].clone()).collect()
    }
}

/// The alerts of a server with this `ClientAuth` over TLS 1.2 and 1.3, to a client of another CA and to one
/// without a certificate; `None` if it serves them.
const VERDICTS: [(&str, [Option<[AlertDescription; 2]>; 2]); 5] = {
    use AlertDescription as Alert;
    const REQUIRED: [AlertDescription; 2] = [Alert::HandshakeFailure, Alert::CertificateRequired];
    [
        ("none", [None, None]),
        ("request", [None, None]),
        ("require-any", [None, Some(REQUIRED)]),
        ("verify-if-given", [Some([Alert::UnknownCA; 2]), None]),
        ("require-and-verify", [Some([Alert::UnknownCA; 2]), Some(REQUIRED)]),
    ]
};

#[test]
fn each_client_auth_type_of_go() {
    for (auth, [of_stranger, of_nobody]) in VERDICTS {
        for (nth, version) in ["1.2", "1.3"].into_iter().enumerate() {
            let flags = ["--client-auth", auth, "--tls", version];
            let Some(server) = GrpcGo::start(&flags) else { return };
            let mut clients = Vec::new();
            for (client, verdict) in [
                (Some(Fixture::Good), None),
                (Some(Fixture::OtherCa), of_stranger),
                (None, of_nobody),
            ] {
                let case = format!("{auth} over TLS {version}: {client:?}");
                let exporters = once(server.builder(client)).build().unwrap();
                let exported = export(&exporters, Signal::Traces);
                let Some(alerts) = verdict else {
                    exported.unwrap_or_else(|error| panic!("{case}: {error}"));
                    let is_seen = client.is_some() && auth != "none";
                    clients.push(if is_seen { "test-client" } else { "" });
                    continue;
                };
                let error = exported.expect_err(&case);
                let failure = last_failure(&exporters, Signal::Traces);
                let FailureKind::ClientCertificate { problem, said, .. } = failure.kind() else {
                    panic!("{case}: {error}");
                };
                let expected = match client {
                    None => ClientCertificateProblem::Required,
                    Some(_) => ClientCertificateProblem::UnknownIssuer,
                };
                assert_eq!(
                    (*problem, *said),
                    (expected, RejectedVia::Alert(alerts[nth])),
                    "{case}"
                );
            }
            assert_eq!(server.clients(), clients, "{auth} over TLS {version}");
        }
    }
}

/// The failure of an export that is refused permanently.
/// The server closes such a connection without sending a byte, so the export cannot detect TLS.
#[test]
fn plaintext_to_a_tls_port_is_not_retried_and_the_doctor_detects_tls() {
    let Some(server) = GrpcGo::start(&[]) else {
        return;
    };
    let exporters = builder()
        .with_endpoint(format!("http://localhost:{}", server.reporter.port))
        .with_protocol(Protocol::Grpc)
        // With retries, it would not end.
        .with_retry(RetryPolicy::default().with_initial_backoff(Duration::from_secs(3600)))
        .with_timeout(Duration::ZERO)
        .build()
        .unwrap();
    export(&exporters, Signal::Traces).unwrap_err();
    let failure = last_failure(&exporters, Signal::Traces);
    assert_eq!(failure.kind().name(), "closed", "{failure}");
    assert!(failure.remedy().starts_with("if the server expects TLS"), "{failure}");

    let report = exporters.check_blocking();
    for signal in &report.signals {
        let failure = signal.failure.as_ref().unwrap();
        assert!(matches!(failure.kind(), FailureKind::NeedsTls), "{report}");
    }
}

fn refused(exporters: &Exporters) -> String {
    export(exporters, Signal::Traces).unwrap_err();
    let failure = last_failure(exporters, Signal::Traces);
    let FailureKind::Grpc { code, .. } = failure.kind() else { panic!("{failure}") };
    (*code).to_owned()
}

#[test]
fn resource_exhausted_is_retried_only_with_retry_info() {
    let overloaded = ["--code", "8", "--refuse", "1"];
    let Some(server) = GrpcGo::start(&overloaded) else { return };
    assert_eq!(refused(&server.exporters()), "RESOURCE_EXHAUSTED");
    assert_eq!(server.clients(), [] as [&str; 0]);

    let server = GrpcGo::start(&[&overloaded[..], &["--retry-delay", "300ms"]].concat()).unwrap();
    let begun = Instant::now();
    export(&server.exporters(), Signal::Traces).unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert_eq!(server.clients(), ["test-client"]);
}

#[test]
fn unavailable_is_retried() {
    let Some(server) = GrpcGo::start(&["--refuse", "2"]) else { return };
    export(&server.exporters(), Signal::Traces).unwrap();
    assert_eq!(server.clients(), ["test-client"]);
}

#[test]
fn an_export_whose_answer_comes_too_late_is_reported_as_lost() {
    let Some(server) = GrpcGo::start(&["--delay", "2s"]) else { return };
    let builder = server.builder(Some(Fixture::Good));
    let exporters = once(builder).with_timeout(Duration::from_millis(500)).build().unwrap();
    export(&exporters, Signal::Traces).unwrap_err();
    let failure = last_failure(&exporters, Signal::Traces);
    assert!(matches!(failure.kind(), FailureKind::Deadline { .. }), "{failure}");
    let status = exporters.status();
    let traces = status.exports.iter().find(|export| export.signal == Signal::Traces).unwrap();
    assert_eq!((traces.delivered, traces.dropped), (0, 1));
}

/// An export may send PINGs, but grpc-go closes a connection after more than two of them between two
/// responses.
#[test]
fn slow_answers_arrive_on_one_connection() {
    let Some(server) = GrpcGo::start(&["--delay", "1s"]) else { return };
    let builder = once(server.builder(Some(Fixture::Good)));
    let exporters = builder.with_timeout(Duration::from_millis(1900)).build().unwrap();
    let exporter = Exporter::new(&exporters, Signal::Traces);
    for _ in 0..4 {
        block_on(exporter.export()).unwrap();
    }
    let mut connections: Vec<_> =
        server.reporter.received().iter().map(|export| export["connection"].clone()).collect();
    assert_eq!(connections.len(), 4);
    connections.dedup();
    assert_eq!(connections.len(), 1);
}

#[test]
fn responses_compressed_without_being_asked_are_read() {
    let Some(server) = GrpcGo::start(&["--answer-gzip"]) else { return };
    let exporters = server.exporters();
    for signal in Signal::ALL {
        export(&exporters, signal).unwrap_or_else(|error| panic!("{signal}: {error}"));
    }
    let received = server.reporter.received();
    let names: Vec<_> = received.iter().map(|export| &export["names"]).collect();
    // The metric reader exports again when it is dropped.
    let expected = ["a log record", "a_counter", "a_counter", "a span"];
    assert_eq!(names, expected.map(|name| json!([name])).each_ref());
}
