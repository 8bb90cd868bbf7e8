//! The builder.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::HeaderMap;
use opentelemetry::KeyValue;
#[cfg(feature = "trace")]
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::Temporality;
#[cfg(feature = "trace")]
use opentelemetry_sdk::trace::{ShouldSample, SpanLimits};
use rustls::ClientConfig;
use rustls::crypto::CryptoProvider;

use super::{Exporters, Inner, Pipeline, Shared};
use crate::config::{
    Batch, Compression, Env, HistogramAggregation, Layers, Origin, Pem, Protocol, Rank,
    RetryPolicy, Sdk, Settings, SignalBuilder, Sourced, TlsVersion,
};
use crate::error::{Error, SpiffeIdProblem};
use crate::export::{
    Drain, ExportStats, FailureHandler, FailureNotifier, HeaderProvider, RefusedHeadersHandler,
};
use crate::failure::Failure;
use crate::net::{Watcher, rotating_config};
use crate::signal::Signal;
use crate::stderr;
use crate::tls::{CredentialSource, Given, Store, TokenFile};

/// Configures [`Exporters`].
///
/// Every setter beats the environment; a setter for one signal, by [`with_signal`], beats one for
/// all.
///
/// [`with_signal`]: Self::with_signal
#[must_use]
#[derive(Clone, Default)]
pub struct ExportersBuilder {
    code: Rank,
    defaults: Rank,
    env: Option<Env>,
    provider: Option<Arc<CryptoProvider>>,
    rustls_config: Option<Arc<ClientConfig>>,
    source: Option<Arc<dyn CredentialSource>>,
    header_provider: Option<Arc<HeaderProvider>>,
    refused_headers: Option<Arc<RefusedHeadersHandler>>,
    failure_handler: Option<Arc<FailureHandler>>,
    sdk_metrics: bool,
}

impl ExportersBuilder {
    /// Sets whether anything is exported, as `OTEL_SDK_DISABLED` does; propagators work in any case. With
    /// [`with_signal`](Self::with_signal) it is for one signal:
    ///
    /// ```
    /// use otlp_mtls::{Exporters, Signal};
    ///
    /// let exporters = Exporters::builder()
    ///     .with_endpoint("http://collector:4318")
    ///     .with_signal(Signal::Logs, |logs| logs.with_enabled(false))
    ///     .build()?;
    /// # assert!(exporters.log_exporter().is_err());
    /// # Ok::<(), otlp_mtls::Error>(())
    /// ```
    ///
    /// In code, `true` beats `OTEL_SDK_DISABLED`, and `none` in `OTEL_TRACES_EXPORTER` and its like: to leave the last word
    /// to them, set it within [`with_defaults`](Self::with_defaults).
    pub fn with_enabled(self, enabled: bool) -> Self {
        self.with_all(|all| all.with_enabled(enabled))
    }

    /// Sets the endpoint of all signals.
    ///
    /// Over OTLP/HTTP each signal appends its own path, as to `OTEL_EXPORTER_OTLP_ENDPOINT`.
    ///
    /// Over OTLP/gRPC it may also be `host:port`, `dns:///host:port`, or a Unix domain socket, `unix:/path` or
    /// `unix:///path`: [names of gRPC](https://github.com/grpc/grpc/blob/master/doc/naming.md). A socket's path is
    /// absolute, and taken as it is written. It is spoken to in plaintext, as the exporters of opentelemetry-rust and
    /// opentelemetry-go do: who may connect, its permissions say.
    pub fn with_endpoint(self, endpoint: impl Into<String>) -> Self {
        let mut builder = self.with_all(|all| all.with_endpoint(endpoint));
        if let Some(endpoint) = &mut builder.code.all.endpoint {
            endpoint.value.is_whole = false;
        }
        builder
    }

    /// Sets the protocol of all signals.
    pub fn with_protocol(self, protocol: Protocol) -> Self {
        self.with_all(|all| all.with_protocol(protocol))
    }

    /// Sets the certificate authorities to trust, in place of the platform's: one or more
    /// certificates.
    ///
    /// A certificate that is not a CA's issues nothing. A server's own certificate may be among them.
    pub fn with_ca_certificate(self, pem: Pem) -> Self {
        self.with_all(|all| all.with_ca_certificate(pem))
    }

    /// Sets the client's certificate chain, leaf first, and its private key. Both may be in one
    /// file.
    pub fn with_client_identity(self, certificate: Pem, key: Pem) -> Self {
        self.with_all(|all| all.with_client_identity(certificate, key))
    }

