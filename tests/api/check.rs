//! The doctor: its report on working and on broken configurations.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;

use otlp_mtls::check::{Outcome, Report, Topic};
use otlp_mtls::testing::{Accept, Collector, Fixture, Identity, Pki, Reply};
use otlp_mtls::{Compression, Exporters, ExportersBuilder, Pem, Protocol, Signal};
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;

use crate::proxy::Proxy;
use crate::support::{
    NOBODY, PROTOCOLS, SOON, TRANSPORTS, builder, export, last_failure, mtls_builder,
    mtls_collector, once, plaintext_builder, plaintext_collector, with_vars,
};

/// The variables of a typical service.
fn from_files(
    pki: &Pki,
    endpoint: String,
    protocol: Protocol,
) -> (ExportersBuilder, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) =
        pki.client(Fixture::Good).write_to(directory.path(), "client").unwrap();
    let ca = pki.write_ca_to(directory.path()).unwrap();
    let vars = vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.into()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_string().into()),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", ca.into_os_string()),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certificate.into_os_string()),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", key.into_os_string()),
    ];
    (with_vars(vars).with_failure_handler(|_| {}), directory)
}

fn outcome(report: &Report, topic: Topic) -> Vec<Outcome> {
    let findings = report.signals[0].findings.iter();
    findings.filter(|finding| finding.topic == topic).map(|finding| finding.outcome).collect()
}

#[test]
fn a_working_configuration() {
    for protocol in PROTOCOLS {
        let (pki, collector) = mtls_collector();
        let (builder, directory) = from_files(&pki, collector.endpoint(), protocol);
        let exporters = builder.build().unwrap();
        let report = exporters.check_blocking();
        let words = report.to_string();
        assert!(report.is_delivered(), "{words}");
        assert_eq!(report.signals.len(), 3);
        let directory = directory.path().to_str().unwrap();
        for part in [
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            &format!("{directory}/ca.crt (OTEL_EXPORTER_OTLP_CERTIFICATE)"),
            &format!("{directory}/client.crt (OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE)"),
            &format!("{directory}/client.key (OTEL_EXPORTER_OTLP_CLIENT_KEY)"),
            "SHA-256 ",
            "chains to a trusted CA",
            "localhost is ",
            "connected to 127.0.0.1:",
            "TLS 1.3, TLS13_",
            "X25519MLKEM768",
            "ALPN h2",
            "CN=localhost for localhost, 127.0.0.1, ::1, issued by CN=otlp-mtls test ca, valid from ",
            "the server requested a certificate, of CN=otlp-mtls test ca, and accepted ours",
            "an empty export was answered",
        ] {
            assert!(words.contains(part), "{protocol}: no {part} in\n{words}");
        }
        for signal in &report.signals {
            assert!(signal.findings.iter().all(|finding| finding.outcome == Outcome::Good));
            assert_eq!(signal.server_chain[0].subject, "CN=localhost");
            assert_eq!(signal.client_chain[0].subject, "CN=test-client");
            assert!(signal.failure.is_none());
        }
        // One dial for each signal, and no telemetry.
        assert_eq!((collector.connections(), collector.handshakes()), (3, 3), "{protocol}");
        assert_eq!(collector.requests().len(), 3);
        assert!(collector.requests().iter().all(|request| request.items() == 0));
        // It does not count as an export.
        assert!(exporters.status().exports.iter().all(|exports| exports.succeeded == 0));
        assert!(collector.wait_until(SOON, |seen| seen.open_connections() == 0), "{protocol}");
    }
}

#[test]
fn it_can_be_awaited_anywhere_and_called_in_tokio() {
    for protocol in TRANSPORTS {
        let (pki, collector) = mtls_collector();
        let exporters = mtls_builder(&pki, &collector, protocol).build().unwrap();
        assert!(futures_executor::block_on(exporters.check()).is_delivered());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            assert!(exporters.check().await.is_delivered());
            assert!(exporters.check_blocking().is_delivered());
        });
    }
}

