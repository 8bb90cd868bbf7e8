//! Pacing: how often a failing collector is dialled and sent requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures_executor::block_on;
use opentelemetry_sdk::trace::SpanExporter as _;
use otlp_mtls::status::ExportStatus;
use otlp_mtls::testing::{Fixture, Pki, Reply};
use otlp_mtls::{
    CredentialSource, Credentials, Exporters, ExportersBuilder, Pem, Protocol, RetryPolicy, Signal,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ServerConfig, crypto::aws_lc_rs};

use crate::exporter::{Exporter, span};
use crate::proxy::Proxy;
use crate::scripted::{PING, Scripted, Step, frame, grpc_accept, reset};
use crate::support::{
    SOON, TRANSPORTS, builder, last_failure, mtls_builder, mtls_collector, once, plaintext_builder,
    plaintext_collector,
};

/// How long exports to a failing collector go on, without a pause.
const LOAD: Duration = Duration::from_secs(5);

fn traces(builder: ExportersBuilder) -> (Exporters, Exporter) {
    let exporters = builder.with_failure_handler(|_| {}).build().unwrap();
    let exporter = Exporter::new(&exporters, Signal::Traces);
    (exporters, exporter)
}

fn traces_status(exporters: &Exporters) -> ExportStatus {
    let mut exports = exporters.status().exports.into_iter();
    exports.find(|exports| exports.signal == Signal::Traces).unwrap()
}

/// Exports for that time. Every export fails.
fn fail(exporter: &Exporter) {
    let end = Instant::now() + LOAD;
    while Instant::now() < end {
        block_on(exporter.export()).unwrap_err();
    }
}

/// The SDK logs each failure. Only a lower limit is asserted: it holds on any machine.
#[test]
fn batches_that_fail_again_and_again_fail_once_a_second() {
    let (pki, collector) = mtls_collector();
    let builder = mtls_builder(&pki, &collector, Protocol::Grpc);
    let builder = builder.with_ca_certificate(Pem::bytes(pki.other_ca_pem()));
    let exporters = builder.with_failure_handler(|_| {}).build().unwrap();
    let exporter = exporters.span_exporter().unwrap();
    let export = || {
        let begun = Instant::now();
        block_on(exporter.export(vec![span("one"), span("another")])).unwrap_err();
        begun.elapsed()
    };
    for _ in 0..8 {
        export();
    }
    for _ in 0..2 {
        let elapsed = export();
        assert!(elapsed >= Duration::from_secs(1), "{elapsed:?}");
    }
}

#[test]
fn a_wrong_ca_is_dialled_a_few_times() {
    for protocol in TRANSPORTS {
        let (pki, collector) = mtls_collector();
        let builder = mtls_builder(&pki, &collector, protocol)
            .with_ca_certificate(Pem::bytes(pki.other_ca_pem()));
        let (exporters, exporter) = traces(builder);
        fail(&exporter);
        let dials = collector.connections();
        assert!((2..=6).contains(&dials), "{protocol}: {dials}");
        // One of them may dial.
        let remembered = [(); 2].map(|()| {
            block_on(exporter.export()).unwrap_err();
            let words = last_failure(&exporters, Signal::Traces).to_string();
            words.contains("not tried: the next attempt is in ")
        });
        assert!(remembered.contains(&true), "{protocol}");
        assert!(traces_status(&exporters).next_attempt.is_some(), "{protocol}");
    }
}

/// A source that returns a new identity at each load.
#[derive(Debug)]
struct Issuing {
    pki: Pki,
    ca: CertificateDer<'static>,
    issued: Arc<AtomicUsize>,
}

impl CredentialSource for Issuing {
    fn load(&self) -> Result<Credentials, Box<dyn std::error::Error + Send + Sync>> {
        self.issued.fetch_add(1, Ordering::SeqCst);
        let identity = self.pki.client(Fixture::Good);
        Ok(Credentials::new()
            .with_trust_anchors([self.ca.clone()])
            .with_identity(identity.certificate_ders().to_vec(), identity.key_der()))
    }
}

