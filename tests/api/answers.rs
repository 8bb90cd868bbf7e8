//! How a collector's responses are handled, in real exchanges. How they are parsed is tested beside the code.

use std::fmt::{Debug, Write as _};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_sdk::logs::{LogBatch, LogExporter as _};
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter as _;
use opentelemetry_sdk::trace::SpanExporter as _;
use otlp_mtls::testing::{Collector, Fixture, Pki, Reply};
use otlp_mtls::{Compression, Exporters, ExportersBuilder, Pem, Protocol, RetryPolicy, Signal};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::scripted::{
    Request, Scripted, Step, data, grpc_accept, grpc_status, headers, reset, response,
};
use crate::support::{
    Exporter, PROTOCOLS, SOON, TRANSPORTS, builder, export, last_failure, once, plaintext_builder,
    plaintext_collector, tls_client,
};

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

fn to(server: &Scripted, protocol: Protocol) -> ExportersBuilder {
    once(builder())
        .with_endpoint(server.endpoint())
        .with_protocol(protocol)
        .with_failure_handler(|_| {})
}

/// The signal's successful exports, and its delivered, rejected and dropped items.
fn counts(exporters: &Exporters, signal: Signal) -> (u64, u64, u64, u64) {
    let status = exporters.status();
    let exports = status.exports.iter().find(|exports| exports.signal == signal).unwrap();
    (exports.succeeded, exports.delivered, exports.rejected, exports.dropped)
}

#[test]
fn a_status_whose_details_are_no_base64_ends_nothing() {
    let server = Scripted::http2(|request| match request.index {
        0 => vec![grpc_status(
            request.stream,
            &[("grpc-status", "14"), ("grpc-status-details-bin", "!no base64!")],
        )],
        _ => vec![grpc_accept(request.stream)],
    });
    let exporters = to(&server, Protocol::Grpc).build().unwrap();
    let exporter = Exporter::new(&exporters, Signal::Traces);
    futures_executor::block_on(exporter.export()).unwrap_err();
    assert_eq!(last_failure(&exporters, Signal::Traces).kind().name(), "UNAVAILABLE");
    futures_executor::block_on(exporter.export()).unwrap();
    assert_eq!(server.connections(), 1);
}

/// Panics in its first handshake, on the I/O thread.
#[derive(Debug)]
struct PanickingVerifier {
    inner: Arc<dyn ServerCertVerifier>,
    has_panicked: AtomicBool,
}

impl ServerCertVerifier for PanickingVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        assert!(self.has_panicked.swap(true, Ordering::SeqCst), "the first one");
        self.inner.verify_server_cert(leaf, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[test]
fn a_panic_on_the_io_thread_costs_one_export() {
    for protocol in TRANSPORTS {
        let pki = Pki::new();
        let collector = Collector::builder().with_tls(pki.server(Fixture::Good)).start().unwrap();
        let config = tls_client(pki.ca_pem(), None, &[&rustls::version::TLS13]);
        let mut config = ClientConfig::clone(&config);
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pki.ca_pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::clone(config.crypto_provider());
        let inner = WebPkiServerVerifier::builder_with_provider(roots.into(), provider);
        let inner = inner.build().unwrap();
        config.dangerous().set_certificate_verifier(Arc::new(PanickingVerifier {
            inner,
            has_panicked: AtomicBool::new(false),
        }));
        let exporters = once(builder())
            .with_endpoint(collector.endpoint())
            .with_protocol(protocol)
            .with_rustls_config(Arc::new(config))
            .with_failure_handler(|_| {})
            .build()
            .unwrap();
        let exporter = Exporter::new(&exporters, Signal::Traces);
        futures_executor::block_on(exporter.export()).unwrap_err();
        let failure = last_failure(&exporters, Signal::Traces);
        assert_eq!(failure.kind().name(), "panicked", "{failure}");
        futures_executor::block_on(exporter.export()).unwrap();
    }
}

#[test]
fn a_panic_of_a_header_provider_shows_none_of_its_text() {
    for protocol in TRANSPORTS {
        let collector = plaintext_collector();
        let exporters = once(plaintext_builder(&collector, protocol))
            .with_header_provider(|_| panic!("the token is secret-token"))
            .with_failure_handler(|_| {})
            .build()
            .unwrap();
        export(&exporters, Signal::Traces).unwrap_err();
        let failure = last_failure(&exporters, Signal::Traces);
        assert_eq!(failure.kind().name(), "header_provider");
        assert!(failure.to_string().contains("it panicked"), "{failure}");
        assert!(!format!("{failure} {failure:?}").contains("secret"), "{failure:?}");
    }
}

#[test]
fn compressed_answers_are_read() {
    for protocol in PROTOCOLS {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let collector = plaintext_collector();
            collector.set_compression(Some(compression));
            let exporters = once(plaintext_builder(&collector, protocol))
                .with_failure_handler(|_| {})
                .build()
                .unwrap();
            for signal in Signal::ALL {
                let exporter = Exporter::new(&exporters, signal);
                collector.set_reply(|_| Reply::Accept);
                futures_executor::block_on(exporter.export()).unwrap();
                collector.set_reply(|_| Reply::PartialSuccess {
                    rejected: 1,
                    message: "too old".to_owned(),
                });
                futures_executor::block_on(exporter.export()).unwrap();
                assert_eq!(counts(&exporters, signal), (2, 1, 1, 0), "{protocol} {compression}");
                let failure = last_failure(&exporters, signal);
                assert!(failure.summary().ends_with(": too old"), "{failure}");
                // The metric reader exports again when it is dropped.
                collector.set_reply(|_| Reply::Accept);
            }
        }
    }
}

