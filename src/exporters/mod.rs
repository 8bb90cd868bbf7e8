//! The handle that creates exporters, and its builder.

mod builder;
mod connector;
#[cfg(feature = "opentelemetry-http")]
mod http_client;
#[cfg(test)]
mod peers;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant, SystemTime};

use opentelemetry_sdk::metrics::Temporality;
use rustls::ClientConfig;

#[cfg(feature = "metrics")]
use crate::config::Endpoint;
use crate::config::{HistogramAggregation, RetryPolicy, Sdk, Settings, Switches, Warning};
use crate::error::Error;
#[cfg(feature = "logs")]
use crate::export::LogExporter;
#[cfg(feature = "metrics")]
use crate::export::MetricExporter;
#[cfg(feature = "trace")]
use crate::export::SpanExporter;
use crate::export::{
    Counts, Drain, ExportStats, HeaderProvider, Lane, Pace, Policy, Queue, RefusedHeadersHandler,
    Transport,
};
use crate::failure::{Failure, FailureKind};
use crate::lock::lock;
use crate::net::{Runtime, Watcher};
use crate::process::Process;
use crate::signal::Signal;
use crate::status::{ExportStatus, Status};
#[cfg(feature = "metrics")]
use crate::tls::CredentialStatus;
use crate::tls::{Store, TokenFile, TokenStatus};

pub use builder::ExportersBuilder;
pub use connector::Connector;
#[cfg(feature = "opentelemetry-http")]
pub use http_client::HttpClient;

/// Creates exporters for traces, metrics and logs, which share one I/O thread per process and one
/// connection per collector.
///
/// It is a handle: clones are the same `Exporters`. The I/O thread and the connections belong to
/// the exporters that it created, and end with the last of them.
#[derive(Clone)]
pub struct Exporters(Arc<Inner>);

struct Inner {
    /// The signals that go to a collector.
    pipelines: BTreeMap<Signal, Pipeline>,
    switches: Switches,
    has_config_file: bool,
    warnings: Vec<Warning>,
    sdk: Sdk,
    /// Warnings about the SDK's settings.
    sdk_warnings: Vec<Warning>,
    header_provider: Option<Arc<HeaderProvider>>,
    sdk_metrics: bool,
    refused_headers: Option<Arc<RefusedHeadersHandler>>,
    drain: Mutex<Arc<Drain>>,
    temporality: Temporality,
    histogram_aggregation: HistogramAggregation,
}

/// The export path of one signal.
struct Pipeline {
    settings: Arc<Settings>,
    stats: Arc<ExportStats>,
    /// Another one in a forked child.
    pace: Mutex<Arc<Pace>>,
    /// Shared by all signals with the same file; `None` without a bearer token.
    token: Option<Arc<Watcher<TokenFile>>>,
    /// Shared by all signals whose settings allow it.
    shared: Arc<Shared>,
    /// The process of the newest exporter.
    process: Mutex<Option<Process>>,
}

impl Pipeline {
    /// Whether anything of it is checked for changes, or for its expiry.
    fn is_checked(&self) -> bool {
        let Shared { store, proxy, .. } = &*self.shared;
        store.is_some() || proxy.is_some() || self.token.is_some()
    }

    /// The status of its exports.
    fn status(&self) -> ExportStatus {
        let counts = self.stats.counts();
        ExportStatus {
            signal: self.settings.signal,
            endpoint: self.settings.endpoint.to_string(),
            succeeded: counts.succeeded,
            failed: counts.failed,
            delivered: counts.delivered,
            rejected: counts.rejected,
            dropped: counts.dropped_items(),
            queued: counts.queued,
            last_success: counts.last_success,
            last_failed: counts.last_failed,
            last_failure: counts.last_failure,
            next_attempt: self.next_attempt(),
            retried: lock(&self.pace).retries(),
        }
    }

    /// The time of the next attempt, if later than the next export.
    fn next_attempt(&self) -> Option<SystemTime> {
        let transport = lock(&self.shared.transport).upgrade();
        let dial = transport.and_then(|transport| transport.next_dial());
        let next = lock(&self.pace).ends().into_iter().chain(dial).max()?;
        Some(SystemTime::now() + next.saturating_duration_since(Instant::now()))
    }
}

