//! `init()`: providers, globals, and the guard that flushes them.

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

/// The most that dropping the guard may take.
const DROP_TIMEOUT: Duration = Duration::from_secs(5);

/// Builds the provider of one signal.
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

/// The inputs of a provider.
struct Setup<'a> {
    exporters: &'a Exporters,
    drain: &'a Arc<Drain>,
    resource: Resource,
    /// The signal's exporters; at least one.
    outputs: &'a [Output],
    /// The queues of all signals' processors.
    queues: &'a RefCell<Vec<Arc<Queue>>>,
}

#[cfg(any(feature = "logs", feature = "trace"))]
impl Setup<'_> {
    /// Creates the queue of a processor (see [`Queue::new`]) and keeps it for the metrics.
    fn queue(&self, signal: Signal, capacity: Option<usize>) -> Result<Arc<Queue>, Error> {
        let queue = Arc::new(Queue::new(signal, capacity, self.exporters.stats(signal)?));
        self.queues.borrow_mut().push(Arc::clone(&queue));
        Ok(queue)
    }
}

/// Reads the `OTEL_*` variables, sets OpenTelemetry's globals, and returns a guard that flushes on drop.
///
/// Besides the `OTEL_EXPORTER_OTLP_*` variables it reads these, as the [specification] defines them:
///
/// | variable | value | default |
/// |---|---|---|
/// | `OTEL_SDK_DISABLED` | `true`: no telemetry at all; propagators work | `false` |
/// | `OTEL_TRACES_EXPORTER`, `OTEL_METRICS_EXPORTER`, `OTEL_LOGS_EXPORTER` | a list of `otlp` and `console` (feature `console`), or `none` | `otlp` |
/// | `OTEL_PROPAGATORS` | a list of `tracecontext`, `baggage`, `b3` and `b3multi` (feature `b3`), or `none` | `tracecontext,baggage` |
///
/// With the feature `config-file`, `OTEL_CONFIG_FILE` names a file that is read instead of all other variables.
/// The resource then consists of [`telemetry.*` and the file's
/// attributes](https://opentelemetry.io/docs/specs/otel/configuration/#declarative-configuration).
///
/// Unknown values are ignored with a warning. `none` overrides other values of its list, with a warning. A
/// signal that is off costs nothing: it has no exporter, no thread and no connection, and its certificates are
/// not read.
///
/// `OTEL_BSP_*`, `OTEL_BLRP_*`, `OTEL_METRIC_EXPORT_*`, `OTEL_TRACES_SAMPLER` and the span limits are read here
/// too. The SDK would read them itself, but would not name the values that it cannot use. The resource is made
/// of detected attributes (`process.pid`, `process.executable.name`, `os.type`, `host.name` on Linux,
/// `telemetry.*`), `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME`; later ones override earlier ones.
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

/// The guard of the installed providers. On drop it flushes and shuts down, which blocks the thread for at most 5
/// seconds. Anything lost then is logged as an error.
///
/// Bind it to a name such as `_telemetry`: `_` would drop it at once.
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
    /// Builds a provider for each signal, with the SDK's batch processors and periodic reader, and sets
    /// OpenTelemetry's globals: the tracer provider, the meter provider and the propagators. The environment
    /// selects which of them: see [`init`].
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyInstalled`] while another [`Telemetry`] exists; it ends when it is shut down or dropped.
    /// [`Error::ConsoleNotCompiled`] if the environment selects `console` and the feature is off.
    /// [`Error::StartThread`] if the I/O thread cannot be started.
    pub fn install(&self) -> Result<Telemetry, Error> {
        let telemetry = self.assemble()?;
        telemetry.set_globals();
        Ok(telemetry)
    }

    /// Builds the providers without setting them as globals.
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
    /// The exporters behind it. `None` if `OTEL_SDK_DISABLED` or
    /// [`with_enabled`](crate::ExportersBuilder::with_enabled) has switched everything off.
    pub fn exporters(&self) -> Option<&Exporters> {
        (!self.exporters.switches().is_disabled()).then_some(&self.exporters)
    }

    /// Exports what is pending and shuts all providers down, concurrently and within one timeout. It blocks the
    /// thread for at most that long, on any runtime.
    ///
    /// # Errors
    ///
    /// [`Error::Undelivered`] if the collector did not acknowledge all pending items in time, with the loss of
    /// each signal. Earlier losses, by failed exports or a full queue of the SDK, are in [`Exporters::status`].
    /// [`Error::OnIoThread`] if called on the I/O thread, which cannot wait for itself. [`Error::Forked`] in a
    /// child process that was forked after the installation.
    pub fn shutdown(mut self, timeout: Duration) -> Result<(), Error> {
        self.finish(timeout)
    }

    /// Exports what has been recorded so far, all signals concurrently and within one timeout. It blocks the
    /// thread for at most that long, on any runtime. Serverless functions call it before they are frozen.
    ///
    /// # Errors
    ///
    /// [`Error::Undelivered`] if the collector did not acknowledge all of it in time. [`Error::OnIoThread`] if
    /// called on the I/O thread, which cannot wait for itself. [`Error::Forked`] in a child process that was
    /// forked after the installation.
    pub fn flush(&self, timeout: Duration) -> Result<(), Error> {
        if !self.claim.is_of_this_process() {
            return Err(Error::Forked);
        }
        self.providers.flush(&self.exporters, timeout)
    }

    fn set_globals(&self) {
        // The SDK logs that the globals are set, which must not become telemetry itself.
        let _suppressed = Context::enter_telemetry_suppressed_scope();
        self.providers.0.iter().for_each(|provider| provider.set_global());
        #[cfg(feature = "trace")]
        trace::set_propagator(&self.exporters);
    }

    /// The provider of one type.
    fn provider<P: Provider>(&self) -> Option<&P> {
        self.providers.0.iter().find_map(|provider| (&**provider as &dyn Any).downcast_ref())
    }

    fn finish(&mut self, timeout: Duration) -> Result<(), Error> {
        let providers = std::mem::take(&mut self.providers);
        if !self.claim.is_of_this_process() {
            // Dropping them would wait for their threads, which exist only in the parent.
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
            // The providers are shut down, so a bridge could not export this event.
            let _suppressed = Context::enter_telemetry_suppressed_scope();
            ::tracing::error!(name: "otlp_mtls.shutdown", "{error}");
            stderr::write_unless_heard(Level::ERROR, error);
        }
    }
}
