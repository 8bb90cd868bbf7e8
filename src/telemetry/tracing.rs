//! The crate `tracing`: its spans as spans, and its events as log records.

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

/// The whole of a service's set-up: [`init`](crate::init), and a global subscriber of `tracing` that
/// writes to standard output and exports spans and events. Call it once, in `main`.
///
/// A span of `tracing` becomes a span. An event becomes a log record with the trace and span that it
/// is in, and an event of that span. What is recorded is `RUST_LOG`'s to say, on standard output and
/// for what is exported alike; the default is `info`. Records of the crate `log` are events too, if
/// it has no logger yet.
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
/// What is said of our own I/O is written to standard output, if `RUST_LOG` asks for it, and never
/// exported. For another format, or filters of one's own, there is [`Telemetry::tracing_layer`].
///
/// # Errors
///
/// As [`init`](crate::init), and [`Error::SubscriberAlreadySet`] if there is a global subscriber: there
/// can be one in the life of a process, so that this cannot be called again after a shutdown. After an
/// error nothing is installed.
pub fn init_tracing() -> Result<Telemetry, Error> {
    // What is odd about the configuration is said before there is anything to export it by.
    let early = tracing_subscriber::registry().with(filter(None)).with(console());
    let telemetry = tracing::subscriber::with_default(early, || Exporters::from_env()?.assemble())?;
    telemetry.subscribe()
}

impl Exporters {
    /// What [`init_tracing`] does, with what the builder was given.
    ///
    /// # Errors
    ///
    /// As [`init_tracing`].
    pub fn install_tracing(&self) -> Result<Telemetry, Error> {
        self.assemble()?.subscribe()
    }
}

/// As people know `RUST_LOG`, but that it is `info` if it is not set. What `OTEL_LOG_LEVEL` says holds for
/// what the SDK and this crate say of themselves, unless `RUST_LOG` names them.
fn filter(log_level: Option<LevelFilter>) -> EnvFilter {
    let builder = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into());
    let Some(level) = log_level else {
        return builder.from_env_lossy();
    };
    // Where there are directives, the default does not count; of two for one target, the later does.
    let named = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default();
    let is_usable = !named.trim().is_empty() && builder.parse(&named).is_ok();
    let named = if is_usable { named.as_str() } else { "info" };
    EnvFilter::builder().parse_lossy(format!("opentelemetry={level},otlp_mtls={level},{named}"))
}

/// Colours are for people, who look at a terminal.
fn console<S>() -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    tracing_subscriber::fmt::layer().with_ansi(std::io::stdout().is_terminal())
}

impl Telemetry {
    /// Sets the global subscriber, and OpenTelemetry's globals.
    fn subscribe(self) -> Result<Self, Error> {
        let subscriber = tracing_subscriber::registry()
            .with(filter(self.exporters.switches().log_level()))
            .with(console())
            .with(self.tracing_layer());
        tracing::subscriber::set_global_default(subscriber)
            .map_err(|_already_set| Error::SubscriberAlreadySet)?;
        self.set_globals();
        // A logger that is there stays.
        let _ = LogTracer::builder().with_max_level(LevelFilter::current().as_log()).init();
        Ok(self)
    }

    /// A layer for a subscriber of one's own, which exports the spans of `tracing` as spans, and its
    /// events as log records with the trace and span that they are in. A signal that is off is left
    /// out.
    ///
    /// Which spans and events there are is the subscriber's to say: without a filter, all, those at
    /// `trace` of every dependency included. Let another layer print: what is said of exports that
    /// fail is never exported.
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

    /// It activates the context of the span that is entered, which is where the SDK finds the trace
    /// and span of a log record.
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
