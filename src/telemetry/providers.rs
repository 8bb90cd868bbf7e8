//! The SDK's providers of a service, flushed or shut down side by side by one instant.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
#[cfg(feature = "logs")]
use opentelemetry_sdk::logs::SdkLoggerProvider;
#[cfg(feature = "metrics")]
use opentelemetry_sdk::metrics::SdkMeterProvider;
#[cfg(feature = "trace")]
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Level;

use super::loss::{ShutdownLoss, unless_lost};
use crate::error::Error;
use crate::export::{Counts, Drain};
use crate::exporters::Exporters;
use crate::failure::FailureKind;
use crate::net::Runtime;
use crate::signal::Signal;
use crate::stderr;

/// What a longer time is cut to, so that instants can be reckoned with.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// What is done to providers, for threads' names and messages.
const SHUTDOWN: &str = "shutdown";
const FLUSH: &str = "flush";

/// A provider of the SDK's.
pub(super) trait Provider: Any + Send + Sync {
    fn signal(&self) -> Signal;

    /// Makes it OpenTelemetry's global one.
    fn set_global(&self);

    /// Exports what was recorded so far.
    fn flush(&self) -> OTelSdkResult;

    /// Exports what is left, and ends.
    fn shut_down(&self, timeout: Duration) -> OTelSdkResult;
}

impl std::fmt::Debug for dyn Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.signal())
    }
}

/// Providers that a service has built with exporters of its own, for [`Exporters::shutdown`] and
/// [`Exporters::flush`].
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Providers(pub(super) Vec<Arc<dyn Provider>>);

impl Providers {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tracer provider.
    #[cfg(feature = "trace")]
    pub fn with_tracer_provider(mut self, provider: &SdkTracerProvider) -> Self {
        self.0.push(Arc::new(provider.clone()));
        self
    }

    /// Adds a meter provider.
    #[cfg(feature = "metrics")]
    pub fn with_meter_provider(mut self, provider: &SdkMeterProvider) -> Self {
        self.0.push(Arc::new(provider.clone()));
        self
    }

    /// Adds a logger provider.
    #[cfg(feature = "logs")]
    pub fn with_logger_provider(mut self, provider: &SdkLoggerProvider) -> Self {
        self.0.push(Arc::new(provider.clone()));
        self
    }

    pub(super) fn shut_down(
        self,
        exporters: &Exporters,
        drain: &Drain,
        timeout: Duration,
    ) -> Result<(), Error> {
        let end = End::after(timeout);
        drain.by(end.instant);
        self.finish(SHUTDOWN, exporters, end, |provider, end| provider.shut_down(end.timeout))
    }

    pub(super) fn flush(&self, exporters: &Exporters, timeout: Duration) -> Result<(), Error> {
        self.finish(FLUSH, exporters, End::after(timeout), flush_until)
    }

    /// Has each provider do something, on a thread of its own, and says what was lost meanwhile.
    fn finish(
        &self,
        by: &'static str,
        exporters: &Exporters,
        end: End,
        work: fn(&dyn Provider, End) -> OTelSdkResult,
    ) -> Result<(), Error> {
        let before: Vec<Counts> =
            self.0.iter().map(|provider| exporters.counts(provider.signal())).collect();
        let (report, reports) = mpsc::channel();
        for provider in &self.0 {
            let (provider, report) = (Arc::clone(provider), report.clone());
            let work = move || {
                let _suppressed = Context::enter_telemetry_suppressed_scope();
                // Nobody listens once time has run out.
                let _ = report.send((provider.signal(), work(&*provider, end)));
            };
            // One that does not start is a signal that is not done in time.
            let _ = thread::Builder::new().name(format!("otlp-mtls-{by}")).spawn(work);
        }
        drop(report);
        if Runtime::is_current() {
            return Err(Error::OnIoThread);
        }

        let mut results = BTreeMap::new();
        while let Ok((signal, result)) = reports.recv_timeout(end.left()) {
            results.insert(signal, result);
        }
        let losses = self.0.iter().zip(&before).filter_map(|(provider, before)| {
            let signal = provider.signal();
            loss(by, exporters, signal, before, results.remove(&signal), end.timeout)
        });
        unless_lost(by, losses.collect())
    }
}

