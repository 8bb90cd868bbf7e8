//! Which responses are retried: the specification's tables, with a row per code.

use std::convert::Infallible;
use std::io::Write;
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use otlp_mtls::testing::{Accept, Collector, Fixture, Pki, Reply};
use otlp_mtls::{Exporters, Pem, Protocol, RetryPolicy, Signal};
use rustls::version::{TLS12, TLS13};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::scripted::{Scripted, Step, response};
use crate::support::{
    Exporter, SOON, TRANSPORTS, builder, export, last_failure, mtls_builder, mtls_collector, once,
    plaintext_builder, plaintext_collector,
};

fn eager() -> RetryPolicy {
    RetryPolicy::default().with_initial_backoff(Duration::from_millis(1))
}

/// Sets a collector's first reply; it accepts all later requests.
fn first(collector: &Collector, reply: Reply) {
    let asked = AtomicUsize::new(0);
    collector.set_reply(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => reply.clone(),
        _ => Reply::Accept,
    });
}

fn exporters(collector: &Collector, protocol: Protocol) -> Exporters {
    plaintext_builder(collector, protocol).with_retry(eager()).build().unwrap()
}

#[test]
fn grpc_codes() {
    let delay = Some(Duration::from_millis(1));
    for (code, name, retry_delay, again) in [
        (1, "CANCELLED", None, true),
        (2, "UNKNOWN", None, false),
        (3, "INVALID_ARGUMENT", None, false),
        (4, "DEADLINE_EXCEEDED", None, true),
        (5, "NOT_FOUND", None, false),
        (6, "ALREADY_EXISTS", None, false),
        (7, "PERMISSION_DENIED", None, false),
        (8, "RESOURCE_EXHAUSTED", None, false),
        (8, "RESOURCE_EXHAUSTED", delay, true),
        (9, "FAILED_PRECONDITION", None, false),
        (10, "ABORTED", None, true),
        (11, "OUT_OF_RANGE", None, true),
        (12, "UNIMPLEMENTED", None, false),
        (13, "INTERNAL", None, false),
        (14, "UNAVAILABLE", None, true),
        (14, "UNAVAILABLE", delay, true),
        (15, "DATA_LOSS", None, true),
        (16, "UNAUTHENTICATED", None, false),
    ] {
        let collector = plaintext_collector();
        first(&collector, Reply::Grpc { code, message: "their message".to_owned(), retry_delay });
        let result = export(&exporters(&collector, Protocol::Grpc), Signal::Traces);
        assert_eq!(result.is_ok(), again, "{name}: {result:?}");
        assert_eq!(collector.received().len(), if again { 2 } else { 1 }, "{name}");
        if let Err(error) = result {
            let error = error.to_string();
            assert!(error.contains(&format!("gRPC status {code} ({name})")), "{error}");
            assert!(error.contains("their message"), "{error}");
        }
    }
}

#[test]
fn http_statuses() {
    for (status, over_http, over_grpc) in [
        (400, false, false),
        (401, false, false),
        (403, false, false),
        (404, false, false),
        (408, false, false),
        (413, false, false),
        (415, false, false),
        (429, true, true),
        (500, false, false),
        (501, false, false),
        (502, true, true),
        (503, true, true),
        (504, true, true),
    ] {
        for (protocol, again) in [(Protocol::HttpProtobuf, over_http), (Protocol::Grpc, over_grpc)]
        {
            let collector = plaintext_collector();
            first(&collector, Reply::Http { status, headers: Vec::new() });
            let result = export(&exporters(&collector, protocol), Signal::Traces);
            assert_eq!(result.is_ok(), again, "{protocol} {status}: {result:?}");
            assert_eq!(
                collector.received().len(),
                if again { 2 } else { 1 },
                "{protocol} {status}"
            );
            if let Err(error) = result {
                let error = error.to_string();
                let words = match status {
                    413 => "too large".to_owned(),
                    status => format!("HTTP status {status}"),
                };
                assert!(error.contains(&words), "{error}");
            }
        }
    }
}

