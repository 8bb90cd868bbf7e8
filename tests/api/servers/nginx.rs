//! nginx, with a required client certificate, in front of a plaintext collector.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::thread;
use std::time::Duration;

use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use otlp_mtls::failure::{ClientCertificateProblem, RejectedVia};
use otlp_mtls::testing::{Collector, Fixture, Pki};
use otlp_mtls::{FailureKind, Pem, Protocol, Signal};
use tempfile::TempDir;

use super::haproxy::with_client;
use super::{Certificates, Server, repository};
use crate::support::{export, items, last_failure, once, plaintext_collector, span, with_vars};

/// The protocol, and the HTTP version in nginx's log.
const ROUTES: [(Protocol, &str); 3] = [
    (Protocol::Grpc, "HTTP/2.0"),
    (Protocol::HttpProtobuf, "HTTP/2.0"),
    (Protocol::HttpProtobuf, "HTTP/1.1"),
];

/// After this many requests nginx ends a connection, over HTTP/2 with GOAWAY. It is less than the number of exporting
/// threads, so that nginx does not process some requests in flight.
const KEEPALIVE_REQUESTS: u32 = 2;

fn nginx_version() -> Command {
    let mut command = Command::new("nginx");
    command.arg("-v");
    command
}

/// nginx, which requires a client certificate and forwards requests.
struct Nginx {
    _server: Server,
    port: u16,
    directory: TempDir,
}

impl Nginx {
    fn start(certificates: &Certificates, sink: &Collector, http: &str) -> Self {
        let template = fs::read_to_string(repository("tests/servers/nginx.conf.in")).unwrap();
        // Another process may bind the port before nginx does.
        (0..10).find_map(|_| Self::try_start(&template, certificates, sink, http)).unwrap()
    }

    /// `None` if its port was in use.
    fn try_start(
        template: &str,
        certificates: &Certificates,
        sink: &Collector,
        http: &str,
    ) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let port =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let mut config = template
            .replace("@DIR@", directory.path().to_str().unwrap())
            .replace("@PORT@", &port.to_string())
            .replace("@CERTS@", certificates.0.path().to_str().unwrap())
            .replace("@SINK@", &sink.addr().to_string())
            .replace("@KEEPALIVE_REQUESTS@", &KEEPALIVE_REQUESTS.to_string());
        if http == "HTTP/1.1" {
            config = config.replace(" ssl http2;", " ssl;");
        }
        fs::write(directory.path().join("nginx.conf"), config).unwrap();

        let mut nginx = Command::new("nginx");
        nginx.args(["-e", "stderr", "-c", "nginx.conf", "-p"]).arg(directory.path());
        // Its next message after it has started to listen.
        let server = Server::listening(&mut nginx, "event method", "bind()")?;
        Some(Self { _server: server, port, directory })
    }

    /// The largest number of requests on one connection.
    fn most_requests(&self, http: &str) -> u32 {
        let log = fs::read_to_string(self.directory.path().join("access.log")).unwrap();
        let requests = log.lines().map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            let [_connection, request, protocol, _status, _path] = fields[..] else {
                panic!("{line}")
            };
            assert_eq!(protocol, http);
            request.parse().unwrap()
        });
        requests.max().unwrap()
    }
}

#[test]
fn a_collector_behind_nginx_receives_every_signal() {
    let Some(certificates) = Certificates::if_here(&mut nginx_version()) else { return };
    for (protocol, http) in ROUTES {
        let sink = plaintext_collector();
        let nginx = Nginx::start(&certificates, &sink, http);
        let exporters = certificates.builder(nginx.port, protocol).build().unwrap();
        for signal in Signal::ALL {
            export(&exporters, signal).unwrap_or_else(|error| panic!("{http}: {error}"));
            // The metric reader exports again when it is dropped.
            let expected = if signal == Signal::Metrics { 2 } else { 1 };
            assert_eq!(items(&sink, signal), expected, "{protocol} over {http}: {signal}");
        }
        for request in sink.requests() {
            assert_eq!(request.grpc, protocol == Protocol::Grpc);
            assert_eq!(request.headers["x-client-dn"], "O=MyCompany,CN=my-application");
        }
    }
}

