//! What the text of a failure needs besides its kind: where settings and credentials come from.

use std::time::{Duration, SystemTime};

use rustls::pki_types::ServerName;

use super::evidence::Evidence;
use crate::config::{Origin, Settings, Variable};
use crate::error::{CredentialLocation, located};
use crate::text::{list, utc};
use crate::tls::{CertificateFacts, Generation, Validated};

/// The origin of the TLS configuration, if it is the caller's own.
pub(super) const CONFIGURATION: &str = "the configuration given to with_rustls_config()";

/// The protocols' default ports.
pub(super) const PORTS: &str = "4317 is usually OTLP/gRPC, 4318 OTLP/HTTP";

/// A timeout below this is too short for a handshake; probably seconds were meant.
const SHORT: Duration = Duration::from_secs(1);

/// The setter for the CAs of a proxy, which has no variable.
const PROXY_CA: &str = "with_proxy_ca_certificate()";

pub(super) struct Context<'a> {
    pub(super) settings: &'a Settings,
    pub(super) credentials: Option<&'a Generation>,
    /// The credentials used with the proxy.
    proxy_credentials: Option<&'a Generation>,
    /// Whether the failure is the proxy's instead of the collector's.
    is_proxy: bool,
    /// When the bearer token that was sent was read.
    pub(super) token_read: Option<SystemTime>,
    pub(super) now: SystemTime,
    pub(super) host: &'a str,
    /// Where the endpoint is set, or can be set.
    pub(super) endpoint: String,
    /// Where the protocol is set, or can be set.
    pub(super) protocol: String,
}

impl<'a> Context<'a> {
    pub(super) fn new(settings: &'a Settings, evidence: Option<&'a Evidence>) -> Self {
        let (endpoint, protocol) = (&settings.endpoint, &settings.protocol.origin);
        Self {
            settings,
            credentials: evidence.and_then(|evidence| evidence.credentials.as_deref()),
            proxy_credentials: evidence.and_then(|evidence| evidence.proxy_credentials.as_deref()),
            is_proxy: false,
            token_read: evidence.and_then(|evidence| evidence.token_read),
            now: SystemTime::now(),
            host: endpoint.address.host(),
            endpoint: settings.set_by(&endpoint.origin, Variable::Endpoint),
            protocol: settings.set_by(protocol, Variable::Protocol),
        }
    }

    pub(super) fn is_grpc(&self) -> bool {
        self.settings.protocol.is_grpc()
    }

    /// Whether the collector is dialled at a Unix domain socket.
    pub(super) fn is_socket(&self) -> bool {
        self.settings.endpoint.address.socket().is_some()
    }

    /// Text about the proxy, from a function for text about the collector.
    pub(super) fn with_proxy(&self, say: impl Fn(&Context<'_>) -> String) -> String {
        let settings = self.settings.of_proxy();
        let proxied = Context::new(settings.as_ref().unwrap_or(self.settings), None);
        say(&Context { credentials: self.proxy_credentials, is_proxy: true, ..proxied })
    }

    /// The settings of the name that the server's certificate must have.
    pub(super) fn name_setting(&self) -> String {
        match self.is_proxy {
            true => self.endpoint.clone(),
            false => format!("{}, or with_server_name()", self.endpoint),
        }
    }

    /// The variable that names the proxy.
    pub(super) fn proxy(&self) -> String {
        let proxy = self.settings.proxy.as_ref();
        proxy.map_or_else(String::new, |proxy| proxy.origin.to_string())
    }

    /// Where the timeout of an export is set, with its unit.
    pub(super) fn timeout(&self) -> String {
        match &self.settings.timeout.origin {
            Origin::Builder(method) => format!("{method}()"),
            origin @ (Origin::Variable(_) | Origin::File(_)) => {
                format!("{origin} (in milliseconds)")
            }
            Origin::Default => format!(
                "{} (in milliseconds) or with_timeout()",
                self.settings.named(Variable::Timeout)
            ),
        }
    }

    /// Whether `after` is the export's whole timeout.
    pub(super) fn is_timeout(&self, after: Duration) -> bool {
        *self.settings.timeout == Some(after)
    }

    /// Text to follow a duration: that it is the export's timeout, or `otherwise`.
    pub(super) fn whose(&self, after: Duration, otherwise: &'static str) -> &'static str {
        match self.is_timeout(after) {
            true => ", which is the timeout of the export",
            false => otherwise,
        }
    }

    /// The remedy for a step that took too long; if the export's timeout ended it, also to raise
    /// that.
    pub(super) fn or_longer(&self, after: Duration, remedy: String) -> String {
        match self.is_timeout(after) {
            true if after < SHORT => format!("raise {}", self.timeout()),
            true => format!("{remedy}, or raise {}", self.timeout()),
            false => remedy,
        }
    }

    /// The name that the server's certificate must have.
    pub(super) fn server_name(&self) -> String {
        match self.settings.tls.as_ref().map(|tls| &tls.server_name) {
            Some(ServerName::IpAddress(address)) => std::net::IpAddr::from(*address).to_string(),
            Some(ServerName::DnsName(name)) => name.as_ref().to_owned(),
            _ => self.host.to_owned(),
        }
    }

    fn validated(&self) -> Option<&Validated> {
        self.credentials?.validated.as_ref()
    }

    /// Our certificate with its intermediates; empty if they are unknown.
    pub(super) fn chain(&self) -> &[CertificateFacts] {
        self.validated().map_or(&[], |validated| &validated.chain)
    }

    /// Our certificate, if it is our only credential: the collector asked for it, and no headers
    /// are set.
    pub(super) fn only_identity(&self) -> Option<&CertificateFacts> {
        let Settings { headers, token, .. } = self.settings;
        let has_headers = headers.origin != Origin::Default || token.is_some();
        let is_sent = self.credentials.is_some_and(Generation::is_requested);
        self.chain().first().filter(|_| is_sent && !has_headers)
    }

    /// The origin of all credentials, if they come from a TLS configuration or a credential source.
    pub(super) fn brought_along(&self) -> Option<&'static str> {
        match self.credentials? {
            Generation { validated: None, .. } => Some(CONFIGURATION),
            Generation { is_from_source: true, .. } => {
                Some("the source given to with_credential_source()")
            }
            _ => None,
        }
    }

    /// Where a part of the credentials is set, or can be set, and the file.
    fn place(&self, variable: Variable, named: Option<&(Origin, CredentialLocation)>) -> String {
        match (self.brought_along(), named) {
            (Some(brought_along), _) => brought_along.to_owned(),
            (None, Some(named)) => located(named),
            (None, None) if self.is_proxy => format!("what {PROXY_CA} names"),
            (None, None) => format!("a file that {} names", self.settings.generic(variable)),
        }
    }

    pub(super) fn ca(&self) -> String {
        let named = self.validated().filter(|validated| validated.names_a_ca());
        self.place(Variable::Certificate, named.map(|validated| &validated.origins().ca))
    }

    /// Where our certificate comes from.
    pub(super) fn identity(&self) -> String {
        let named = self.validated().filter(|validated| !validated.chain.is_empty());
        let named = named.map(|validated| &validated.origins().certificate);
        self.place(Variable::ClientCertificate, named)
    }

    /// A note that a changed certificate will be reloaded.
    pub(super) fn taken_up(&self) -> &'static str {
        match self.validated().map(|validated| &validated.origins().certificate.1) {
            Some(CredentialLocation::File(_) | CredentialLocation::Source) => {
                "; the next export uses it"
            }
            _ => "",
        }
    }
}

