//! A service's providers, which are flushed or shut down concurrently within one timeout.

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

/// The most that a timeout is clamped to, so that adding it to an instant cannot overflow.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// The operations, as they appear in thread names and messages.
const SHUTDOWN: &str = "shutdown";
const FLUSH: &str = "flush";

/// A provider of the SDK.
pub(super) trait Provider: Any + Send + Sync {
    fn signal(&self) -> Signal;

    /// Sets it as OpenTelemetry's global provider.
    fn set_global(&self);

    /// Exports what has been recorded so far.
    fn flush(&self) -> OTelSdkResult;

    /// Exports what is pending, and ends.
    fn shut_down(&self, timeout: Duration) -> OTelSdkResult;
}

impl std::fmt::Debug for dyn Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.signal())
    }
}

/// Providers that a service has built itself, for [`Exporters::shutdown`] and [`Exporters::flush`].
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Providers(pub(super) Vec<Arc<dyn Provider>>);

impl Providers {
    /// No providers.
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
        if self.are_forked(exporters) {
            // Dropping them may wait for their threads.
            std::mem::forget(self);
            return Err(Error::Forked);
        }
        let end = End::after(timeout);
        drain.by(end.instant);
        self.finish(SHUTDOWN, exporters, end, |provider, end| provider.shut_down(end.timeout))
    }

    pub(super) fn flush(&self, exporters: &Exporters, timeout: Duration) -> Result<(), Error> {
        if self.are_forked(exporters) {
            return Err(Error::Forked);
        }
        self.finish(FLUSH, exporters, End::after(timeout), flush_until)
    }

    /// Whether their threads exist only in the parent of this process.
    fn are_forked(&self, exporters: &Exporters) -> bool {
        self.0.iter().any(|provider| exporters.are_forked(provider.signal()))
    }

    /// Runs an operation on each provider, each on its own thread, and reports what was lost meanwhile.
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
                let result = match work(&*provider, end) {
                    // How the SDK's providers return the timeout of a processor.
                    Err(OTelSdkError::InternalFailure(_)) if end.left().is_zero() => {
                        Err(OTelSdkError::Timeout(end.timeout))
                    }
                    result => result,
                };
                // The receiver is gone once the timeout has expired.
                let _ = report.send((provider.signal(), result));
            };
            // If a thread cannot be started, its signal counts as not finished in time.
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

/// Repeats the flush until `end`. The SDK's own flush of spans and log records gives up after 5 seconds,
/// regardless of the timeout, and its error does not tell that it was a timeout.
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

/// The instant by which all operations must end.
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

/// The loss of one signal, by our own counters and the SDK's result.
///
/// The crate's own metrics are not counted: no user recorded them.
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
        // Items recorded since the flush began do not belong to it.
        (counts.in_flight, counts.own_in_flight, counts.queued) = (0, 0, 0);
    }
    let mut queued = counts.queued;
    if queued > 0 && !unfinished {
        // The queue was full. The SDK logs that, but only a subscriber sees it.
        let setting = match signal {
            _ if exporters.has_config_file() => "max_queue_size",
            Signal::Logs => "OTEL_BLRP_MAX_QUEUE_SIZE",
            _ => "OTEL_BSP_MAX_QUEUE_SIZE",
        };
        let items = signal.counted(queued);
        stderr::write_unless_heard(
            Level::WARN,
            format_args!("{items} dropped: the SDK's queue was full ({setting})"),
        );
        queued = 0;
    }
    let items = counts.in_flight + counts.lost() - before.lost() + queued;
    let own = counts.own_in_flight + counts.own_lost - before.own_lost;
    let items = items.saturating_sub(own);
    let is_ok = matches!(result, Some(Ok(()) | Err(OTelSdkError::AlreadyShutdown)));
    let only_own_failed = items == 0 && own > 0;
    let failure =
        counts.current_failure.or_else(|| exporters.failure(signal, FailureKind::Shutdown));
    (items > 0 || !is_ok && !only_own_failed).then(|| ShutdownLoss {
        signal,
        items,
        queued,
        unfinished_after: unfinished.then_some(timeout),
        failure,
    })
}

impl Exporters {
    /// Shuts down providers that a service has built with exporters of this handle. They end concurrently and
    /// within one timeout, like those of [`Telemetry::shutdown`](crate::Telemetry::shutdown).
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
    /// [`Error::Undelivered`] if the collector did not acknowledge all pending items in time.
    /// [`Error::OnIoThread`] if called on the I/O thread, which cannot wait for itself. [`Error::Forked`] in a
    /// child process that was forked after this handle's newest exporter was created.
    pub fn shutdown(&self, providers: Providers, timeout: Duration) -> Result<(), Error> {
        providers.shut_down(self, &self.take_drain(), timeout)
    }

    /// Exports what such providers have recorded so far, within one timeout.
    ///
    /// # Errors
    ///
    /// As [`shutdown`](Self::shutdown).
    pub fn flush(&self, providers: &Providers, timeout: Duration) -> Result<(), Error> {
        providers.flush(self, timeout)
    }
}
