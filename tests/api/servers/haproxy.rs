//! haproxy, with a required client certificate, in front of a plaintext collector.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;

use otlp_mtls::failure::{ClientCertificateProblem, RejectedVia};
use otlp_mtls::testing::{Collector, Fixture, Pki};
use otlp_mtls::{ExportersBuilder, FailureKind, Pem, Protocol, Signal};
use rustls::AlertDescription;
use tempfile::TempDir;

use super::{Certificates, Server, repository};
use crate::support::{export, items, last_failure, once, plaintext_collector, with_vars};

/// The protocol, what haproxy selects by ALPN, and the HTTP version in its log.
const ROUTES: [(Protocol, &str, &str); 3] = [
    (Protocol::Grpc, "h2,http/1.1", "2.0"),
    (Protocol::HttpProtobuf, "h2,http/1.1", "2.0"),
    (Protocol::HttpProtobuf, "http/1.1", "1.1"),
];

/// In haproxy's spelling.
const TLS_VERSIONS: [&str; 2] = ["TLSv1.2", "TLSv1.3"];

fn haproxy_version() -> Command {
    let mut command = Command::new("haproxy");
    command.arg("-v");
    command
}

/// haproxy, which requires a client certificate and forwards requests.
struct Haproxy {
    _server: Server,
    port: u16,
    _directory: TempDir,
}

impl Haproxy {
    /// `client_ca` is the file of the clients' CA.
    fn start(
        certificates: &Certificates,
        client_ca: &Path,
        sink: &Collector,
        tls_version: &str,
        alpn: &str,
    ) -> Self {
        let template = fs::read_to_string(repository("tests/servers/haproxy.cfg.in")).unwrap();
        let config = template
            .replace("@CERTS@", certificates.0.path().to_str().unwrap())
            .replace("@CLIENT_CA@", client_ca.to_str().unwrap())
            .replace("@SINK@", &sink.addr().to_string())
            .replace("@TLS_VERSION@", tls_version)
            .replace("@ALPN@", alpn);
        // Another process may bind the port before haproxy does.
        (0..10).find_map(|_| Self::try_start(&config)).unwrap()
    }

    /// `None` if its port was in use.
    fn try_start(config: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let port =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let file = directory.path().join("haproxy.cfg");
        fs::write(&file, config.replace("@PORT@", &port.to_string())).unwrap();

        let mut haproxy = Command::new("haproxy");
        haproxy.args(["-db", "-f"]).arg(file);
        // It checks the collector when it has started to listen.
        let ready = "Health check for server http/sink succeeded";
        let server = Server::listening(&mut haproxy, ready, "cannot bind socket")?;
        Some(Self { _server: server, port, _directory: directory })
    }
}

#[test]
fn a_collector_behind_haproxy_receives_every_signal() {
    let Some(certificates) = Certificates::if_here(&mut haproxy_version()) else { return };
    let client_ca = certificates.path("ca.crt");
    for tls_version in TLS_VERSIONS {
        for (protocol, alpn, http) in ROUTES {
            let case = format!("{protocol} over HTTP/{http} over {tls_version}");
            let sink = plaintext_collector();
            let haproxy = Haproxy::start(&certificates, &client_ca, &sink, tls_version, alpn);
            let exporters = certificates.builder(haproxy.port, protocol).build().unwrap();
            for signal in Signal::ALL {
                export(&exporters, signal).unwrap_or_else(|error| panic!("{case}: {error}"));
                // The metric reader exports again when it is dropped.
                let expected = if signal == Signal::Metrics { 2 } else { 1 };
                assert_eq!(items(&sink, signal), expected, "{case}: {signal}");
            }
            for request in sink.requests() {
                assert_eq!(request.grpc, protocol == Protocol::Grpc, "{case}");
                assert_eq!(request.headers["x-client-cn"], "my-application", "{case}");
                assert_eq!(request.headers["x-tls-version"], tls_version, "{case}");
                assert_eq!(request.headers["x-http-version"], http, "{case}");
            }
        }
    }
}