#[test]
fn a_success_that_is_not_from_a_collector_is_a_failure() {
    let page = response(200, &[("content-type", "text/html")], b"<html>");
    let Step::Send(page) = page else { unreachable!("it is sent") };
    let server = Scripted::http1(move |_| vec![Step::Send(page.clone())]);
    let builder = builder().with_endpoint(server.endpoint()).with_retry(eager());
    let error = export(&builder.build().unwrap(), Signal::Traces).unwrap_err().to_string();
    assert!(error.contains("is this the port of a collector?"), "{error}");
    assert_eq!(server.requests(), 1);

    let collector = plaintext_collector();
    collector.set_reply(|_| Reply::Http { status: 200, headers: Vec::new() });
    let error =
        export(&exporters(&collector, Protocol::Grpc), Signal::Traces).unwrap_err().to_string();
    assert!(error.contains("it does not speak gRPC, but answered with HTTP status 200"), "{error}");
    assert_eq!(collector.received().len(), 1);
    // An empty body may have no content type.
    let collector = plaintext_collector();
    collector.set_reply(|_| Reply::Http { status: 200, headers: Vec::new() });
    export(&exporters(&collector, Protocol::HttpProtobuf), Signal::Traces).unwrap();
}

/// The delay is a lower bound, so the test holds on a slow machine.
#[test]
fn a_delay_requested_by_the_server_is_waited_for() {
    let delay = Duration::from_secs(1);
    let retry_info = Reply::Grpc { code: 14, message: String::new(), retry_delay: Some(delay) };
    let headers = vec![("retry-after".to_owned(), "1".to_owned())];
    let retry_after = Reply::Http { status: 503, headers };
    for (protocol, reply) in [(Protocol::Grpc, retry_info), (Protocol::HttpProtobuf, retry_after)] {
        let collector = plaintext_collector();
        first(&collector, reply);
        let begun = Instant::now();
        export(&exporters(&collector, protocol), Signal::Traces).unwrap();
        assert!(begun.elapsed() >= delay, "{protocol}: {:?}", begun.elapsed());
    }
}

#[test]
fn a_wait_that_would_outlast_the_timeout_is_not_begun() {
    let hour = Duration::from_secs(3600);
    let retry_info = Reply::Grpc { code: 14, message: String::new(), retry_delay: Some(hour) };
    let headers = vec![("retry-after".to_owned(), "3600".to_owned())];
    let retry_after = Reply::Http { status: 503, headers };
    for (protocol, reply) in [(Protocol::Grpc, retry_info), (Protocol::HttpProtobuf, retry_after)] {
        let collector = plaintext_collector();
        collector.set_reply(move |_| reply.clone());
        let exporters =
            plaintext_builder(&collector, protocol).with_timeout(hour / 2).build().unwrap();
        let error = export(&exporters, Signal::Traces).unwrap_err().to_string();
        assert!(error.contains("status"), "the failure is the collector's, not ours: {error}");
        assert_eq!(collector.received().len(), 1);
    }
}

#[test]
fn attempts_end() {
    for (attempts, retry) in [
        (1, RetryPolicy::disabled()),
        (3, eager().with_max_attempts(3)),
        (5, eager()),
        // Zero counts as one.
        (1, eager().with_max_attempts(0)),
    ] {
        let collector = plaintext_collector();
        collector.set_reply(|_| Reply::Http { status: 503, headers: Vec::new() });
        let builder = plaintext_builder(&collector, Protocol::HttpProtobuf).with_retry(retry);
        let exporters = builder.build().unwrap();
        export(&exporters, Signal::Traces).unwrap_err();
        assert_eq!(collector.received().len(), attempts);
        let status = exporters.status();
        let traces = status.exports.iter().find(|exports| exports.signal == Signal::Traces);
        assert_eq!(traces.unwrap().retried, attempts as u64 - 1);
    }
}

#[test]
fn a_connection_that_breaks_is_tried_again() {
    for protocol in TRANSPORTS {
        for reply in [Reply::Close, Reply::Reset] {
            let (pki, collector) = mtls_collector();
            first(&collector, reply.clone());
            let builder = mtls_builder(&pki, &collector, protocol).with_retry(eager());
            export(&builder.build().unwrap(), Signal::Traces)
                .unwrap_or_else(|error| panic!("{protocol} {reply:?}: {error}"));
            assert_eq!(collector.spans().len(), 1);
        }
    }
}

