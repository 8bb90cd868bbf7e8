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
    Batch, Compression, Env, HistogramAggregation, Origin, Pem, Protocol, Rank, RetryPolicy, Sdk,
    Settings, SignalBuilder, Sourced, TlsVersion, load, without_environment,
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
/// Every setter takes precedence over the environment, and a setter for one signal, within
/// [`with_signal`], over one for all signals.
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
    /// `true` takes precedence over `OTEL_SDK_DISABLED`, and over `none` in `OTEL_TRACES_EXPORTER`
    /// and its like. To give the variables precedence, set it within
    /// [`with_defaults`](Self::with_defaults).
    pub fn with_enabled(self, enabled: bool) -> Self {
        self.with_all(|all| all.with_enabled(enabled))
    }

    /// Sets the endpoint of all signals.
    ///
    /// Over OTLP/HTTP each signal's path is appended, as to `OTEL_EXPORTER_OTLP_ENDPOINT`.
    ///
    /// Over OTLP/gRPC it may also be `host:port`, `dns:///host:port`, or a Unix domain socket,
    /// `unix:/path` or `unix:///path`: [names of
    /// gRPC](https://github.com/grpc/grpc/blob/master/doc/naming.md). A socket's path is absolute
    /// and used as is. The connection is plaintext, as in the exporters of opentelemetry-rust and
    /// opentelemetry-go: the socket's permissions control access.
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

    /// Sets the certificate authorities to trust, instead of the platform's: one or more
    /// certificates.
    ///
    /// A certificate that is not a CA's cannot be an issuer, but it may be the server's own
    /// certificate.
    pub fn with_ca_certificate(self, pem: Pem) -> Self {
        self.with_all(|all| all.with_ca_certificate(pem))
    }

    /// Sets the client's certificate chain, leaf first, and its private key. Both may be in one
    /// file.
    pub fn with_client_identity(self, certificate: Pem, key: Pem) -> Self {
        self.with_all(|all| all.with_client_identity(certificate, key))
    }

    /// Sets the headers of every request, instead of those in the environment.
    ///
    /// [`build`](Self::build) fails if a name or value is not valid in a header, or if the protocol
    /// sets that name itself.
    pub fn with_headers<N, V>(self, headers: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        self.with_all(|all| all.with_headers(headers))
    }

    /// Sets the file with the token that every request sends as `authorization: Bearer …`, for
    /// instance a projected token of Kubernetes.
    ///
    /// The file is reloaded as certificates are: when an export starts after the [reload
    /// interval](Self::with_reload_interval), and at once after the collector has answered with
    /// HTTP 401 or gRPC's UNAUTHENTICATED. If the token has changed, the request is repeated with
    /// it, once per export, under any retry policy. An unusable token never replaces a usable
    /// one; [`status`](Exporters::status) has the reason.
    ///
    /// The file contains only the token, in visible ASCII, with optional white space around it, in
    /// at most 64 KiB. [`build`](Self::build) fails on anything else, and if an `authorization`
    /// header is set as well; if a header provider returns one, the export fails. Sending the token
    /// in plaintext to another host causes a warning.
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

    /// Sets how long one export may take, including retries; zero means no limit.
    pub fn with_timeout(self, timeout: Duration) -> Self {
        self.with_all(|all| all.with_timeout(timeout))
    }

    /// Sets how [`install`](Exporters::install) batches spans and log records. Metrics are not batched.
    pub fn with_batch(self, batch: Batch) -> Self {
        self.with_all(|all| all.with_batch(batch))
    }

    /// Sets the largest size of a request, in bytes, before compression; the default is 64 MiB, and
    /// 0 is no limit. A larger batch, or one that the collector refuses as too large, is split into
    /// several requests. A single item that is too large is lost.
    pub fn with_max_request_size(self, bytes: usize) -> Self {
        self.with_all(|all| all.with_max_request_size(bytes))
    }

    /// Sets the largest size of an answer, in bytes, both compressed and decompressed; the default
    /// is 4 MiB. An export with a longer answer fails and is not retried.
    pub fn with_max_response_size(self, bytes: usize) -> Self {
        self.with_all(|all| all.with_max_response_size(bytes))
    }

    /// Sets whether a gRPC endpoint *without a scheme* is dialled in plaintext.
    pub fn with_insecure(self, insecure: bool) -> Self {
        self.with_all(|all| all.with_insecure(insecure))
    }

    /// Sets the name that the server's certificate must have, instead of the endpoint's host. It is
    /// also sent in the handshake (SNI). It does not change the requests: see
    /// [`with_authority`](Self::with_authority).
    pub fn with_server_name(self, name: impl Into<String>) -> Self {
        self.with_all(|all| all.with_server_name(name))
    }

    /// Sets the authority of requests, `host` or `host:port`, instead of the endpoint's:
    /// `:authority` in HTTP/2 and gRPC, and `Host` in HTTP/1.1. It is for proxies that route by
    /// name.
    ///
    /// It changes neither the address that is dialled nor, unlike grpc-go's `WithAuthority`, the
    /// name that the server's certificate must have: see
    /// [`with_server_name`](Self::with_server_name).
    ///
    /// [`build`](Self::build) fails if it is not a host with an optional port.
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

    /// Sets the [SPIFFE ID] that the server's certificate must have, instead of the endpoint's
    /// host: the ID of a workload (`spiffe://trust.domain/collector`), or without a path any ID of
    /// a trust domain (`spiffe://trust.domain`).
    ///
    /// The certificate has to be an [X.509-SVID]: the ID is its only URI, and it is not a CA's. Its
    /// chain is verified as always. The trust bundle comes from
    /// [`with_ca_certificate`](Self::with_ca_certificate), its variable or a [`CredentialSource`].
    /// Every CA in it may issue any ID, so it should contain only the CAs of that trust domain. SNI
    /// still names the host, or [`with_server_name`](Self::with_server_name).
    ///
    /// It also applies to [`client_config`](Exporters::client_config).
    ///
    /// [`build`](Self::build) fails if the ID is not valid, if there is no trust bundle, or
    /// together with [`with_rustls_config`](Self::with_rustls_config).
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

    /// Sets options for one signal only.
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

    /// Sets defaults: the environment takes precedence over everything that is set within.
    ///
    /// ```
    /// use otlp_mtls::{Exporters, Protocol};
    ///
    /// // gRPC, unless `OTEL_EXPORTER_OTLP_PROTOCOL` says otherwise.
    /// let builder = Exporters::builder().with_defaults(|defaults| defaults.with_protocol(Protocol::Grpc));
    /// # let _ = builder;
    /// ```
    ///
    /// An option that has no variable, such as a crypto provider, is set as it is outside of this
    /// method.
    pub fn with_defaults(mut self, set: impl FnOnce(Self) -> Self) -> Self {
        let code = std::mem::replace(&mut self.code, std::mem::take(&mut self.defaults));
        let mut set = set(self);
        set.defaults = std::mem::replace(&mut set.code, code);
        set
    }

    /// Replaces the process's environment, for tests and for configuration that comes from
    /// elsewhere.
    ///
    /// It replaces all variables that this crate and [`install`](Exporters::install) read.
    /// Providers that are built elsewhere still read the SDK's own variables (`OTEL_BSP_*` …) from
    /// the process.
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

    /// Sets the crypto provider, instead of the process's default provider or the compiled-in one.
    pub fn with_crypto_provider(mut self, provider: Arc<CryptoProvider>) -> Self {
        self.provider = Some(provider);
        self
    }

    /// Sets a complete rustls configuration, for options that this builder does not have.
    /// Certificates and keys, from here or from the environment, are then not read; ALPN is set as
    /// the protocol requires.
    pub fn with_rustls_config(mut self, config: Arc<ClientConfig>) -> Self {
        self.rustls_config = Some(config);
        self
    }

    /// Sets the source of certificates and keys, instead of files and bytes. The variables that
    /// name files are then not read.
    pub fn with_credential_source(mut self, source: impl CredentialSource + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// Sets how often files or the credential source are checked for changes; the default is 10
    /// seconds, and zero means at every export.
    ///
    /// Its variable is `OTEL_RUST_EXPORTER_OTLP_RELOAD_INTERVAL`, in milliseconds.
    pub fn with_reload_interval(mut self, interval: Duration) -> Self {
        self.code.all.reload_interval = Some(Sourced::builder("with_reload_interval", interval));
        self
    }

    /// Sets whether the platform's roots are trusted in addition to the CAs that are set.
    pub fn with_system_roots(mut self, trusted: bool) -> Self {
        self.code.all.system_roots = Some(trusted);
        self
    }

    /// Sets the certificate authorities to trust for a proxy with an `https://` URL, instead of the
    /// platform's. As with curl, the collector's are not used for it. A file is checked for changes
    /// as others are.
    ///
    /// The proxy's certificate must be for the host in its URL. TLS with the collector is tunnelled
    /// through TLS with the proxy, which cannot read it.
    #[cfg(feature = "proxy")]
    pub fn with_proxy_ca_certificate(mut self, pem: Pem) -> Self {
        self.code.all.proxy_ca = Some(Sourced::builder("with_proxy_ca_certificate", pem));
        self
    }

    /// Sets the lowest TLS version to accept; the default is TLS 1.2.
    pub fn with_min_tls_version(mut self, version: TlsVersion) -> Self {
        self.code.all.min_tls_version = Some(version);
        self
    }

    /// Sets how long name resolution, TCP and TLS may take together; the default is 5 seconds.
    ///
    /// It counts towards an export's timeout, and applies even if exports have none.
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.code.all.connect_timeout = Some(timeout);
        self
    }

    /// Sets the age after which a connection carries no new export; zero, the default, means no
    /// limit.
    ///
    /// It is for collectors behind a balancer that distributes connections and not requests, as a
    /// Service of Kubernetes does: without a limit, a collector that is added gets no load until
    /// connections end. Each connection has an age of its own, at random up to 10 % shorter or
    /// longer. The export that finds it exceeded dials; exports in flight finish on the old
    /// connection. Every connection carries at least one export.
    ///
    /// For OTLP/gRPC, the Collector can do the same by its own setting: see `docs/scale.md`.
    pub fn with_max_connection_age(mut self, age: Duration) -> Self {
        self.code.all.max_connection_age = Some(age);
        self
    }

    /// Sets how often and how soon a failed export is retried.
    pub fn with_retry(mut self, retry: RetryPolicy) -> Self {
        self.code.all.retry = Some(retry);
        self
    }

    /// Sets a function that returns additional headers for each attempt, for instance tokens that
    /// expire. They replace headers of the same name, except for the token of
    /// [`with_bearer_token_file`](Self::with_bearer_token_file): with that, an export fails if the
    /// function returns an `authorization` header.
    ///
    /// If the collector refuses them, by HTTP 401 or gRPC's UNAUTHENTICATED, it is called again at
    /// once. If it then returns other headers, the request is repeated with these, once per export,
    /// under any retry policy.
    ///
    /// A provider that caches tokens is told of the refusal by
    /// [`with_refused_headers_handler`](Self::with_refused_headers_handler).
    ///
    /// It is called on a thread that may block, one call at a time; its duration counts towards the
    /// timeouts of all exports that wait for it. The thread belongs to the tokio runtime of the I/O
    /// thread, so the provider may await by `Handle::current().block_on(future)` without blocking
    /// other I/O. The example `oauth2` calls an identity provider this way.
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

    /// Sets a function that receives the provider's headers that the collector has refused, just
    /// before the provider is called again. A provider that caches a token should discard it here
    /// if it is still the refused one: other signals may have been refused with it too.
    ///
    /// It is called on the provider's thread, and like the provider one call at a time.
    pub fn with_refused_headers_handler(
        mut self,
        handler: impl Fn(Signal, &HeaderMap) + Send + Sync + 'static,
    ) -> Self {
        self.refused_headers = Some(Arc::new(handler));
        self
    }

    /// Sets a function that receives the first failure of each kind, for each collector. Without
    /// one, these failures go to standard error, unless a subscriber is enabled for the SDK's own
    /// log, which has every failure at level ERROR.
    ///
    /// It is called on the exporting thread and should not block.
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

    /// Sets how long before its expiry a certificate causes a daily warning: the client's, the CAs'
    /// and the server's. The default is a quarter of its lifetime, at most 14 days.
    ///
    /// Expiry is checked together with the files, so there is no warning while nothing is exported.
    pub fn with_expiry_warning(mut self, before: Duration) -> Self {
        self.code.all.expiry_warning = Some(before);
        self
    }

    /// Sets whether to speak HTTP/2 to a gRPC server that does not support ALPN.
    ///
    /// gRPC clients must refuse such a server by default; some TLS-terminating proxies do not
    /// support ALPN.
    pub fn with_assume_http2(mut self, assume: bool) -> Self {
        self.code.all.assume_http2 = Some(assume);
        self
    }

    /// Sets the temporality that the metric exporter requests from the SDK.
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

    /// Sets whether there are metrics of the [semantic conventions for SDKs][semconv]
    /// (`otel.sdk.*`) about the exporters and, with [`install`](Exporters::install), the
    /// processors, in addition to the crate's own (`otlp_mtls.*`): `docs/metrics.md` lists both.
    /// They are off by default, because they are in development: their names and attributes may
    /// change.
    ///
    /// [semconv]: https://opentelemetry.io/docs/specs/semconv/otel/sdk-metrics/
    pub fn with_sdk_metrics(mut self, enabled: bool) -> Self {
        self.sdk_metrics = enabled;
        self
    }

    /// Sets the interval of the metric reader of [`install`](Exporters::install), by default one
    /// minute (`OTEL_METRIC_EXPORT_INTERVAL`). Must not be zero.
    pub fn with_metric_interval(mut self, interval: Duration) -> Self {
        self.code.all.sdk.metric_interval = Some(interval);
        self
    }

    /// Sets the sampler of [`install`](Exporters::install), instead of `OTEL_TRACES_SAMPLER` and
    /// `OTEL_TRACES_SAMPLER_ARG`.
    #[cfg(feature = "trace")]
    pub fn with_sampler(mut self, sampler: impl ShouldSample + 'static) -> Self {
        self.code.all.sdk.sampler = Some(Box::new(sampler));
        self
    }

    /// Sets how many attributes, events and links a span may have, instead of the variables
    /// `OTEL_SPAN_*_COUNT_LIMIT` and their like.
    #[cfg(feature = "trace")]
    pub fn with_span_limits(mut self, limits: SpanLimits) -> Self {
        self.code.all.sdk.span_limits = Some(limits);
        self
    }

    /// Sets the propagator of trace context between services, instead of `OTEL_PROPAGATORS`.
    /// Combine several in a [`TextMapCompositePropagator`].
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

    /// Adds attributes to the resource that [`install`](Exporters::install) gives its providers.
    /// They take precedence over `OTEL_RESOURCE_ATTRIBUTES` and detected attributes.
    pub fn with_resource_attributes(
        mut self,
        attributes: impl IntoIterator<Item = KeyValue>,
    ) -> Self {
        self.code.all.sdk.attributes.extend(attributes);
        self
    }

    /// Sets the resource that [`install`](Exporters::install) gives its providers, instead of the
    /// one that [`init`](crate::init) detects. The attributes that [`Resource::builder`] reads from
    /// the process's environment are dropped: it does not decode them.
    ///
    /// It takes precedence over `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`, which add only
    /// attributes that it lacks. The methods for single attributes take precedence over it.
    pub fn with_resource(mut self, resource: Resource) -> Self {
        self.code.all.sdk.resource = Some(without_environment(&resource));
        self
    }

    fn with_all(mut self, set: impl FnOnce(SignalBuilder) -> SignalBuilder) -> Self {
        self.code.all = set(SignalBuilder(self.code.all)).0;
        self
    }

    /// Reads and checks the environment and all files. No connection is made.
    ///
    /// With the feature `config-file`, `OTEL_CONFIG_FILE` names a file that is read instead of all
    /// other variables.
    ///
    /// A signal that is not sent by OTLP ([`with_enabled`](Self::with_enabled),
    /// `OTEL_SDK_DISABLED`, `OTEL_TRACES_EXPORTER` and so on) has no exporter, and its settings are
    /// not read.
    ///
    /// # Errors
    ///
    /// Every setting that cannot be used is an error that names the variable or builder call, the
    /// file, and the reason: see [`Error`]. There is no silent fallback.
    pub fn build(self) -> Result<Exporters, Error> {
        let env = self.env.unwrap_or_else(Env::process);
        let mut warnings = Vec::new();
        let (layers, switches) = load(self.code, env, self.defaults, &mut warnings)?;
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
            let same = pipelines
                .values()
                .find(|pipeline| pipeline.settings.connection_key() == settings.connection_key());
            let shared = match same {
                Some(pipeline) => Arc::clone(&pipeline.shared),
                None => {
                    let store = settings.tls.as_ref();
                    let store =
                        store.map(|tls| Store::load(&settings, tls, &identity)).transpose()?;
                    let store = store.map(Arc::new);
                    let client_config = store.as_ref().map(rotating_config);
                    let proxy = settings.proxy.as_ref();
                    let proxy =
                        proxy.map(|proxy| Store::of_proxy(proxy, &identity)).transpose()?.flatten();
                    let proxy = proxy.map(Arc::new);
                    Arc::new(Shared { store, client_config, proxy, transport: Mutex::default() })
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
            let (settings, pace, process) =
                (Arc::new(settings), Mutex::default(), Mutex::default());
            pipelines.insert(signal, Pipeline { settings, stats, pace, token, shared, process });
        }
        let mut sdk_warnings = Vec::new();
        let sdk = Sdk::resolve(&layers, &switches, &mut sdk_warnings);
        let metrics = match switches.is_exported(Signal::Metrics) {
            true => layers.fold(Signal::Metrics, &mut warnings)?,
            false => layers.code.of(Signal::Metrics).or(layers.defaults.of(Signal::Metrics)),
        };
        if !pipelines.is_empty() && !pipelines.values().any(Pipeline::is_checked) {
            warnings.extend(layers.unused_reload_interval());
        }

        let mut said = Vec::new();
        for warning in warnings {
            // A generic variable causes the same warning for all three signals.
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