#[test]
fn nginx_answers_a_client_whose_certificate_it_refuses_with_status_400() {
    let Some(certificates) = Certificates::if_here(&mut nginx_version()) else { return };
    for (protocol, http) in ROUTES {
        let sink = plaintext_collector();
        let nginx = Nginx::start(&certificates, &sink, http);
        for (client, expected) in [
            (None, ClientCertificateProblem::Required),
            // nginx sends the accepted CAs in the handshake.
            (Some(Fixture::Good), ClientCertificateProblem::UnknownIssuer),
            (Some(Fixture::Expired), ClientCertificateProblem::Expired),
            (Some(Fixture::WrongUsage), ClientCertificateProblem::WrongUsage),
        ] {
            let builder = with_vars(certificates.anonymous(nginx.port, protocol));
            // Issued by a CA that nginx does not accept.
            let exporters = with_client(builder, &Pki::new(), client).build().unwrap();
            export(&exporters, Signal::Traces).unwrap_err();
            let failure = last_failure(&exporters, Signal::Traces);
            let FailureKind::ClientCertificate { problem, said: RejectedVia::Page, .. } =
                failure.kind()
            else {
                panic!("{protocol} over {http}: {failure}");
            };
            assert_eq!(*problem, expected, "{protocol} over {http}: {failure}");
        }
        assert!(sink.received().is_empty());
    }
}

/// nginx responds with a page, not with an alert. The files are checked anyway.
#[test]
fn changed_files_are_used_at_once() {
    let Some(certificates) = Certificates::if_here(&mut nginx_version()) else { return };
    for (protocol, http) in ROUTES {
        let sink = plaintext_collector();
        let nginx = Nginx::start(&certificates, &sink, http);
        let directory = tempfile::tempdir().unwrap();
        let stranger = Pki::new().client(Fixture::Good);
        let (certificate, key) = stranger.write_to(directory.path(), "client").unwrap();
        let exporters = once(with_vars(certificates.anonymous(nginx.port, protocol)))
            .with_client_identity(Pem::file(&certificate), Pem::file(&key))
            .with_reload_interval(Duration::from_secs(3600))
            .build()
            .unwrap();
        export(&exporters, Signal::Traces).unwrap_err();
        fs::copy(certificates.path("client.crt"), &certificate).unwrap();
        fs::copy(certificates.path("client.key"), &key).unwrap();
        export(&exporters, Signal::Traces)
            .unwrap_or_else(|error| panic!("{protocol} over {http}: {error}"));
        assert_eq!(sink.spans().len(), 1, "{protocol} over {http}");
    }
}

/// Exports spans one by one from this many threads, on connections that nginx ends repeatedly.
fn nothing_is_lost(threads: usize) {
    let Some(certificates) = Certificates::if_here(&mut nginx_version()) else { return };
    for (protocol, http) in ROUTES {
        let sink = plaintext_collector();
        let nginx = Nginx::start(&certificates, &sink, http);
        // Retries would hide a loss.
        let exporters = once(certificates.builder(nginx.port, protocol)).build().unwrap();
        let names = |thread| (0..30).map(move |number| format!("{thread}.{number}"));
        thread::scope(|scope| {
            for thread in 0..threads {
                let exporter = exporters.span_exporter().unwrap();
                scope.spawn(move || {
                    for name in names(thread) {
                        let span = SpanData { name: name.into(), ..span("") };
                        futures_executor::block_on(exporter.export(vec![span]))
                            .unwrap_or_else(|error| panic!("{http}: {error}"));
                    }
                });
            }
        });
        let mut received: Vec<String> = sink.spans().into_iter().map(|span| span.name).collect();
        let mut expected: Vec<String> = (0..threads).flat_map(names).collect();
        received.sort();
        expected.sort();
        assert_eq!(received, expected, "{protocol} over {http}");
        assert_eq!(nginx.most_requests(http), KEEPALIVE_REQUESTS, "{protocol} over {http}");
    }
}

#[test]
fn sequential_exports_survive_the_connections_that_nginx_ends() {
    nothing_is_lost(1);
}

#[test]
fn concurrent_exports_survive_the_connections_that_nginx_ends() {
    nothing_is_lost(3);
}