/// Before a response, it could as well be a TLS server.
#[test]
fn a_plaintext_server_that_has_answered_may_reset_connections() {
    for protocol in TRANSPORTS {
        let collector = plaintext_collector();
        let retry = eager().with_max_attempts(u32::MAX);
        let exporters = plaintext_builder(&collector, protocol).with_retry(retry).build().unwrap();
        let exporter = Exporter::new(&exporters, Signal::Traces);
        futures_executor::block_on(exporter.export()).unwrap();
        // The open connection is closed, too.
        collector.set_accept(Accept::Refuse);
        collector.close_connections();
        std::thread::scope(|scope| {
            let dialled = collector.connections();
            let export = scope.spawn(|| futures_executor::block_on(exporter.export()));
            assert!(collector.wait_until(SOON, |seen| seen.connections() > dialled));
            collector.set_accept(Accept::Serve);
            export.join().unwrap().unwrap();
        });
        assert_eq!(collector.spans().len(), 2, "{protocol}");
    }
}

#[test]
fn a_server_that_refuses_at_first_is_tried_again() {
    for protocol in TRANSPORTS {
        let (pki, collector) = mtls_collector();
        collector.set_accept(Accept::Refuse);
        let exporters = mtls_builder(&pki, &collector, protocol)
            .with_retry(eager().with_max_attempts(u32::MAX))
            .build()
            .unwrap();
        std::thread::scope(|scope| {
            let export = scope.spawn(|| export(&exporters, Signal::Traces));
            assert!(collector.wait_until(SOON, |seen| seen.connections() >= 1));
            collector.set_accept(Accept::Serve);
            export.join().unwrap().unwrap();
        });
    }
}

/// A server that closes every connection at once is not dialled forever.
#[test]
fn a_server_that_always_refuses_is_dialled_a_few_times() {
    for protocol in TRANSPORTS {
        // Repeated, because the close must be noticed at a certain moment.
        for _ in 0..1000 {
            let collector = plaintext_collector();
            collector.set_accept(Accept::Refuse);
            let exporters = once(plaintext_builder(&collector, protocol)).build().unwrap();
            export(&exporters, Signal::Traces).unwrap_err();
            assert!(collector.connections() <= 8, "{protocol}: {}", collector.connections());
        }
    }
}

#[test]
fn connections_that_a_server_retires_lose_nothing_and_cost_no_retry() {
    for protocol in TRANSPORTS {
        let (pki, collector) = mtls_collector();
        collector.goaway_after(Some(3));
        let exporters = once(mtls_builder(&pki, &collector, protocol)).build().unwrap();
        let exporter = Exporter::new(&exporters, Signal::Traces);
        for _ in 0..30 {
            futures_executor::block_on(exporter.export()).unwrap();
        }
        assert_eq!(collector.spans().len(), 30, "{protocol}");
        assert!(collector.connections() > 1, "{protocol}");
    }
}

/// More concurrent exports than the server permits per connection: the last ones are refused repeatedly.
#[test]
fn exports_at_once_outlive_the_connections_that_a_server_retires() {
    for protocol in TRANSPORTS {
        let (pki, collector) = mtls_collector();
        collector.goaway_after(Some(2));
        let exporters = once(mtls_builder(&pki, &collector, protocol)).build().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..12 {
                scope.spawn(|| {
                    let exporter = Exporter::new(&exporters, Signal::Traces);
                    for _ in 0..20 {
                        futures_executor::block_on(exporter.export()).unwrap();
                    }
                });
            }
        });
        assert_eq!(collector.spans().len(), 12 * 20, "{protocol}");
    }
}

#[test]
fn permanent_tls_failures_are_not_retried() {
    for protocol in TRANSPORTS {
        let (pki, collector) = mtls_collector();
        let exporters = mtls_builder(&pki, &collector, protocol)
            .with_ca_certificate(Pem::bytes(pki.other_ca_pem()))
            .with_retry(eager())
            .build()
            .unwrap();
        let error = export(&exporters, Signal::Traces).unwrap_err().to_string();
        assert!(error.contains("we refused the server"), "{error}");
        assert_eq!(collector.connections(), 1, "{protocol}");
    }
}

