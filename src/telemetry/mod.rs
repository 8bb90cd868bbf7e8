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
mod loss;
#[cfg(feature = "metrics")]
mod metrics;
mod providers;
mod resource;
#[cfg(feature = "trace")]
mod trace;
#[cfg(feature = "tracing")]
mod tracing;

use std::any::Any;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use ::tracing::Level;
use opentelemetry::Context;
use opentelemetry_sdk::Resource;

use self::claim::Claim;
use self::providers::Provider;
use crate::config::{Output, Warning, is_unnamed};
use crate::error::Error;
use crate::export::{Drain, Queue};
use crate::exporters::Exporters;
use crate::signal::Signal;
use crate::stderr;

pub use self::loss::ShutdownLoss;
pub use self::providers::Providers;
#[cfg(feature = "tracing")]
pub use self::tracing::init_tracing;

/// How long a dropped guard may take.
const DROP_TIMEOUT: Duration = Duration::from_secs(5);

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
    /// Those of all signals' processors.
    queues: &'a RefCell<Vec<Arc<Queue>>>,
}

#[cfg(any(feature = "logs", feature = "trace"))]
impl Setup<'_> {
    /// The queue of a processor: see [`Queue::new`].
    fn queue(&self, signal: Signal, capacity: Option<usize>) -> Result<Arc<Queue>, Error> {
        let queue = Arc::new(Queue::new(signal, capacity, self.exporters.stats(signal)?));
        self.queues.borrow_mut().push(Arc::clone(&queue));
        Ok(queue)
    }
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
/// With the feature `config-file`, `OTEL_CONFIG_FILE` names a file that is read in place of all other variables, and
/// [`telemetry.*` and what the file says](https://opentelemetry.io/docs/specs/otel/configuration/#declarative-configuration) are the
/// resource.
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
    providers: Providers,
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
            Telemetry { exporters: self.clone(), drain, providers: Providers::default(), claim };
        let on = SIGNALS.iter().map(|(signal, make)| (switches.outputs(*signal), make));
        let mut on = on.filter(|(outputs, _)| !outputs.is_empty()).peekable();
        if on.peek().is_none() {
            return Ok(telemetry);
        }
        self.sdk_warnings().iter().for_each(Warning::tell);
        let resource = self.sdk().resource.over(resource::detect);
        if is_unnamed(&resource) {
            let setting = match self.has_config_file() {
                true => "service.name in resource.attributes of the configuration file",
                false => "OTEL_SERVICE_NAME",
            };
            Warning::UnknownService { setting }.tell();
        }
        let queues = RefCell::default();
        for (outputs, make) in on {
            let (drain, resource) = (&telemetry.drain, resource.clone());
            let setup = Setup { exporters: self, drain, resource, outputs, queues: &queues };
            telemetry.providers.0.push(make(&setup)?);
        }
        #[cfg(feature = "metrics")]
        if let Some(provider) = telemetry.meter_provider() {
            self.register_queues(provider, queues.into_inner());
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
    /// [`Error::Undelivered`] if anything of what was left was not acknowledged by the collector by then,
    /// with what was lost of each signal. Of what was lost before, in exports that failed or because
    /// the SDK's queue was full, [`Exporters::status`] tells. [`Error::OnIoThread`] if it was
    /// called where it cannot wait. [`Error::Forked`] in a process that was forked since.
    pub fn shutdown(mut self, timeout: Duration) -> Result<(), Error> {
        self.finish(timeout)
    }

    /// Exports what was recorded so far, of all signals side by side, by one instant. It blocks the thread
    /// for as long, on any runtime: for what a function service does before it is frozen.
    ///
    /// # Errors
    ///
    /// [`Error::Undelivered`] if anything of it was not acknowledged by the collector by then.
    /// [`Error::OnIoThread`] if it was called where it cannot wait. [`Error::Forked`] in a process that
    /// was forked since.
    pub fn flush(&self, timeout: Duration) -> Result<(), Error> {
        if !self.claim.is_of_this_process() {
            return Err(Error::Forked);
        }
        self.providers.flush(&self.exporters, timeout)
    }

    fn set_globals(&self) {
        // That they are set is told to whoever subscribes, and no telemetry.
        let _suppressed = Context::enter_telemetry_suppressed_scope();
        self.providers.0.iter().for_each(|provider| provider.set_global());
        #[cfg(feature = "trace")]
        trace::set_propagator(&self.exporters);
    }

    /// The provider of one kind.
    fn provider<P: Provider>(&self) -> Option<&P> {
        self.providers.0.iter().find_map(|provider| (&**provider as &dyn Any).downcast_ref())
    }

    fn finish(&mut self, timeout: Duration) -> Result<(), Error> {
        let providers = std::mem::take(&mut self.providers);
        if !self.claim.is_of_this_process() {
            // Dropped, they would wait for their threads, which are the parent's.
            std::mem::forget(providers);
            return Err(Error::Forked);
        }
        providers.shut_down(&self.exporters, &self.drain, timeout)
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if self.providers.0.is_empty() {
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
