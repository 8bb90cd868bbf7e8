//! Builder values over environment values over defaults: one resolved [`Settings`] per signal.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use http::HeaderMap;
use opentelemetry_sdk::metrics::Temporality;
use rustls::pki_types::ServerName;

use super::endpoint::Endpoint;
use super::env::Env;
use super::headers;
use super::origin::{Origin, Sourced};
use super::overrides::Overrides;
use super::pem::Pem;
use super::proxy::{Proxy, proxy};
use super::values::{Compression, HistogramAggregation, Protocol};
use super::variables;
use crate::error::Error;
use crate::secrets::{is_quoted, shown};
use crate::signal::{
    DEFAULT_HISTOGRAM_AGGREGATION, RELOAD_INTERVAL, Signal, TEMPORALITY_PREFERENCE, Variable,
};
use crate::stderr;

/// The specification's default for `OTEL_EXPORTER_OTLP_TIMEOUT`.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// All that one signal's exporter needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) signal: Signal,
    pub(crate) endpoint: Endpoint,
    pub(crate) protocol: Protocol,
    /// `None` where nothing stands between us and the collector.
    pub(crate) proxy: Option<Proxy>,
    /// `None` over plaintext.
    pub(crate) tls: Option<TlsSettings>,
    pub(crate) headers: HeaderMap,
    pub(crate) compression: Option<Compression>,
    /// `None` for no limit.
    pub(crate) timeout: Option<Duration>,
    pub(crate) origins: Origins,
}

/// Where the values came from that have no [`Sourced`] of their own, for messages.
#[derive(Clone, Debug)]
pub(crate) struct Origins {
    pub(crate) protocol: Origin,
    pub(crate) headers: Origin,
    pub(crate) timeout: Origin,
}

/// Whom to trust, and who we are.
#[derive(Clone, Debug)]
pub(crate) struct TlsSettings {
    /// `None` for the platform's roots alone.
    pub(crate) ca: Option<Sourced<Pem>>,
    pub(crate) identity: Option<IdentitySettings>,
    /// The name that the server's certificate must have.
    pub(crate) server_name: ServerName<'static>,
}

#[derive(Clone, Debug)]
pub(crate) struct IdentitySettings {
    pub(crate) certificate: Sourced<Pem>,
    pub(crate) key: Sourced<Pem>,
}

impl PartialEq for TlsSettings {
    /// Equal in effect, wherever the values came from.
    fn eq(&self, other: &Self) -> bool {
        fn values(tls: &TlsSettings) -> (Option<&Pem>, Option<(&Pem, &Pem)>, &ServerName<'_>) {
            let identity = tls.identity.as_ref();
            (
                tls.ca.as_ref().map(|ca| &ca.value),
                identity.map(|identity| (&identity.certificate.value, &identity.key.value)),
                &tls.server_name,
            )
        }
        values(self) == values(other)
    }
}

/// What settings are resolved from.
#[derive(Clone, Copy)]
pub(crate) struct Inputs<'a> {
    /// What the builder has for one signal.
    pub(crate) specific: &'a Overrides,
    /// What the builder has for all of them.
    pub(crate) generic: &'a Overrides,
    pub(crate) env: &'a Env,
    /// Whether certificates and keys come from elsewhere than files and bytes.
    pub(crate) has_own_credentials: bool,
}

impl Settings {
    /// One signal's settings. What is merely odd becomes a warning.
    pub(crate) fn resolve(
        signal: Signal,
        inputs: Inputs<'_>,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, Error> {
        let mut resolver = Resolver { signal, inputs, warnings };
        let Sourced { value: protocol, origin: protocol_origin } = resolver.protocol()?;
        let endpoint = resolver.endpoint(protocol)?;
        let proxy = proxy(resolver.inputs.env, &endpoint)?;
        let tls = resolver.tls(&endpoint)?;
        let headers = resolver.headers()?;
        let compression = resolver.compression()?;
        let timeout = resolver.timeout()?;
        let origins =
            Origins { protocol: protocol_origin, headers: headers.origin, timeout: timeout.origin };
        Ok(Self {
            signal,
            endpoint,
            protocol,
            proxy,
            tls,
            headers: headers.value,
            compression,
            timeout: timeout.value,
            origins,
        })
    }

    /// Whether both signals can use one connection: path, headers, compression and timeout do not
    /// matter to it.
    pub(crate) fn share_connection(&self, other: &Self) -> bool {
        let address = |settings: &Self| {
            let Endpoint { secure, host, port, .. } = &settings.endpoint;
            (*secure, host.to_ascii_lowercase(), *port, settings.protocol.is_grpc())
        };
        address(self) == address(other) && self.tls == other.tls
    }
}

