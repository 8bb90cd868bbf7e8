//! Through an HTTP proxy, by CONNECT.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry_sdk::metrics::SdkMeterProvider;
use otlp_mtls::check::{Outcome, Topic};
use otlp_mtls::testing::{Fixture, Identity, Pki};
use otlp_mtls::{
    Error, ExportersBuilder, FailureKind, Pem, Protocol, Providers, RetryPolicy, Signal,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, copy, copy_bidirectional,
    sink,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::status::points;
use crate::support::{
    SOON, TRANSPORTS, export, last_failure, mtls_collector, plaintext_collector, with_vars,
};

use crate::warnings::warnings_of;

/// A proxy that connects every client to one server, for any requested authority.
struct HttpProxy {
    addr: SocketAddr,
    /// Request line and headers of each connection.
    heard: Arc<Mutex<Vec<Vec<String>>>>,
}

impl HttpProxy {
    /// Without a server it never responds.
    fn start(server: Option<SocketAddr>) -> Self {
        Self::start_with(server, None)
    }

    fn secure(server: Option<SocketAddr>, identity: &Identity) -> Self {
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(identity.certificate_ders().to_vec(), identity.key_der())
                .unwrap();
        // Otherwise it would have to support HTTP/2, too.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self::start_with(server, Some(Arc::new(config).into()))
    }

    fn start_with(server: Option<SocketAddr>, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        let heard = Arc::<Mutex<Vec<Vec<String>>>>::default();
        let hearing = Arc::clone(&heard);
        let accept = async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (tls, hearing) = (tls.clone(), Arc::clone(&hearing));
                tokio::spawn(async move {
                    match tls {
                        None => serve(client, server, &hearing).await,
                        Some(tls) => serve(tls.accept(client).await?, server, &hearing).await,
                    }
                });
            }
        };
        // Ends with the test's process.
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
            runtime.unwrap().block_on(accept)
        });
        Self { addr, heard }
    }
}

/// Ignores errors: some clients close the connection early.
async fn serve(
    client: impl AsyncRead + AsyncWrite + Unpin,
    server: Option<SocketAddr>,
    heard: &Mutex<Vec<Vec<String>>>,
) -> io::Result<()> {
    let mut client = BufReader::new(client);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        client.read_line(&mut line).await?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    heard.lock().unwrap().push(lines);
    let Some(server) = server else {
        // Sends nothing until the client closes the connection.
        return copy(&mut client, &mut sink()).await.map(drop);
    };
    let mut upstream = TcpStream::connect(server).await?;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    client.flush().await?;
    copy_bidirectional(&mut client, &mut upstream).await.map(drop)
}

#[test]
fn every_signal_goes_through_it() {
    for protocol in TRANSPORTS {
        for (secure, proxy_scheme) in
            [(true, "http"), (false, "http"), (true, "https"), (false, "https")]
        {
            let (pki, tls) = mtls_collector();
            let plain = plaintext_collector();
            let (collector, scheme) = if secure { (&tls, "https") } else { (&plain, "http") };
            let proxy_pki = Pki::new();
            let proxy = match proxy_scheme {
                "http" => HttpProxy::start(Some(collector.addr())),
                _ => HttpProxy::secure(Some(collector.addr()), &proxy_pki.server(Fixture::Good)),
            };
            let client = pki.client_named("a client");
            let vars = vec![
                ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("{scheme}://collector.example:4317")),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_string()),
                ("ALL_PROXY", proxy_url(&proxy, proxy_scheme)),
            ];
            let exporters = with_vars(vars)
                .with_ca_certificate(Pem::bytes(pki.ca_pem()))
                .with_client_identity(
                    Pem::bytes(client.certificate_pem()),
                    Pem::bytes(client.key_pem()),
                )
                .with_server_name("localhost")
                .with_proxy_ca_certificate(Pem::bytes(proxy_pki.ca_pem()))
                .build()
                .unwrap();
            let shown = format!("{exporters:?} {:?}", exporters.status());
            assert!(!shown.contains("pass"), "{shown}");
            let exporter = crate::support::Exporter::new(&exporters, Signal::Traces);
            futures_executor::block_on(exporter.export()).unwrap();
            futures_executor::block_on(exporter.export()).unwrap();
            assert_eq!(collector.spans().len(), 2, "{protocol} {scheme} by {proxy_scheme}");
            let heard = proxy.heard.lock().unwrap().clone();
            let [lines] = heard.as_slice() else { panic!("{heard:?}") };
            assert_eq!(lines[0], "CONNECT collector.example:4317 HTTP/1.1");
            // user:pass word
            let authorization = "proxy-authorization: Basic dXNlcjpwYXNzIHdvcmQ=";
            assert!(lines.iter().any(|line| line == authorization), "{lines:?}");

            let report = exporters.check_blocking();
            assert!(report.is_delivered(), "{report}");
            let topics: Vec<_> =
                report.signals[0].findings.iter().map(|finding| finding.topic).collect();
            assert!(topics.contains(&Topic::Proxy), "{report}");
            assert!(!report.to_string().contains("pass"), "{report}");
        }
    }
}

