//! The limits of a Collector: the size of a message, its memory, the age of a connection, pings.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use futures_executor::block_on;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use otlp_mtls::{Compression, Exporters, FailureKind, Protocol, Signal};

use super::load::under_load;
use super::relay::Relay;
use super::{Deployment, End, on_grpc, on_http, status_of};
use crate::servers::run;
use crate::support::{SOON, TRANSPORTS, export, last_failure, once, span};

/// Exports this many spans in one batch. Their names are numbers.
fn export_spans(exporters: &Exporters, spans: usize) -> Result<(), String> {
    let exporter = exporters.span_exporter().unwrap();
    let batch = (0..spans).map(|n| SpanData { name: n.to_string().into(), ..span("") });
    block_on(exporter.export(batch.collect())).map_err(|error| error.to_string())
}

/// The number of spans with each name.
fn counted(names: Vec<String>) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for name in names {
        *counted.entry(name).or_default() += 1;
    }
    counted
}

#[test]
fn a_batch_that_is_too_large_arrives_in_parts() {
    let limits = [on_grpc("max_recv_msg_size_mib: 1"), on_http("max_request_body_size: 1048576")];
    for protocol in TRANSPORTS {
        for compression in [None, Some(Compression::Gzip)] {
            let Some(deployment) = Deployment::start(&limits) else { return };
            let builder = deployment.builder(protocol).with_compression(compression);
            let exporters = builder.build().unwrap();
            export_spans(&exporters, 40_000).unwrap();
            let received = counted(deployment.collector.received(Signal::Traces));
            let expected = (0..40_000).map(|n| (n.to_string(), 1)).collect();
            assert!(received == expected, "{protocol}, {compression:?}: {}", received.len());
            assert_eq!(status_of(&exporters, Signal::Traces).dropped, 0);
        }
    }
}

#[test]
fn a_span_that_is_too_large_is_named() {
    let limits = [on_grpc("max_recv_msg_size_mib: 1"), on_http("max_request_body_size: 1048576")];
    let Some(deployment) = Deployment::start(&limits) else { return };
    for protocol in TRANSPORTS {
        let exporters = deployment.builder(protocol).build().unwrap();
        let exporter = exporters.span_exporter().unwrap();
        let large = SpanData { name: "x".repeat(1 << 20).into(), ..span("") };
        let error = block_on(exporter.export(vec![large, span("small")])).unwrap_err();
        let failure = last_failure(&exporters, Signal::Traces);
        let is_named = matches!(failure.kind(), FailureKind::TooLarge { .. });
        assert!(is_named, "{protocol}: {error}");
    }
    assert_eq!(deployment.collector.received(Signal::Traces), ["small", "small"]);
}

/// It refuses exports until it is restarted without a limiter.
#[test]
fn exports_refused_by_a_memory_limiter_are_retried() {
    let limiter = ["memory_limiter::check_interval: 10ms", "memory_limiter::limit_mib: 1"];
    let mut overlays = limiter.map(|setting| format!("processors::{setting}")).to_vec();
    overlays.push("service::pipelines::traces::processors: [memory_limiter]".to_owned());
    for protocol in TRANSPORTS {
        let Some(mut deployment) = Deployment::start(&overlays) else { return };
        deployment.collector.wait_until("Refusing data");
        let exporters = once(deployment.builder(protocol)).build().unwrap();
        let error = export(&exporters, Signal::Traces).unwrap_err().to_string();
        let failure = last_failure(&exporters, Signal::Traces);
        let expected = match protocol {
            Protocol::Grpc => matches!(failure.kind(), FailureKind::Grpc { number: 14, .. }),
            _ => matches!(failure.kind(), FailureKind::Http { status: 503, .. }),
        };
        assert!(expected, "{error}");
        assert!(error.contains("data refused due to high memory usage"), "{error}");
        assert_eq!(status_of(&exporters, Signal::Traces).dropped, 1);
        assert_eq!(deployment.collector.received(Signal::Traces), [] as [&str; 0]);

        let (sender, attempts) = mpsc::channel();
        let exporters = deployment
            .builder(protocol)
            .with_header_provider(move |_| {
                let _ = sender.send(());
                Ok(http::HeaderMap::new())
            })
            .build()
            .unwrap();
        let exporting = thread::spawn(move || export(&exporters, Signal::Traces));
        // The second attempt shows that the first one was refused.
        (0..2).for_each(|_| attempts.recv_timeout(SOON).unwrap());
        deployment.collector.launch.overlays.clear();
        deployment.collector.restart(End::Stopped);
        exporting.join().unwrap().unwrap();
        assert_eq!(deployment.collector.received(Signal::Traces), ["a span"], "{protocol}");
    }
}