/// Its certificate may be about to be replaced.
#[test]
fn a_server_that_has_answered_before_may_fail_in_tls_for_a_while() {
    for protocol in TRANSPORTS {
        let (pki, collector) = mtls_collector();
        let exporters = mtls_builder(&pki, &collector, protocol).build().unwrap();
        let exporter = Exporter::new(&exporters, Signal::Traces);
        futures_executor::block_on(exporter.export()).unwrap();
        collector.set_tls(pki.server(Fixture::Expired), Some(pki.ca_pem())).unwrap();
        collector.close_connections();
        std::thread::scope(|scope| {
            let exported = scope.spawn(|| futures_executor::block_on(exporter.export()));
            assert!(collector.wait_until(SOON, |seen| seen.failed_handshakes() > 0), "{protocol}");
            collector.set_tls(pki.server(Fixture::Good), Some(pki.ca_pem())).unwrap();
            exported.join().unwrap().unwrap();
        });
        assert_eq!(collector.spans().len(), 2, "{protocol}");
    }
}

#[test]
fn a_client_certificate_that_the_server_refuses_is_not_tried_again() {
    for version in [&TLS12, &TLS13] {
        for protocol in TRANSPORTS {
            let pki = Pki::new();
            let collector = Collector::builder()
                .with_tls(pki.server(Fixture::Good))
                .with_client_ca(pki.other_ca_pem())
                .with_tls_versions(&[version])
                .start()
                .unwrap();
            let exporters =
                mtls_builder(&pki, &collector, protocol).with_retry(eager()).build().unwrap();
            let error = export(&exporters, Signal::Traces).unwrap_err().to_string();
            assert!(error.contains("the server refused us"), "{protocol} {version:?}: {error}");
            assert_eq!(collector.connections(), 1, "{protocol} {version:?}");
            // The next export dials again.
            export(&exporters, Signal::Traces).unwrap_err();
            assert_eq!(collector.connections(), 2, "{protocol} {version:?}");
        }
    }
}

#[test]
fn a_header_provider_is_asked_for_each_attempt() {
    let collector = plaintext_collector();
    first(&collector, Reply::Http { status: 503, headers: Vec::new() });
    let asked = AtomicUsize::new(0);
    let exporters = plaintext_builder(&collector, Protocol::HttpProtobuf)
        .with_retry(eager())
        .with_header_provider(move |_| {
            let mut headers = HeaderMap::new();
            headers.insert("attempt", asked.fetch_add(1, Ordering::SeqCst).into());
            Ok(headers)
        })
        .build()
        .unwrap();
    export(&exporters, Signal::Traces).unwrap();
    let attempts: Vec<_> =
        collector.received().iter().map(|request| request.headers["attempt"].clone()).collect();
    assert_eq!(attempts, ["0", "1"]);
}

/// A provider that returns another header at each call.
fn numbered() -> (Arc<AtomicUsize>, impl Fn(Signal) -> Result<HeaderMap, Infallible>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let calls = Arc::clone(&asked);
    let provider = move |_| {
        let mut headers = HeaderMap::new();
        headers.insert("token", calls.fetch_add(1, Ordering::SeqCst).into());
        Ok(headers)
    };
    (asked, provider)
}

/// Replies that reject our headers: the collector's, and over gRPC a proxy's, too.
const UNAUTHENTICATED: [(Protocol, fn() -> Reply); 3] = [
    (Protocol::Grpc, || Reply::Grpc { code: 16, message: String::new(), retry_delay: None }),
    (Protocol::Grpc, || Reply::Http { status: 401, headers: Vec::new() }),
    (Protocol::HttpProtobuf, || Reply::Http { status: 401, headers: Vec::new() }),
];

fn tokens(collector: &Collector) -> Vec<HeaderValue> {
    collector.received().iter().map(|request| request.headers["token"].clone()).collect()
}