#[test]
fn a_source_that_issues_at_each_load_is_loaded_a_few_times() {
    let (pki, collector) = mtls_collector();
    let issued = Arc::<AtomicUsize>::default();
    let ca = CertificateDer::from_pem_slice(pki.other_ca_pem().as_bytes()).unwrap();
    let source = Issuing { pki, ca, issued: Arc::clone(&issued) };
    let builder = builder()
        .with_endpoint(collector.endpoint())
        .with_protocol(Protocol::Grpc)
        .with_credential_source(source);
    let (_exporters, exporter) = traces(builder);
    fail(&exporter);
    let (issued, dials) = (issued.load(Ordering::SeqCst), collector.connections());
    assert!((2..=6).contains(&issued), "{issued} issued");
    assert!((2..=8).contains(&dials), "{dials} dials");
}

#[test]
fn a_delay_requested_by_the_collector_holds_for_every_export_of_the_signal() {
    let minute = Duration::from_secs(60);
    let retry_info = Reply::Grpc { code: 14, message: String::new(), retry_delay: Some(minute) };
    let headers = vec![("retry-after".to_owned(), "60".to_owned())];
    let retry_after = Reply::Http { status: 429, headers };
    for (protocol, reply) in [(Protocol::Grpc, retry_info), (Protocol::HttpProtobuf, retry_after)] {
        let collector = plaintext_collector();
        collector.set_reply(move |request| match request.signal {
            Signal::Traces => reply.clone(),
            _ => Reply::Accept,
        });
        let (exporters, exporter) = traces(plaintext_builder(&collector, protocol));
        for _ in 0..100 {
            let error = block_on(exporter.export()).unwrap_err().to_string();
            assert!(error.contains("status"), "the collector's word is kept: {error}");
        }
        assert_eq!(collector.received().len(), 1, "{protocol}");
        // It does not hold for other signals.
        let logs = Exporter::new(&exporters, Signal::Logs);
        block_on(logs.export()).unwrap();
    }
}

/// A server that counts requests and PINGs, and responds only with HTTP/2 errors.
struct Resetting {
    addr: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

impl Resetting {
    /// In plaintext, or over TLS, where it speaks HTTP/1.1 with clients that do not offer HTTP/2.
    fn start(reason: h2::Reason, by_goaway: bool, tls: Option<ServerConfig>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let addr = listener.local_addr().unwrap();
        let [connections, requests] = [(); 2].map(|()| Arc::<AtomicUsize>::default());
        let counts = (Arc::clone(&connections), Arc::clone(&requests));
        let acceptor = tls.map(|config| tokio_rustls::TlsAcceptor::from(Arc::new(config)));
        // Ends with the test's process.
        thread::spawn(move || {
            runtime.block_on(async {
                loop {
                    let (tcp, _) = listener.accept().await.unwrap();
                    counts.0.fetch_add(1, Ordering::SeqCst);
                    let (requests, acceptor) = (Arc::clone(&counts.1), acceptor.clone());
                    tokio::spawn(async move {
                        let Some(acceptor) = acceptor else {
                            return resets(tcp, reason, by_goaway, &requests).await;
                        };
                        let Ok(stream) = acceptor.accept(tcp).await else { return };
                        match stream.get_ref().1.alpn_protocol() {
                            Some(b"h2") => resets(stream, reason, by_goaway, &requests).await,
                            _ => accepts(stream).await,
                        }
                    });
                }
            });
        });
        Self { addr, connections, requests }
    }

    fn counts(&self) -> (usize, usize) {
        (self.connections.load(Ordering::SeqCst), self.requests.load(Ordering::SeqCst))
    }
}

async fn resets(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    reason: h2::Reason,
    by_goaway: bool,
    requests: &AtomicUsize,
) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((_request, mut respond))) = connection.accept().await {
        requests.fetch_add(1, Ordering::SeqCst);
        match by_goaway {
            true => connection.abrupt_shutdown(reason),
            false => respond.send_reset(reason),
        }
    }
}

/// Answers each HTTP/1.1 request with success.
async fn accepts(stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) {
    let service =
        hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| async {
            http_body_util::BodyExt::collect(request.into_body()).await?;
            let response =
                http::Response::builder().header("content-type", "application/x-protobuf");
            let body = http_body_util::Empty::<bytes::Bytes>::new();
            Ok::<_, hyper::Error>(response.body(body).unwrap())
        });
    let io = hyper_util::rt::TokioIo::new(stream);
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
}

fn grpc(server: &Resetting) -> ExportersBuilder {
    builder().with_endpoint(format!("http://{}", server.addr)).with_protocol(Protocol::Grpc)
}