#[test]
fn grpc_requests_state_accepted_encodings_and_the_timeout() {
    let collector = plaintext_collector();
    let exporters = plaintext_builder(&collector, Protocol::Grpc)
        .with_timeout(Duration::from_secs(20))
        .with_signal(Signal::Logs, |logs| logs.with_timeout(Duration::ZERO))
        .build()
        .unwrap();
    export(&exporters, Signal::Traces).unwrap();
    export(&exporters, Signal::Logs).unwrap();
    let requests = collector.requests();
    assert_eq!(requests[0].headers["grpc-accept-encoding"], "gzip,zstd");
    let timeout = requests[0].headers["grpc-timeout"].to_str().unwrap();
    let milliseconds: u64 = timeout.strip_suffix('m').unwrap().parse().unwrap();
    assert!((1..=20_000).contains(&milliseconds), "{timeout}");
    assert!(!requests[1].headers.contains_key("grpc-timeout"));
}

/// The headers already say whether the batch was accepted, so it is not sent again.
#[test]
fn the_status_outlives_the_body_over_http1() {
    for (status, end, expected) in [
        (200, Step::Close, Ok(())),
        (403, Step::Close, Err("http_403")),
        (500, Step::Close, Err("http_5xx")),
        // Until the export's deadline.
        (200, Step::Hold, Ok(())),
        (400, Step::Hold, Err("http_4xx")),
    ] {
        let end = Mutex::new(Some(end));
        let server = Scripted::http1(move |_| {
            let head = format!("HTTP/1.1 {status} \r\ncontent-length: 10\r\n\r\n");
            let end = end.lock().unwrap().take().unwrap();
            vec![Step::Send(head.into_bytes()), end]
        });
        // Retries are on, so a single request shows that there was no retry.
        let exporters = to(&server, Protocol::HttpProtobuf)
            .with_retry(RetryPolicy::default().with_initial_backoff(Duration::from_millis(1)))
            .with_timeout(Duration::from_secs(2))
            .build()
            .unwrap();
        let result = export(&exporters, Signal::Traces);
        assert_eq!(result.is_ok(), expected.is_ok(), "{status}: {result:?}");
        if let Err(name) = expected {
            assert_eq!(last_failure(&exporters, Signal::Traces).kind().name(), name);
        }
        assert_eq!(server.requests(), 1, "{status}");
    }
}