#[test]
fn headers_that_were_refused_are_replaced_once() {
    for (protocol, refusal) in UNAUTHENTICATED {
        let collector = plaintext_collector();
        first(&collector, refusal());
        let (asked, provider) = numbered();
        let builder = once(plaintext_builder(&collector, protocol));
        let exporters = builder.with_header_provider(move |signal| Ok(provider(signal)?));
        let exporters = exporters.build().unwrap();
        export(&exporters, Signal::Traces).unwrap();
        assert_eq!(tokens(&collector), ["0", "1"], "{protocol}");
        let status = exporters.status();
        assert_eq!(status.exports.iter().map(|export| export.retried).sum::<u64>(), 1);

        collector.set_reply(move |_| refusal());
        export(&exporters, Signal::Traces).unwrap_err();
        assert_eq!(tokens(&collector), ["0", "1", "2", "3"], "{protocol}");
        assert_eq!(asked.load(Ordering::SeqCst), 4);
    }
}

/// It does not matter which other failures there are between two refusals.
#[test]
fn headers_are_replaced_once_in_an_export_whatever_else_fails() {
    for (protocol, refusal) in UNAUTHENTICATED {
        let collector = plaintext_collector();
        let asked = AtomicUsize::new(0);
        collector.set_reply(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
            0 | 2 => Reply::Http { status: 503, headers: Vec::new() },
            _ => refusal(),
        });
        let (_, provider) = numbered();
        let exporters = plaintext_builder(&collector, protocol)
            .with_retry(eager())
            .with_header_provider(move |signal| Ok(provider(signal)?))
            .build()
            .unwrap();
        export(&exporters, Signal::Traces).unwrap_err();
        assert_eq!(tokens(&collector), ["0", "1", "2", "3"], "{protocol}");
    }
}

/// If several signals are refused with one token, the first one replaces it.
#[test]
fn the_refused_headers_handler_is_called() {
    for (protocol, refusal) in UNAUTHENTICATED {
        let collector = plaintext_collector();
        let (kept, issued) = (Arc::new(Mutex::new(0)), Arc::new(AtomicUsize::new(1)));
        collector.set_reply(move |request| match request.headers["token"] == "0" {
            true => refusal(),
            false => Reply::Accept,
        });
        let (provided, next) = (Arc::clone(&kept), Arc::clone(&issued));
        let exporters = once(plaintext_builder(&collector, protocol))
            .with_header_provider(move |_| {
                let token = *provided.lock().unwrap();
                Ok(HeaderMap::from_iter([(HeaderName::from_static("token"), token.into())]))
            })
            .with_refused_headers_handler(move |_, refused| {
                let mut kept = kept.lock().unwrap();
                if refused["token"] == HeaderValue::from(*kept) {
                    *kept = next.fetch_add(1, Ordering::SeqCst);
                }
            })
            .build()
            .unwrap();
        std::thread::scope(|scope| {
            for signal in Signal::ALL {
                let exporters = &exporters;
                scope.spawn(move || export(exporters, signal).unwrap());
            }
        });
        assert_eq!(issued.load(Ordering::SeqCst), 2, "{protocol}");
    }
}

#[test]
fn headers_that_were_refused_are_not_sent_again() {
    for (protocol, refusal) in UNAUTHENTICATED {
        let collector = plaintext_collector();
        collector.set_reply(move |_| refusal());
        let asked = Arc::new(AtomicUsize::new(0));
        for fails in [false, true] {
            let calls = Arc::clone(&asked);
            let exporters = once(plaintext_builder(&collector, protocol))
                .with_header_provider(move |_| match calls.fetch_add(1, Ordering::SeqCst) % 2 {
                    1 if fails => Err("the identity provider is down".into()),
                    _ => Ok(HeaderMap::from_iter([(AUTHORIZATION, "Bearer same".parse()?)])),
                })
                .build()
                .unwrap();
            export(&exporters, Signal::Traces).unwrap_err();
            let failure = last_failure(&exporters, Signal::Traces);
            assert!(["http_401", "UNAUTHENTICATED"].contains(&failure.kind().name()), "{failure}");
        }
        assert_eq!(collector.received().len(), 2, "{protocol}");
        assert_eq!(asked.load(Ordering::SeqCst), 4, "{protocol}");
    }
}