/// The temporality that the environment prefers.
pub(crate) fn temporality(
    env: &Env,
    warnings: &mut Vec<Warning>,
) -> Result<Option<Temporality>, Error> {
    let Some(found) = env.text(TEMPORALITY_PREFERENCE)? else {
        return Ok(None);
    };
    let expected = "cumulative, delta or lowmemory";
    Ok(accept(found, expected, warnings, |value| value.parse().ok()).map(|found| found.value))
}

/// The aggregation of histograms that the environment prefers.
pub(crate) fn histogram_aggregation(
    env: &Env,
    warnings: &mut Vec<Warning>,
) -> Result<Option<HistogramAggregation>, Error> {
    let Some(found) = env.text(DEFAULT_HISTOGRAM_AGGREGATION)? else {
        return Ok(None);
    };
    let expected = "explicit_bucket_histogram or base2_exponential_bucket_histogram";
    Ok(accept(found, expected, warnings, HistogramAggregation::parse).map(|found| found.value))
}

/// How often the environment wants files to be looked at.
pub(crate) fn reload_interval(
    env: &Env,
    warnings: &mut Vec<Warning>,
) -> Result<Option<Duration>, Error> {
    let Some(found) = env.text(RELOAD_INTERVAL)? else {
        return Ok(None);
    };
    Ok(accept(found, MILLISECONDS, warnings, milliseconds).map(|found| found.value))
}

const MILLISECONDS: &str = "a number of milliseconds";

fn milliseconds(value: &str) -> Option<Duration> {
    value.parse().ok().map(Duration::from_millis)
}

struct Resolver<'a> {
    signal: Signal,
    inputs: Inputs<'a>,
    warnings: &'a mut Vec<Warning>,
}