#[test]
fn the_status_outlives_the_body_over_http2() {
    let pki = Pki::new();
    for (status, delivered) in [("200", true), ("403", false)] {
        // RST_STREAM(INTERNAL_ERROR), in the middle of a message.
        let script = move |request: Request| {
            let stream = request.stream;
            vec![
                Step::Send(headers(stream, &[(":status", status), PROTOBUF], false)),
                Step::Send(data(stream, b"\x0a\x09\x08", false)),
                Step::Send(reset(stream, 2)),
            ]
        };
        let server = Scripted::tls_http2(&pki.server(Fixture::Good), script);
        let exporters = to(&server, Protocol::HttpProtobuf)
            .with_endpoint(server.tls_endpoint())
            .with_ca_certificate(Pem::bytes(pki.ca_pem()))
            .with_retry(RetryPolicy::default().with_initial_backoff(Duration::from_millis(1)))
            .build()
            .unwrap();
        let exporter = Exporter::new(&exporters, Signal::Traces);
        for _ in 0..2 {
            let result = futures_executor::block_on(exporter.export());
            assert_eq!(result.is_ok(), delivered, "{result:?}");
        }
        assert_eq!(server.requests(), 2);
        // Only the stream ended.
        assert_eq!(server.connections(), 1);
    }
}

/// In gRPC the status comes last: a response that ends before it is no response.
#[test]
fn a_call_that_breaks_off_before_its_status_is_tried_again() {
    let server = Scripted::http2(|request| match request.index {
        0 => vec![
            Step::Send(headers(
                request.stream,
                &[(":status", "200"), ("content-type", "application/grpc")],
                false,
            )),
            Step::Send(reset(request.stream, 2)),
        ],
        _ => vec![grpc_accept(request.stream)],
    });
    let retry = RetryPolicy::default().with_initial_backoff(Duration::from_millis(1));
    let exporters = to(&server, Protocol::Grpc).with_retry(retry).build().unwrap();
    export(&exporters, Signal::Traces).unwrap();
    assert_eq!(server.requests(), 2);
}

#[test]
fn no_more_is_read_than_is_asked_for() {
    let server = Scripted::http1(|_| vec![response(200, &[("content-type", "text/plain")], b"OK")]);
    let exporters = to(&server, Protocol::HttpProtobuf)
        .with_max_response_size(1)
        .with_signal(Signal::Logs, |logs| logs.with_max_response_size(2))
        .build()
        .unwrap();
    export(&exporters, Signal::Traces).unwrap_err();
    let failure = last_failure(&exporters, Signal::Traces);
    assert!(failure.summary().ends_with("is longer than 1 bytes"), "{failure}");
    export(&exporters, Signal::Logs).unwrap();
    let failure = last_failure(&exporters, Signal::Logs);
    assert_eq!(failure.kind().name(), "unread_answer", "{failure}");
    assert_eq!(counts(&exporters, Signal::Logs), (1, 1, 0, 0));
}

/// Over HTTP the body may be compressed; over gRPC the limit is that of the message.
#[test]
fn a_decompression_bomb_is_not_read() {
    for protocol in TRANSPORTS {
        let collector = plaintext_collector();
        collector.set_compression(Some(Compression::Gzip));
        collector
            .set_reply(|_| Reply::PartialSuccess { rejected: 0, message: "x".repeat(5 << 20) });
        let exporters = once(plaintext_builder(&collector, protocol))
            .with_failure_handler(|_| {})
            .build()
            .unwrap();
        export(&exporters, Signal::Traces).unwrap_err();
        let failure = last_failure(&exporters, Signal::Traces);
        assert!(failure.summary().ends_with("is longer than 4194304 bytes"), "{failure}");
        assert_eq!(collector.received().len(), 1);
    }
}

/// Everything that is logged on the caller's thread.
fn logged(work: impl FnOnce()) -> Vec<String> {
    #[derive(Clone, Default)]
    struct Events(Arc<Mutex<Vec<String>>>);
    struct Fields(String);
    impl Visit for Fields {
        fn record_debug(&mut self, _: &Field, value: &dyn Debug) {
            write!(self.0, "{value:?} ").unwrap();
        }
    }
    impl<S: tracing::Subscriber> Layer<S> for Events {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            let mut fields = Fields(String::new());
            event.record(&mut fields);
            self.0.lock().unwrap().push(fields.0);
        }
    }
    let events = Events::default();
    let subscriber = tracing_subscriber::registry().with(events.clone());
    tracing::subscriber::with_default(subscriber, work);
    std::mem::take(&mut events.0.lock().unwrap())
}

