//! Deadlines, and connections that die silently.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use opentelemetry_sdk::trace::SpanExporter as _;
use otlp_mtls::testing::{Accept, Reply};
use otlp_mtls::{Protocol, RetryPolicy, Signal};

use crate::proxy::Proxy;
use crate::scripted::{Scripted, grpc_accept, grpc_status};
use crate::support::{
    Exporter, SOON, TRANSPORTS, builder, export, mtls_builder, mtls_collector, once,
    plaintext_builder, plaintext_collector, span,
};

/// For timeouts that are expected to expire.
const BRIEF: Duration = Duration::from_millis(300);

fn run(exporter: &Exporter) -> Result<(), String> {
    futures_executor::block_on(exporter.export()).map_err(|error| error.to_string())
}

/// Over HTTP/2 a PING detects it, and the lost request is sent again. HTTP/1.1 has no PING.
#[test]
fn a_swallowed_connection_is_closed_and_costs_nothing_over_http2() {
    for protocol in TRANSPORTS {
        for tls in [true, false] {
            let (pki, secure) = mtls_collector();
            let plain = plaintext_collector();
            let (collector, scheme) = if tls { (&secure, "https") } else { (&plain, "http") };
            let proxy = Proxy::start(collector.addr());
            // The timeout includes the handshake: long enough for a slow machine.
            let exporters = once(mtls_builder(&pki, collector, protocol))
                .with_endpoint(proxy.endpoint(scheme))
                .with_timeout(Duration::from_secs(4))
                .build()
                .unwrap();
            let exporter = Exporter::new(&exporters, Signal::Traces);
            run(&exporter).unwrap();
            proxy.swallow();
            let is_http2 = tls || protocol == Protocol::Grpc;
            match run(&exporter) {
                Ok(()) => assert!(is_http2),
                Err(error) => {
                    assert!(!is_http2, "{error}");
                    assert!(error.contains("no answer within 4s"), "{error}");
                }
            }
            assert!(proxy.first_are_closed(1, SOON), "{protocol} {scheme}: the socket stays open");
            run(&exporter).unwrap();
            run(&exporter).unwrap();
            assert_eq!(collector.spans().len(), if is_http2 { 4 } else { 3 });
            assert_eq!(proxy.connections(), 2);
        }
    }
}

#[test]
fn a_peer_that_never_handshakes_costs_the_connect_timeout() {
    for protocol in TRANSPORTS {
        let (pki, collector) = mtls_collector();
        collector.set_accept(Accept::Silence);
        let proxy = Proxy::start(collector.addr());
        // An export without a timeout ends, too.
        let exporters = once(mtls_builder(&pki, &collector, protocol))
            .with_endpoint(proxy.endpoint("https"))
            .with_timeout(Duration::ZERO)
            .with_connect_timeout(BRIEF)
            .build()
            .unwrap();
        let exporter = Exporter::new(&exporters, Signal::Traces);
        let error = run(&exporter).unwrap_err();
        assert!(error.contains("no TLS handshake within 300ms"), "{error}");
        assert!(proxy.first_are_closed(1, SOON), "{protocol}: the socket stays open");
    }
}

#[test]
fn exports_that_wait_for_one_dial_share_its_failure() {
    let (pki, collector) = mtls_collector();
    collector.set_accept(Accept::Silence);
    let exporters = once(mtls_builder(&pki, &collector, Protocol::Grpc))
        .with_timeout(Duration::ZERO)
        .with_connect_timeout(Duration::from_secs(1))
        .build()
        .unwrap();
    let exporters = &exporters;
    thread::scope(|scope| {
        for signal in Signal::ALL {
            scope.spawn(move || run(&Exporter::new(exporters, signal)).unwrap_err());
        }
    });
    // The metric reader exports again when it is dropped.
    assert!(collector.connections() <= 2, "{}", collector.connections());
}

#[test]
fn a_collector_that_never_answers_costs_the_timeout_and_sees_a_reset() {
    for protocol in TRANSPORTS {
        for tls in [true, false] {
            let (pki, secure) = mtls_collector();
            let plain = plaintext_collector();
            let collector = if tls { &secure } else { &plain };
            collector.set_reply(|_| Reply::Hold);
            let exporters = once(mtls_builder(&pki, collector, protocol))
                .with_timeout(Duration::from_secs(1))
                .build()
                .unwrap();
            let error = run(&Exporter::new(&exporters, Signal::Traces)).unwrap_err();
            assert!(error.contains("no answer within 1s"), "{protocol}: {error}");
            assert!(collector.wait_until(SOON, |seen| seen.resets() == 1), "{protocol}");
        }
    }
}

