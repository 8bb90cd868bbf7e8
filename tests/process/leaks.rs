//! Dropped exporters leave no thread and no socket.

use std::io::Write;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use futures_executor::block_on;
use opentelemetry::KeyValue;
use opentelemetry::trace::{Span, Tracer, TracerProvider};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{SdkMeterProvider, Temporality};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanExporter};
use otlp_mtls::testing::Pki;
use otlp_mtls::{Exporters, Protocol};

use crate::exporter::span;
use crate::{SOON, in_a_process, mtls_builder, mtls_collector};

#[test]
fn a_hundred_exporters_leave_nothing_behind() {
    in_a_process("leaks::a_hundred_exporters_leave_nothing_behind", &[], || {
        let pki = Pki::new();
        let collector = mtls_collector(&pki);
        for round in 0..100 {
            let protocol = [Protocol::Grpc, Protocol::HttpProtobuf][round % 2];
            let exporters = mtls_builder(&pki, &collector, protocol).build().unwrap();
            // A handle alone needs no thread.
            assert_eq!(io_threads(), 0);
            let exporter = exporters.span_exporter().unwrap();
            block_on(exporter.export(vec![span("a span")])).unwrap();
            assert!(comes_true(|| io_threads() == 1));
            drop((exporter, exporters));
            // The thread is signalled, but not joined, so it may end a little later.
            assert!(collector.wait_until(SOON, |seen| seen.open_connections() == 0));
            assert!(comes_true(|| io_threads() == 0));
        }
        assert_eq!(collector.connections(), 100);
    });
}

/// The provider keeps only the counters of the exporters.
#[test]
fn registered_metrics_keep_no_thread() {
    in_a_process("leaks::registered_metrics_keep_no_thread", &[], || {
        let pki = Pki::new();
        let collector = mtls_collector(&pki);
        let build = || {
            let builder = mtls_builder(&pki, &collector, Protocol::Grpc);
            builder.with_sdk_metrics(true).build().unwrap()
        };
        // A provider that outlives them, with an unrelated reader.
        let provider = SdkMeterProvider::builder().with_periodic_exporter(Nowhere).build();
        let exporters = build();
        exporters.register_metrics(&provider);
        let exporter = exporters.span_exporter().unwrap();
        block_on(exporter.export(vec![span("a span")])).unwrap();
        assert!(comes_true(|| io_threads() == 1));
        drop((exporter, exporters));
        assert!(comes_true(|| io_threads() == 0 && collector.open_connections() == 0));
        provider.force_flush().unwrap();

        // A provider with their own exporter.
        let exporters = build();
        let own = SdkMeterProvider::builder()
            .with_periodic_exporter(exporters.metric_exporter().unwrap())
            .build();
        exporters.register_metrics(&own);
        own.force_flush().unwrap();
        assert!(comes_true(|| io_threads() == 1));
        drop((own, exporters));
        assert!(comes_true(|| io_threads() == 0 && collector.open_connections() == 0));
    });
}

/// Discards metrics.
struct Nowhere;

impl PushMetricExporter for Nowhere {
    async fn export(&self, _metrics: &ResourceMetrics) -> OTelSdkResult {
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

/// If the peer stops reading, no reset and no GOAWAY can be sent. The socket is closed anyway.
#[test]
fn a_socket_that_cannot_be_flushed_is_closed() {
    in_a_process("leaks::a_socket_that_cannot_be_flushed_is_closed", &[], || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let peer = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // SETTINGS with the largest window for streams, and one for the connection.
            stream.write_all(b"\0\0\x06\x04\0\0\0\0\0\0\x04\x7f\xff\xff\xff").unwrap();
            stream.write_all(b"\0\0\x04\x08\0\0\0\0\0\x7f\0\0\0").unwrap();
            (listener, stream)
        });
        let before = sockets();
        let exporters = Exporters::builder()
            .with_endpoint(endpoint)
            .with_protocol(Protocol::Grpc)
            .with_timeout(Duration::from_secs(2))
            .build()
            .unwrap();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporters.span_exporter().unwrap())
            .build();
        // The first export is larger than the socket's buffers.
        for size in [32 << 20, 1] {
            let mut span = provider.tracer("test").start("a span");
            span.set_attribute(KeyValue::new("large", "x".repeat(size)));
            span.end();
            provider.force_flush().unwrap_err();
        }
        let peer = peer.join().unwrap();
        // Data that the peer has not accepted did not end the connection in the time that was left.
        drop((provider, exporters));
        // The peer's own socket remains.
        assert!(comes_true(|| sockets() == before + 1), "{} of {before}", sockets());
        drop(peer);
    });
}

/// Waits for a condition that a thread brings about, by polling because there is no event to wait for.
pub(crate) fn comes_true(mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + SOON;
    while Instant::now() < end {
        if holds() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

/// The number of sockets of this process.
fn sockets() -> usize {
    let files = std::fs::read_dir("/proc/self/fd").unwrap();
    let target =
        |file: std::io::Result<std::fs::DirEntry>| std::fs::read_link(file.ok()?.path()).ok();
    files
        .filter_map(target)
        .filter(|target| target.to_string_lossy().starts_with("socket:"))
        .count()
}

/// The number of I/O threads of this process, and of threads that they have just started, which have their name at first.
pub(crate) fn io_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        // A thread may end between the two reads.
        std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
    };
    tasks.filter_map(name).filter(|name| name.trim() == "otlp-mtls-io").count()
}
