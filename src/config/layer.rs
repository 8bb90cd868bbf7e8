//! Layers of settings, one per source. Layers are folded into [`Settings`](super::Settings), the
//! one with the highest precedence first.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use opentelemetry_sdk::metrics::Temporality;

use super::env::Env;
use super::pem::Pem;
use super::sdk_layer::SdkLayer;
use super::values::{HistogramAggregation, RetryPolicy, TlsVersion, Value};
use super::variables::{
    DEFAULT_HISTOGRAM_AGGREGATION, RELOAD_INTERVAL, TEMPORALITY_PREFERENCE, Variable,
};
use super::warning::{Warning, accept};
use crate::error::Error;
use crate::origin::Sourced;
use crate::protocol::{Compression, Protocol};
use crate::signal::Signal;

/// The settings from one source: code for one signal or for all, the variables of one signal or of
/// all, or defaults from code. `None` leaves a setting to the next source.
#[derive(Clone, Default)]
pub(crate) struct Layer {
    /// The environment's value is in [`Switches`](super::Switches).
    pub(crate) enabled: Option<Sourced<bool>>,
    pub(crate) endpoint: Option<Sourced<EndpointText>>,
    pub(crate) protocol: Option<Sourced<Protocol>>,
    pub(crate) insecure: Option<Sourced<bool>>,
    pub(crate) ca: Option<Sourced<Pem>>,
    pub(crate) client_certificate: Option<Sourced<Pem>>,
    pub(crate) client_key: Option<Sourced<Pem>>,
    pub(crate) server_name: Option<Sourced<String>>,
    pub(crate) authority: Option<Sourced<String>>,
    pub(crate) server_spiffe_id: Option<Sourced<String>>,
    pub(crate) headers: Option<Sourced<HeadersText>>,
    pub(crate) bearer_token_file: Option<Sourced<PathBuf>>,
    pub(crate) compression: Option<Sourced<Option<Compression>>>,
    pub(crate) timeout: Option<Sourced<Duration>>,
    pub(crate) max_request_size: Option<usize>,
    pub(crate) max_response_size: Option<usize>,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) max_connection_age: Option<Duration>,
    pub(crate) retry: Option<RetryPolicy>,
    pub(crate) assume_http2: Option<bool>,
    pub(crate) min_tls_version: Option<TlsVersion>,
    pub(crate) system_roots: Option<bool>,
    /// For an `https://` proxy.
    pub(crate) proxy_ca: Option<Sourced<Pem>>,
    pub(crate) reload_interval: Option<Sourced<Duration>>,
    pub(crate) expiry_warning: Option<Duration>,
    pub(crate) temporality: Option<Sourced<Temporality>>,
    pub(crate) histogram_aggregation: Option<Sourced<HistogramAggregation>>,
    pub(crate) sdk: SdkLayer,
}

/// An endpoint before it is parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EndpointText {
    pub(crate) text: String,
    /// Whether it is for one signal, and so the whole URL over HTTP.
    pub(crate) is_whole: bool,
}

/// Headers before they are parsed. Their errors are reported only if they are used.
#[derive(Clone)]
pub(crate) enum HeadersText {
    Pairs(Vec<(String, String)>),
    /// From a variable, percent-encoded.
    Variable(String),
}

impl Layer {
    /// Settings of this layer, or else of the one below.
    pub(crate) fn or(self, below: Self) -> Self {
        Self {
            enabled: self.enabled.or(below.enabled),
            endpoint: self.endpoint.or(below.endpoint),
            protocol: self.protocol.or(below.protocol),
            insecure: self.insecure.or(below.insecure),
            ca: self.ca.or(below.ca),
            client_certificate: self.client_certificate.or(below.client_certificate),
            client_key: self.client_key.or(below.client_key),
            server_name: self.server_name.or(below.server_name),
            authority: self.authority.or(below.authority),
            server_spiffe_id: self.server_spiffe_id.or(below.server_spiffe_id),
            headers: self.headers.or(below.headers),
            bearer_token_file: self.bearer_token_file.or(below.bearer_token_file),
            compression: self.compression.or(below.compression),
            timeout: self.timeout.or(below.timeout),
            max_request_size: self.max_request_size.or(below.max_request_size),
            max_response_size: self.max_response_size.or(below.max_response_size),
            connect_timeout: self.connect_timeout.or(below.connect_timeout),
            max_connection_age: self.max_connection_age.or(below.max_connection_age),
            retry: self.retry.or(below.retry),
            assume_http2: self.assume_http2.or(below.assume_http2),
            min_tls_version: self.min_tls_version.or(below.min_tls_version),
            system_roots: self.system_roots.or(below.system_roots),
            proxy_ca: self.proxy_ca.or(below.proxy_ca),
            reload_interval: self.reload_interval.or(below.reload_interval),
            expiry_warning: self.expiry_warning.or(below.expiry_warning),
            temporality: self.temporality.or(below.temporality),
            histogram_aggregation: self.histogram_aggregation.or(below.histogram_aggregation),
            sdk: self.sdk.or(below.sdk),
        }
    }