#[test]
fn an_export_that_is_dropped_is_reset_too() {
    for protocol in TRANSPORTS {
        let (pki, collector) = mtls_collector();
        collector.set_reply(|_| Reply::Hold);
        // Without a limit, only the drop ends it.
        let exporters =
            mtls_builder(&pki, &collector, protocol).with_timeout(Duration::ZERO).build().unwrap();
        let exporter = Exporter::new(&exporters, Signal::Traces);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let dropped = tokio::time::timeout(Duration::from_secs(1), exporter.export()).await;
            dropped.unwrap_err();
        });
        assert!(collector.wait_until(SOON, |seen| seen.resets() == 1), "{protocol}");
    }
}

#[test]
fn a_dial_outlives_the_export_that_began_it() {
    for protocol in TRANSPORTS {
        let (pki, collector) = mtls_collector();
        let proxy = Proxy::start(collector.addr());
        proxy.hold(true);
        let exporters = once(mtls_builder(&pki, &collector, protocol))
            .with_endpoint(proxy.endpoint("https"))
            .with_signal(Signal::Traces, |traces| traces.with_timeout(BRIEF))
            .with_timeout(SOON)
            .with_connect_timeout(SOON)
            .build()
            .unwrap();
        let error = run(&Exporter::new(&exporters, Signal::Traces)).unwrap_err();
        assert!(error.contains("connected, but no TLS handshake within 300ms"), "{error}");
        // The dial continues as long as an exporter exists.
        let logs = Exporter::new(&exporters, Signal::Logs);
        thread::scope(|scope| {
            let export = scope.spawn(|| run(&logs));
            proxy.hold(false);
            export.join().unwrap().unwrap();
        });
        assert_eq!(collector.log_records().len(), 1);
    }
}

#[test]
fn an_export_that_cannot_wait_for_a_dial_does_not_restart_it() {
    for protocol in TRANSPORTS {
        let (pki, collector) = mtls_collector();
        let proxy = Proxy::start(collector.addr());
        proxy.hold(true);
        let exporters = once(mtls_builder(&pki, &collector, protocol))
            .with_endpoint(proxy.endpoint("https"))
            .with_timeout(BRIEF)
            .with_connect_timeout(SOON)
            .build()
            .unwrap();
        let exporter = Exporter::new(&exporters, Signal::Traces);
        for _ in 0..3 {
            run(&exporter).unwrap_err();
        }
        assert_eq!(proxy.connections(), 1, "{protocol}");
    }
}

#[test]
fn a_timeout_after_a_refusal_keeps_the_connection() {
    for protocol in TRANSPORTS {
        let (pki, collector) = mtls_collector();
        let asked = AtomicUsize::new(0);
        collector.set_reply(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::Http { status: 503, headers: Vec::new() },
            1 => Reply::Hold,
            _ => Reply::Accept,
        });
        let exporters = mtls_builder(&pki, &collector, protocol)
            .with_timeout(Duration::from_secs(2))
            .with_retry(RetryPolicy::default().with_initial_backoff(Duration::from_millis(1)))
            .build()
            .unwrap();
        let exporter = Exporter::new(&exporters, Signal::Traces);
        run(&exporter).unwrap_err();
        run(&exporter).unwrap();
        // HTTP/1.1 would have to close it. Here the server has responded since the export began.
        assert_eq!(collector.connections(), 1, "{protocol}");
    }
}

#[test]
fn a_header_provider_that_hangs_is_called_once() {
    let collector = plaintext_collector();
    let (calls, asked) = mpsc::channel();
    let (release, hang) = mpsc::channel::<()>();
    let hang = Mutex::new(hang);
    let exporters = once(plaintext_builder(&collector, Protocol::Grpc))
        .with_timeout(BRIEF)
        .with_header_provider(move |_| {
            calls.send(())?;
            // Until the test ends.
            let _ = hang.lock().unwrap().recv();
            Ok(http::HeaderMap::new())
        })
        .build()
        .unwrap();
    let exporter = Exporter::new(&exporters, Signal::Traces);
    for _ in 0..3 {
        run(&exporter).unwrap_err();
    }
    assert_eq!(asked.try_iter().count(), 1);
    drop(release);
}

#[test]
fn a_timeout_beside_answers_to_others_keeps_the_connection() {
    for protocol in TRANSPORTS {
        let (pki, collector) = mtls_collector();
        collector.set_reply(|request| match request.signal {
            Signal::Traces => Reply::Hold,
            _ => Reply::Accept,
        });
        let exporters = once(mtls_builder(&pki, &collector, protocol))
            .with_signal(Signal::Traces, |traces| traces.with_timeout(Duration::from_secs(1)))
            .build()
            .unwrap();
        let (traces, logs) =
            (Exporter::new(&exporters, Signal::Traces), Exporter::new(&exporters, Signal::Logs));
        thread::scope(|scope| {
            let held = scope.spawn(|| run(&traces));
            assert!(collector.wait_until(SOON, |seen| seen.received().len() == 1));
            run(&logs).unwrap();
            held.join().unwrap().unwrap_err();
        });
        run(&logs).unwrap();
        assert_eq!(collector.connections(), 1, "{protocol}");
    }
}

