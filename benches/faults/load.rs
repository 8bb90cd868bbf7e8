//! The work of a service in Rust; `../peers/go/work/load.go` is the same in Go.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use opentelemetry::trace::{Tracer, TracerProvider};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanExporter};
use tokio::runtime::{EnterGuard, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

/// Of a shutdown, in each peer: the SDK's default
pub(crate) const SHUTDOWN: Duration = Duration::from_secs(5);

/// Spans named by their number, at the rate that is the program's argument, until SIGTERM.
pub(crate) struct Load {
    runtime: Runtime,
    per_second: u32,
    stopped: Arc<AtomicBool>,
}

impl Load {
    pub(crate) fn start() -> Result<Self, Box<dyn Error>> {
        tracing::subscriber::set_global_default(Messages)?;
        let per_second = std::env::args().nth(1).ok_or("argument: SPANS_PER_SECOND")?.parse()?;
        let runtime = Runtime::new()?;
        let stopped = Arc::<AtomicBool>::default();
        let stop = Arc::clone(&stopped);
        let mut terminated = {
            let _context = runtime.enter();
            signal(SignalKind::terminate())?
        };
        runtime.spawn(async move {
            terminated.recv().await;
            stop.store(true, Ordering::Relaxed);
        });
        Ok(Self { runtime, per_second, stopped })
    }

    /// tonic's channel looks for the runtime when it is made.
    #[allow(dead_code, reason = "only one peer needs it")]
    pub(crate) fn enter(&self) -> EnterGuard<'_> {
        self.runtime.enter()
    }

    /// The whole service: an exporter behind the SDK's batch processor.
    #[allow(dead_code, reason = "one peer makes its own provider")]
    pub(crate) fn run(&self, exporter: impl SpanExporter + 'static) {
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).build();
        let emitted = self.emit(&provider);
        if let Err(error) = provider.shutdown_with_timeout(SHUTDOWN) {
            tracing::error!(%error, "shutdown");
        }
        print(emitted, DROPPED.load(Ordering::Relaxed));
    }

    /// The number of spans that were emitted, from 0 on.
    pub(crate) fn emit(&self, provider: &SdkTracerProvider) -> u64 {
        let tracer = provider.tracer("faults");
        println!("started");
        let started = Instant::now();
        let interval = Duration::from_secs(1) / self.per_second;
        let mut emitted = 0;
        while !self.stopped.load(Ordering::Relaxed) {
            tracer.span_builder(emitted.to_string()).start(&tracer);
            emitted += 1;
            let next = started + interval * emitted;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        emitted.into()
    }
}

/// What the service knows: `reported` are the lost items that it was told of by number.
pub(crate) fn print(emitted: u64, reported: u64) {
    let messages = MESSAGES.load(Ordering::Relaxed);
    println!(r#"{{"emitted":{emitted},"reported":{reported},"messages":{messages}}}"#);
}

/// Warnings and errors, for the operator
static MESSAGES: AtomicU64 = AtomicU64::new(0);
/// Spans for which the SDK's queue was full; it logs their number when it is shut down.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Prints and counts the messages.
struct Messages;

impl Subscriber for Messages {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        MESSAGES.fetch_add(1, Ordering::Relaxed);
        let mut line = format!("{} {}", event.metadata().level(), event.metadata().name());
        event.record(&mut Line(&mut line));
        eprintln!("{line}");
    }

    fn new_span(&self, _span: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _span: &span::Id, _values: &span::Record<'_>) {}

    fn record_follows_from(&self, _span: &span::Id, _follows: &span::Id) {}

    fn enter(&self, _span: &span::Id) {}

    fn exit(&self, _span: &span::Id) {}
}

struct Line<'a>(&'a mut String);

impl Visit for Line<'_> {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "dropped_span_count" {
            DROPPED.store(value, Ordering::Relaxed);
        }
        self.record_debug(field, &value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        *self.0 += &format!(" {}={value:?}", field.name());
    }
}
