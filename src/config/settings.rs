//! The settings of one signal, resolved from its layers.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::uri::Authority;
use rustls::pki_types::ServerName;

use super::endpoint::{Address, Endpoint};
use super::headers;
use super::layer::{EndpointText, HeadersText, Layer, Layers};
use super::pem::Pem;
use super::proxy::{Proxy, proxy};
use super::spiffe::{NotSpiffe, SpiffeId};
use super::values::{RetryPolicy, TlsVersion};
use super::variables::{self, Variable};
use super::warning::{Warning, accept};
use crate::error::{Error, SpiffeIdProblem};
use crate::origin::{Origin, Sourced};
use crate::protocol::{Compression, Protocol};
use crate::signal::Signal;

/// The specification's default for `OTEL_EXPORTER_OTLP_TIMEOUT`.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// The default limit for name resolution, TCP and TLS together.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The upper limit of the connect timeout, so that computing instants cannot overflow.
const MAX_CONNECT_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// The default interval at which files are checked.
const DEFAULT_RELOAD_INTERVAL: Duration = Duration::from_secs(10);

/// The specification's default for [Max Request Size][spec], in bytes.
///
/// [spec]: https://opentelemetry.io/docs/specs/otel/protocol/exporter/#configuration-options
const DEFAULT_MAX_REQUEST_SIZE: usize = 64 * 1024 * 1024;

/// The specification's default for [Max Response Size][spec], in bytes.
///
/// [spec]: https://opentelemetry.io/docs/specs/otel/protocol/exporter/#configuration-options
const DEFAULT_MAX_RESPONSE_SIZE: usize = 4 * 1024 * 1024;

/// The settings of one signal's exporter.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) signal: Signal,
    pub(crate) endpoint: Endpoint,
    pub(crate) protocol: Sourced<Protocol>,
    /// `None` for a direct connection.
    pub(crate) proxy: Option<Proxy>,
    /// `None` over plaintext.
    pub(crate) tls: Option<TlsSettings>,
    pub(crate) connect_timeout: Duration,
    /// `None` for no limit.
    pub(crate) max_connection_age: Option<Duration>,
    /// Whether to speak HTTP/2 to a gRPC server without ALPN.
    pub(crate) assume_http2: bool,
    pub(crate) headers: Sourced<HeaderMap>,
    /// `None` without a bearer token.
    pub(crate) token: Option<TokenSettings>,
    pub(crate) compression: Sourced<Option<Compression>>,
    /// `None` for no limit.
    pub(crate) timeout: Sourced<Option<Duration>>,
    pub(crate) retry: RetryPolicy,
    /// In bytes, before compression.
    pub(crate) max_request_size: usize,
    /// In bytes.
    pub(crate) max_response_size: usize,
    /// The configuration file, if one is used instead of variables.
    pub(crate) config_file: Option<PathBuf>,
}

/// Trust anchors and client identity. Comparison ignores where the values came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsSettings {
    /// `None` for the platform's roots alone.
    pub(crate) ca: Option<Sourced<Pem>>,
    pub(crate) identity: Option<IdentitySettings>,
    /// The name for SNI, which the server's certificate must have.
    pub(crate) server_name: ServerName<'static>,
    /// The SPIFFE ID that its certificate must have instead of the name.
    pub(crate) server_spiffe_id: Option<Sourced<SpiffeId>>,
    pub(crate) min_version: TlsVersion,
    /// Whether the platform's roots are trusted in addition to a configured CA.
    pub(crate) system_roots: bool,
    pub(crate) reload_interval: Duration,
    /// `None` for a fraction of each certificate's lifetime.
    pub(crate) expiry_warning: Option<Duration>,
}

/// The file of a bearer token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenSettings {
    pub(crate) file: Sourced<PathBuf>,
    pub(crate) reload_interval: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdentitySettings {
    pub(crate) certificate: Sourced<Pem>,
    pub(crate) key: Sourced<Pem>,
}