#[test]
fn exports_in_flight_survive_the_replacement_of_a_connection() {
    for protocol in TRANSPORTS {
        let (pki, collector) = mtls_collector();
        let exporters = once(mtls_builder(&pki, &collector, protocol))
            .with_signal(Signal::Traces, |traces| traces.with_timeout(Duration::from_secs(1)))
            .with_timeout(SOON)
            .build()
            .unwrap();
        let (traces, logs) =
            (Exporter::new(&exporters, Signal::Traces), Exporter::new(&exporters, Signal::Logs));
        // The server's SETTINGS have arrived.
        run(&logs).unwrap();
        collector.set_reply(|_| Reply::Hold);
        thread::scope(|scope| {
            let in_flight = scope.spawn(|| run(&logs));
            assert!(collector.wait_until(SOON, |seen| seen.received().len() == 2));
            for _ in 0..3 {
                run(&traces).unwrap_err();
                assert_eq!(collector.connections(), 1);
            }
            collector.set_reply(|_| Reply::Accept);
            run(&traces).unwrap();
            assert_eq!(collector.connections(), 2, "{protocol}: it was not condemned");
            collector.release();
            in_flight.join().unwrap().unwrap();
        });
        assert!(collector.wait_until(SOON, |seen| seen.open_connections() == 1), "{protocol}");
        assert_eq!(collector.log_records().len(), 2);
    }
}

#[test]
fn a_timeout_of_zero_is_no_limit() {
    let collector = plaintext_collector();
    collector.set_reply(|_| Reply::After(BRIEF, Box::new(Reply::Accept)));
    let exporters =
        plaintext_builder(&collector, Protocol::Grpc).with_timeout(Duration::ZERO).build().unwrap();
    export(&exporters, Signal::Traces).unwrap();
    // The response may take longer than any test waits: the request shows that there is no deadline.
    assert!(!collector.requests()[0].headers.contains_key("grpc-timeout"));
}

/// A server that is busy answers a PING late. The connection is shared with exports that have more time.
#[test]
fn a_short_timeout_does_not_end_the_connection_of_others() {
    let (release, busy) = mpsc::channel::<()>();
    let busy = Mutex::new(busy);
    let server = Scripted::http2(move |request| match request.index {
        1 => {
            // Nothing is read meanwhile.
            busy.lock().unwrap().recv().unwrap();
            Vec::new()
        }
        _ => vec![grpc_accept(request.stream)],
    });
    let exporters = once(builder().with_endpoint(server.endpoint()).with_protocol(Protocol::Grpc))
        .with_signal(Signal::Traces, |traces| traces.with_timeout(Duration::from_secs(1)))
        .build()
        .unwrap();
    let (traces, logs) =
        (Exporter::new(&exporters, Signal::Traces), Exporter::new(&exporters, Signal::Logs));
    run(&logs).unwrap();
    let error = run(&traces).unwrap_err();
    assert!(error.contains("no answer within 1s"), "{error}");
    release.send(()).unwrap();
    run(&logs).unwrap();
    assert_eq!(server.connections(), 1);
}

/// The second half of a batch, after the first half has taken all the time.
#[test]
fn nothing_is_sent_after_the_deadline() {
    let too_large = [("grpc-status", "8"), ("grpc-message", "received message larger than max")];
    let server = Scripted::http2(move |request| match request.index {
        0 => vec![grpc_status(request.stream, &too_large)],
        1 => Vec::new(),
        _ => vec![grpc_accept(request.stream)],
    });
    let exporters = once(builder().with_endpoint(server.endpoint()).with_protocol(Protocol::Grpc))
        .with_signal(Signal::Traces, |traces| traces.with_timeout(Duration::from_secs(3)))
        .build()
        .unwrap();
    let exporter = exporters.span_exporter().unwrap();
    let halves = vec![span("the first half"), span("the second half")];
    let error = futures_executor::block_on(exporter.export(halves)).unwrap_err().to_string();
    assert!(error.contains("no answer within 3s"), "{error}");
    // On the same connection: what was sent before has arrived.
    run(&Exporter::new(&exporters, Signal::Logs)).unwrap();
    assert_eq!((server.connections(), server.requests()), (1, 3));
}