#[test]
fn a_stream_that_is_refused_is_sent_again_on_the_same_connection() {
    let server = Resetting::start(h2::Reason::REFUSED_STREAM, false, None);
    let retry =
        RetryPolicy::default().with_max_attempts(4).with_initial_backoff(Duration::from_millis(20));
    let (exporters, exporter) = traces(grpc(&server).with_retry(retry));
    let error = block_on(exporter.export()).unwrap_err().to_string();
    assert_eq!(server.counts(), (1, 4));
    assert!(error.contains("the request with HTTP/2 error 7 (REFUSED_STREAM)"), "{error}");
    assert!(!error.contains("https://"), "{error}");
    assert_eq!(last_failure(&exporters, Signal::Traces).kind().name(), "http2_error");
}

/// The connection is not at fault, and other signals use it too.
#[test]
fn a_stream_that_is_reset_leaves_its_connection() {
    for (code, name) in
        [(0, "NO_ERROR"), (1, "PROTOCOL_ERROR"), (2, "INTERNAL_ERROR"), (8, "CANCEL")]
    {
        let server = Scripted::http2(move |request| match request.index {
            1 | 2 => vec![Step::Send(reset(request.stream, code))],
            _ => vec![grpc_accept(request.stream)],
        });
        let retry = RetryPolicy::default()
            .with_max_attempts(2)
            .with_initial_backoff(Duration::from_millis(1));
        let builder = builder().with_endpoint(server.endpoint()).with_protocol(Protocol::Grpc);
        let (_exporters, exporter) = traces(builder.with_retry(retry));
        block_on(exporter.export()).unwrap();
        let error = block_on(exporter.export()).unwrap_err().to_string();
        assert!(error.contains(&format!("HTTP/2 error {code} ({name})")), "{error}");
        block_on(exporter.export()).unwrap();
        assert_eq!((server.connections(), server.requests()), (1, 4), "{name}");
    }
}

#[test]
fn enhance_your_calm_delays_the_next_dial() {
    for by_goaway in [true, false] {
        let server = Resetting::start(h2::Reason::ENHANCE_YOUR_CALM, by_goaway, None);
        let (_exporters, exporter) = traces(grpc(&server).with_timeout(Duration::from_secs(3)));
        for _ in 0..20 {
            let error = block_on(exporter.export()).unwrap_err().to_string();
            assert!(error.contains("(ENHANCE_YOUR_CALM)"), "{error}");
        }
        assert_eq!(server.counts(), (1, 1), "{by_goaway}");
    }
}

#[test]
fn a_server_that_wants_http_1_1_has_it() {
    for by_goaway in [true, false] {
        let pki = Pki::new();
        let identity = pki.server(Fixture::Good);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(identity.certificate_ders().to_vec(), identity.key_der())
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let server = Resetting::start(h2::Reason::HTTP_1_1_REQUIRED, by_goaway, Some(config));
        let builder = builder()
            .with_endpoint(format!("https://localhost:{}", server.addr.port()))
            .with_protocol(Protocol::HttpProtobuf)
            .with_ca_certificate(Pem::bytes(pki.ca_pem()));
        let (_exporters, exporter) = traces(once(builder));
        for _ in 0..3 {
            block_on(exporter.export()).unwrap();
        }
        // Over HTTP/2, the first; later exports use the remembered failure.
        assert_eq!(server.counts(), (2, 1), "{by_goaway}");
    }
    let server = Resetting::start(h2::Reason::HTTP_1_1_REQUIRED, false, None);
    let (_exporters, exporter) = traces(grpc(&server));
    let error = block_on(exporter.export()).unwrap_err().to_string();
    assert!(error.contains("to do: correct the port"), "{error}");
    assert_eq!(server.counts(), (1, 1), "gRPC has nothing but HTTP/2");
}

#[test]
fn a_slow_collector_is_dialled_once_for_three_exports() {
    let timeout = Duration::from_millis(300);
    let collector = plaintext_collector();
    collector.set_reply(move |_| Reply::After(2 * timeout, Box::new(Reply::Accept)));
    let builder = once(plaintext_builder(&collector, Protocol::Grpc)).with_timeout(timeout);
    let (_exporters, exporter) = traces(builder);
    for _ in 0..20 {
        // One of them may be answered just in time.
        let _ = block_on(exporter.export());
    }
    assert!(collector.connections() <= 7, "{}", collector.connections());
}