/// The alerts of haproxy's OpenSSL over TLS 1.2 and 1.3 to a client with this certificate, or with
/// none; `None` if it serves the client.
const VERDICTS: [(Option<Fixture>, Option<[AlertDescription; 2]>); 10] = {
    use AlertDescription as Alert;
    [
        (None, Some([Alert::HandshakeFailure, Alert::CertificateRequired])),
        (Some(Fixture::Good), None),
        (Some(Fixture::V1), None),
        (Some(Fixture::Intermediate), None),
        (Some(Fixture::MissingIntermediate), Some([Alert::UnknownCA; 2])),
        (Some(Fixture::OtherCa), Some([Alert::UnknownCA; 2])),
        (Some(Fixture::SelfSigned), Some([Alert::UnknownCA; 2])),
        (Some(Fixture::Expired), Some([Alert::CertificateExpired; 2])),
        (Some(Fixture::NotYetValid), Some([Alert::BadCertificate; 2])),
        (Some(Fixture::WrongUsage), Some([Alert::UnsupportedCertificate; 2])),
    ]
};

#[test]
fn haproxy_answers_a_client_whose_certificate_it_refuses_with_an_alert() {
    let Some(certificates) = Certificates::if_here(&mut haproxy_version()) else { return };
    let directory = tempfile::tempdir().unwrap();
    let pki = Pki::new();
    let client_ca = pki.write_ca_to(directory.path()).unwrap();
    for (nth, tls_version) in TLS_VERSIONS.into_iter().enumerate() {
        for (protocol, alpn, http) in ROUTES {
            let sink = plaintext_collector();
            let haproxy = Haproxy::start(&certificates, &client_ca, &sink, tls_version, alpn);
            for (fixture, alerts) in VERDICTS {
                let case = format!("{fixture:?}: {protocol} over HTTP/{http} over {tls_version}");
                let builder = once(with_vars(certificates.anonymous(haproxy.port, protocol)));
                let exporters = with_client(builder, &pki, fixture).build().unwrap();
                let before = sink.received().len();
                let exported = export(&exporters, Signal::Traces);
                match alerts.map(|alerts| alerts[nth]) {
                    None => {
                        exported.unwrap_or_else(|error| panic!("{case}: {error}"));
                        assert_eq!(sink.received().len(), before + 1, "{case}");
                    }
                    Some(alert) => {
                        let error = exported.expect_err(&case).to_string();
                        assert!(error.contains("the server refused us: "), "{case}: {error}");
                        let FailureKind::ClientCertificate { problem, said, .. } =
                            last_failure(&exporters, Signal::Traces).kind().clone()
                        else {
                            panic!("{case}: {error}");
                        };
                        assert_eq!(
                            (problem, said),
                            (expected(fixture), RejectedVia::Alert(alert)),
                            "{case}"
                        );
                        assert_eq!(sink.received().len(), before, "{case}");
                    }
                }
            }
        }
    }
}

/// The defect of a client that a server refuses.
pub(super) fn expected(fixture: Option<Fixture>) -> ClientCertificateProblem {
    match fixture {
        None => ClientCertificateProblem::Required,
        Some(Fixture::Expired) => ClientCertificateProblem::Expired,
        Some(Fixture::NotYetValid) => ClientCertificateProblem::NotYetValid,
        Some(Fixture::WrongUsage) => ClientCertificateProblem::WrongUsage,
        Some(_) => ClientCertificateProblem::UnknownIssuer,
    }
}

pub(super) fn with_client(
    builder: ExportersBuilder,
    pki: &Pki,
    client: Option<Fixture>,
) -> ExportersBuilder {
    let Some(fixture) = client else { return builder };
    let client = pki.client(fixture);
    builder.with_client_identity(Pem::bytes(client.certificate_pem()), Pem::bytes(client.key_pem()))
}
