//! Under every async runtime, and under none.

use std::future::Future;
use std::sync::{Arc, Mutex, mpsc};

use otlp_mtls::testing::Collector;
use otlp_mtls::{Exporters, Pem, Protocol, Signal, Telemetry};
use rustls::ClientConfig;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use tokio::runtime::Builder;

use crate::delivery::emit;
use crate::support::{
    Exporter, SOON, TRANSPORTS, builder, items, mtls_builder, mtls_collector, plaintext_collector,
};

async fn emit_and_shut_down(exporters: Exporters) {
    let telemetry = exporters.install().unwrap();
    emit(&telemetry);
    telemetry.shutdown(SOON).unwrap();
}

async fn emit_and_drop(exporters: Exporters) {
    let telemetry = exporters.install().unwrap();
    emit(&telemetry);
}

async fn export_and_await(exporters: Exporters) {
    for signal in Signal::ALL {
        Exporter::new(&exporters, signal).export().await.unwrap();
    }
}

/// Runs one use of the crate under a runtime, and checks that everything arrives.
fn delivers<F: Future<Output = ()> + 'static>(
    runtime: impl Fn(std::pin::Pin<Box<F>>),
    usage: impl Fn(Exporters) -> F,
) {
    for protocol in TRANSPORTS {
        let (pki, collector) = mtls_collector();
        let exporters = mtls_builder(&pki, &collector, protocol).build().unwrap();
        runtime(Box::pin(usage(exporters)));
        for signal in Signal::ALL {
            assert!(items(&collector, signal) >= 1, "{protocol} {signal}");
        }
        assert!(collector.wait_until(SOON, |seen| seen.open_connections() == 0), "{protocol}");
    }
}

macro_rules! under {
    ($name:ident, $runtime:expr) => {
        mod $name {
            use super::*;

            #[test]
            fn a_shutdown() {
                delivers($runtime, emit_and_shut_down);
            }

            #[test]
            fn a_drop() {
                delivers($runtime, emit_and_drop);
            }

            #[test]
            fn awaited_exports() {
                delivers($runtime, export_and_await);
            }
        }
    };
}

// Drives a future without any runtime: no reactor, no timer, no spawning.
under!(no_runtime, futures_executor::block_on);
under!(another_executor, |future| {
    futures_executor::LocalPool::new().run_until(future);
});
under!(tokio_current_thread, |future| {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(future);
});
under!(tokio_without_io_and_time, |future| {
    Builder::new_current_thread().build().unwrap().block_on(future);
});
under!(tokio_one_worker, |future| {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(future);
});
under!(tokio_multi_thread, |future| {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future);
});

#[test]
fn on_a_runtime_that_was_brought_along() {
    for protocol in TRANSPORTS {
        let (pki, collector) = mtls_collector();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let exporters = mtls_builder(&pki, &collector, protocol)
            .with_runtime(runtime.handle().clone())
            .build()
            .unwrap();
        futures_executor::block_on(emit_and_shut_down(exporters));
        for signal in Signal::ALL {
            assert_eq!(items(&collector, signal), 1, "{protocol} {signal}");
        }
    }
}

#[test]
fn a_runtime_that_has_ended_is_an_error_that_says_so() {
    let collector = plaintext_collector();
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let exporters = builder()
        .with_endpoint(collector.endpoint())
        .with_runtime(runtime.handle().clone())
        .build()
        .unwrap();
    let exporter = Exporter::new(&exporters, Signal::Traces);
    runtime.shutdown_background();
    let error = futures_executor::block_on(exporter.export()).unwrap_err().to_string();
    assert!(error.contains("the runtime that does its I/O has ended"), "{error}");
}

/// Something to drop in the midst of a handshake, on the I/O thread.
type Cargo = Arc<Mutex<Option<Box<dyn Send>>>>;

/// A rustls configuration whose client certificate resolver drops the cargo.
#[derive(Debug)]
struct Dropping {
    inner: Arc<dyn ResolvesClientCert>,
    cargo: DebugCargo,
    dropped: mpsc::SyncSender<String>,
}

struct DebugCargo(Cargo);

impl std::fmt::Debug for DebugCargo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cargo")
    }
}

impl ResolvesClientCert for Dropping {
    fn resolve(
        &self,
        hints: &[&[u8]],
        schemes: &[rustls::SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        if let Some(cargo) = self.cargo.0.lock().unwrap().take() {
            drop(cargo);
            let thread = std::thread::current();
            self.dropped.send(thread.name().unwrap_or_default().to_owned()).unwrap();
        }
        self.inner.resolve(hints, schemes)
    }

    fn has_certs(&self) -> bool {
        self.inner.has_certs()
    }
}

/// Exports a span with a configuration that drops, on the I/O thread, what `load` makes of the
/// exporters.
fn drop_on_the_io_thread(
    load: impl FnOnce(Exporters) -> Box<dyn Send>,
) -> (Collector, mpsc::Receiver<String>) {
    let (pki, collector) = mtls_collector();
    let plain = mtls_builder(&pki, &collector, Protocol::Grpc).build().unwrap();
    let mut config = ClientConfig::clone(&plain.client_config(Signal::Traces).unwrap());
    let (dropped, drops) = mpsc::sync_channel(1);
    let cargo = Cargo::default();
    config.client_auth_cert_resolver = Arc::new(Dropping {
        inner: Arc::clone(&config.client_auth_cert_resolver),
        cargo: DebugCargo(Arc::clone(&cargo)),
        dropped,
    });
    let exporters = builder()
        .with_endpoint(collector.endpoint())
        .with_protocol(Protocol::Grpc)
        .with_ca_certificate(Pem::bytes(pki.ca_pem()))
        .with_rustls_config(Arc::new(config))
        .build()
        .unwrap();
    *cargo.lock().unwrap() = Some(load(exporters));
    (collector, drops)
}

#[test]
fn the_guard_dropped_on_the_io_thread_neither_panics_nor_hangs() {
    let (collector, drops) = drop_on_the_io_thread(|exporters| {
        let telemetry: Telemetry = exporters.install().unwrap();
        emit(&telemetry);
        // The first export begins when the batch is flushed, which nobody waits for.
        let tracer = telemetry.tracer_provider().unwrap().clone();
        std::thread::spawn(move || tracer.force_flush());
        Box::new(telemetry)
    });
    assert_eq!(drops.recv_timeout(SOON).unwrap(), "otlp-mtls-io");
    for signal in Signal::ALL {
        assert!(collector.wait_until(SOON, |seen| items(seen, signal) == 1), "{signal}");
    }
}

#[test]
fn the_last_exporter_and_handle_dropped_on_the_io_thread_neither_panic_nor_hang() {
    let (_collector, drops) = drop_on_the_io_thread(|exporters| {
        let exporter = Arc::new(Exporter::new(&exporters, Signal::Traces));
        let exporting = Arc::downgrade(&exporter);
        std::thread::spawn(move || {
            // Upgraded within, so that the cargo's is the last but for the export's own.
            if let Some(exporter) = exporting.upgrade() {
                let _ = futures_executor::block_on(exporter.export());
            }
        });
        Box::new((exporter, exporters))
    });
    assert_eq!(drops.recv_timeout(SOON).unwrap(), "otlp-mtls-io");
}
