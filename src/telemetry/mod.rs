//! The one line: providers, globals, and the guard that flushes them.

#[cfg(feature = "b3")]
mod b3;
mod claim;
#[cfg(any(feature = "logs", feature = "trace"))]
mod counting;
#[cfg(feature = "metrics")]
mod instruments;
#[cfg(feature = "logs")]
mod logs;
#[cfg(feature = "metrics")]
mod metrics;
mod resource;
#[cfg(feature = "trace")]
mod trace;
#[cfg(feature = "tracing")]
mod tracing;

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use ::tracing::Level;
use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};

use self::claim::Claim;
use crate::config::{Output, Warning, is_unnamed};
use crate::error::{Error, Lost};
use crate::export::Drain;
use crate::exporters::Exporters;
use crate::failure::FailureKind;
use crate::net::Runtime;
use crate::signal::Signal;
use crate::stderr;

#[cfg(feature = "tracing")]
pub use self::tracing::init_tracing;

/// How long a dropped guard may take.
const DROP_TIMEOUT: Duration = Duration::from_secs(5);

/// What a longer shutdown is cut to, so that instants can be reckoned with.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// Makes one signal's provider.
type Make = fn(&Setup<'_>) -> Result<Arc<dyn Provider>, Error>;

/// The signals that are compiled in.
const SIGNALS: &[(Signal, Make)] = &[
    #[cfg(feature = "trace")]
    (Signal::Traces, trace::provider),
    #[cfg(feature = "metrics")]
    (Signal::Metrics, metrics::provider),
    #[cfg(feature = "logs")]
    (Signal::Logs, logs::provider),
];

/// What a provider is made from.
struct Setup<'a> {
    exporters: &'a Exporters,
    drain: &'a Arc<Drain>,
    resource: Resource,
    /// Where the signal goes: somewhere.
    outputs: &'a [Output],
}

/// A provider of the SDK's.
trait Provider: Any + Send + Sync {
    fn signal(&self) -> Signal;

    /// Makes it OpenTelemetry's global one.
    fn set_global(&self);

    /// Exports what there is so far, by an instant.
    fn flush(&self, end: Instant) -> OTelSdkResult;

    /// Exports what is left, and ends.
    fn shut_down(&self, timeout: Duration) -> OTelSdkResult;
}

/// Reads the `OTEL_*` variables, sets OpenTelemetry's globals, and returns the guard that flushes on
/// drop: the one line.
///
/// Beside the `OTEL_EXPORTER_OTLP_*` variables these are read, as the [specification] has them:
///
/// | variable | value | default |
/// |---|---|---|
/// | `OTEL_SDK_DISABLED` | `true`: no telemetry at all; propagators work | `false` |
/// | `OTEL_TRACES_EXPORTER`, `OTEL_METRICS_EXPORTER`, `OTEL_LOGS_EXPORTER` | a list of `otlp` and `console` (feature `console`), or `none` | `otlp` |
/// | `OTEL_PROPAGATORS` | a list of `tracecontext`, `baggage`, `b3` and `b3multi` (feature `b3`), or `none` | `tracecontext,baggage` |
///
/// A value that is not known is ignored with a warning; `none` beside others wins, with a warning.
/// A signal that is off costs nothing: it has no exporter, no thread and no connection, and its
/// certificates are not read.
///
/// So are `OTEL_BSP_*`, `OTEL_BLRP_*`, `OTEL_METRIC_EXPORT_*`, `OTEL_TRACES_SAMPLER` and the limits of
/// spans, which the SDK would read itself, but without naming what it cannot use. The resource is
/// made of what is detected (`process.pid`, `process.executable.name`, `os.type`, `host.name` on Linux,
/// `telemetry.*`), `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME`; the later wins.
///
/// ```no_run
/// fn main() -> Result<(), otlp_mtls::Error> {
///     let _telemetry = otlp_mtls::init()?;
///     // … the service …
///     Ok(())
/// }
/// ```
///
/// # Errors
///
/// As [`ExportersBuilder::build`](crate::ExportersBuilder::build) and [`Exporters::install`].
///
/// [specification]: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
pub fn init() -> Result<Telemetry, Error> {
    Exporters::from_env()?.install()
}

/// Keeps telemetry flowing: dropped, it flushes and shuts down, for which it blocks the thread for at
/// most 5 seconds. What is lost then is logged as an error.
///
/// Bind it to a name, such as `_telemetry`: bound to `_`, it is dropped at once.
#[must_use = "dropping it ends telemetry"]
#[derive(Debug)]
pub struct Telemetry {
    exporters: Exporters,
    drain: Arc<Drain>,
    /// Taken by the shutdown.
    providers: Vec<Arc<dyn Provider>>,
    /// Dropped after the shutdown.
    claim: Claim,
}