#[test]
fn a_warning_of_the_collector_is_logged_once_and_loses_nothing() {
    for protocol in PROTOCOLS {
        let collector = plaintext_collector();
        let told = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&told);
        let exporters = once(plaintext_builder(&collector, protocol))
            .with_failure_handler(move |failure| {
                assert_eq!(failure.kind().name(), "warning");
                counter.fetch_add(1, Ordering::SeqCst);
            })
            .build()
            .unwrap();
        collector.set_reply(|_| Reply::PartialSuccess {
            rejected: 0,
            message: format!("move on\n\u{202e}{}", "x".repeat(1000)),
        });
        let exporter = Exporter::new(&exporters, Signal::Traces);
        let events = logged(|| {
            for _ in 0..3 {
                futures_executor::block_on(exporter.export()).unwrap();
            }
        });
        let said: Vec<_> = events.iter().filter(|event| event.contains("move on")).collect();
        let [said] = said.as_slice() else { panic!("{protocol}: {said:?}") };
        assert!(said.contains(r"move on\n\u{202e}xxx"), "{said}");
        assert!(said.chars().count() < 500, "{said}");
        assert_eq!(told.load(Ordering::SeqCst), 1);
        assert_eq!(counts(&exporters, Signal::Traces), (3, 3, 0, 0));
        let failure = last_failure(&exporters, Signal::Traces);
        assert!(
            failure.summary().contains("accepted the batch, with a warning: move on"),
            "{failure}"
        );
    }
}

#[test]
fn a_reason_is_shown_without_the_headers_that_were_sent() {
    for protocol in TRANSPORTS {
        let collector = plaintext_collector();
        let exporters = once(plaintext_builder(&collector, protocol))
            .with_headers([("api-key", "static-secret")])
            .with_header_provider(|_| {
                let mut headers = http::HeaderMap::new();
                headers.insert("authorization", "Bearer provided-secret".parse()?);
                Ok(headers)
            })
            .with_failure_handler(|_| {})
            .build()
            .unwrap();
        collector.set_reply(|_| Reply::Grpc {
            code: 16,
            message: "provided-secret and static-secret are unknown".to_owned(),
            retry_delay: None,
        });
        let error = export(&exporters, Signal::Traces).unwrap_err().to_string();
        assert!(error.contains(": *** and *** are unknown"), "{protocol}: {error}");
        let failure = last_failure(&exporters, Signal::Traces);
        let shown = format!("{failure} {failure:?} {:?}", exporters.status());
        assert!(!shown.contains("secret"), "{shown}");
    }
}

#[test]
fn a_kind_of_failure_is_reported_again_after_a_success() {
    let collector = plaintext_collector();
    let told = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&told);
    let exporters = once(plaintext_builder(&collector, Protocol::Grpc))
        .with_failure_handler(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
        })
        .build()
        .unwrap();
    let traces = Exporter::new(&exporters, Signal::Traces);
    let logs = Exporter::new(&exporters, Signal::Logs);
    let run = |exporter: &Exporter, fails: bool| {
        collector.set_reply(move |_| match fails {
            true => Reply::Grpc { code: 14, message: String::new(), retry_delay: None },
            false => Reply::Accept,
        });
        assert_eq!(futures_executor::block_on(exporter.export()).is_err(), fails);
    };
    for (exporter, fails, times) in [
        (&traces, true, 1),
        (&traces, true, 1),
        (&logs, true, 1),
        // Logs still fail, at the same collector.
        (&traces, false, 1),
        (&traces, true, 1),
        (&traces, false, 1),
        (&logs, false, 1),
        (&logs, true, 2),
        (&logs, true, 2),
    ] {
        run(exporter, fails);
        assert_eq!(told.load(Ordering::SeqCst), times);
    }
}

#[test]
fn an_empty_batch_sends_nothing() {
    let collector = plaintext_collector();
    let exporters = plaintext_builder(&collector, Protocol::Grpc).build().unwrap();
    let traces = exporters.span_exporter().unwrap();
    futures_executor::block_on(traces.export(Vec::new())).unwrap();
    let logs = exporters.log_exporter().unwrap();
    futures_executor::block_on(logs.export(LogBatch::new(&[]))).unwrap();
    let metrics = exporters.metric_exporter().unwrap();
    futures_executor::block_on(metrics.export(&ResourceMetrics::default())).unwrap();
    export(&exporters, Signal::Traces).unwrap();
    assert!(collector.wait_until(SOON, |seen| seen.received().len() == 1));
    assert_eq!(counts(&exporters, Signal::Traces), (1, 1, 0, 0));
}