#[test]
fn it_reports_the_step_that_fails() {
    for protocol in TRANSPORTS {
        // Nothing listens.
        let pki = Pki::new();
        let gone = format!("https://localhost:{NOBODY}");
        let (builder, _files) = from_files(&pki, gone, protocol);
        let report = builder.build().unwrap().check_blocking();
        assert!(!report.is_delivered());
        assert_eq!(outcome(&report, Topic::Dns), [Outcome::Good], "{report}");
        assert_eq!(outcome(&report, Topic::Tcp), [Outcome::Failed], "{report}");
        assert_eq!(outcome(&report, Topic::Tls), [], "{report}");
        assert!(report.to_string().contains("to do: start the collector"), "{report}");

        // No such host.
        let invalid = "https://collector.invalid:4317".to_owned();
        let (builder, _files) = from_files(&pki, invalid, protocol);
        let report = builder.build().unwrap().check_blocking();
        assert_eq!(outcome(&report, Topic::Dns), [Outcome::Failed], "{report}");

        // The server does not speak TLS.
        let (pki, collector) = mtls_collector();
        collector.set_accept(Accept::Silence);
        let (builder, _files) = from_files(&pki, collector.endpoint(), protocol);
        let builder = builder.with_connect_timeout(Duration::from_millis(300));
        let report = builder.build().unwrap().check_blocking();
        assert_eq!(outcome(&report, Topic::Tcp), [Outcome::Good], "{report}");
        assert_eq!(outcome(&report, Topic::Tls), [Outcome::Failed], "{report}");
        assert_eq!(outcome(&report, Topic::ServerCertificate), [], "{report}");

        // We do not trust the server.
        let collector =
            Collector::builder().with_tls(pki.server(Fixture::WrongName)).start().unwrap();
        let (builder, _files) = from_files(&pki, collector.endpoint(), protocol);
        let report = builder.build().unwrap().check_blocking();
        assert_eq!(outcome(&report, Topic::ServerCertificate), [Outcome::Failed], "{report}");
        assert_eq!(outcome(&report, Topic::Export), [Outcome::Failed], "{report}");
        assert!(report.to_string().contains("other.example"), "{report}");

        // The server does not trust us.
        let collector = Collector::builder()
            .with_tls(pki.server(Fixture::Good))
            .with_client_ca(pki.other_ca_pem())
            .start()
            .unwrap();
        let (builder, _files) = from_files(&pki, collector.endpoint(), protocol);
        let report = builder.build().unwrap().check_blocking();
        assert_eq!(outcome(&report, Topic::Tls), [Outcome::Good], "{report}");
        assert_eq!(outcome(&report, Topic::ServerCertificate), [Outcome::Good], "{report}");
        assert_eq!(outcome(&report, Topic::ClientAuthentication), [Outcome::Failed], "{report}");
        // One dial for each failing signal, too.
        assert_eq!(collector.connections(), 3, "{report}");

        // The server accepts the connection and rejects the request.
        let (pki, collector) = mtls_collector();
        collector.set_reply(|_| Reply::Http { status: 401, headers: Vec::new() });
        let (builder, _files) = from_files(&pki, collector.endpoint(), protocol);
        let report = builder.build().unwrap().check_blocking();
        assert_eq!(outcome(&report, Topic::Export), [Outcome::Failed], "{report}");
        assert!(report.to_string().contains("OTEL_EXPORTER_OTLP_HEADERS"), "{report}");
    }
}

/// A server that resets each connection, except, if it `speaks_tls`, those that begin with a ClientHello.
fn resetting(speaks_tls: bool) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    // Ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut first = [0];
            // Dropping a stream with unread bytes resets it. The client may close it first.
            if stream.peek(&mut first).is_ok() && first == [0x16] && speaks_tls {
                let mut hello = [0; 4096];
                let _ = stream.read(&mut hello).and_then(|_| {
                    // An alert: handshake_failure.
                    stream.write_all(b"\x15\x03\x03\x00\x02\x02\x28")
                });
            }
        }
    });
    addr
}

#[test]
fn it_detects_tls_at_a_server_that_sends_nothing() {
    for (protocol, otherwise) in
        [(Protocol::Grpc, "closed"), (Protocol::HttpProtobuf, "connection")]
    {
        for (speaks_tls, expected) in [(true, "needs_tls"), (false, otherwise)] {
            let exporters = once(builder())
                .with_endpoint(format!("http://{}", resetting(speaks_tls)))
                .with_protocol(protocol)
                .with_failure_handler(|_| {})
                .build()
                .unwrap();
            let report = exporters.check_blocking();
            let failure = report.signals[0].failure.as_ref().unwrap();
            assert_eq!(failure.kind().name(), expected, "{protocol}: {report}");
            assert_eq!(outcome(&report, Topic::Export), [Outcome::Failed], "{report}");
        }
    }
}

#[test]
fn a_signal_shows_its_own_endpoint() {
    for protocol in TRANSPORTS {
        let (pki, collector) = mtls_collector();
        let proxy = Proxy::start(collector.addr());
        proxy.close_all_but_the_first();
        let (builder, _files) = from_files(&pki, proxy.endpoint("https"), protocol);
        let report = builder.build().unwrap().check_blocking();
        let delivered: Vec<_> = report.signals.iter().filter(|signal| signal.delivered).collect();
        let [delivered] = delivered.as_slice() else { panic!("{protocol}: {report}") };
        let findings = &delivered.findings;
        assert!(findings.iter().all(|finding| finding.outcome == Outcome::Good), "{report}");
        for lost in report.signals.iter().filter(|signal| !signal.delivered) {
            let tls = lost.findings.iter().find(|finding| finding.topic == Topic::Tls).unwrap();
            assert_eq!(tls.outcome, Outcome::Failed, "{protocol}: {report}");
        }
    }
}

