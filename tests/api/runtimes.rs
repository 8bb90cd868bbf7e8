//! With each async runtime, and with none.

use std::future::Future;
use std::sync::{Arc, Mutex, mpsc};

use otlp_mtls::testing::Collector;
use otlp_mtls::{Error, Exporters, Protocol, Signal, Telemetry};
use rustls::ClientConfig;
use rustls::client::ResolvesClientCert;
use rustls::crypto::{CryptoProvider, GetRandomFailed, SecureRandom, aws_lc_rs};
use rustls::sign::CertifiedKey;
use tokio::runtime::Builder;

use crate::delivery::emit;
use crate::support::{
    Exporter, SOON, TRANSPORTS, alone, builder, items, mtls_builder, mtls_collector,
};

async fn emit_and_shut_down(exporters: Exporters) {
    let _alone = alone();
    let telemetry = exporters.install().unwrap();
    emit(&telemetry);
    telemetry.shutdown(SOON).unwrap();
}

async fn emit_and_drop(exporters: Exporters) {
    let _alone = alone();
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

// Polls a future without a runtime: there is no reactor, timer or spawning.
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

/// A task to run during a handshake, on the I/O thread.
type Task = Box<dyn FnOnce() + Send>;

/// A client certificate resolver that first runs a task, and reports its thread.
struct Doing {
    inner: Arc<dyn ResolvesClientCert>,
    task: Arc<Mutex<Option<Task>>>,
    done: mpsc::SyncSender<String>,
}

impl std::fmt::Debug for Doing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Doing")
    }
}

impl ResolvesClientCert for Doing {
    fn resolve(
        &self,
        hints: &[&[u8]],
        schemes: &[rustls::SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let task = self.task.lock().unwrap().take();
        if let Some(task) = task {
            task();
            let thread = std::thread::current();
            self.done.send(thread.name().unwrap_or_default().to_owned()).unwrap();
        }
        self.inner.resolve(hints, schemes)
    }

    fn has_certs(&self) -> bool {
        self.inner.has_certs()
    }
}

/// Runs on the I/O thread, during the first handshake, the task that `prepare` creates from the exporters.
fn do_on_the_io_thread(
    prepare: impl FnOnce(Exporters) -> Task,
) -> (Collector, mpsc::Receiver<String>) {
    let (pki, collector) = mtls_collector();
    let plain = mtls_builder(&pki, &collector, Protocol::Grpc).build().unwrap();
    let mut config = ClientConfig::clone(&plain.client_config(Signal::Traces).unwrap());
    let (done, is_done) = mpsc::sync_channel(1);
    let task = Arc::new(Mutex::new(None));
    config.client_auth_cert_resolver = Arc::new(Doing {
        inner: Arc::clone(&config.client_auth_cert_resolver),
        task: Arc::clone(&task),
        done,
    });
    let exporters = builder()
        .with_endpoint(collector.endpoint())
        .with_protocol(Protocol::Grpc)
        .with_rustls_config(Arc::new(config))
        .build()
        .unwrap();
    // Locked meanwhile, so that the first handshake waits for its task.
    let mut slot = task.lock().unwrap();
    *slot = Some(prepare(exporters));
    drop(slot);
    (collector, is_done)
}

/// A guard with items to flush, whose first export starts automatically.
fn flushing(exporters: &Exporters) -> Telemetry {
    let telemetry = exporters.install().unwrap();
    emit(&telemetry);
    let tracer = telemetry.tracer_provider().unwrap().clone();
    std::thread::spawn(move || tracer.force_flush());
    telemetry
}

#[test]
fn the_guard_dropped_on_the_io_thread_neither_panics_nor_hangs() {
    let _alone = alone();
    let (collector, is_done) = do_on_the_io_thread(|exporters| {
        let telemetry = flushing(&exporters);
        Box::new(move || drop(telemetry))
    });
    assert_eq!(is_done.recv_timeout(SOON).unwrap(), "otlp-mtls-io");
    for signal in Signal::ALL {
        assert!(collector.wait_until(SOON, |seen| items(seen, signal) == 1), "{signal}");
    }
}

#[test]
fn a_shutdown_on_the_io_thread_does_not_wait_for_itself() {
    let _alone = alone();
    let (collector, is_done) = do_on_the_io_thread(|exporters| {
        let telemetry = flushing(&exporters);
        Box::new(move || {
            let result = telemetry.shutdown(SOON);
            assert!(matches!(result, Err(Error::OnIoThread)), "{result:?}");
        })
    });
    assert_eq!(is_done.recv_timeout(SOON * 2).unwrap(), "otlp-mtls-io");
    for signal in Signal::ALL {
        assert!(collector.wait_until(SOON, |seen| items(seen, signal) == 1), "{signal}");
    }
}

#[test]
fn the_last_exporter_and_handle_dropped_on_the_io_thread_neither_panic_nor_hang() {
    let (_collector, is_done) = do_on_the_io_thread(|exporters| {
        let exporter = Arc::new(Exporter::new(&exporters, Signal::Traces));
        let exporting = Arc::clone(&exporter);
        std::thread::spawn(move || {
            // The result of the export does not matter here.
            let _ = futures_executor::block_on(exporting.export());
        });
        Box::new(move || drop((exporter, exporters)))
    });
    assert_eq!(is_done.recv_timeout(SOON).unwrap(), "otlp-mtls-io");
}

/// Records on which thread random bytes are requested.
#[derive(Debug)]
struct RecordingRandom(mpsc::Sender<Option<String>>);

impl SecureRandom for RecordingRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        let _ = self.0.send(std::thread::current().name().map(ToOwned::to_owned));
        aws_lc_rs::default_provider().secure_random.fill(bytes)
    }
}

/// AWS-LC gathers entropy at the first request, for tens of milliseconds.
#[test]
fn random_bytes_are_requested_before_the_first_export_and_not_on_the_io_thread() {
    let (pki, collector) = mtls_collector();
    let (tell, requests) = mpsc::channel();
    let secure_random = Box::leak(Box::new(RecordingRandom(tell)));
    let provider = CryptoProvider { secure_random, ..aws_lc_rs::default_provider() };
    let exporters = mtls_builder(&pki, &collector, Protocol::Grpc)
        .with_crypto_provider(Arc::new(provider))
        .build()
        .unwrap();
    assert!(requests.try_recv().is_err(), "nothing is exported yet");
    let _exporter = exporters.span_exporter().unwrap();
    let thread = requests.recv_timeout(SOON).unwrap();
    assert_ne!(thread.as_deref(), Some("otlp-mtls-io"));
    assert_eq!(collector.open_connections(), 0);
}
