//! The I/O thread: a current-thread tokio runtime of our own, so that exporters work under any
//! async runtime or without one.
//!
//! No telemetry is recorded about its work: otherwise each export would trigger another. On this
//! thread OpenTelemetry's context suppresses telemetry. No task here is in a span of `tracing`
//! either, because no caller polls it.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::lock::lock;
use crate::process::Process;

/// The thread that all exporters of the process share, as long as there are any.
static SHARED: Mutex<Weak<Runtime>> = Mutex::new(Weak::new());

thread_local! {
    static IS_IO_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// A runtime for I/O.
#[derive(Debug)]
pub(crate) struct Runtime {
    pub(super) handle: Handle,
    alive: Alive,
    process: Process,
}

/// Keeps the I/O thread alive. The thread ends with the last of these. It is never joined, because
/// the last one may be dropped on the thread itself.
#[derive(Clone, Debug)]
pub(crate) struct Alive {
    _token: mpsc::Sender<()>,
}

impl Runtime {
    /// The I/O thread of the process, which is started if there is none.
    pub(crate) fn shared() -> io::Result<Arc<Self>> {
        let mut shared = lock(&SHARED);
        if let Some(runtime) = shared.upgrade().filter(|runtime| runtime.is_of_this_process()) {
            return Ok(runtime);
        }
        let runtime = Self::start()?;
        *shared = Arc::downgrade(&runtime);
        Ok(runtime)
    }

    /// Starts a separate I/O thread, for a caller that blocks until its work is done and may be on
    /// the shared one.
    pub(crate) fn start() -> io::Result<Arc<Self>> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (token, mut tokens) = mpsc::channel::<()>(1);
        thread::Builder::new().name("otlp-mtls-io".to_owned()).spawn(move || {
            IS_IO_THREAD.set(true);
            let _suppressed = opentelemetry::Context::enter_telemetry_suppressed_scope();
            // Nothing is ever sent: this resolves when all senders are dropped.
            runtime.block_on(tokens.recv());
            // In the background, because a name resolution may hang.
            runtime.shutdown_background();
        })?;
        let alive = Alive { _token: token };
        Ok(Arc::new(Self { handle, alive, process: Process::current() }))
    }

    /// Whether the caller is on an I/O thread, which must not wait for its own work.
    pub(crate) fn is_current() -> bool {
        IS_IO_THREAD.get()
    }

    /// False in a child process that was forked since: the thread exists only in the parent.
    pub(crate) fn is_of_this_process(&self) -> bool {
        self.process.is_current()
    }

    /// A token that keeps the I/O thread alive.
    pub(crate) fn alive(&self) -> Alive {
        self.alive.clone()
    }

    /// Runs a future to its end, or until the returned one is dropped.
    ///
    /// The error says that the runtime has ended, or that the future panicked.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Running<T> {
        Running(self.handle.spawn(future))
    }
}

impl Runtime {
    /// Starts blocking work for our own I/O, without waiting for it.
    pub(super) fn begin_blocking(&self, work: impl FnOnce() + Send + 'static) {
        self.handle.spawn_blocking(suppressed(work));
    }
}

/// A future that runs on the runtime.
pub(crate) struct Running<T>(JoinHandle<T>);

impl<T> Future for Running<T> {
    type Output = Result<T, tokio::task::JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Spawns onto the runtime that polls the caller.
pub(crate) fn spawn<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    tokio::spawn(future)
}

/// Runs blocking work for our own I/O, on a thread that records no telemetry either. The error does
/// not contain the payload of a panic, which may be secret.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(suppressed(work)).await.map_err(|lost| match lost.is_panic() {
        true => io::Error::other("it panicked"),
        false => io::Error::other(lost),
    })
}

/// Wraps work so that no telemetry is recorded about it.
fn suppressed<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    move || {
        let _suppressed = opentelemetry::Context::enter_telemetry_suppressed_scope();
        work()
    }
}