struct Shared {
    /// `None` over plaintext.
    store: Option<Arc<Store>>,
    /// For other clients.
    client_config: Option<Arc<ClientConfig>>,
    /// The credentials to verify a proxy with; `None` without TLS to a proxy.
    proxy: Option<Arc<Store>>,
    transport: Mutex<Weak<Transport>>,
}

/// The measured state of one set of credentials.
#[cfg(feature = "metrics")]
pub(crate) struct StoreCounts {
    pub(crate) endpoint: Endpoint,
    pub(crate) status: CredentialStatus,
    pub(crate) handshakes: BTreeMap<Option<&'static str>, u64>,
}

/// The timeout of a check's export if the settings have none.
const DEFAULT_CHECK_TIMEOUT: Duration = Duration::from_secs(10);

/// The export path of one signal, for a check.
#[derive(Clone)]
pub(crate) struct Probe {
    pub(crate) settings: Arc<Settings>,
    /// `None` over plaintext.
    pub(crate) store: Option<Arc<Store>>,
    /// `None` without TLS to a proxy.
    pub(crate) proxy: Option<Arc<Store>>,
    pub(crate) token: Option<Arc<Watcher<TokenFile>>>,
    pub(crate) transport: Arc<Transport>,
    pub(crate) lane: Arc<Lane>,
}

impl Exporters {
    /// Starts a configuration. Values that are not set on the builder come from the environment,
    /// then from the specification's defaults.
    pub fn builder() -> ExportersBuilder {
        ExportersBuilder::default()
    }

    /// Builds from the environment alone.
    ///
    /// # Errors
    ///
    /// As [`ExportersBuilder::build`].
    pub fn from_env() -> Result<Self, Error> {
        Self::builder().build()
    }

    /// The exporter of spans.
    ///
    /// # Errors
    ///
    /// [`Error::NotExported`] if the signal is switched off or goes to the console alone, and
    /// [`Error::StartThread`] if there is no I/O thread yet and none can be started.
    #[cfg(feature = "trace")]
    pub fn span_exporter(&self) -> Result<SpanExporter, Error> {
        self.span_exporter_for(&self.drain(), None)
    }

    /// The exporter of metrics. The meter provider decides how histograms are aggregated:
    /// [`with_histogram_aggregation`](ExportersBuilder::with_histogram_aggregation) has no effect
    /// here.
    ///
    /// # Errors
    ///
    /// [`Error::NotExported`] if the signal is switched off or goes to the console alone, and
    /// [`Error::StartThread`] if there is no I/O thread yet and none can be started.
    #[cfg(feature = "metrics")]
    pub fn metric_exporter(&self) -> Result<MetricExporter, Error> {
        self.metric_exporter_for(&self.drain())
    }

    /// The exporter of log records.
    ///
    /// # Errors
    ///
    /// [`Error::NotExported`] if the signal is switched off or goes to the console alone, and
    /// [`Error::StartThread`] if there is no I/O thread yet and none can be started.
    #[cfg(feature = "logs")]
    pub fn log_exporter(&self) -> Result<LogExporter, Error> {
        self.log_exporter_for(&self.drain(), None)
    }