impl Resolver<'_> {
    /// What the builder has for this signal, or else for all of them.
    fn built<T>(&self, field: impl Fn(&Overrides) -> Option<T>) -> Option<T> {
        field(self.inputs.specific).or_else(|| field(self.inputs.generic))
    }

    /// What the environment has, by this signal's variable or else by the generic one. What
    /// cannot be understood is [warned of and ignored][spec].
    ///
    /// [spec]: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
    fn understood<T>(
        &mut self,
        variable: Variable,
        expected: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<Sourced<T>>, Error> {
        for scope in [Some(self.signal), None] {
            let Some(found) = self.inputs.env.text(&variable.name(scope))? else {
                continue;
            };
            if let Some(value) = accept(found, expected, self.warnings, &parse) {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    fn protocol(&mut self) -> Result<Sourced<Protocol>, Error> {
        let built = self.built(|given| given.protocol);
        let protocol = match built {
            Some(protocol) => Sourced::builder("with_protocol", protocol),
            None => self
                .understood(
                    Variable::Protocol,
                    "grpc, http/protobuf or http/json",
                    Protocol::parse,
                )?
                .unwrap_or(Sourced::default(Protocol::HttpProtobuf)),
        };
        match protocol.value.feature() {
            (_, true) => Ok(protocol),
            (feature, false) => Err(Error::ProtocolNotCompiled {
                origin: protocol.origin,
                protocol: protocol.value,
                feature,
            }),
        }
    }

    fn endpoint(&mut self, protocol: Protocol) -> Result<Endpoint, Error> {
        let builder = |endpoint: &String| Sourced::builder("with_endpoint", endpoint.clone());
        let signal = self.signal;
        let specific = Variable::Endpoint.name(Some(signal));
        let (endpoint, as_is) = if let Some(endpoint) = &self.inputs.specific.endpoint {
            (builder(endpoint), true)
        } else if let Some(endpoint) = &self.inputs.generic.endpoint {
            (builder(endpoint), false)
        } else if let Some(endpoint) = self.inputs.env.text(&specific)? {
            (endpoint, true)
        } else if let Some(endpoint) = self.inputs.env.text(&Variable::Endpoint.name(None))? {
            (endpoint, false)
        } else {
            let port = if protocol.is_grpc() { 4317 } else { 4318 };
            (Sourced::default(format!("http://localhost:{port}")), false)
        };
        if protocol.is_grpc() {
            let insecure = self.insecure()?;
            Endpoint::grpc(endpoint, signal, insecure)
        } else if as_is {
            Endpoint::http_as_is(endpoint)
        } else {
            Endpoint::http(endpoint, signal)
        }
    }

    fn insecure(&mut self) -> Result<bool, Error> {
        if let Some(insecure) = self.built(|given| given.insecure) {
            return Ok(insecure);
        }
        let Some(found) = self.inputs.env.signal_text(self.signal, Variable::Insecure)? else {
            return Ok(false);
        };
        Ok(boolean(found, self.warnings))
    }

    fn tls(&mut self, endpoint: &Endpoint) -> Result<Option<TlsSettings>, Error> {
        let pem = |variable| {
            self.inputs.env.signal_path(self.signal, variable).map(|found| found.map(Pem::file))
        };
        let ca = match self.built(|given| given.ca.clone()) {
            Some(pem) => Some(Sourced::builder("with_ca_certificate", pem)),
            None => pem(Variable::Certificate),
        };
        let (certificate, key) = match self.built(|given| given.identity.clone()) {
            Some((certificate, key)) => (
                Some(Sourced::builder("with_client_identity", certificate)),
                Some(Sourced::builder("with_client_identity", key)),
            ),
            None => (pem(Variable::ClientCertificate), pem(Variable::ClientKey)),
        };

        let server_name = match self.built(|given| given.server_name.clone()) {
            Some(name) => Sourced::builder("with_server_name", name),
            None => Sourced { value: endpoint.host.clone(), origin: endpoint.origin.clone() },
        };
        if !endpoint.secure {
            let ignored: Vec<_> =
                [ca, certificate, key].into_iter().flatten().map(|pem| pem.origin).collect();
            if !ignored.is_empty() {
                self.warnings.push(Warning::TlsBesidePlaintext {
                    endpoint: endpoint.to_string(),
                    origin: endpoint.origin.clone(),
                    ignored,
                });
            }
            return Ok(None);
        }

        let server_name = ServerName::try_from(server_name.value.clone()).map_err(|_invalid| {
            Error::ServerName { origin: server_name.origin, name: server_name.value }
        })?;
        if self.inputs.has_own_credentials {
            return Ok(Some(TlsSettings { ca: None, identity: None, server_name }));
        }
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => Some(IdentitySettings { certificate, key }),
            (None, None) => None,
            (Some(certificate), None) => {
                return Err(self.half(
                    certificate,
                    Variable::ClientCertificate,
                    Variable::ClientKey,
                ));
            }
            (None, Some(key)) => {
                return Err(self.half(key, Variable::ClientKey, Variable::ClientCertificate));
            }
        };
        Ok(Some(TlsSettings { ca, identity, server_name }))
    }

    /// The error for half an identity: the other half is missing in the same scope.
    fn half(&self, given: Sourced<Pem>, variable: Variable, missing: Variable) -> Error {
        let specific = given.origin == Origin::Variable(variable.name(Some(self.signal)));
        let label = match missing {
            Variable::ClientKey => "PRIVATE KEY-----",
            _ => "CERTIFICATE-----",
        };
        let is_beside = given.value.read().is_ok_and(|content| {
            content.windows(label.len()).any(|window| window == label.as_bytes())
        });
        let missing = missing.name(specific.then_some(self.signal));
        Error::IncompleteIdentity { given: given.origin, missing, is_beside }
    }

    fn headers(&mut self) -> Result<Sourced<HeaderMap>, Error> {
        if let Some(built) = self.built(|given| given.headers.clone()) {
            let origin = Origin::Builder("with_headers");
            let value = headers::parse(built.into_iter().map(Ok), &origin)?;
            return Ok(Sourced { value, origin });
        }
        match self.inputs.env.signal_text(self.signal, Variable::Headers)? {
            Some(found) => {
                Ok(Sourced { value: headers::parse_variable(&found)?, origin: found.origin })
            }
            None => Ok(Sourced::default(HeaderMap::new())),
        }
    }

    fn compression(&mut self) -> Result<Option<Compression>, Error> {
        let compression = match self.built(|given| given.compression) {
            Some(compression) => Sourced::builder("with_compression", compression),
            None => self
                .understood(Variable::Compression, "none, gzip or zstd", |value| {
                    if value.eq_ignore_ascii_case("none") {
                        Some(None)
                    } else {
                        Compression::parse(value).map(Some)
                    }
                })?
                .unwrap_or(Sourced::default(None)),
        };
        match compression.value {
            Some(wanted) if !wanted.is_compiled() => Err(Error::CompressionNotCompiled {
                origin: compression.origin,
                compression: wanted,
            }),
            compiled => Ok(compiled),
        }
    }

    fn timeout(&mut self) -> Result<Sourced<Option<Duration>>, Error> {
        let timeout = match self.built(|given| given.timeout) {
            Some(timeout) => Sourced::builder("with_timeout", timeout),
            None => self
                .understood(Variable::Timeout, MILLISECONDS, milliseconds)?
                .unwrap_or(Sourced::default(DEFAULT_TIMEOUT)),
        };
        let timeout = timeout.map(|timeout| (!timeout.is_zero()).then_some(timeout));
        if matches!(timeout.origin, Origin::Builder(_)) {
            return Ok(timeout);
        }
        // The SDK's processors and its reader leave this one to the exporter.
        let Some(found) = self.inputs.env.text(variables::export_timeout(self.signal))? else {
            return Ok(timeout);
        };
        let limit = accept(found, MILLISECONDS, self.warnings, milliseconds);
        let is_shorter = |limit: &Sourced<Duration>| {
            !limit.value.is_zero() && timeout.value.is_none_or(|timeout| limit.value < timeout)
        };
        Ok(limit.filter(is_shorter).map_or(timeout, |limit| limit.map(Some)))
    }
}

/// A Boolean, of which [all that is not `true` is `false`][spec]: always the safe reading.
///
/// [spec]: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#boolean
pub(super) fn boolean(found: Sourced<String>, warnings: &mut Vec<Warning>) -> bool {
    let understood = accept(found, "true or false", warnings, |value| {
        match value.to_ascii_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    });
    understood.is_some_and(|understood| understood.value)
}

pub(super) fn accept<T>(
    found: Sourced<String>,
    expected: &'static str,
    warnings: &mut Vec<Warning>,
    parse: impl Fn(&str) -> Option<T>,
) -> Option<Sourced<T>> {
    match parse(&found.value) {
        Some(value) => Some(Sourced { value, origin: found.origin }),
        None => {
            let Sourced { value, origin } = found;
            let expected = expected.into();
            warnings.push(Warning::NotUnderstood { origin, value, expected, used: None });
            None
        }
    }
}

/// What is odd about a configuration, and does not keep it from working.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Warning {
    NotUnderstood {
        origin: Origin,
        value: String,
        expected: Cow<'static, str>,
        /// What is used in its place; `None` for what others have, or for nothing.
        used: Option<String>,
    },
    NoneBesideOthers {
        origin: Origin,
        value: String,
    },
    TlsBesidePlaintext {
        endpoint: String,
        origin: Origin,
        ignored: Vec<Origin>,
    },
    /// A service without a name.
    UnknownService,
    /// Variables of the specification that neither this crate nor the SDK implements.
    WithoutEffect {
        variables: Vec<&'static str>,
    },
}

impl Warning {
    /// A value that is not used, and what is used in its place.
    pub(super) fn replaced(
        origin: Origin,
        value: String,
        expected: impl Into<Cow<'static, str>>,
        used: impl fmt::Display,
    ) -> Self {
        let (expected, used) = (expected.into(), Some(used.to_string()));
        Self::NotUnderstood { origin, value, expected, used }
    }

    pub(crate) fn tell(&self) {
        tracing::warn!(name: "otlp_mtls.configuration", "{self}");
        stderr::write_unless_heard(self);
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUnderstood { origin, value, expected, used } => {
                let quoted = if is_quoted(value) { ": remove the quotes" } else { "" };
                write!(f, "{origin}: {} is ignored, expected {expected}{quoted}", shown(value))?;
                used.iter().try_for_each(|used| write!(f, "; using {used}"))
            }
            Self::UnknownService => f.write_str(
                "the service has no name, and is `unknown_service` to every backend: set \
                 OTEL_SERVICE_NAME or with_service_name()",
            ),
            Self::WithoutEffect { variables } => {
                write!(
                    f,
                    "{}: no effect, because the SDK for Rust has no such",
                    variables.join(", ")
                )?;
                f.write_str(if variables.len() == 1 { " setting" } else { " settings" })
            }
            Self::NoneBesideOthers { origin, value } => {
                write!(f, "{origin}: {} has `none` beside others, and `none` wins", shown(value))
            }
            Self::TlsBesidePlaintext { endpoint, origin, ignored } => {
                write!(f, "{endpoint} ({origin}) is plaintext, so there is no use for ")?;
                for (index, origin) in ignored.iter().enumerate() {
                    write!(f, "{}{origin}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str(": for TLS, let the endpoint begin with https://")
            }
        }
    }
}

#[cfg(test)]
#[cfg(all(feature = "gzip", feature = "http-json", feature = "zstd"))]
mod properties;
#[cfg(test)]
mod tests;