    /// Settings of this layer, or else from variables of one signal or of all. A variable that is
    /// not needed is not read. A value that cannot be parsed is [ignored with a warning][spec].
    ///
    /// [spec]: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
    fn or_variables(self, read: &mut VariableReader<'_>) -> Result<Self, Error> {
        Ok(Self {
            endpoint: or_read(self.endpoint, || read.endpoint())?,
            protocol: or_read(self.protocol, || read.one_of(Variable::Protocol))?,
            insecure: or_read(self.insecure, || read.insecure())?,
            ca: self.ca.or_else(|| read.pem(Variable::Certificate)),
            client_certificate: self
                .client_certificate
                .or_else(|| read.pem(Variable::ClientCertificate)),
            client_key: self.client_key.or_else(|| read.pem(Variable::ClientKey)),
            headers: or_read(self.headers, || read.headers())?,
            compression: or_read(self.compression, || read.one_of(Variable::Compression))?,
            timeout: or_read(self.timeout, || read.one_of(Variable::Timeout))?,
            reload_interval: or_read(self.reload_interval, || read.single(RELOAD_INTERVAL, None))?,
            temporality: or_read(self.temporality, || {
                read.single(TEMPORALITY_PREFERENCE, Some(Signal::Metrics))
            })?,
            histogram_aggregation: or_read(self.histogram_aggregation, || {
                read.single(DEFAULT_HISTOGRAM_AGGREGATION, Some(Signal::Metrics))
            })?,
            ..self
        })
    }
}

/// The given value, or else the one read from a variable.
fn or_read<T>(
    set: Option<T>,
    read: impl FnOnce() -> Result<Option<T>, Error>,
) -> Result<Option<T>, Error> {
    match set {
        None => read(),
        set => Ok(set),
    }
}

/// Reads the variables of one signal or of all.
struct VariableReader<'a> {
    env: &'a Env,
    scope: Option<Signal>,
    warnings: &'a mut Vec<Warning>,
}

impl VariableReader<'_> {
    fn text(&self, variable: Variable) -> Result<Option<Sourced<String>>, Error> {
        self.env.text(&variable.name(self.scope))
    }

    fn endpoint(&self) -> Result<Option<Sourced<EndpointText>>, Error> {
        let is_whole = self.scope.is_some();
        let found = self.text(Variable::Endpoint)?;
        Ok(found.map(|found| found.map(|text| EndpointText { text, is_whole })))
    }

    fn headers(&self) -> Result<Option<Sourced<HeadersText>>, Error> {
        Ok(self.text(Variable::Headers)?.map(|found| found.map(HeadersText::Variable)))
    }

    fn pem(&self, variable: Variable) -> Option<Sourced<Pem>> {
        Some(self.env.path(&variable.name(self.scope))?.map(Pem::file))
    }

    /// [Every Boolean value other than `true` is `false`][spec], which is the safe value here.
    ///
    /// [spec]: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#boolean
    fn insecure(&mut self) -> Result<Option<Sourced<bool>>, Error> {
        let Some(found) = self.text(Variable::Insecure)? else {
            return Ok(None);
        };
        let origin = found.origin.clone();
        Ok(accept(found, self.warnings).or(Some(Sourced { value: false, origin })))
    }

    fn one_of<T: Value>(&mut self, variable: Variable) -> Result<Option<Sourced<T>>, Error> {
        Ok(self.text(variable)?.and_then(|found| accept(found, self.warnings)))
    }

    /// A variable that exists only once, for all signals or for one.
    fn single<T: Value>(
        &mut self,
        name: &str,
        scope: Option<Signal>,
    ) -> Result<Option<Sourced<T>>, Error> {
        if self.scope != scope {
            return Ok(None);
        }
        Ok(self.env.text(name)?.and_then(|found| accept(found, self.warnings)))
    }
}

/// Layers of one rank: settings for one signal take precedence over those for all.
#[derive(Clone, Default)]
pub(crate) struct Rank {
    pub(crate) all: Layer,
    pub(crate) own: BTreeMap<Signal, Layer>,
}

impl Rank {
    pub(crate) fn of(&self, signal: Signal) -> Layer {
        self.own.get(&signal).cloned().unwrap_or_default().or(self.all.clone())
    }

    #[cfg(all(feature = "config-file", feature = "trace"))]
    pub(super) fn without_propagator(mut self) -> Self {
        self.all.sdk.propagator = None;
        self
    }

    /// Settings of this layer, or else of the one below.
    #[cfg(feature = "config-file")]
    pub(super) fn or(mut self, below: Self) -> Self {
        for (signal, layer) in below.own {
            let own = self.own.remove(&signal).unwrap_or_default();
            self.own.insert(signal, own.or(layer));
        }
        Self { all: self.all.or(below.all), ..self }
    }
}

/// All layers: code, then the environment or a configuration file instead, then defaults from code.
#[derive(Clone)]
pub(crate) struct Layers {
    pub(crate) code: Rank,
    pub(crate) env: Env,
    /// Includes the settings of the configuration file.
    pub(crate) defaults: Rank,
    /// The configuration file.
    pub(crate) file: Option<PathBuf>,
}

impl Layers {
    /// A warning about the reload interval of the environment, if it is set, where nothing is reloaded.
    pub(crate) fn unused_reload_interval(&self) -> Option<Warning> {
        self.env.is_set(RELOAD_INTERVAL).then(|| Warning::WithoutEffect {
            variables: vec![RELOAD_INTERVAL],
            reason: ": no endpoint uses TLS, and there is no bearer token file",
        })
    }

    /// The folded layer of one signal.
    pub(crate) fn fold(&self, signal: Signal, warnings: &mut Vec<Warning>) -> Result<Layer, Error> {
        let mut layer = self.code.of(signal);
        for scope in [Some(signal), None] {
            layer = layer.or_variables(&mut VariableReader { env: &self.env, scope, warnings })?;
        }
        Ok(layer.or(self.defaults.of(signal)))
    }
}