impl Settings {
    /// Resolves one signal's settings. Problems that do not prevent its use become warnings.
    ///
    /// With `has_own_credentials`, certificates and keys come from the application instead of files
    /// and bytes.
    pub(crate) fn resolve(
        signal: Signal,
        layers: &Layers,
        has_own_credentials: bool,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, Error> {
        let layer = layers.fold(signal, warnings)?;
        let mut folded = Folded { signal, layer, layers, warnings };
        let protocol = folded.protocol()?;
        let endpoint = folded.endpoint(*protocol)?.with_authority(folded.layer.authority.take())?;
        let max_request_size = folded.max_request_size(*protocol);
        let headers = folded.headers()?;
        Ok(Self {
            signal,
            protocol,
            proxy: folded.proxy(&endpoint)?,
            tls: folded.tls(&endpoint, has_own_credentials)?,
            connect_timeout: folded
                .layer
                .connect_timeout
                .unwrap_or(DEFAULT_CONNECT_TIMEOUT)
                .min(MAX_CONNECT_TIMEOUT),
            max_connection_age: folded.layer.max_connection_age.filter(|age| !age.is_zero()),
            assume_http2: folded.layer.assume_http2.unwrap_or(false),
            token: folded.token(&endpoint, &headers)?,
            headers,
            compression: folded.compression()?,
            timeout: folded.timeout()?,
            retry: folded.layer.retry.take().unwrap_or_default(),
            max_request_size,
            max_response_size: folded.layer.max_response_size.unwrap_or(DEFAULT_MAX_RESPONSE_SIZE),
            config_file: layers.file.clone(),
            endpoint,
        })
    }

    /// The name of the generic setting, whether or not it is set: a variable, or a key of the
    /// configuration file.
    pub(crate) fn named(&self, variable: Variable) -> String {
        match &self.config_file {
            None => variable.name(None),
            Some(path) => format!("{} in {}", variable.key(), path.display()),
        }
    }

    /// The same settings for the connection to the proxy, to word failures of its TLS.
    pub(crate) fn of_proxy(&self) -> Option<Self> {
        let proxy = self.proxy.as_ref()?;
        let address = Address::Tcp { host: proxy.host().to_owned(), port: proxy.port() };
        let endpoint = Endpoint { address, origin: proxy.origin.clone(), ..self.endpoint.clone() };
        Some(Self { endpoint, tls: proxy.tls.clone(), ..self.clone() })
    }

    pub(crate) fn connection_key(&self) -> ConnectionKey<'_> {
        ConnectionKey {
            address: &self.endpoint.address,
            authority: &self.endpoint.authority,
            is_grpc: self.protocol.is_grpc(),
            proxy: self.proxy.as_ref(),
            tls: self.tls.as_ref(),
            connect_timeout: self.connect_timeout,
            assume_http2: self.assume_http2,
        }
    }
}

/// What a connection depends on: signals with equal keys share one. Path, headers, compression and timeout do not
/// matter.
#[derive(PartialEq)]
pub(crate) struct ConnectionKey<'a> {
    address: &'a Address,
    /// Compared case-insensitively.
    authority: &'a Authority,
    is_grpc: bool,
    proxy: Option<&'a Proxy>,
    tls: Option<&'a TlsSettings>,
    connect_timeout: Duration,
    assume_http2: bool,
}

/// The folded layers of one signal, which are parsed and checked here.
struct Folded<'a> {
    signal: Signal,
    layer: Layer,
    layers: &'a Layers,
    warnings: &'a mut Vec<Warning>,
}