fn proxy_url(proxy: &HttpProxy, scheme: &str) -> String {
    format!("{scheme}://user:pass%20word@localhost:{}", proxy.addr.port())
}

/// A builder for a collector in plaintext, behind this proxy.
fn behind(proxy: String) -> ExportersBuilder {
    with_vars(vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.example:4317".to_owned()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc".to_owned()),
        ("HTTP_PROXY", proxy),
    ])
    .with_retry(RetryPolicy::disabled())
    .with_failure_handler(|_| {})
}

#[test]
fn the_ca_of_one_rotates() {
    let collector = plaintext_collector();
    let pki = Pki::new();
    let proxy = HttpProxy::secure(Some(collector.addr()), &pki.server(Fixture::Good));
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("proxy-ca.crt");
    fs::write(&ca, pki.other_ca_pem()).unwrap();
    let exporters = behind(proxy_url(&proxy, "https"))
        .with_proxy_ca_certificate(Pem::file(&ca))
        .build()
        .unwrap();
    export(&exporters, Signal::Traces).unwrap_err();
    let failure = last_failure(&exporters, Signal::Traces);
    let FailureKind::ProxyTls { reason, .. } = failure.kind() else { panic!("{failure}") };
    assert_eq!(reason.name(), "server_certificate_unknown_issuer", "{failure}");
    assert!(failure.to_string().contains(ca.to_str().unwrap()), "{failure}");
    let report = exporters.check_blocking();
    let finding = report.signals[0].findings.iter().find(|finding| finding.topic == Topic::Proxy);
    assert_eq!(finding.unwrap().outcome, Outcome::Failed, "{report}");
    assert!(proxy.heard.lock().unwrap().is_empty(), "a password for whoever answers");

    fs::write(&ca, pki.ca_pem()).unwrap();
    exporters.reload().unwrap();
    export(&exporters, Signal::Traces).unwrap();
    assert_eq!(collector.spans().len(), 1);
}

/// As with the collector's CA, a failure has the file read at once, and a new CA ends the pause.
#[test]
fn a_new_ca_ends_the_failure_of_an_old_one() {
    let collector = plaintext_collector();
    let pki = Pki::new();
    let proxy = HttpProxy::secure(Some(collector.addr()), &pki.server(Fixture::Good));
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("proxy-ca.crt");
    fs::write(&ca, pki.other_ca_pem()).unwrap();
    let exporters = behind(proxy_url(&proxy, "https"))
        .with_proxy_ca_certificate(Pem::file(&ca))
        .with_reload_interval(Duration::from_secs(3600))
        .build()
        .unwrap();
    export(&exporters, Signal::Traces).unwrap_err();
    fs::write(&ca, pki.ca_pem()).unwrap();
    let begun = Instant::now();
    while let Err(error) = export(&exporters, Signal::Traces) {
        assert!(begun.elapsed() < SOON, "{error}");
        // Failures force a check about once a second.
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(collector.spans().len(), 1);
    let status = exporters.status().credentials;
    let [of_proxy] = status.as_slice() else { panic!("{status:?}") };
    assert_eq!(of_proxy.generation, 1);
}

#[test]
fn what_verifies_one_has_a_status_metrics_and_a_warning() {
    let (pki, collector) = mtls_collector();
    let proxy_pki = Pki::new();
    let proxy = HttpProxy::secure(Some(collector.addr()), &proxy_pki.server(Fixture::Good));
    let client = pki.client_named("a client");
    let year = Duration::from_secs(365 * 24 * 3600);
    let warnings = warnings_of(|| {
        let exporters = with_vars(vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.example:4317".to_owned()),
            ("HTTPS_PROXY", proxy_url(&proxy, "https")),
        ])
        .with_ca_certificate(Pem::bytes(pki.ca_pem()))
        .with_client_identity(Pem::bytes(client.certificate_pem()), Pem::bytes(client.key_pem()))
        .with_server_name("localhost")
        .with_proxy_ca_certificate(Pem::bytes(proxy_pki.ca_pem()))
        .with_expiry_warning(year)
        .build()
        .unwrap();
        let exporter = exporters.metric_exporter().unwrap();
        let meters = SdkMeterProvider::builder().with_periodic_exporter(exporter).build();
        exporters.register_metrics(&meters);
        export(&exporters, Signal::Traces).unwrap();
        meters.force_flush().unwrap();
        exporters.reload().unwrap();

        let status = exporters.status().credentials;
        let [of_collector, of_proxy] = status.as_slice() else { panic!("{status:?}") };
        assert_eq!(of_collector.proxy, None);
        let address = format!("localhost:{}", proxy.addr.port());
        assert_eq!(of_proxy.proxy.as_deref(), Some(address.as_str()));
        assert_eq!(of_proxy.signals, Signal::ALL);
        assert!(of_proxy.chain.is_empty());
        assert_eq!(of_proxy.server.as_ref().unwrap().subject, "CN=localhost");
        assert_eq!(of_proxy.anchor.as_ref(), of_proxy.trust_anchors.first());
        assert!(of_proxy.anchor.is_some());

        let points = points(&collector, "otlp_mtls.certificate.not_after");
        let subjects: Vec<_> =
            points.iter().map(|(attributes, _)| attributes[1].1.as_str()).collect();
        let ca = "CN=otlp-mtls test ca";
        assert_eq!(subjects, [ca, ca, "CN=a client", "CN=localhost", "CN=localhost"], "{points:?}");
        let report = exporters.check_blocking();
        assert!(report.is_delivered(), "{report}");
        let topics: Vec<_> =
            report.signals[0].findings.iter().map(|finding| finding.topic).collect();
        assert!(topics.contains(&Topic::ProxyTrustAnchors), "{report}");
        assert!(topics.contains(&Topic::ProxyCertificate), "{report}");
        exporters.shutdown(Providers::new().with_meter_provider(&meters), SOON).unwrap();
    });
    let begins = "the proxy certificate (CN=localhost) expires in 29 days, at 20";
    let of_proxy = warnings.iter().find(|warning| warning.starts_with(begins));
    assert!(of_proxy.expect(begins).ends_with("renew it at the proxy"), "{warnings:#?}");
    let of_ca = |warning: &&String| warning.ends_with("with_proxy_ca_certificate()");
    assert_eq!(warnings.iter().filter(of_ca).count(), 1, "{warnings:#?}");
}