/// Flushes for longer than the SDK would wait, which for spans and log records is 5 seconds, whatever is
/// asked for. It does not say by its error that the time was over.
fn flush_until(provider: &dyn Provider, end: End) -> OTelSdkResult {
    const SDK_WAITS: Duration = Duration::from_secs(5);
    loop {
        let begun = Instant::now();
        let result = provider.flush();
        let is_done = provider.signal() == Signal::Metrics || begun.elapsed() < SDK_WAITS;
        if result.is_ok() || is_done || end.left().is_zero() {
            return result;
        }
    }
}

/// The instant by which everything ends.
#[derive(Clone, Copy)]
struct End {
    timeout: Duration,
    instant: Instant,
}

impl End {
    fn after(timeout: Duration) -> Self {
        let timeout = timeout.min(MAX_TIMEOUT);
        Self { timeout, instant: Instant::now() + timeout }
    }

    fn left(self) -> Duration {
        self.instant.saturating_duration_since(Instant::now())
    }
}

/// What one signal lost, by our own count and by what the SDK says.
///
/// The crate's own metrics do not count: nobody has recorded them.
fn loss(
    by: &'static str,
    exporters: &Exporters,
    signal: Signal,
    before: &Counts,
    result: Option<OTelSdkResult>,
    timeout: Duration,
) -> Option<ShutdownLoss> {
    let mut counts = exporters.counts(signal);
    let unfinished = matches!(result, None | Some(Err(OTelSdkError::Timeout(_))));
    if by == FLUSH && !unfinished {
        // What came since the flush began is none of its business.
        (counts.in_flight, counts.own_in_flight, counts.queued) = (0, 0, 0);
    }
    let mut queued = counts.queued;
    if queued > 0 && !unfinished {
        // It was full, which the SDK warns of, where somebody subscribes to that.
        let setting = match signal {
            _ if exporters.has_config_file() => "max_queue_size",
            Signal::Logs => "OTEL_BLRP_MAX_QUEUE_SIZE",
            _ => "OTEL_BSP_MAX_QUEUE_SIZE",
        };
        let items = signal.items();
        stderr::write_unless_heard(
            Level::WARN,
            format_args!(
                "{queued} {items} found no room in the SDK's queue ({setting}) and are lost"
            ),
        );
        queued = 0;
    }
    let items = counts.in_flight + counts.lost() - before.lost() + queued;
    let own = counts.own_in_flight + counts.own_lost - before.own_lost;
    let items = items.saturating_sub(own);
    let is_ok = matches!(result, Some(Ok(()) | Err(OTelSdkError::AlreadyShutdown)));
    let only_own_failed = items == 0 && own > 0;
    let failure = counts
        .current_failure()
        .cloned()
        .or_else(|| exporters.failure(signal, FailureKind::Shutdown));
    (items > 0 || !is_ok && !only_own_failed).then(|| ShutdownLoss {
        signal,
        items,
        queued,
        unfinished_after: unfinished.then_some(timeout),
        failure,
    })
}

impl Exporters {
    /// Shuts providers down that a service has built with exporters of this handle: side by side, and by
    /// one instant, as [`Telemetry::shutdown`](crate::Telemetry::shutdown) does for [`init`](crate::init).
    ///
    /// ```no_run
    /// use opentelemetry_sdk::trace::SdkTracerProvider;
    /// use otlp_mtls::{Exporters, Providers};
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), otlp_mtls::Error> {
    /// let exporters = Exporters::from_env()?;
    /// let tracers =
    ///     SdkTracerProvider::builder().with_batch_exporter(exporters.span_exporter()?).build();
    /// // … the service …
    /// exporters.shutdown(Providers::new().with_tracer_provider(&tracers), Duration::from_secs(5))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Undelivered`] if anything of what was left was not acknowledged by the collector by then.
    /// [`Error::OnIoThread`] if it was called where it cannot wait.
    pub fn shutdown(&self, providers: Providers, timeout: Duration) -> Result<(), Error> {
        providers.shut_down(self, &self.take_drain(), timeout)
    }

    /// Has such providers export what was recorded so far, by one instant.
    ///
    /// # Errors
    ///
    /// As [`shutdown`](Self::shutdown).
    pub fn flush(&self, providers: &Providers, timeout: Duration) -> Result<(), Error> {
        providers.flush(self, timeout)
    }
}