/// The fact that says which name was expected.
pub(super) fn expected(context: &Context<'_>) -> String {
    let name = context.server_name();
    let origin = match name.eq_ignore_ascii_case(context.host) {
        true => context.endpoint.clone(),
        false => "with_server_name()".to_owned(),
    };
    format!("expected: {name}, by {origin}")
}

/// The fact that says what time it is.
pub(super) fn clock(context: &Context<'_>) -> String {
    format!("now: {}, by this machine's clock", utc(context.now))
}

/// The fact that says which CAs we trust.
pub(super) fn trusted(context: &Context<'_>) -> String {
    match (context.validated(), context.brought_along()) {
        (Some(validated), _) if validated.names_a_ca() => {
            let subjects: Vec<String> =
                validated.trust_anchors.iter().map(|facts| facts.subject.clone()).collect();
            let too = match context.credentials {
                Some(Generation { trusts_platform: true, .. }) => ", and the platform's roots",
                _ => "",
            };
            format!("we trust: {}, by {}{too}", list(&subjects), context.ca())
        }
        (Some(_), Some(source)) => {
            format!("we trust: the platform's roots, because {source} has no CA")
        }
        (Some(_), None) => format!(
            "we trust: the platform's roots, because {} is not set",
            match context.is_proxy {
                true => PROXY_CA.to_owned(),
                false => context.settings.named(Variable::Certificate),
            }
        ),
        (None, _) => "we trust: the roots given to with_rustls_config()".to_owned(),
    }
}

pub(super) fn correct_the_port(context: &Context<'_>, other: &str) -> String {
    let Context { endpoint, protocol, .. } = context;
    match context.is_socket() {
        true => format!("correct the socket in {endpoint}, or set {protocol} to {other}"),
        false => format!("correct the port in {endpoint} ({PORTS}), or set {protocol} to {other}"),
    }
}

pub(super) fn speak_tls(context: &Context<'_>) -> String {
    match context.is_socket() {
        true => "disable TLS for that socket at the collector".to_owned(),
        false => format!("begin {} with https://", context.endpoint),
    }
}

/// Another possible remedy: the port is usually the other protocol's.
pub(super) fn other_port(context: &Context<'_>) -> String {
    let port = context.settings.endpoint.address.port();
    let (port, other, value, own) = match (port, context.is_grpc()) {
        (Some(4317), false) => (4317, "OTLP/gRPC", "grpc", 4318),
        (Some(4318), true) => (4318, "OTLP/HTTP", "http/protobuf", 4317),
        _ => return String::new(),
    };
    let protocol = &context.protocol;
    format!("port {port} is usually {other}: if so, set {protocol} to {value}, or use port {own}")
}

/// Another possible remedy: servers that cannot decompress a request answer the same way.
pub(super) fn compression(context: &Context<'_>) -> String {
    context.settings.compression.as_ref().map_or_else(String::new, |compression| {
        let setting = context.settings.generic(Variable::Compression);
        format!("if it cannot read {}, change {setting}", compression.as_str())
    })
}

impl Settings {
    /// Where a value is set, or can be set.
    pub(super) fn set_by(&self, origin: &Origin, variable: Variable) -> String {
        match origin {
            Origin::Default => self.generic(variable),
            origin => origin.to_string(),
        }
    }

    /// A variable, with the equivalent method of the builder.
    fn generic(&self, variable: Variable) -> String {
        let method = match variable {
            Variable::Certificate => "with_ca_certificate",
            Variable::ClientCertificate | Variable::ClientKey => "with_client_identity",
            Variable::Compression => "with_compression",
            Variable::Endpoint => "with_endpoint",
            Variable::Headers => "with_headers",
            Variable::Insecure => "with_insecure",
            Variable::Protocol => "with_protocol",
            Variable::Timeout => "with_timeout",
        };
        format!("{} or {method}()", self.named(variable))
    }
}