/// Runs a check during a handshake with a server that sends nothing.
#[derive(Debug)]
struct ChecksMeanwhile {
    inner: Arc<dyn ResolvesClientCert>,
    collector: Arc<Collector>,
    exporters: OnceLock<Exporters>,
}

impl ResolvesClientCert for ChecksMeanwhile {
    fn resolve(&self, hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.collector.set_accept(Accept::Refuse);
        let report = self.exporters.get().unwrap().check_blocking();
        assert_eq!(outcome(&report, Topic::Tls), [Outcome::Failed], "{report}");
        self.inner.resolve(hints, schemes)
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[test]
fn evidence_of_a_check_is_not_used_for_exports() {
    for protocol in TRANSPORTS {
        let pki = Pki::new();
        let collector = Collector::builder()
            .with_tls(pki.server(Fixture::Good))
            .with_client_ca(pki.other_ca_pem())
            .start()
            .unwrap();
        let collector = Arc::new(collector);
        let own = mtls_builder(&pki, &collector, protocol).build().unwrap();
        let mut config = (*own.client_config(Signal::Traces).unwrap()).clone();
        let resolver = Arc::new(ChecksMeanwhile {
            inner: config.client_auth_cert_resolver,
            collector: Arc::clone(&collector),
            exporters: OnceLock::new(),
        });
        config.client_auth_cert_resolver = resolver.clone();
        let exporters = once(builder())
            .with_endpoint(collector.endpoint())
            .with_protocol(protocol)
            .with_rustls_config(Arc::new(config))
            .with_failure_handler(|_| {})
            .build()
            .unwrap();
        resolver.exporters.set(exporters.clone()).unwrap();
        export(&exporters, Signal::Traces).unwrap_err();
        // The alert alone does not say whose certificate it is about.
        let failure = last_failure(&exporters, Signal::Traces);
        assert_eq!(failure.kind().name(), "client_certificate_unknown_issuer", "{failure}");
    }
}

#[test]
fn a_delivered_report_may_have_warnings() {
    let collector = plaintext_collector();
    let report = plaintext_builder(&collector, Protocol::Grpc).build().unwrap().check_blocking();
    assert!(report.is_delivered());
    assert_eq!(outcome(&report, Topic::Tls), [Outcome::Doubtful], "{report}");

    // A server that requests no certificate, a certificate that expires soon, a client certificate of version 1.
    let pki = Pki::new();
    let collector = Collector::builder().with_tls(pki.server(Fixture::Good)).start().unwrap();
    let (builder, files) = from_files(&pki, collector.endpoint(), Protocol::Grpc);
    let builder = builder.with_expiry_warning(Duration::from_secs(365 * 24 * 3600));
    pki.client(Fixture::V1).write_to(files.path(), "client").unwrap();
    let report = builder.build().unwrap().check_blocking();
    assert!(report.is_delivered(), "{report}");
    for topic in [
        Topic::TrustAnchors,
        Topic::ClientCertificate,
        Topic::ClientChain,
        Topic::ServerCertificate,
        Topic::ClientAuthentication,
    ] {
        assert_eq!(outcome(&report, topic), [Outcome::Doubtful], "{report}");
    }
}

#[test]
fn the_report_is_serializable() {
    let (pki, collector) = mtls_collector();
    let (builder, files) = from_files(&pki, collector.endpoint(), Protocol::Grpc);
    let key = fs::read_to_string(files.path().join("client.key")).unwrap();
    let exporters = builder.build().unwrap();
    let report = serde_json::to_value(exporters.check_blocking()).unwrap();
    let traces = &report["signals"][2];
    assert_eq!(traces["signal"], "traces");
    assert_eq!(traces["protocol"], "grpc");
    assert_eq!(traces["findings"][0]["topic"], "endpoint");
    assert_eq!(traces["findings"][0]["outcome"], "good");
    assert!(traces["server_chain"][0]["not_after"].as_str().unwrap().ends_with('Z'));
    assert!(traces["failure"].is_null());
    assert!(!report.to_string().contains(key.lines().nth(1).unwrap()));

    collector.set_reply(|_| Reply::Http { status: 403, headers: Vec::new() });
    let report = serde_json::to_value(exporters.check_blocking()).unwrap();
    assert_eq!(report["signals"][2]["failure"]["kind"], "http_403");

    export(&exporters, Signal::Traces).unwrap_err();
    let status = serde_json::to_value(exporters.status()).unwrap();
    assert_eq!(status["exports"][2]["failed"], 1);
    assert_eq!(status["exports"][2]["dropped"], 1);
    assert_eq!(status["exports"][2]["last_failure"]["kind"], "http_403");
}

#[test]
fn an_environment_that_switches_everything_off_has_nothing_to_check() {
    let exporters = with_vars(vec![("OTEL_SDK_DISABLED", "true")]).build().unwrap();
    let report = exporters.check_blocking();
    assert!(report.signals.is_empty());
    let words = "configuration
  warn logs are not exported by OTLP: see OTEL_SDK_DISABLED
  warn metrics are not exported by OTLP: see OTEL_SDK_DISABLED
  warn traces are not exported by OTLP: see OTEL_SDK_DISABLED

no signal is exported by OTLP";
    assert_eq!(report.to_string(), words);
}

#[test]
fn warnings_about_the_configuration_come_first() {
    let collector = plaintext_collector();
    let exporters = with_vars(vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "gprc".to_owned()),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/etc/ca.crt".to_owned()),
        ("OTEL_TRACES_EXPORTER", "none".to_owned()),
    ]);
    let report = exporters.build().unwrap().check_blocking();
    let [protocol, tls, traces] = report.warnings.as_slice() else { panic!("{report}") };
    assert!(protocol.starts_with("OTEL_EXPORTER_OTLP_PROTOCOL: `gprc` is ignored"), "{report}");
    assert!(tls.contains("does not use OTEL_EXPORTER_OTLP_CERTIFICATE"), "{report}");
    assert_eq!(traces, "traces are not exported by OTLP: see OTEL_TRACES_EXPORTER");
    assert!(report.to_string().starts_with("configuration\n  warn OTEL_EXPORTER_OTLP_PROTOCOL: "));
    assert!(report.is_delivered(), "{report}");
}