    #[cfg(feature = "trace")]
    pub(crate) fn span_exporter_for(
        &self,
        drain: &Arc<Drain>,
        queue: Option<Arc<Queue>>,
    ) -> Result<SpanExporter, Error> {
        Ok(SpanExporter::new(self.lane(Signal::Traces, drain, queue)?))
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn metric_exporter_for(&self, drain: &Arc<Drain>) -> Result<MetricExporter, Error> {
        Ok(MetricExporter::new(self.lane(Signal::Metrics, drain, None)?, self.0.temporality))
    }

    #[cfg(feature = "logs")]
    pub(crate) fn log_exporter_for(
        &self,
        drain: &Arc<Drain>,
        queue: Option<Arc<Queue>>,
    ) -> Result<LogExporter, Error> {
        Ok(LogExporter::new(self.lane(Signal::Logs, drain, queue)?))
    }

    /// A rustls configuration with a signal's certificates, for the service's other clients: reqwest, tonic, hyper.
    /// `None` over plaintext, or if the signal is not exported.
    ///
    /// It follows rotation: identity and roots are looked up at each handshake, and no session is
    /// resumed. If the last check is older than the reload interval, a handshake has the files or
    /// the source checked, even if nothing is exported. It waits at most one second for that, so a
    /// file system that hangs does not block handshakes. Existing connections are not affected.
    ///
    /// It has no ALPN, because each client sets its own in a clone. Servers are verified by the
    /// name that the client requests. A configuration from
    /// [`with_rustls_config`](ExportersBuilder::with_rustls_config) does not rotate.
    ///
    /// ```
    /// use otlp_mtls::rustls::ClientConfig;
    /// use otlp_mtls::{Exporters, Signal};
    ///
    /// # fn doc(exporters: &Exporters) -> Option<()> {
    /// let mut config = ClientConfig::clone(&*exporters.client_config(Signal::Traces)?);
    /// config.alpn_protocols = vec![b"h2".to_vec()];
    /// # Some(())
    /// # }
    /// ```
    pub fn client_config(&self, signal: Signal) -> Option<Arc<ClientConfig>> {
        self.0.pipelines.get(&signal)?.shared.client_config.clone()
    }

    /// The credentials in use with their subjects and expiry, why newer ones were rejected, and the
    /// outcome of the exports.
    pub fn status(&self) -> Status {
        let credentials = self.stores().into_iter().map(|(signals, store)| {
            let mut credentials = store.status();
            credentials.signals = signals;
            credentials
        });
        let tokens = self.tokens().into_iter().map(|(signals, token)| {
            let status = token.status();
            TokenStatus { signals, ..status }
        });
        Status {
            credentials: credentials.collect(),
            tokens: tokens.collect(),
            exports: self.0.pipelines.values().map(Pipeline::status).collect(),
        }
    }

    /// Checks all files and sources now, regardless of the reload interval. The next export of each
    /// signal uses new credentials.
    ///
    /// It blocks while files are read.
    ///
    /// # Errors
    ///
    /// The first error in new credentials. The previous ones remain in use.
    pub fn reload(&self) -> Result<(), Error> {
        let stores = self.stores().into_iter().map(|(_, store)| store.look(true));
        let tokens = self.tokens().into_iter().map(|(_, token)| token.look());
        let looks: Vec<_> = stores.chain(tokens).collect();
        self.end_windows();
        looks.into_iter().collect()
    }

    /// Lets the next exports dial at once despite earlier failures.
    pub(crate) fn end_windows(&self) {
        for pipeline in self.0.pipelines.values() {
            if let Some(transport) = lock(&pipeline.shared.transport).upgrade() {
                transport.end_window();
            }
        }
    }

    /// The credential stores, each with the signals that share it: those of collectors, then those of proxies.
    fn stores(&self) -> Vec<(Vec<Signal>, Arc<Store>)> {
        let mut stores = self.by_signals(|pipeline| pipeline.shared.store.as_ref());
        stores.extend(self.by_signals(|pipeline| pipeline.shared.proxy.as_ref()));
        stores
    }

    /// The measured state of each set of credentials.
    #[cfg(feature = "metrics")]
    pub(crate) fn store_counts(&self) -> Vec<StoreCounts> {
        let counts = self.stores().into_iter().map(|(signals, store)| {
            // The first signal's endpoint: signals that share a store also share the collector.
            let settings = &self.0.pipelines[&signals[0]].settings;
            let (status, handshakes) = (store.status(), store.handshakes());
            let of_proxy = status.proxy.as_ref().and_then(|_| settings.of_proxy());
            let settings = of_proxy.as_ref().unwrap_or(settings);
            StoreCounts { endpoint: settings.endpoint.clone(), status, handshakes }
        });
        counts.collect()
    }

    /// The bearer token files, each with the signals that share it.
    fn tokens(&self) -> Vec<(Vec<Signal>, Arc<Watcher<TokenFile>>)> {
        self.by_signals(|pipeline| pipeline.token.as_ref())
    }

    fn by_signals<T>(
        &self,
        part: impl Fn(&Pipeline) -> Option<&Arc<T>>,
    ) -> Vec<(Vec<Signal>, Arc<T>)> {
        let mut parts = Vec::<(Vec<Signal>, Arc<T>)>::new();
        for (signal, pipeline) in &self.0.pipelines {
            let Some(part) = part(pipeline) else {
                continue;
            };
            match parts.iter_mut().find(|(_, known)| Arc::ptr_eq(known, part)) {
                Some((signals, _)) => signals.push(*signal),
                None => parts.push((vec![*signal], Arc::clone(part))),
            }
        }
        parts
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn histogram_aggregation(&self) -> HistogramAggregation {
        self.0.histogram_aggregation
    }

    /// A failure of a signal outside of its transport.
    pub(crate) fn failure(&self, signal: Signal, kind: FailureKind) -> Option<Failure> {
        Some(Failure::new(kind, &self.0.pipelines.get(&signal)?.settings, None))
    }

    #[cfg(feature = "opentelemetry-otlp")]
    pub(crate) fn temporality(&self) -> Temporality {
        self.0.temporality
    }

    /// The counters of a signal's items.
    pub(crate) fn stats(&self, signal: Signal) -> Result<Arc<ExportStats>, Error> {
        Ok(Arc::clone(&self.pipeline(signal)?.stats))
    }

    /// The counts of a signal's items so far.
    pub(crate) fn counts(&self, signal: Signal) -> Counts {
        self.0
            .pipelines
            .get(&signal)
            .map_or_else(Counts::default, |pipeline| pipeline.stats.counts())
    }

    /// Whether a signal's exporters belong to a process of which this one is a forked child.
    pub(crate) fn are_forked(&self, signal: Signal) -> bool {
        let newest = self.0.pipelines.get(&signal).and_then(|pipeline| *lock(&pipeline.process));
        newest.is_some_and(|process| !process.is_current())
    }

    /// Warnings about the configuration.
    pub(crate) fn warnings(&self) -> &[Warning] {
        &self.0.warnings
    }

    /// The settings of the SDK's providers.
    pub(crate) fn sdk(&self) -> &Sdk {
        &self.0.sdk
    }

    /// Warnings about the SDK's settings.
    pub(crate) fn sdk_warnings(&self) -> &[Warning] {
        &self.0.sdk_warnings
    }

    /// Whether a function provides headers for each attempt.
    #[cfg(feature = "opentelemetry-otlp")]
    pub(crate) fn has_header_provider(&self) -> bool {
        self.0.header_provider.is_some()
    }

    /// Whether a configuration file is used instead of variables.
    pub(crate) fn has_config_file(&self) -> bool {
        self.0.has_config_file
    }

    /// Whether the semantic conventions' metrics are enabled.
    #[cfg(feature = "metrics")]
    pub(crate) fn has_sdk_metrics(&self) -> bool {
        self.0.sdk_metrics
    }

    pub(crate) fn switches(&self) -> &Switches {
        &self.0.switches
    }

    /// The deadline of exporters that a service creates itself.
    fn drain(&self) -> Arc<Drain> {
        Arc::clone(&lock(&self.0.drain))
    }

    /// Takes that deadline: exporters that are created later have another.
    pub(crate) fn take_drain(&self) -> Arc<Drain> {
        std::mem::replace(&mut lock(&self.0.drain), Drain::new())
    }

    fn policy(&self, settings: &Settings) -> Policy {
        Policy {
            connect_timeout: settings.connect_timeout,
            max_connection_age: settings.max_connection_age,
            retry: settings.retry.clone(),
            assume_http2: settings.assume_http2,
            header_provider: self.0.header_provider.clone(),
            refused_headers: self.0.refused_headers.clone(),
        }
    }

    /// A signal's transport, which is created at its first use.
    fn transport(&self, pipeline: &Pipeline) -> Result<Arc<Transport>, Error> {
        let mut slot = lock(&pipeline.shared.transport);
        if let Some(transport) = slot.upgrade().filter(|known| known.is_of_this_process()) {
            return Ok(transport);
        }
        let transport = Arc::new(Transport::new(
            self.runtime()?,
            &pipeline.settings,
            self.shortest_timeout(pipeline),
            pipeline.shared.store.clone(),
            pipeline.shared.proxy.clone(),
            self.policy(&pipeline.settings),
        ));
        *slot = Arc::downgrade(&transport);
        Ok(transport)
    }

    fn lane(
        &self,
        signal: Signal,
        drain: &Arc<Drain>,
        queue: Option<Arc<Queue>>,
    ) -> Result<Lane, Error> {
        let pipeline = self.pipeline(signal)?;
        let transport = self.transport(pipeline)?;
        let (settings, stats) = (Arc::clone(&pipeline.settings), Arc::clone(&pipeline.stats));
        let newest = lock(&pipeline.process).replace(Process::current());
        if newest.is_some_and(|newest| !newest.is_current()) {
            // The parent's requests do not end here, so no turn may wait for them.
            *lock(&pipeline.pace) = Arc::default();
            stats.leave_to_the_parent();
        }
        let (drain, pace) = (Arc::clone(drain), Arc::clone(&lock(&pipeline.pace)));
        let token = pipeline.token.clone();
        Ok(Lane::new(settings, transport, stats, drain, queue, pace, token))
    }

    /// The shortest timeout of the signals that share a connection; `None` if none of them has a
    /// timeout.
    fn shortest_timeout(&self, pipeline: &Pipeline) -> Option<Duration> {
        let sharing =
            self.0.pipelines.values().filter(|other| Arc::ptr_eq(&other.shared, &pipeline.shared));
        sharing.filter_map(|pipeline| *pipeline.settings.timeout).min()
    }

    /// What a check needs to export as each signal does, on connections of its own.
    pub(crate) fn probes(&self, runtime: &Arc<Runtime>) -> Vec<Probe> {
        let probes = self.0.pipelines.values().map(|pipeline| {
            // An export may have no timeout; a check must have one.
            let timeout = pipeline.settings.timeout.clone();
            let timeout = timeout.map(|timeout| timeout.or(Some(DEFAULT_CHECK_TIMEOUT)));
            let retry = RetryPolicy::disabled();
            let settings = Arc::new(Settings { timeout, retry, ..(*pipeline.settings).clone() });
            let policy = self.policy(&settings);
            let stats = Arc::clone(&pipeline.stats);
            let (runtime, store) = (Arc::clone(runtime), pipeline.shared.store.clone());
            let transport = Arc::new(Transport::new(
                runtime,
                &settings,
                *settings.timeout,
                store.clone(),
                pipeline.shared.proxy.clone(),
                policy,
            ));
            let lane = Lane::new(
                Arc::clone(&settings),
                Arc::clone(&transport),
                stats,
                Drain::new(),
                None,
                Arc::default(),
                pipeline.token.clone(),
            );
            let (token, proxy) = (pipeline.token.clone(), pipeline.shared.proxy.clone());
            Probe { settings, store, proxy, token, transport, lane: Arc::new(lane) }
        });
        probes.collect()
    }

    /// Every signal's settings.
    pub(crate) fn settings(&self) -> impl Iterator<Item = &Settings> {
        self.0.pipelines.values().map(|pipeline| &*pipeline.settings)
    }

    /// The export path of a signal. A signal has none if its feature is off, or if it is switched
    /// off or not sent by OTLP.
    fn pipeline(&self, signal: Signal) -> Result<&Pipeline, Error> {
        self.0.pipelines.get(&signal).ok_or_else(|| Error::NotExported {
            signal,
            origin: self.0.switches.origin(signal).clone(),
        })
    }

    pub(crate) fn runtime(&self) -> Result<Arc<Runtime>, Error> {
        Runtime::shared().map_err(|source| Error::StartThread { source })
    }
}

impl fmt::Debug for Exporters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoints = self.0.pipelines.iter().map(|(signal, pipeline)| {
            let endpoint = &pipeline.settings.endpoint;
            (signal, format!("{endpoint}{}", endpoint.shown_path()))
        });
        f.write_str("Exporters ")?;
        f.debug_map().entries(endpoints).finish()
    }
}