    /// Sets the headers of every request, in place of all that the environment names.
    ///
    /// A name or value that no header can have, or a name that the protocol sets itself, is an error
    /// of [`build`](Self::build).
    pub fn with_headers<N, V>(self, headers: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        self.with_all(|all| all.with_headers(headers))
    }

    /// Sets the file with the token that every request shows as `authorization: Bearer …`: one of Kubernetes'
    /// projected tokens, for instance.
    ///
    /// The file is read as certificates are: when an export starts and the
    /// [reload interval](Self::with_reload_interval) is over, and at once after the collector has answered with HTTP 401
    /// or gRPC's UNAUTHENTICATED. If the token is then another one, the request is repeated with it, once in an export,
    /// whatever the retry policy. What cannot be used later never replaces what can:
    /// [`status`](Exporters::status) says why.
    ///
    /// It has the token alone, in visible ASCII, with white space around it at most, and at most 64 KiB. Anything else
    /// is an error of [`build`](Self::build), and so is an `authorization` header beside it; that of a header provider
    /// fails the export. Over plaintext to another host than this one there is a warning.
    ///
    /// ```
    /// use otlp_mtls::Exporters;
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let token = directory.path().join("token");
    /// # std::fs::write(&token, "secret\n")?;
    /// // "/var/run/secrets/tokens/otel-collector", for instance
    /// let exporters = Exporters::builder()
    ///     .with_endpoint("http://localhost:4317")
    ///     .with_bearer_token_file(token)
    ///     .build()?;
    /// assert_eq!(exporters.status().tokens[0].generation, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_bearer_token_file(self, path: impl Into<PathBuf>) -> Self {
        self.with_all(|all| all.with_bearer_token_file(path))
    }

    /// Sets the compression of request bodies; `None` switches it off.
    pub fn with_compression(self, compression: impl Into<Option<Compression>>) -> Self {
        self.with_all(|all| all.with_compression(compression))
    }

    /// Sets how long one export may take, retries included; zero is no limit.
    pub fn with_timeout(self, timeout: Duration) -> Self {
        self.with_all(|all| all.with_timeout(timeout))
    }

    /// Sets how [`install`](Exporters::install) batches spans and log records. Metrics are not batched.
    pub fn with_batch(self, batch: Batch) -> Self {
        self.with_all(|all| all.with_batch(batch))
    }

    /// Sets how large a request may be, in bytes, before compression; the default is 64 MiB. A larger batch, and one
    /// that the collector refuses as too large, goes into several requests. What is too large alone is lost.
    pub fn with_max_request_size(self, bytes: usize) -> Self {
        self.with_all(|all| all.with_max_request_size(bytes))
    }

    /// Sets how many bytes of an answer are read at most, compressed and decompressed; the default is 4 MiB. An
    /// export whose answer is longer fails, and is not tried again.
    pub fn with_max_response_size(self, bytes: usize) -> Self {
        self.with_all(|all| all.with_max_response_size(bytes))
    }

    /// Sets whether a gRPC endpoint *without a scheme* is dialled in plaintext.
    pub fn with_insecure(self, insecure: bool) -> Self {
        self.with_all(|all| all.with_insecure(insecure))
    }

    /// Sets the name that the server's certificate must have, if not the endpoint's host. It is what the
    /// handshake asks for too (SNI), and changes nothing of the requests: see
    /// [`with_authority`](Self::with_authority).
    pub fn with_server_name(self, name: impl Into<String>) -> Self {
        self.with_all(|all| all.with_server_name(name))
    }

    /// Sets what requests are addressed to, `host` or `host:port`, if not the endpoint's host and port: the
    /// `:authority` of HTTP/2, and so of gRPC, and the `Host` of HTTP/1.1. It is for proxies that route by name.
    ///
    /// It changes neither where is dialled nor, unlike grpc-go's `WithAuthority`, the name that the server's
    /// certificate must have: that is [`with_server_name`](Self::with_server_name).
    ///
    /// What is no host, with or without a port, is an error of [`build`](Self::build).
    ///
    /// ```
    /// use otlp_mtls::{Exporters, Protocol};
    ///
    /// let exporters = Exporters::builder()
    ///     .with_protocol(Protocol::Grpc)
    ///     .with_endpoint("http://localhost:15001")
    ///     .with_authority("otel-collector.observability.svc:4317")
    ///     .build()?;
    /// # Ok::<(), otlp_mtls::Error>(())
    /// ```
    pub fn with_authority(self, authority: impl Into<String>) -> Self {
        self.with_all(|all| all.with_authority(authority))
    }

    /// Sets the [SPIFFE ID] that the server's certificate must have, in place of the endpoint's host: a workload's
    /// (`spiffe://trust.domain/collector`), or with no path that of any workload of a trust domain
    /// (`spiffe://trust.domain`).
    ///
    /// The certificate has to be an [X.509-SVID]: the ID is its only URI, and it is not a CA's. Its chain is verified as
    /// always. The trust bundle is what [`with_ca_certificate`](Self::with_ca_certificate), its variable or a
    /// [`CredentialSource`] gives; each CA in it may issue any ID, so it should have those of the ID's trust domain alone. The
    /// server is still asked for the host (SNI), or for [`with_server_name`](Self::with_server_name).
    ///
    /// It holds for the servers of [`client_config`](Exporters::client_config) too.
    ///
    /// [`build`](Self::build) fails on what is no SPIFFE ID, without a trust bundle, and beside
    /// [`with_rustls_config`](Self::with_rustls_config).
    ///
    /// [SPIFFE ID]: https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md
    /// [X.509-SVID]: https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md
    ///
    /// ```
    /// use otlp_mtls::Exporters;
    ///
    /// let builder = Exporters::builder()
    ///     .with_endpoint("https://collector.observability.svc:4317")
    ///     .with_server_spiffe_id("spiffe://trust.domain/collector");
    /// # let _ = builder;
    /// ```
    pub fn with_server_spiffe_id(self, id: impl Into<String>) -> Self {
        self.with_all(|all| all.with_server_spiffe_id(id))
    }

    /// Sets what differs for one signal.
    ///
    /// ```
    /// use otlp_mtls::{Exporters, Signal};
    ///
    /// let exporters = Exporters::builder()
    ///     .with_endpoint("http://collector:4318")
    ///     .with_signal(Signal::Logs, |logs| logs.with_endpoint("http://log-store:3100/otlp/v1/logs"))
    ///     .build()?;
    /// # Ok::<(), otlp_mtls::Error>(())
    /// ```
    pub fn with_signal(
        mut self,
        signal: Signal,
        set: impl FnOnce(SignalBuilder) -> SignalBuilder,
    ) -> Self {
        let own = self.code.own.remove(&signal).unwrap_or_default();
        self.code.own.insert(signal, set(SignalBuilder(own)).0);
        self
    }

    /// Sets what holds where neither this builder nor the environment says anything: everything that is
    /// set within lies *below* the environment.
    ///
    /// ```
    /// use otlp_mtls::{Exporters, Protocol};
    ///
    /// // gRPC, unless `OTEL_EXPORTER_OTLP_PROTOCOL` says otherwise.
    /// let builder = Exporters::builder().with_defaults(|defaults| defaults.with_protocol(Protocol::Grpc));
    /// # let _ = builder;
    /// ```
    ///
    /// What no variable can say, such as a crypto provider, is set as if it were set without.
    pub fn with_defaults(mut self, set: impl FnOnce(Self) -> Self) -> Self {
        let code = std::mem::replace(&mut self.code, std::mem::take(&mut self.defaults));
        let mut set = set(self);
        set.defaults = std::mem::replace(&mut set.code, code);
        set
    }

    /// Replaces the process's environment, for tests and for configuration that comes from
    /// elsewhere.
    ///
    /// It replaces all that this crate and [`install`](Exporters::install) read. Providers that are built
    /// elsewhere read the SDK's own variables (`OTEL_BSP_*` …) from the process always.
    ///
    /// ```
    /// use otlp_mtls::{Exporters, Signal};
    ///
    /// let settings = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")];
    /// let exporters = Exporters::builder()
    ///     .with_env(move |name| {
    ///         settings.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
    ///     })
    ///     .build()?;
    /// assert!(exporters.client_config(Signal::Traces).is_none());
    /// # Ok::<(), otlp_mtls::Error>(())
    /// ```
    pub fn with_env(
        mut self,
        lookup: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static,
    ) -> Self {
        self.env = Some(Env::new(lookup));
        self
    }

    /// Sets the cryptography to use, in place of the process's default provider and of the one
    /// that is compiled in.
    pub fn with_crypto_provider(mut self, provider: Arc<CryptoProvider>) -> Self {
        self.provider = Some(provider);
        self
    }

    /// Brings a whole rustls configuration, for what this builder has no setter for. Certificates
    /// and keys, from here or from the environment, are then not read; ALPN is set as the
    /// protocol needs it.
    pub fn with_rustls_config(mut self, config: Arc<ClientConfig>) -> Self {
        self.rustls_config = Some(config);
        self
    }

    /// Sets where certificates and keys come from, in place of files and bytes. The variables that
    /// name files are then not read.
    pub fn with_credential_source(mut self, source: impl CredentialSource + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// Sets how often files, or the credential source, are looked at for changes; the default is 10
    /// seconds, and zero is with every export.
    ///
    /// The environment has it as `OTEL_RUST_EXPORTER_OTLP_RELOAD_INTERVAL`, in milliseconds.
    pub fn with_reload_interval(mut self, interval: Duration) -> Self {
        self.code.all.reload_interval = Some(Sourced::builder("with_reload_interval", interval));
        self
    }

    /// Sets whether the platform's roots are trusted beside a CA that is named.
    pub fn with_system_roots(mut self, trusted: bool) -> Self {
        self.code.all.system_roots = Some(trusted);
        self
    }

    /// Sets the lowest version of TLS to accept; the default is TLS 1.2.
    pub fn with_min_tls_version(mut self, version: TlsVersion) -> Self {
        self.code.all.min_tls_version = Some(version);
        self
    }

    /// Sets how long name resolution, TCP and TLS may take together; the default is 5 seconds.
    ///
    /// It lies within an export's timeout, and holds also where that is unlimited.
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.code.all.connect_timeout = Some(timeout);
        self
    }

    /// Sets how often and how soon a failed export is tried again.
    pub fn with_retry(mut self, retry: RetryPolicy) -> Self {
        self.code.all.retry = Some(retry);
        self
    }

    /// Sets what makes further headers for each attempt when it begins: for tokens that expire.
    /// They replace headers of the same name.
    ///
    /// If the collector refuses them, by HTTP 401 or gRPC's UNAUTHENTICATED, it is called again at once. If
    /// it then gives others, the request is repeated with these, once in an export, whatever the retry policy.
    ///
    /// A provider that keeps tokens learns of the refusal by
    /// [`with_refused_headers_handler`](Self::with_refused_headers_handler).
    ///
    /// It is called on a thread that may block, one call at a time: what it takes counts towards the timeouts of all
    /// exports that wait for it. The thread belongs to the tokio runtime whose I/O is done on the I/O thread, so a
    /// provider awaits by tokio's `Handle::current().block_on(future)`, and stops nothing meanwhile. The example
    /// `oauth2` asks an identity provider so.
    pub fn with_header_provider(
        mut self,
        provider: impl Fn(Signal) -> Result<HeaderMap, Box<dyn StdError + Send + Sync>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.header_provider = Some(Arc::new(provider));
        self
    }

    /// Sets who is told of headers of the header provider that the collector has refused, just before the provider
    /// is called again. A provider that keeps a token until it expires forgets it then, if it is still that one:
    /// other signals may have been refused with the same.
    ///
    /// It is called where the provider is, and like it one call at a time.
    pub fn with_refused_headers_handler(
        mut self,
        handler: impl Fn(Signal, &HeaderMap) + Send + Sync + 'static,
    ) -> Self {
        self.refused_headers = Some(Arc::new(handler));
        self
    }

    /// Sets who is told of the first failure to export and of each new kind of failure, for each
    /// collector. Without one, that goes to standard error where nobody subscribes to the SDK's own
    /// log, which has all of them at the level ERROR.
    ///
    /// It is called on the thread that exports, and should not block.
    ///
    /// ```
    /// use otlp_mtls::Exporters;
    ///
    /// let exporters = Exporters::builder()
    ///     .with_endpoint("http://collector:4318")
    ///     .with_failure_handler(|failure| eprintln!("telemetry is not delivered: {failure}"))
    ///     .build()?;
    /// # Ok::<(), otlp_mtls::Error>(())
    /// ```
    pub fn with_failure_handler(
        mut self,
        handler: impl Fn(&Failure) + Send + Sync + 'static,
    ) -> Self {
        self.failure_handler = Some(Arc::new(handler));
        self
    }

    /// Sets how long before a certificate expires that is warned of, once per day that is left: the
    /// client's, the CAs' and the server's. The default is a quarter of its life, at most 14 days.
    ///
    /// It is looked at with the files, so where nothing is exported nothing is said.
    pub fn with_expiry_warning(mut self, before: Duration) -> Self {
        self.code.all.expiry_warning = Some(before);
        self
    }

    /// Sets whether a gRPC server that knows no ALPN is spoken to in HTTP/2 all the same.
    ///
    /// gRPC clients are to refuse such a server; some TLS-terminating proxies are such servers.
    pub fn with_assume_http2(mut self, assume: bool) -> Self {
        self.code.all.assume_http2 = Some(assume);
        self
    }

    /// Sets the temporality that the metric exporter asks of the SDK.
    pub fn with_temporality(mut self, temporality: Temporality) -> Self {
        self.code.all.temporality = Some(Sourced::builder("with_temporality", temporality));
        self
    }

    /// Sets how [`install`](Exporters::install) aggregates histograms.
    pub fn with_histogram_aggregation(mut self, aggregation: HistogramAggregation) -> Self {
        self.code.all.histogram_aggregation =
            Some(Sourced::builder("with_histogram_aggregation", aggregation));
        self
    }

    /// Sets whether there are metrics of the [semantic conventions for SDKs][semconv] (`otel.sdk.*`) about the
    /// exporters and, with [`install`](Exporters::install), the processors, beside the crate's own (`otlp_mtls.*`):
    /// `docs/metrics.md` lists both. They are off by default, because they are in development: their names and
    /// attributes may change.
    ///
    /// [semconv]: https://opentelemetry.io/docs/specs/semconv/otel/sdk-metrics/
    pub fn with_sdk_metrics(mut self, enabled: bool) -> Self {
        self.sdk_metrics = enabled;
        self
    }

    /// Sets how often [`install`](Exporters::install) has metrics exported, by default every minute
    /// (`OTEL_METRIC_EXPORT_INTERVAL`). Not zero.
    pub fn with_metric_interval(mut self, interval: Duration) -> Self {
        self.code.all.sdk.metric_interval = Some(interval);
        self
    }

    /// Sets which spans [`install`](Exporters::install) has sampled, in place of `OTEL_TRACES_SAMPLER`
    /// and `OTEL_TRACES_SAMPLER_ARG`.
    #[cfg(feature = "trace")]
    pub fn with_sampler(mut self, sampler: impl ShouldSample + 'static) -> Self {
        self.code.all.sdk.sampler = Some(Box::new(sampler));
        self
    }

    /// Sets how many attributes, events and links a span may have, in place of the variables
    /// `OTEL_SPAN_*_COUNT_LIMIT` and their like.
    #[cfg(feature = "trace")]
    pub fn with_span_limits(mut self, limits: SpanLimits) -> Self {
        self.code.all.sdk.span_limits = Some(limits);
        self
    }

    /// Sets how the context of a trace travels between services, in place of `OTEL_PROPAGATORS`. Several
    /// are one [`TextMapCompositePropagator`].
    ///
    /// [`TextMapCompositePropagator`]: opentelemetry::propagation::TextMapCompositePropagator
    #[cfg(feature = "trace")]
    pub fn with_propagator(
        mut self,
        propagator: impl TextMapPropagator + Send + Sync + 'static,
    ) -> Self {
        self.code.all.sdk.propagator = Some(Arc::new(propagator));
        self
    }

    /// Sets the name of the service (`OTEL_SERVICE_NAME`), for [`install`](Exporters::install).
    pub fn with_service_name(self, name: impl Into<String>) -> Self {
        self.with_resource_attributes([KeyValue::new("service.name", name.into())])
    }

    /// Sets the version of the service, for [`install`](Exporters::install).
    pub fn with_service_version(self, version: impl Into<String>) -> Self {
        self.with_resource_attributes([KeyValue::new("service.version", version.into())])
    }

    /// Adds attributes to the resource that [`install`](Exporters::install) gives its providers. They
    /// beat `OTEL_RESOURCE_ATTRIBUTES` and what is detected.
    pub fn with_resource_attributes(
        mut self,
        attributes: impl IntoIterator<Item = KeyValue>,
    ) -> Self {
        self.code.all.sdk.attributes.extend(attributes);
        self
    }

    /// Sets the resource that [`install`](Exporters::install) gives its providers, in place of what
    /// [`init`](crate::init) detects. To keep what the SDK detects, start from [`Resource::builder`].
    ///
    /// It beats `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`, which add what it does not have. The
    /// methods for single attributes beat it.
    pub fn with_resource(mut self, resource: Resource) -> Self {
        self.code.all.sdk.resource = Some(resource);
        self
    }

    fn with_all(mut self, set: impl FnOnce(SignalBuilder) -> SignalBuilder) -> Self {
        self.code.all = set(SignalBuilder(self.code.all)).0;
        self
    }

    /// Reads the environment and every file, and checks all of it. Nothing is dialled.
    ///
    /// With the feature `config-file`, `OTEL_CONFIG_FILE` names a file that is read in place of all other variables.
    ///
    /// Of a signal that is not sent by OTLP ([`with_enabled`](Self::with_enabled), `OTEL_SDK_DISABLED`,
    /// `OTEL_TRACES_EXPORTER` and so on), nothing is read, and there is no exporter.
    ///
    /// # Errors
    ///
    /// Whatever is set and cannot be used is an error that names the variable or builder call, the
    /// file, and the reason: see [`Error`]. There is no silent fall-back.
    pub fn build(self) -> Result<Exporters, Error> {
        let env = self.env.unwrap_or_else(Env::process);
        let mut warnings = Vec::new();
        let (layers, switches) = Layers::new(self.code, env, self.defaults, &mut warnings)?;
        switches.log_level().into_iter().for_each(stderr::set_level);
        let identity = Given {
            provider: self.provider,
            source: self.source,
            rustls_config: self.rustls_config,
        };
        let has_own_credentials = identity.source.is_some() || identity.rustls_config.is_some();
        let notifier = Arc::new(FailureNotifier::new(self.failure_handler));
        let mut pipelines = BTreeMap::<Signal, Pipeline>::new();
        let compiled = Signal::ALL.into_iter().filter(|signal| signal.is_compiled());
        for signal in compiled.filter(|signal| switches.is_exported(*signal)) {
            let mut settings =
                Settings::resolve(signal, &layers, has_own_credentials, &mut warnings)?;
            if let Some(id) = settings.tls.as_ref().and_then(|tls| tls.server_spiffe_id.as_ref())
                && identity.rustls_config.is_some()
            {
                return Err(Error::SpiffeId {
                    origin: id.origin.clone(),
                    id: id.to_string(),
                    problem: SpiffeIdProblem::RustlsConfig,
                });
            }
            if self.header_provider.is_some() && settings.headers.origin == Origin::Default {
                settings.headers.origin = Origin::Builder("with_header_provider");
            }
            let same =
                pipelines.values().find(|pipeline| pipeline.settings.share_connection(&settings));
            let shared = match same {
                Some(pipeline) => Arc::clone(&pipeline.shared),
                None => {
                    let store = settings.tls.as_ref();
                    let store =
                        store.map(|tls| Store::load(&settings, tls, &identity)).transpose()?;
                    let store = store.map(Arc::new);
                    let client_config = store.as_ref().map(rotating_config);
                    Arc::new(Shared { store, client_config, transport: Mutex::default() })
                }
            };
            let token = match &settings.token {
                None => None,
                Some(wanted) => {
                    let known = pipelines.values().filter_map(|pipeline| pipeline.token.as_ref());
                    let known = known.into_iter().find(|known| known.settings() == wanted);
                    Some(match known {
                        Some(known) => Arc::clone(known),
                        None => {
                            let file = TokenFile::load(wanted.clone())?;
                            Arc::new(Watcher::new(Arc::new(file)))
                        }
                    })
                }
            };
            let stats = Arc::new(ExportStats::new(signal, Arc::clone(&notifier)));
            let (settings, pace) = (Arc::new(settings), Arc::default());
            pipelines.insert(signal, Pipeline { settings, stats, pace, token, shared });
        }
        let mut sdk_warnings = Vec::new();
        let sdk = Sdk::resolve(&layers, &mut sdk_warnings);
        let metrics = layers.fold(Signal::Metrics, &mut warnings)?;

        let mut said = Vec::new();
        for warning in warnings {
            // Three signals have the same to say of a generic variable.
            if !said.contains(&warning) {
                warning.tell();
                said.push(warning);
            }
        }

        Ok(Exporters(Arc::new(Inner {
            pipelines,
            switches,
            has_config_file: layers.file.is_some(),
            warnings: said,
            sdk,
            sdk_warnings,
            header_provider: self.header_provider,
            sdk_metrics: self.sdk_metrics,
            refused_headers: self.refused_headers,
            drain: Mutex::new(Drain::new()),
            temporality: metrics.temporality.map_or_else(Default::default, |set| set.value),
            histogram_aggregation: metrics
                .histogram_aggregation
                .map_or(HistogramAggregation::ExplicitBucket, |set| set.value),
        })))
    }
}