/// A failing decompression at the collector or a missing header is detected, too.
#[test]
fn the_empty_export_is_like_any_other() {
    for protocol in PROTOCOLS {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let (pki, collector) = mtls_collector();
            let exporters = mtls_builder(&pki, &collector, protocol)
                .with_compression(Some(compression))
                .build()
                .unwrap();
            let report = exporters.check_blocking();
            assert!(report.is_delivered(), "{protocol} {compression:?}: {report}");
            for request in collector.requests() {
                let encoding = match protocol {
                    Protocol::Grpc => &request.headers["grpc-encoding"],
                    _ => &request.headers["content-encoding"],
                };
                assert_eq!(encoding.to_str().unwrap(), format!("{compression:?}").to_lowercase());
                assert_eq!(request.items(), 0);
            }
            exporters.check_blocking();
            assert_eq!((collector.handshakes(), collector.resumptions()), (6, 0));
        }

        let (pki, collector) = mtls_collector();
        let (release, hang) = mpsc::channel::<()>();
        let hang = Mutex::new(hang);
        let exporters = once(mtls_builder(&pki, &collector, protocol))
            .with_timeout(Duration::from_millis(300))
            .with_failure_handler(|_| {})
            .with_header_provider(move |_| {
                let _ = hang.lock().unwrap().recv();
                Ok(http::HeaderMap::new())
            })
            .build()
            .unwrap();
        let report = exporters.check_blocking();
        assert_eq!(outcome(&report, Topic::Tcp), [], "{report}");
        let failure = report.signals[0].failure.as_ref().unwrap();
        assert_eq!(failure.kind().name(), "header_provider", "{failure}");
        assert!(failure.summary().ends_with("no headers within 300ms"), "{failure}");
        drop(release);
    }
}

#[test]
fn a_ca_for_each_side_is_as_usual() {
    let (servers, clients) = (Pki::new(), Pki::new());
    // Its name differs from that of the servers' CA, or is the same.
    for client in [servers.client(Fixture::OtherCa), clients.client(Fixture::Good)] {
        let client_ca = clients.ca_pem().to_owned() + servers.other_ca_pem();
        let collector = Collector::builder()
            .with_tls(servers.server(Fixture::Good))
            .with_client_ca(&client_ca)
            .start()
            .unwrap();
        let check = |client: &Identity| {
            builder()
                .with_endpoint(collector.endpoint())
                .with_ca_certificate(Pem::bytes(servers.ca_pem()))
                .with_client_identity(
                    Pem::bytes(client.certificate_pem()),
                    Pem::bytes(client.key_pem()),
                )
                .with_failure_handler(|_| {})
                .build()
                .unwrap()
                .check_blocking()
        };
        let report = check(&client);
        assert!(report.is_delivered(), "{report}");
        assert_eq!(outcome(&report, Topic::ClientChain), [Outcome::Good], "{report}");
        assert!(report.to_string().contains("for clientAuth; issued by CN="), "{report}");
        // Defects that do not depend on the issuer are reported.
        let report = check(&clients.client(Fixture::WrongUsage));
        assert_eq!(outcome(&report, Topic::ClientChain), [Outcome::Doubtful], "{report}");
    }
}
