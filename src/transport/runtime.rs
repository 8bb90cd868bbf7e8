//! The I/O thread: a current-thread tokio runtime of our own, so that exporters work under any
//! async runtime and none, and the scope in which all I/O is done.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::{self, ThreadId};

use opentelemetry::ContextGuard;
use tokio::runtime::{Builder, Handle};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::process::Process;

/// Where I/O is done.
#[derive(Debug)]
pub(crate) struct Runtime {
    process: Process,
    handle: Handle,
    /// `None` on a runtime that was brought along.
    thread: Option<Thread>,
}

#[derive(Debug)]
struct Thread {
    id: ThreadId,
    alive: Alive,
}

/// Keeps the I/O thread alive. It ends with the last of these, and is never joined: the last may be
/// dropped anywhere, on the thread itself too.
#[derive(Clone, Debug)]
pub(super) struct Alive {
    _token: mpsc::Sender<()>,
}

impl Runtime {
    /// Starts the I/O thread.
    pub(crate) fn start() -> io::Result<Arc<Self>> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (token, mut tokens) = mpsc::channel::<()>(1);
        let thread = thread::Builder::new().name("otlp-mtls-io".to_owned()).spawn(move || {
            // Nothing is ever sent: this resolves once all senders are dropped.
            runtime.block_on(tokens.recv());
            // Not waiting for a name resolution that hangs.
            runtime.shutdown_background();
        })?;
        let alive = Alive { _token: token };
        let thread = Some(Thread { id: thread.thread().id(), alive });
        Ok(Arc::new(Self { process: Process::current(), handle, thread }))
    }

    /// Uses a runtime that somebody else drives.
    pub(crate) fn borrowed(handle: Handle) -> Arc<Self> {
        Arc::new(Self { process: Process::current(), handle, thread: None })
    }

    /// False in a child that was forked since: nothing drives the runtime there.
    pub(crate) fn is_of_this_process(&self) -> bool {
        self.process.is_current()
    }

    /// Whether the caller is on the I/O thread, which must not wait for its own work.
    pub(crate) fn is_current(&self) -> bool {
        self.thread.as_ref().is_some_and(|io| io.id == thread::current().id())
    }

    /// What keeps the I/O thread alive; `None` on a runtime that was brought along.
    pub(super) fn alive(&self) -> Option<Alive> {
        self.thread.as_ref().map(|thread| thread.alive.clone())
    }

    /// Runs a future to its end, or until the returned one is dropped.
    ///
    /// The error says that the runtime has ended, or that the future panicked.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Running<T> {
        Running(self.handle.spawn(quiet(future)))
    }
}

/// A future that is at work on the runtime.
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
pub(super) fn spawn<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    tokio::spawn(quiet(future))
}

/// For the tasks that hyper spawns.
#[derive(Clone, Debug)]
pub(super) struct Executor;

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        spawn(future);
    }
}

/// A future of our own I/O, of which no telemetry is exported: or each export would beget another.
///
/// It is polled and dropped in a [`Scope`].
struct Quiet<F>(Option<Pin<Box<F>>>);

fn quiet<F: Future>(future: F) -> Quiet<F> {
    Quiet(Some(Box::pin(future)))
}

impl<F: Future> Future for Quiet<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let _scope = Scope::enter();
        let poll = match &mut self.0 {
            Some(future) => future.as_mut().poll(cx),
            // Nobody polls a future that is done.
            None => Poll::Pending,
        };
        if poll.is_ready() {
            self.0 = None;
        }
        poll
    }
}

impl<F> Drop for Quiet<F> {
    fn drop(&mut self) {
        let _scope = Scope::enter();
        self.0 = None;
    }
}

/// The scope of our own I/O.
///
/// Whoever records asks OpenTelemetry's context whether to, but for the events that
/// `tracing-opentelemetry` adds to the span it is in; so we are in none.
struct Scope {
    // Left in this order.
    _suppressed: ContextGuard,
    _outside: OutsideSpans,
}

impl Scope {
    fn enter() -> Self {
        let outside = OutsideSpans::enter();
        let suppressed = opentelemetry::Context::enter_telemetry_suppressed_scope();
        Self { _suppressed: suppressed, _outside: outside }
    }
}

/// The spans of `tracing` that the thread was in, innermost first: left, and entered again on drop.
/// The thread that drives a borrowed runtime may be in some.
struct OutsideSpans(Vec<tracing::Span>);

impl OutsideSpans {
    fn enter() -> Self {
        let mut left = Self(Vec::new());
        loop {
            let span = tracing::Span::current();
            // A subscriber that does not track exits would show the same span for ever.
            let (Some(id), false) = (span.id(), left.0.last() == Some(&span)) else {
                return left;
            };
            tracing::dispatcher::get_default(|dispatch| dispatch.exit(&id));
            left.0.push(span);
        }
    }
}

impl Drop for OutsideSpans {
    fn drop(&mut self) {
        for span in self.0.drain(..).rev() {
            if let Some(id) = span.id() {
                tracing::dispatcher::get_default(|dispatch| dispatch.enter(&id));
            }
        }
    }
}

/// Blocking work of our own I/O.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let work = move || {
        let _scope = Scope::enter();
        work()
    };
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}