impl Exporters {
    /// Makes a provider for each signal, with the SDK's batch processors and periodic reader, and
    /// sets OpenTelemetry's globals: the tracer and the meter provider, and the propagators. Which
    /// of them is the environment's to say: see [`init`].
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyInstalled`] while there is another [`Telemetry`]: once that is shut down or
    /// dropped, there may be the next. [`Error::ConsoleNotCompiled`] if the environment asks for
    /// `console` and the feature is off. [`Error::StartThread`] if the I/O thread cannot be started.
    pub fn install(&self) -> Result<Telemetry, Error> {
        let telemetry = self.assemble()?;
        telemetry.set_globals();
        Ok(telemetry)
    }

    /// Makes the providers, of which nobody knows yet.
    fn assemble(&self) -> Result<Telemetry, Error> {
        let claim = Claim::take()?;
        let switches = self.switches();
        switches.check_console(cfg!(feature = "console"))?;
        let drain = Drain::new();
        let mut telemetry =
            Telemetry { exporters: self.clone(), drain, providers: Vec::new(), claim };
        let on = SIGNALS.iter().map(|(signal, make)| (switches.outputs(*signal), make));
        let mut on = on.filter(|(outputs, _)| !outputs.is_empty()).peekable();
        if on.peek().is_none() {
            return Ok(telemetry);
        }
        self.sdk_warnings().iter().for_each(Warning::tell);
        let resource = self.sdk().resource.over(resource::detect);
        if is_unnamed(&resource) {
            Warning::UnknownService.tell();
        }
        for (outputs, make) in on {
            let drain = &telemetry.drain;
            let setup = Setup { exporters: self, drain, resource: resource.clone(), outputs };
            telemetry.providers.push(make(&setup)?);
        }
        Ok(telemetry)
    }
}

impl Telemetry {
    /// The exporters behind it; `None` if all is off by `OTEL_SDK_DISABLED` or
    /// [`with_enabled`](crate::ExportersBuilder::with_enabled).
    pub fn exporters(&self) -> Option<&Exporters> {
        (!self.exporters.switches().is_disabled()).then_some(&self.exporters)
    }

    /// Exports what is left and shuts all providers down, side by side, by one instant. It blocks the
    /// thread for as long, on any runtime.
    ///
    /// # Errors
    ///
    /// [`Error::Shutdown`] if anything of what was left was not acknowledged by the collector by then,
    /// with what was lost of each signal. Of what was lost before, in exports that failed or because
    /// the SDK's queue was full, [`Exporters::status`] tells. [`Error::ShutdownOnIoThread`] if it was
    /// called where it cannot wait. [`Error::Forked`] in a process that was forked since.
    pub fn shutdown(mut self, timeout: Duration) -> Result<(), Error> {
        self.finish(timeout)
    }

    /// Exports what there is so far, of all signals side by side, by one instant: what a function calls
    /// before it is frozen. It blocks the thread for as long, on any runtime.
    ///
    /// # Errors
    ///
    /// [`Error::Flush`] if anything of it was not acknowledged by the collector by then. What is still on
    /// its way goes on. [`Error::ShutdownOnIoThread`] and [`Error::Forked`] as for
    /// [`shutdown`](Self::shutdown).
    pub fn flush(&self, timeout: Duration) -> Result<(), Error> {
        if !self.claim.is_of_this_process() {
            return Err(Error::Forked);
        }
        let timeout = timeout.min(MAX_TIMEOUT);
        let end = Instant::now() + timeout;
        let lost_before = self.lost_so_far(&self.providers);
        let mut results = side_by_side(&self.providers, end, move |provider| provider.flush(end))?;
        let lost: Vec<Lost> = lost_before
            .into_iter()
            .filter_map(|(signal, before)| {
                self.not_flushed(signal, before, results.remove(&signal), timeout)
            })
            .collect();
        if lost.is_empty() { Ok(()) } else { Err(Error::Flush { lost }) }
    }

    fn set_globals(&self) {
        // That they are set is told to whoever subscribes, and no telemetry.
        let _suppressed = Context::enter_telemetry_suppressed_scope();
        self.providers.iter().for_each(|provider| provider.set_global());
        #[cfg(feature = "trace")]
        trace::set_propagator(&self.exporters);
    }

    /// The provider of one kind.
    fn provider<P: Provider>(&self) -> Option<&P> {
        self.providers.iter().find_map(|provider| (&**provider as &dyn Any).downcast_ref())
    }

    fn finish(&mut self, timeout: Duration) -> Result<(), Error> {
        let providers = std::mem::take(&mut self.providers);
        if !self.claim.is_of_this_process() {
            // Dropped, they would wait for their threads, which are the parent's.
            std::mem::forget(providers);
            return Err(Error::Forked);
        }
        let lost_before = self.lost_so_far(&providers);
        let timeout = timeout.min(MAX_TIMEOUT);
        let end = Instant::now() + timeout;
        self.drain.by(end);
        let mut results =
            side_by_side(&providers, end, move |provider| provider.shut_down(timeout))?;
        let lost: Vec<Lost> = lost_before
            .into_iter()
            .filter_map(|(signal, before)| {
                self.lost(signal, before, results.remove(&signal), timeout)
            })
            .collect();
        if lost.is_empty() { Ok(()) } else { Err(Error::Shutdown { lost }) }
    }

    /// How many items of each signal are lost already.
    fn lost_so_far(&self, providers: &[Arc<dyn Provider>]) -> Vec<(Signal, u64)> {
        let signals = providers.iter().map(|provider| provider.signal());
        signals.map(|signal| (signal, self.exporters.counts(signal).lost())).collect()
    }

    /// What of one signal a flush did not deliver. What came since it began may be on its way when it ends.
    fn not_flushed(
        &self,
        signal: Signal,
        lost_before: u64,
        result: Option<OTelSdkResult>,
        timeout: Duration,
    ) -> Option<Lost> {
        let counts = self.exporters.counts(signal);
        let lost = counts.lost() - lost_before;
        let (in_flight, queued) = match &result {
            None => (counts.in_flight, counts.queued),
            Some(_) => (0, 0),
        };
        let items = lost + in_flight + queued;
        let failed = !matches!(result, Some(Ok(()) | Err(OTelSdkError::AlreadyShutdown)));
        (items > 0 || failed).then(|| Lost {
            signal,
            items,
            queued,
            unfinished_after: result.is_none().then_some(timeout),
            failure: counts.current_failure().cloned(),
        })
    }

    /// What one signal lost, by our own count and by what the SDK says.
    fn lost(
        &self,
        signal: Signal,
        lost_before: u64,
        result: Option<OTelSdkResult>,
        timeout: Duration,
    ) -> Option<Lost> {
        let counts = self.exporters.counts(signal);
        let mut queued = counts.queued;
        let unfinished = matches!(result, None | Some(Err(OTelSdkError::Timeout(_))));
        if queued > 0 && !unfinished {
            // It was full, which the SDK warns of, where somebody subscribes to that.
            let variable = match signal {
                Signal::Logs => "OTEL_BLRP_MAX_QUEUE_SIZE",
                _ => "OTEL_BSP_MAX_QUEUE_SIZE",
            };
            let items = signal.items();
            stderr::write_unless_heard(
                Level::WARN,
                format_args!(
                    "{queued} {items} found no room in the SDK's queue ({variable}) and are lost"
                ),
            );
            queued = 0;
        }
        let items = counts.in_flight + counts.lost() - lost_before + queued;
        let failed = !matches!(result, Some(Ok(()) | Err(OTelSdkError::AlreadyShutdown)));
        let failure = counts
            .current_failure()
            .cloned()
            .or_else(|| self.exporters.failure(signal, FailureKind::Shutdown));
        (items > 0 || failed).then(|| Lost {
            signal,
            items,
            queued,
            unfinished_after: unfinished.then_some(timeout),
            failure,
        })
    }
}

/// Has each provider do something, on a thread of its own, and takes the results that there are by an instant.
fn side_by_side(
    providers: &[Arc<dyn Provider>],
    end: Instant,
    act: impl Fn(&dyn Provider) -> OTelSdkResult + Copy + Send + 'static,
) -> Result<BTreeMap<Signal, OTelSdkResult>, Error> {
    let (report, reports) = mpsc::channel();
    for provider in providers {
        let (provider, report) = (Arc::clone(provider), report.clone());
        let act = move || {
            let _suppressed = Context::enter_telemetry_suppressed_scope();
            // Nobody listens once time has run out.
            let _ = report.send((provider.signal(), act(&*provider)));
        };
        // One that does not start is a signal that is not done in time.
        let _ = thread::Builder::new().name("otlp-mtls-flush".to_owned()).spawn(act);
    }
    drop(report);
    if Runtime::is_current() {
        return Err(Error::ShutdownOnIoThread);
    }
    let mut results = BTreeMap::new();
    while let Ok((signal, result)) =
        reports.recv_timeout(end.saturating_duration_since(Instant::now()))
    {
        results.insert(signal, result);
    }
    Ok(results)
}

/// Flushes again where the SDK has only stopped waiting, which it does after a time of its own, however long an
/// export may take.
#[cfg(any(feature = "logs", feature = "trace"))]
fn flush_until(end: Instant, flush: impl Fn() -> OTelSdkResult) -> OTelSdkResult {
    const SDK_WAITS: Duration = Duration::from_secs(5);
    loop {
        let begun = Instant::now();
        let result = flush();
        if result.is_ok() || begun.elapsed() < SDK_WAITS || end <= Instant::now() {
            return result;
        }
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if self.providers.is_empty() {
            return;
        }
        if let Err(error) = self.finish(DROP_TIMEOUT) {
            // The providers are shut down: a bridge to them has no use for it.
            let _suppressed = Context::enter_telemetry_suppressed_scope();
            ::tracing::error!(name: "otlp_mtls.shutdown", "{error}");
            stderr::write_unless_heard(Level::ERROR, error);
        }
    }
}

impl std::fmt::Debug for dyn Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.signal())
    }
}