#[test]
fn nothing_is_lost_when_a_collector_closes_connections() {
    for (protocol, setting) in [
        (Protocol::Grpc, on_grpc("keepalive::server_parameters::max_connection_age: 50ms")),
        (Protocol::HttpProtobuf, on_http("keep_alives_enabled: false")),
    ] {
        let Some(deployment) = Deployment::start(&[setting]) else { return };
        let relay = Relay::start(deployment.collector.port(protocol));
        // A retry would hide a lost export.
        let exporters = once(deployment.builder(protocol))
            .with_endpoint(format!("https://localhost:{}", relay.port))
            .build()
            .unwrap();
        let claims = under_load(&exporters, |progress| {
            while relay.connections() < 10 {
                progress.wait_for(10);
            }
        });
        claims.count(&exporters, &deployment.collector).assert_exact();
    }
}

#[test]
fn nothing_is_lost_when_our_connections_reach_their_maximum_age() {
    for protocol in TRANSPORTS {
        let Some(deployment) = Deployment::start(&[]) else { return };
        let relay = Relay::start(deployment.collector.port(protocol));
        // A retry would hide an export that is lost.
        let exporters = once(deployment.builder(protocol))
            .with_endpoint(format!("https://localhost:{}", relay.port))
            .with_max_connection_age(Duration::from_millis(50))
            .build()
            .unwrap();
        let claims = under_load(&exporters, |progress| {
            while relay.connections() < 10 {
                progress.wait_for(10);
            }
        });
        claims.count(&exporters, &deployment.collector).assert_exact();
    }
}

/// Such a Collector closes the connection with `too_many_pings`.
#[test]
fn a_slow_collector_is_not_pinged_too_often() {
    let pipes = tempfile::tempdir().unwrap();
    let pipe = pipes.path().join("pipe");
    run(Command::new("mkfifo").arg(&pipe)).unwrap();
    let Some(deployment) = Deployment::start(&[
        on_grpc("keepalive::enforcement_policy::min_time: 1h"),
        format!("exporters::file/pipe::path: {}", pipe.display()),
        "service::pipelines::traces::exporters: [file/pipe]".to_owned(),
    ]) else {
        return;
    };
    let relay = Relay::start(deployment.collector.port(Protocol::Grpc));
    let exporters = once(deployment.builder(Protocol::Grpc))
        .with_endpoint(format!("https://localhost:{}", relay.port))
        .with_timeout(Duration::from_secs(10))
        .build()
        .unwrap();
    thread::scope(|scope| {
        // More than the pipe's buffer: no export is answered until the pipe is read.
        let exports = [(); 3].map(|()| scope.spawn(|| export_spans(&exporters, 10_000)));
        // After half of its timeout of 10 s an export may send a PING. The Collector does not log PINGs, so
        // there is no event to wait for.
        thread::sleep(Duration::from_secs(6));
        let mut pipe = OpenOptions::new().read(true).open(&pipe).unwrap();
        thread::spawn(move || io::copy(&mut pipe, &mut io::sink()));
        for export in exports {
            export.join().unwrap().unwrap();
        }
    });
    assert_eq!(relay.connections(), 1);
}