#[test]
fn a_ca_that_cannot_be_used_is_an_error() {
    let proxy = || "https://proxy.example".to_owned();
    let error = behind(proxy()).with_proxy_ca_certificate(Pem::file("/nowhere")).build();
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with("with_proxy_ca_certificate(): "), "{error}");
    // It is not used.
    let plain = "http://proxy.example".to_owned();
    behind(plain).with_proxy_ca_certificate(Pem::file("/nowhere")).build().unwrap();
}

/// The platform's roots belong to a process: this test runs in a separate one whose only root is the proxy's CA.
#[test]
fn the_platforms_roots_verify_one_unless_a_ca_is_named() {
    const PROXY: &str = "OTLP_MTLS_PROXY";
    const NAME: &str = "http_proxy::the_platforms_roots_verify_one_unless_a_ca_is_named";
    if let Ok(url) = std::env::var(PROXY) {
        let exporters = behind(url.clone()).build().unwrap();
        export(&exporters, Signal::Traces).unwrap();
        let other = Pki::new();
        let builder = behind(url).with_proxy_ca_certificate(Pem::bytes(other.ca_pem()));
        let exporters = builder.build().unwrap();
        export(&exporters, Signal::Traces).unwrap_err();
        assert_eq!(last_failure(&exporters, Signal::Traces).kind().name(), "proxy_tls");
        return;
    }
    let collector = plaintext_collector();
    let pki = Pki::new();
    let proxy = HttpProxy::secure(Some(collector.addr()), &pki.server(Fixture::Good));
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(PROXY, proxy_url(&proxy, "https"))
        .env("SSL_CERT_FILE", pki.write_ca_to(directory.path()).unwrap())
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(collector.spans().len(), 1);
}

#[test]
fn one_that_never_responds_costs_the_connect_timeout() {
    let proxy = HttpProxy::start(None);
    let exporters = with_vars(vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.example:4317".to_owned()),
        ("HTTPS_PROXY", format!("http://localhost:{}", proxy.addr.port())),
    ])
    .with_ca_certificate(Pem::bytes(Pki::new().ca_pem()))
    .with_connect_timeout(Duration::from_millis(300))
    .with_timeout(SOON)
    .with_retry(RetryPolicy::disabled())
    .with_failure_handler(|_| {})
    .build()
    .unwrap();
    export(&exporters, Signal::Traces).unwrap_err();
    assert_eq!(last_failure(&exporters, Signal::Traces).kind().name(), "proxy_timeout");
}

#[test]
fn one_that_cannot_be_used_is_an_error() {
    let vars = vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.example:4317"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", Protocol::Grpc.to_string().leak() as &str),
        ("HTTP_PROXY", "socks5://user:secret@proxy:1080"),
    ];
    let error = with_vars(vars).build().unwrap_err();
    assert!(matches!(error, Error::Proxy { .. }), "{error:?}");
    assert!(error.to_string().starts_with("HTTP_PROXY: "), "{error}");
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
}
