//! What is tried again: the specification's tables, a row per code.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use otlp_mtls::testing::{Accept, Collector, Fixture, Pki, Reply};
use otlp_mtls::{Exporters, Pem, Protocol, RetryPolicy, Signal};
use rustls::version::{TLS12, TLS13};

use crate::scripted::{Scripted, Step, response};
use crate::support::{
    Exporter, SOON, TRANSPORTS, builder, export, mtls_builder, mtls_collector, once,
    plaintext_builder, plaintext_collector,
};

fn eager() -> RetryPolicy {
    RetryPolicy::default().with_initial_backoff(Duration::from_millis(1))
}

/// A collector's first answer; all later ones accept.
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
fn a_success_that_is_no_collector_s_is_none() {
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
    assert!(error.contains("it does not speak gRPC, and answered with HTTP status 200"), "{error}");
    assert_eq!(collector.received().len(), 1);
    // The specification's answer is empty, and may well have no type.
    let collector = plaintext_collector();
    collector.set_reply(|_| Reply::Http { status: 200, headers: Vec::new() });
    export(&exporters(&collector, Protocol::HttpProtobuf), Signal::Traces).unwrap();
}

/// A server's delay is a lower bound, so a slow machine cannot break this.
#[test]
fn a_server_says_how_long_to_wait() {
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

/// Before that, it may as well be a server for TLS.
#[test]
fn a_plaintext_server_that_has_answered_may_reset_connections() {
    for protocol in TRANSPORTS {
        let collector = plaintext_collector();
        let retry = eager().with_max_attempts(u32::MAX);
        let exporters = plaintext_builder(&collector, protocol).with_retry(retry).build().unwrap();
        let exporter = Exporter::new(&exporters, Signal::Traces);
        futures_executor::block_on(exporter.export()).unwrap();
        // The connection that is there is closed as well.
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

/// One that closes all connections at once is not dialled for ever.
#[test]
fn a_server_that_always_refuses_is_dialled_a_few_times() {
    for protocol in TRANSPORTS {
        // Often, for a close has to be seen at the wrong moment.
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

/// As many at once as the server lets live on a connection, and more: the last in line lose often.
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
fn what_tls_refuses_for_good_is_not_tried_again() {
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
            // The next export is another matter.
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
            let mut headers = http::HeaderMap::new();
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

/// New files are no licence to send twice what a server may have taken.
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
            // A server that has not answered may have had something against the old ones.
            collector.set_reply(|_| Reply::Accept);
            futures_executor::block_on(exporter.export()).unwrap();
            let client = collector.received().pop().unwrap().client_certificate.unwrap();
            let expected = if answers == 0 { "new" } else { "old" };
            assert_eq!(client.common_name(), Some(expected), "{protocol} {version:?} {alpn}");
        }
    }
}

/// What a collector answers may mention anything.
#[test]
fn an_answer_that_mentions_https_is_no_sign_of_tls() {
    for protocol in TRANSPORTS {
        let collector = plaintext_collector();
        let link = ("link".to_owned(), "<https://docs.example>; rel=help".to_owned());
        let page = Reply::Http { status: 400, headers: vec![link] };
        collector.set_reply(move |_| page.clone());
        let exporters = exporters(&collector, protocol);
        let exporter = Exporter::new(&exporters, Signal::Traces);
        let error = futures_executor::block_on(exporter.export()).unwrap_err().to_string();
        assert!(error.contains("HTTP status 400"), "{protocol}: {error}");
        // The connection is gone when the next export begins, and another one is as good.
        collector.set_reply(|_| Reply::Accept);
        collector.close_connections();
        futures_executor::block_on(exporter.export()).unwrap();
    }
}
