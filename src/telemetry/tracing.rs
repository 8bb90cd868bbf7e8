//! The bridge from `tracing`: its spans become spans, its events log records.

use std::io::IsTerminal;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_log::{AsLog, LogTracer};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use super::Telemetry;
use crate::error::Error;
use crate::exporters::Exporters;

/// The complete set-up of a service: [`init`](crate::init), and a global `tracing` subscriber that writes to
/// standard output and exports spans and events. Call it once, in `main`.
///
/// A span of `tracing` becomes a span. An event becomes a log record with its current trace and span, and an
/// event of that span. `RUST_LOG` selects what is recorded, both for standard output and for export; the
/// default is `info`. Records of the crate `log` become events too, unless it already has a logger.
///
/// ```no_run
/// fn main() -> Result<(), otlp_mtls::Error> {
///     let _telemetry = otlp_mtls::init_tracing()?;
///     let _checkout = tracing::info_span!("checkout").entered();
///     tracing::info!(items = 3, "paid");
///     Ok(())
/// }
/// ```
///
/// Events about our own I/O are written to standard output if `RUST_LOG` selects them, and are never exported.
/// For another format or other filters, use [`Telemetry::tracing_layer`].
///
/// # Errors
///
/// Those of [`init`](crate::init), and [`Error::SubscriberAlreadySet`] if a global subscriber is set. There can
/// only be one during the life of a process, so this cannot be called again after a shutdown. After an error
/// nothing is installed.
pub fn init_tracing() -> Result<Telemetry, Error> {
    // Configuration warnings are printed by a temporary subscriber: the final one exists only after the
    // exporters.
    let early = tracing_subscriber::registry().with(filter(None)).with(console());
    let telemetry = tracing::subscriber::with_default(early, || Exporters::from_env()?.assemble())?;
    telemetry.subscribe()
}

impl Exporters {
    /// Like [`init_tracing`], with the builder's settings.
    ///
    /// # Errors
    ///
    /// Those of [`init_tracing`].
    pub fn install_tracing(&self) -> Result<Telemetry, Error> {
        self.assemble()?.subscribe()
    }
}

/// The filter of `RUST_LOG`, by default `info`. `OTEL_LOG_LEVEL` sets the level for the SDK and this crate
/// unless `RUST_LOG` names them.
fn filter(log_level: Option<LevelFilter>) -> EnvFilter {
    let builder = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into());
    let Some(level) = log_level else {
        return builder.from_env_lossy();
    };
    // With explicit directives the default no longer applies, so `info` is written out. Of two directives for
    // one target the later wins.
    let named = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default();
    let is_usable = !named.trim().is_empty() && builder.parse(&named).is_ok();
    let named = if is_usable { named.as_str() } else { "info" };
    EnvFilter::builder().parse_lossy(format!("opentelemetry={level},otlp_mtls={level},{named}"))
}

/// Coloured only on a terminal.
fn console<S>() -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    tracing_subscriber::fmt::layer().with_ansi(std::io::stdout().is_terminal())
}

impl Telemetry {
    /// Sets the global subscriber and OpenTelemetry's globals.
    fn subscribe(self) -> Result<Self, Error> {
        let subscriber = tracing_subscriber::registry()
            .with(filter(self.exporters.switches().log_level()))
            .with(console())
            .with(self.tracing_layer());
        tracing::subscriber::set_global_default(subscriber)
            .map_err(|_already_set| Error::SubscriberAlreadySet)?;
        self.set_globals();
        // An error means that a logger is set already; it stays.
        let _ = LogTracer::builder().with_max_level(LevelFilter::current().as_log()).init();
        Ok(self)
    }

    /// A layer for your own subscriber. It exports `tracing` spans as spans, and events as log records with
    /// their current trace and span. Signals that are off are omitted.
    ///
    /// The subscriber's filter selects spans and events. Without a filter, all are exported, including those of
    /// every dependency at level `trace`. Add another layer for output: events about failed exports are never
    /// exported.
    ///
    /// ```no_run
    /// use tracing_subscriber::filter::{EnvFilter, LevelFilter};
    /// use tracing_subscriber::prelude::*;
    ///
    /// fn main() -> Result<(), otlp_mtls::Error> {
    ///     let telemetry = otlp_mtls::init()?;
    ///     // `RUST_LOG`, and `info` if it is not set.
    ///     let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into());
    ///     tracing_subscriber::registry()
    ///         .with(filter.from_env_lossy())
    ///         .with(tracing_subscriber::fmt::layer())
    ///         .with(telemetry.tracing_layer())
    ///         .init();
    ///     Ok(())
    /// }
    /// ```
    pub fn tracing_layer<S>(&self) -> impl Layer<S> + Send + Sync + 'static + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        Layer::and_then(self.spans_layer(), self.logs_layer())
    }

    /// Activates the context of the entered span, from which the SDK takes the trace and span of a log record.
    #[cfg(feature = "trace")]
    fn spans_layer<S>(&self) -> Option<impl Layer<S> + Send + Sync + 'static + use<S>>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        use opentelemetry::trace::TracerProvider;

        let tracer = self.tracer_provider()?.tracer("tracing");
        Some(tracing_opentelemetry::layer().with_tracer(tracer))
    }

    #[cfg(not(feature = "trace"))]
    fn spans_layer(&self) -> Option<tracing_subscriber::layer::Identity> {
        None
    }

    #[cfg(feature = "logs")]
    fn logs_layer<S>(&self) -> Option<impl Layer<S> + Send + Sync + 'static + use<S>>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;

        self.logger_provider().map(OpenTelemetryTracingBridge::new)
    }

    #[cfg(not(feature = "logs"))]
    fn logs_layer(&self) -> Option<tracing_subscriber::layer::Identity> {
        None
    }
}