impl Folded<'_> {
    fn protocol(&mut self) -> Result<Sourced<Protocol>, Error> {
        let protocol = self.layer.protocol.take();
        let protocol = protocol.unwrap_or(Sourced::default(Protocol::HttpProtobuf));
        match protocol.feature() {
            (_, true) => Ok(protocol),
            (feature, false) => Err(Error::ProtocolNotCompiled {
                origin: protocol.origin,
                protocol: protocol.value,
                feature,
            }),
        }
    }

    fn endpoint(&mut self, protocol: Protocol) -> Result<Endpoint, Error> {
        let endpoint = self.layer.endpoint.take().unwrap_or_else(|| {
            let port = if protocol.is_grpc() { 4317 } else { 4318 };
            let text = format!("http://localhost:{port}");
            Sourced::default(EndpointText { text, is_whole: false })
        });
        let is_whole = endpoint.is_whole;
        let endpoint = endpoint.map(|endpoint| endpoint.text);
        let insecure = self.layer.insecure.take();
        let endpoint = if protocol.is_grpc() {
            let insecure = insecure.as_ref().is_some_and(|insecure| **insecure);
            Endpoint::grpc(endpoint, self.signal, insecure)
        } else if is_whole {
            Endpoint::http_as_is(endpoint)
        } else {
            Endpoint::http(endpoint, self.signal)
        }?;
        if let Some(insecure) = insecure.filter(|insecure| **insecure == endpoint.secure) {
            self.warnings.push(Warning::SchemeBesideInsecure {
                insecure: insecure.origin,
                endpoint: endpoint.to_string(),
                origin: endpoint.origin.clone(),
            });
        }
        Ok(endpoint)
    }

    /// The proxy. No client certificate is presented to it.
    fn proxy(&mut self, endpoint: &Endpoint) -> Result<Option<Proxy>, Error> {
        let Some(mut proxy) = proxy(&self.layers.env, endpoint)? else {
            return Ok(None);
        };
        if proxy.is_secure() {
            let name = proxy.host().to_owned();
            let server_name = Sourced { value: name, origin: proxy.origin.clone() };
            let ca = self.layer.proxy_ca.take();
            proxy.tls = Some(self.trusting(ca, server_name)?);
        }
        Ok(Some(proxy))
    }

    /// Settings that verify a server of this name and present no client certificate.
    fn trusting(
        &self,
        ca: Option<Sourced<Pem>>,
        server_name: Sourced<String>,
    ) -> Result<TlsSettings, Error> {
        let Sourced { value: name, origin } = server_name;
        let server_name = ServerName::try_from(name.clone())
            .map_err(|_invalid| Error::ServerName { origin, name })?;
        Ok(TlsSettings {
            ca,
            identity: None,
            server_name,
            server_spiffe_id: None,
            min_version: self.layer.min_tls_version.unwrap_or(TlsVersion::Tls12),
            system_roots: false,
            reload_interval: self.reload_interval(),
            expiry_warning: self.layer.expiry_warning,
        })
    }

    fn tls(
        &mut self,
        endpoint: &Endpoint,
        has_own_credentials: bool,
    ) -> Result<Option<TlsSettings>, Error> {
        let (ca, certificate, key) = (
            self.layer.ca.take(),
            self.layer.client_certificate.take(),
            self.layer.client_key.take(),
        );
        if !endpoint.secure {
            let id = self.layer.server_spiffe_id.take().map(|id| id.origin);
            let pem = [ca, certificate, key].into_iter().flatten().map(|pem| pem.origin);
            let mut ignored: Vec<_> = pem.chain(id).collect();
            // Certificate and key have the same setter.
            ignored.dedup();
            if !ignored.is_empty() {
                self.warnings.push(Warning::TlsBesidePlaintext {
                    endpoint: endpoint.to_string(),
                    origin: endpoint.origin.clone(),
                    ignored,
                });
            }
            return Ok(None);
        }

        let server_name = self.layer.server_name.take().unwrap_or_else(|| Sourced {
            value: endpoint.address.host().to_owned(),
            origin: endpoint.origin.clone(),
        });
        let server_spiffe_id = self.layer.server_spiffe_id.take();
        let server_spiffe_id =
            server_spiffe_id.map(|Sourced { value, origin }| match value.parse::<SpiffeId>() {
                Ok(value) => Ok(Sourced { value, origin }),
                Err(NotSpiffe) => {
                    Err(Error::SpiffeId { origin, id: value, problem: SpiffeIdProblem::Syntax })
                }
            });
        let server = self.trusting(ca.filter(|_| !has_own_credentials), server_name)?;
        Ok(Some(TlsSettings {
            identity: match has_own_credentials {
                true => None,
                false => self.identity(certificate, key)?,
            },
            server_spiffe_id: server_spiffe_id.transpose()?,
            system_roots: self.layer.system_roots.unwrap_or(false),
            ..server
        }))
    }

    /// A certificate with its key. If one is missing, the error names the missing setting next to
    /// the one that is set.
    fn identity(
        &self,
        certificate: Option<Sourced<Pem>>,
        key: Option<Sourced<Pem>>,
    ) -> Result<Option<IdentitySettings>, Error> {
        let half = |given: Sourced<Pem>, variable: Variable, missing: Variable| {
            let is_own = given.origin == Origin::Variable(variable.name(Some(self.signal)));
            let label = match missing {
                Variable::ClientKey => "PRIVATE KEY-----",
                _ => "CERTIFICATE-----",
            };
            let is_beside = given.read().is_ok_and(|content| {
                content.windows(label.len()).any(|window| window == label.as_bytes())
            });
            let missing = missing.name(is_own.then_some(self.signal));
            Err(Error::IncompleteIdentity { given: given.origin, missing, is_beside })
        };
        match (certificate, key) {
            (Some(certificate), Some(key)) => Ok(Some(IdentitySettings { certificate, key })),
            (None, None) => Ok(None),
            (Some(given), None) => half(given, Variable::ClientCertificate, Variable::ClientKey),
            (None, Some(given)) => half(given, Variable::ClientKey, Variable::ClientCertificate),
        }
    }

    fn headers(&mut self) -> Result<Sourced<HeaderMap>, Error> {
        let Some(Sourced { value, origin }) = self.layer.headers.take() else {
            return Ok(Sourced::default(HeaderMap::new()));
        };
        let value = match value {
            HeadersText::Pairs(pairs) => headers::parse(pairs.into_iter().map(Ok), &origin)?,
            HeadersText::Variable(text) => headers::parse_variable(&text, &origin)?,
        };
        Ok(Sourced { value, origin })
    }

    fn token(
        &mut self,
        endpoint: &Endpoint,
        headers: &Sourced<HeaderMap>,
    ) -> Result<Option<TokenSettings>, Error> {
        let Some(file) = self.layer.bearer_token_file.take() else {
            return Ok(None);
        };
        if headers.contains_key(AUTHORIZATION) {
            let (header, token) = (headers.origin.clone(), file.origin);
            return Err(Error::TwoAuthorizations { header, token });
        }
        if !endpoint.secure && !endpoint.address.is_this_machine() {
            self.warnings.push(Warning::TokenOverPlaintext {
                endpoint: endpoint.to_string(),
                origin: endpoint.origin.clone(),
                token: file.origin.clone(),
            });
        }
        Ok(Some(TokenSettings { file, reload_interval: self.reload_interval() }))
    }

    fn reload_interval(&self) -> Duration {
        let interval = self.layer.reload_interval.as_ref();
        interval.map_or(DEFAULT_RELOAD_INTERVAL, |interval| interval.value)
    }

    fn max_request_size(&self, protocol: Protocol) -> usize {
        let size = match self.layer.max_request_size.unwrap_or(DEFAULT_MAX_REQUEST_SIZE) {
            // No limit.
            0 => usize::MAX,
            size => size,
        };
        match protocol {
            // gRPC message lengths have 32 bits.
            Protocol::Grpc => size.min(u32::MAX as usize),
            Protocol::HttpProtobuf | Protocol::HttpJson => size,
        }
    }

    fn compression(&mut self) -> Result<Sourced<Option<Compression>>, Error> {
        let compression = self.layer.compression.take().unwrap_or(Sourced::default(None));
        match compression.value {
            Some(wanted) if !wanted.is_compiled() => Err(Error::CompressionNotCompiled {
                origin: compression.origin,
                compression: wanted,
            }),
            _ => Ok(compression),
        }
    }

    fn timeout(&mut self) -> Result<Sourced<Option<Duration>>, Error> {
        let timeout = self.layer.timeout.take().unwrap_or(Sourced::default(DEFAULT_TIMEOUT));
        let timeout = timeout.map(|timeout| (!timeout.is_zero()).then_some(timeout));
        if self.layers.code.of(self.signal).timeout.is_some() {
            return Ok(timeout);
        }
        // The SDK's processors and reader leave this timeout to the exporter.
        let name = variables::export_timeout(self.signal);
        let Some(limit) = self.layers.env.text(name)? else {
            return Ok(timeout);
        };
        let limit = accept::<Duration>(limit, self.warnings);
        let is_shorter = |limit: &Sourced<Duration>| {
            !limit.is_zero() && timeout.is_none_or(|timeout| **limit < timeout)
        };
        Ok(limit.filter(is_shorter).map_or(timeout, |limit| limit.map(Some)))
    }
}

#[cfg(test)]
#[cfg(all(feature = "gzip", feature = "http-json", feature = "zstd"))]
mod properties;
#[cfg(test)]
mod tests;