/// The server answers PINGs only.
#[test]
fn a_collector_that_only_answers_pings_is_given_up_after_three_exports() {
    let collector = plaintext_collector();
    collector.set_reply(|_| Reply::Hold);
    let builder = once(plaintext_builder(&collector, Protocol::Grpc));
    let (exporters, _) = traces(builder.with_timeout(Duration::from_millis(300)));
    // They may be of different signals.
    let exporters = Signal::ALL.map(|signal| Exporter::new(&exporters, signal));
    for _ in 0..4 {
        for exporter in &exporters {
            block_on(exporter.export()).unwrap_err();
        }
    }
    assert_eq!(collector.connections(), 4);
}

/// The server sends frames continually, so that no PING is necessary.
#[test]
fn a_server_that_only_sends_pings_is_given_up_after_three_exports() {
    let server = Scripted::http2(|_| vec![Step::Send(frame(PING, 0, 0, &[0; 8]))]);
    let builder = once(builder().with_endpoint(server.endpoint()).with_protocol(Protocol::Grpc));
    let (_exporters, exporter) = traces(builder.with_timeout(Duration::from_millis(300)));
    for _ in 0..12 {
        block_on(exporter.export()).unwrap_err();
    }
    assert_eq!(server.connections(), 4);
}

/// gRPC servers close the connection for more, with `too_many_pings`.
#[test]
fn there_are_at_most_two_pings_between_two_answers() {
    let server = Scripted::http2(|request| match request.index {
        0 | 3 => vec![grpc_accept(request.stream)],
        _ => Vec::new(),
    });
    let builder = once(builder().with_endpoint(server.endpoint()).with_protocol(Protocol::Grpc));
    let (_exporters, exporter) = traces(builder.with_timeout(Duration::from_millis(600)));
    let answered = [(); 7].map(|()| block_on(exporter.export()).is_ok());
    assert_eq!(answered, [true, false, false, true, false, false, false]);
    assert_eq!((server.connections(), server.pings()), (1, 4));
}

/// Under load. Over HTTP/1.1, which has no PING, the export in flight is lost.
#[test]
fn a_path_that_swallows_three_times_loses_nothing_over_http2() {
    let swallows = |protocol, is_http2| {
        let (pki, secure) = mtls_collector();
        let plain = plaintext_collector();
        let (collector, scheme) = if is_http2 { (&secure, "https") } else { (&plain, "http") };
        let proxy = Proxy::start(collector.addr());
        // A quarter of it is left for the new connection.
        let builder = once(mtls_builder(&pki, collector, protocol))
            .with_endpoint(proxy.endpoint(scheme))
            .with_timeout(Duration::from_secs(8));
        let (exporters, exporter) = traces(builder);
        let has_ended = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !has_ended.load(Ordering::SeqCst) {
                    let _ = block_on(exporter.export());
                }
            });
            for connections in 1..=4 {
                let before = collector.spans().len();
                collector.wait_until(SOON, |seen| {
                    seen.connections() == connections && seen.spans().len() > before + 10
                });
                // All but the last one.
                if connections < 4 {
                    proxy.swallow();
                }
            }
            has_ended.store(true, Ordering::SeqCst);
        });
        let status = traces_status(&exporters);
        let counts = (status.dropped, status.retried);
        assert_eq!(counts, if is_http2 { (0, 3) } else { (3, 0) }, "{protocol} {scheme}");
        assert_eq!(proxy.connections(), 4, "{protocol} {scheme}");
    };
    thread::scope(|scope| {
        for protocol in TRANSPORTS {
            scope.spawn(move || swallows(protocol, true));
        }
        scope.spawn(|| swallows(Protocol::HttpProtobuf, false));
    });
}

#[test]
fn exports_at_once_over_http_1_1_have_one_connection_per_signal() {
    let collector = plaintext_collector();
    collector.set_reply(|_| Reply::After(Duration::from_millis(50), Box::new(Reply::Accept)));
    let (exporters, exporter) = traces(plaintext_builder(&collector, Protocol::HttpProtobuf));
    let logs = Exporter::new(&exporters, Signal::Logs);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| block_on(exporter.export()).unwrap());
            scope.spawn(|| block_on(logs.export()).unwrap());
        }
    });
    assert!(collector.connections() <= 2, "{}", collector.connections());
    assert_eq!(collector.received().len(), 16);
}