/// On the I/O thread's runtime, which continues meanwhile.
#[test]
fn a_header_provider_may_await() {
    for protocol in TRANSPORTS {
        let (issuer, collector) =
            (TcpListener::bind("127.0.0.1:0").unwrap(), plaintext_collector());
        let addr = issuer.local_addr().unwrap();
        let exporters = once(plaintext_builder(&collector, protocol))
            .with_header_provider(move |_| {
                Handle::current().block_on(async {
                    let mut stream = TcpStream::connect(addr).await?;
                    let mut token = String::new();
                    timeout(SOON, stream.read_to_string(&mut token)).await??;
                    Ok(HeaderMap::from_iter([(AUTHORIZATION, token.parse()?)]))
                })
            })
            .build()
            .unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| export(&exporters, Signal::Traces));
            let (mut asked, _) = issuer.accept().unwrap();
            // Only this provider waits.
            let other = once(plaintext_builder(&collector, protocol)).build().unwrap();
            export(&other, Signal::Traces).unwrap();
            asked.write_all(b"Bearer issued").unwrap();
            drop(asked);
            waiting.join().unwrap().unwrap();
        });
        let sent = collector.received().into_iter().map(|request| request.headers);
        let sent: Vec<_> = sent.filter_map(|headers| headers.get(AUTHORIZATION).cloned()).collect();
        assert_eq!(sent, ["Bearer issued"], "{protocol}");
    }
}

/// New files do not justify to send a request again that the server may have processed.
#[test]
fn a_connection_that_breaks_is_not_taken_for_outdated() {
    let ways = [
        (Protocol::Grpc, &TLS12, "h2"),
        (Protocol::Grpc, &TLS13, "h2"),
        (Protocol::HttpProtobuf, &TLS13, "h2"),
        (Protocol::HttpProtobuf, &TLS12, "http/1.1"),
        (Protocol::HttpProtobuf, &TLS13, "http/1.1"),
    ];
    for (protocol, version, alpn) in ways {
        for answers in [0, 1] {
            let pki = Pki::new();
            let collector = Collector::builder()
                .with_tls(pki.server(Fixture::Good))
                .with_client_ca(pki.ca_pem())
                .with_tls_versions(&[version])
                .with_alpn(vec![alpn.into()])
                .start()
                .unwrap();
            let directory = tempfile::tempdir().unwrap();
            let client =
                |name| pki.client_named(name).write_to(directory.path(), "client").unwrap();
            let (certificate, key) = client("old");
            let exporters = once(mtls_builder(&pki, &collector, protocol))
                .with_client_identity(Pem::file(certificate), Pem::file(key))
                .with_reload_interval(Duration::from_secs(3600))
                .with_failure_handler(|_| {})
                .build()
                .unwrap();
            let exporter = Exporter::new(&exporters, Signal::Traces);
            for _ in 0..answers {
                futures_executor::block_on(exporter.export()).unwrap();
            }
            client("new");
            collector.set_reply(|_| Reply::Close);
            futures_executor::block_on(exporter.export()).unwrap_err();
            let received = collector.received().len();
            assert_eq!(received, answers + 1, "{protocol} {version:?} {alpn}");
            // A server that has not responded may have rejected the old ones.
            collector.set_reply(|_| Reply::Accept);
            futures_executor::block_on(exporter.export()).unwrap();
            let client = collector.received().pop().unwrap().client_certificate.unwrap();
            let expected = if answers == 0 { "new" } else { "old" };
            assert_eq!(client.common_name(), Some(expected), "{protocol} {version:?} {alpn}");
        }
    }
}

/// A response may contain any text.
#[test]
fn an_answer_that_mentions_https_does_not_indicate_tls() {
    for protocol in TRANSPORTS {
        let collector = plaintext_collector();
        let link = ("link".to_owned(), "<https://docs.example>; rel=help".to_owned());
        let page = Reply::Http { status: 400, headers: vec![link] };
        collector.set_reply(move |_| page.clone());
        let exporters = exporters(&collector, protocol);
        let exporter = Exporter::new(&exporters, Signal::Traces);
        let error = futures_executor::block_on(exporter.export()).unwrap_err().to_string();
        assert!(error.contains("HTTP status 400"), "{protocol}: {error}");
        // The connection is closed when the next export begins, which uses a new one.
        collector.set_reply(|_| Reply::Accept);
        collector.close_connections();
        futures_executor::block_on(exporter.export()).unwrap();
    }
}
