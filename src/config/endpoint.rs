//! Parses endpoints: the address, whether to use TLS, and the path.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

use crate::error::{EndpointProblem, Error};
use crate::origin::{Origin, Sourced};
use crate::secrets::{is_key_text, is_quoted};
use crate::signal::Signal;

/// One signal's collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) secure: bool,
    pub(crate) address: Address,
    /// The authority of requests. By default it is the host, and the port only if that is not the
    /// scheme's default, because many proxies do not recognise a default port.
    pub(crate) authority: Authority,
    /// The path of the request: the gRPC method, or the HTTP path and query.
    pub(crate) path: PathAndQuery,
    pub(crate) origin: Origin,
}

/// Where a collector listens. Hosts are compared case-insensitively, as in DNS.
#[derive(Clone, Debug, Eq)]
pub(crate) enum Address {
    /// A name or an IP literal, without the brackets of IPv6, and a port.
    Tcp { host: String, port: u16 },
    /// The absolute path of a Unix domain socket.
    Unix(PathBuf),
}

/// The authority for a Unix domain socket, as in [grpc-go] and gRPC's C core.
///
/// [grpc-go]: https://github.com/grpc/grpc-go/blob/master/internal/resolver/unix/unix.go
const SOCKET_AUTHORITY: &str = "localhost";

impl Endpoint {
    /// An OTLP/gRPC endpoint. The scheme decides about TLS, or `insecure` if there is none.
    pub(crate) fn grpc(
        endpoint: Sourced<String>,
        signal: Signal,
        insecure: bool,
    ) -> Result<Self, Error> {
        check_text(&endpoint)?;
        let host = match resolver(&endpoint.value) {
            None => None,
            Some(("unix", path)) => return Self::unix(&endpoint, path, signal),
            Some(("dns", name)) => Some(match name.strip_prefix("//") {
                None => name,
                // A DNS server would be before the third slash.
                Some(name) => name
                    .strip_prefix('/')
                    .ok_or_else(|| problem(&endpoint, EndpointProblem::DnsServer))?,
            }),
            Some((scheme, _)) => {
                let scheme = scheme.to_owned();
                return Err(problem(&endpoint, EndpointProblem::UnsupportedScheme { scheme }));
            }
        };
        let url = match (host.unwrap_or(&endpoint.value), insecure) {
            (url, _) if host.is_none() && url.contains("://") => url.to_owned(),
            (host, true) => format!("http://{host}"),
            (host, false) => format!("https://{host}"),
        };
        let (parsed, uri) = Self::parse(&endpoint, &url)?;
        // OTLP/gRPC cannot send a path: its path is the method's.
        match uri.path_and_query().map_or("/", |path| path.as_str()) {
            "" | "/" => Ok(Self { path: PathAndQuery::from_static(signal.grpc_path()), ..parsed }),
            path if path.starts_with("/?") || path.starts_with('?') => {
                Err(problem(&endpoint, EndpointProblem::QueryOverGrpc))
            }
            _ => {
                // If it contains an `@`, it may be the rest of a password.
                let path = match endpoint.value.contains('@') {
                    true => "/…".to_owned(),
                    false => shown_path(uri.path()),
                };
                Err(problem(&endpoint, EndpointProblem::PathOverGrpc { path }))
            }
        }
    }

    /// A Unix domain socket, in plaintext as in [otlptracegrpc]: `unix:/path` or `unix:///path`.
    ///
    /// [otlptracegrpc]: https://github.com/open-telemetry/opentelemetry-go/tree/main/exporters/otlp/otlptrace/otlptracegrpc
    fn unix(endpoint: &Sourced<String>, path: &str, signal: Signal) -> Result<Self, Error> {
        let path = Path::new(path.strip_prefix("//").unwrap_or(path));
        // A relative path would depend on the working directory. What precedes a third slash is a
        // host.
        if !path.has_root() {
            return Err(problem(endpoint, EndpointProblem::RelativeSocket));
        }
        check_socket(path)
            .map_err(|source| problem(endpoint, EndpointProblem::Socket { source }))?;
        Ok(Self {
            secure: false,
            address: Address::Unix(path.to_owned()),
            authority: Authority::from_static(SOCKET_AUTHORITY),
            path: PathAndQuery::from_static(signal.grpc_path()),
            origin: endpoint.origin.clone(),
        })
    }

    /// An OTLP/HTTP endpoint for all signals: the signal's path is appended.
    pub(crate) fn http(endpoint: Sourced<String>, signal: Signal) -> Result<Self, Error> {
        let (parsed, uri) = Self::parse(&endpoint, &endpoint.value)?;
        let prefix = uri.path().trim_end_matches('/');
        let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let path = format!("{prefix}/{}{query}", signal.http_path()).parse();
        let path =
            path.map_err(|source| problem(&endpoint, EndpointProblem::Invalid { source }))?;
        Ok(Self { path, ..parsed })
    }

    /// An OTLP/HTTP endpoint for one signal: used as is.
    pub(crate) fn http_as_is(endpoint: Sourced<String>) -> Result<Self, Error> {
        Self::parse(&endpoint, &endpoint.value).map(|(parsed, _)| parsed)
    }

    fn parse(endpoint: &Sourced<String>, url: &str) -> Result<(Self, Uri), Error> {
        check_text(endpoint)?;
        if url.contains('#') {
            return Err(problem(endpoint, EndpointProblem::Fragment));
        }
        let scheme = match url.split_once(':') {
            Some((scheme, rest)) if rest.starts_with("//") && is_scheme(scheme) => scheme,
            Some((scheme @ "unix", _)) => scheme,
            _ => return Err(problem(endpoint, EndpointProblem::NoScheme)),
        };
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => {
                let scheme = scheme.to_owned();
                return Err(problem(endpoint, EndpointProblem::UnsupportedScheme { scheme }));
            }
        };
        let authority = url.split_once("://").and_then(|(_, rest)| rest.split(['/', '?']).next());
        let host = authority.and_then(|authority| authority.rsplit('@').next());
        if host.is_some_and(|host| !host.is_ascii()) {
            return Err(problem(endpoint, EndpointProblem::HostNotAscii));
        }
        let uri: Uri =
            url.parse().map_err(|source| problem(endpoint, EndpointProblem::Invalid { source }))?;
        let Some(authority) = uri.authority() else {
            return Err(problem(endpoint, EndpointProblem::NoHost));
        };
        if authority.as_str().contains('@') {
            return Err(problem(endpoint, EndpointProblem::UserInfo));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(problem(endpoint, EndpointProblem::NoHost));
        }
        if !is_host(host) {
            return Err(problem(endpoint, EndpointProblem::InvalidHost));
        }
        let port = match authority.port() {
            // An empty port means the scheme's default (RFC 3986, section 3.2.3).
            None if !authority
                .as_str()
                .strip_suffix(':')
                .unwrap_or(authority.as_str())
                .ends_with(authority.host()) =>
            {
                return Err(problem(endpoint, EndpointProblem::InvalidPort));
            }
            None if secure => 443,
            None => 80,
            Some(port) if port.as_u16() == 0 => {
                return Err(problem(endpoint, EndpointProblem::InvalidPort));
            }
            Some(port) => port.as_u16(),
        };
        let authority = match (secure, port) {
            (true, 443) | (false, 80) => authority.host().parse(),
            _ => format!("{}:{port}", authority.host()).parse(),
        };
        let parsed = Self {
            secure,
            address: Address::Tcp { host: host.to_owned(), port },
            authority: authority
                .map_err(|source| problem(endpoint, EndpointProblem::Invalid { source }))?,
            path: uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")),
            origin: endpoint.origin.clone(),
        };
        Ok((parsed, uri))
    }

    /// The same endpoint with another authority.
    pub(super) fn with_authority(self, authority: Option<Sourced<String>>) -> Result<Self, Error> {
        let Some(Sourced { value, origin }) = authority else {
            return Ok(self);
        };
        match value.parse::<Authority>() {
            Ok(authority) if is_host_and_port(&authority) => Ok(Self { authority, ..self }),
            _ => Err(Error::Authority { origin, authority: shown(&value) }),
        }
    }

    /// The path without parts that may be a token.
    pub(crate) fn shown_path(&self) -> String {
        shown_path(self.path.path())
    }

    pub(crate) fn scheme(&self) -> Scheme {
        if self.secure { Scheme::HTTPS } else { Scheme::HTTP }
    }
}

impl Address {
    /// A name or an IP literal, without the brackets of IPv6.
    pub(crate) fn host(&self) -> &str {
        match self {
            Self::Tcp { host, .. } => host,
            Self::Unix(_) => SOCKET_AUTHORITY,
        }
    }

    /// `None` for a socket.
    pub(crate) fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp { port, .. } => Some(*port),
            Self::Unix(_) => None,
        }
    }

    /// The path of a socket.
    pub(crate) fn socket(&self) -> Option<&Path> {
        match self {
            Self::Tcp { .. } => None,
            Self::Unix(path) => Some(path),
        }
    }

    /// Whether it is this machine, so that no network is involved.
    pub(crate) fn is_this_machine(&self) -> bool {
        match self.host().parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_name) => self.host().eq_ignore_ascii_case("localhost"),
        }
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp { host, port }, Self::Tcp { host: other_host, port: other_port }) => {
                port == other_port && host.eq_ignore_ascii_case(other_host)
            }
            (Self::Unix(path), Self::Unix(other)) => path == other,
            _ => false,
        }
    }
}

/// Host and port as in an authority, or the path of a socket.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Tcp { .. } => write!(f, "{}://{}", self.scheme(), self.address),
            Address::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// Rejects text that cannot be an endpoint of any form.
fn check_text(endpoint: &Sourced<String>) -> Result<(), Error> {
    if is_quoted(&endpoint.value) {
        return Err(Error::Quoted { origin: endpoint.origin.clone() });
    }
    match ["${", "$("].iter().any(|start| endpoint.value.contains(start)) {
        true => Err(problem(endpoint, EndpointProblem::NotExpanded)),
        false => Ok(()),
    }
}

/// Splits off the scheme of a gRPC [name](https://github.com/grpc/grpc/blob/master/doc/naming.md).
/// Some of these names have no `//` to distinguish them from a host and a port.
fn resolver(endpoint: &str) -> Option<(&'static str, &str)> {
    const SCHEMES: [&str; 8] =
        ["dns", "ipv4", "ipv6", "passthrough", "unix", "unix-abstract", "vsock", "xds"];
    let (scheme, name) = endpoint.split_once(':')?;
    let known = SCHEMES.into_iter().find(|known| known.eq_ignore_ascii_case(scheme))?;
    let is_port = name.bytes().all(|byte| byte.is_ascii_digit());
    (!is_port).then_some((known, name))
}

/// Whether a socket can have this path: it may be too long or contain a NUL.
#[cfg(unix)]
fn check_socket(path: &Path) -> io::Result<()> {
    std::os::unix::net::SocketAddr::from_pathname(path).map(drop)
}

#[cfg(not(unix))]
fn check_socket(_path: &Path) -> io::Result<()> {
    let words = "on this platform there are no Unix domain sockets";
    Err(io::Error::new(io::ErrorKind::Unsupported, words))
}

/// Whether an authority is a valid host, with an optional valid port.
pub(super) fn is_host_and_port(authority: &Authority) -> bool {
    let host = authority.host();
    let name = host.trim_matches(['[', ']']);
    // A remaining `@` belongs to a password, in which it must be percent-encoded.
    !authority.as_str().contains('@')
        && !name.is_empty()
        && is_host(name)
        && match authority.port_u16() {
            Some(port) => port > 0,
            None => authority.as_str() == host,
        }
}

/// [RFC 3986, section 3.1](https://www.rfc-editor.org/rfc/rfc3986#section-3.1). Text with other
/// characters may contain a secret and is not shown as a scheme.
fn is_scheme(scheme: &str) -> bool {
    scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// Whether a host is an IP address or may be a DNS name. Anything else cannot be resolved, and may
/// be a misplaced secret.
fn is_host(host: &str) -> bool {
    let is_address = host.contains(':');
    let others = if is_address { ":.%-_" } else { "-_." };
    (is_address || is_short(host))
        && host.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c))
}

/// Whether a host is no longer than a DNS name may be ([RFC 1035, section
/// 2.3.4](https://www.rfc-editor.org/rfc/rfc1035#section-2.3.4)).
fn is_short(host: &str) -> bool {
    const LONGEST_LABEL: usize = 63;
    const LONGEST_NAME: usize = 253;
    host.trim_end_matches('.').len() <= LONGEST_NAME
        && host.split('.').all(|label| label.len() <= LONGEST_LABEL)
}

fn problem(endpoint: &Sourced<String>, problem: EndpointProblem) -> Error {
    Error::Endpoint { origin: endpoint.origin.clone(), value: shown(&endpoint.value), problem }
}

/// A possibly invalid endpoint without parts that may be secret: user information, query, fragment,
/// and the path except for a known end.
fn shown(value: &str) -> String {
    const HIDDEN: &str = "…";
    if is_key_text(value) {
        return HIDDEN.to_owned();
    }
    // A path on this machine is not secret.
    if matches!(resolver(value), Some(("unix", _))) && !value.contains('@') {
        return value.to_owned();
    }
    // Everything before an `@` may be a password, which may contain any character if it is not
    // percent-encoded.
    let (start, rest) = match (value.rsplit_once('@'), value.split_once("://")) {
        (Some((_, rest)), _) => ("…@".to_owned(), rest),
        (None, Some((scheme, rest))) if is_scheme(scheme) => (format!("{scheme}://"), rest),
        (None, Some((_, rest))) => (format!("{HIDDEN}://"), rest),
        (None, None) => (String::new(), value),
    };
    // The `@` belongs to a token.
    if value.split(['?', '#']).skip(1).any(|part| part.contains('@')) {
        return HIDDEN.to_owned();
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let is_shown = authority.chars().all(|c| c.is_alphanumeric() || "-._:[]${}()".contains(c))
        && authority.split(':').all(is_short);
    // Name and port. Either may be a password without a user.
    let authority = match authority.rsplit_once(':') {
        _ if !is_shown => HIDDEN.to_owned(),
        Some((host, port)) if !port.chars().all(|c| c.is_ascii_digit() || c == ']') => {
            format!("{host}:{HIDDEN}")
        }
        _ => authority.to_owned(),
    };
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let (path, rest) = rest.split_at(end);
    let rest = rest.chars().next().map(|mark| format!("{mark}{HIDDEN}")).unwrap_or_default();
    format!("{start}{authority}{}{rest}", shown_path(path))
}

/// A path without parts that may be a token: only an end that OTLP itself appends is shown.
pub(crate) fn shown_path(path: &str) -> String {
    match path_prefix(path) {
        "" | "/" => path.to_owned(),
        prefix => format!("/…{}", &path[prefix.len()..]),
    }
}

/// The part of a path that may be a token: all but the end that OTLP itself appends.
pub(crate) fn path_prefix(path: &str) -> &str {
    let before = |signal: Signal| path.strip_suffix(signal.http_path())?.strip_suffix('/');
    Signal::ALL.into_iter().find_map(before).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(value: &str) -> Sourced<String> {
        Sourced::builder("with_endpoint", value.to_owned())
    }

    #[test]
    fn http_endpoints() {
        for (rule, endpoint, expected) in [
            ("the signal's path is appended", "http://c:4318", "http://c:4318/v1/traces"),
            ("a trailing slash is not doubled", "http://c:4318/", "http://c:4318/v1/traces"),
            ("a prefix is kept", "http://c:4318/otlp", "http://c:4318/otlp/v1/traces"),
            ("a prefix may end in a slash", "http://c:4318/a/b/", "http://c:4318/a/b/v1/traces"),
            ("a query stays behind the path", "http://c:1/p?t=1", "http://c:1/p/v1/traces?t=1"),
            ("https without a port is 443", "https://c", "https://c:443/v1/traces"),
            ("http without a port is 80", "http://c", "http://c:80/v1/traces"),
            ("an empty port is none", "https://c:", "https://c:443/v1/traces"),
            ("an empty port is none", "http://[::1]:/a", "http://[::1]:80/a/v1/traces"),
            ("a scheme may be in capitals", "HTTPS://c", "https://c:443/v1/traces"),
            ("an IPv6 literal keeps its brackets", "https://[::1]:5", "https://[::1]:5/v1/traces"),
            ("an IPv6 literal needs no port", "https://[::1]", "https://[::1]:443/v1/traces"),
        ] {
            let endpoint = Endpoint::http(given(endpoint), Signal::Traces).unwrap();
            assert_eq!(format!("{endpoint}{}", endpoint.path), expected, "{rule}");
        }
    }

    #[test]
    fn http_endpoints_of_one_signal() {
        for (rule, endpoint, expected) in [
            ("nothing is appended", "http://c:4318/in", "http://c:4318/in"),
            ("a trailing slash stays", "http://c:4318/in/", "http://c:4318/in/"),
            ("an empty path is the root", "http://c:4318", "http://c:4318/"),
            ("a query stays", "http://c:4318/in?a=b", "http://c:4318/in?a=b"),
        ] {
            let endpoint = Endpoint::http_as_is(given(endpoint)).unwrap();
            assert_eq!(format!("{endpoint}{}", endpoint.path), expected, "{rule}");
        }
    }

    #[test]
    fn grpc_endpoints() {
        for (rule, endpoint, insecure, expected) in [
            ("https is TLS", "https://c:4317", false, "https://c:4317"),
            ("http is plaintext", "http://c:4317", false, "http://c:4317"),
            ("a scheme beats INSECURE", "https://c:4317", true, "https://c:4317"),
            ("no scheme is TLS", "c:4317", false, "https://c:4317"),
            ("no scheme and INSECURE is plaintext", "c:4317", true, "http://c:4317"),
            ("no scheme and no port", "c", false, "https://c:443"),
            ("no scheme and an empty port", "c:", false, "https://c:443"),
            ("no scheme and IPv6", "[::1]:4317", false, "https://[::1]:4317"),
            ("a lone slash is no path", "https://c:4317/", false, "https://c:4317"),
            ("a name of gRPC's", "dns:///c:4317", false, "https://c:4317"),
            ("has no scheme of its own", "dns:///c:4317", true, "http://c:4317"),
            ("and may have no slashes", "dns:c:4317", false, "https://c:4317"),
            ("a host may have the name of a scheme", "dns:4317", false, "https://dns:4317"),
        ] {
            let endpoint = Endpoint::grpc(given(endpoint), Signal::Logs, insecure).unwrap();
            assert_eq!(endpoint.to_string(), expected, "{rule}");
            assert_eq!(endpoint.path, Signal::Logs.grpc_path(), "{rule}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn sockets() {
        for endpoint in ["unix:/run/c.sock", "unix:///run/c.sock", "UNIX:///run/c.sock"] {
            let endpoint = Endpoint::grpc(given(endpoint), Signal::Logs, false).unwrap();
            assert_eq!(endpoint.address, Address::Unix("/run/c.sock".into()));
            assert_eq!(endpoint.to_string(), "unix:///run/c.sock");
            assert_eq!(endpoint.path, Signal::Logs.grpc_path());
            assert_eq!(endpoint.authority, "localhost");
            assert!(!endpoint.secure);
        }
        let long =
            Endpoint::grpc(given(&format!("unix:/{}", "a".repeat(200))), Signal::Logs, false);
        let long = long.unwrap_err();
        let Error::Endpoint { problem: EndpointProblem::Socket { source }, .. } = &long else {
            panic!("{long:?}")
        };
        assert_eq!(source.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn authorities() {
        let endpoint = || Endpoint::grpc(given("https://c:4317"), Signal::Logs, false).unwrap();
        let with = |authority: &str| {
            let authority = Sourced::builder("with_authority", authority.to_owned());
            endpoint().with_authority(Some(authority))
        };
        assert_eq!(endpoint().with_authority(None).unwrap(), endpoint());
        for authority in ["name", "name.example:4317", "[::1]:4317", "[::1]", "10.0.0.1"] {
            let named = with(authority).unwrap();
            assert_eq!(named.authority, authority);
            assert_eq!(named.address, endpoint().address);
        }
        for authority in
            ["", ":4317", "a b", "https://c", "c/path", "u:pw@c", "c:0", "c:99999", "c:"]
        {
            let error = with(authority).expect_err(authority).to_string();
            assert!(error.starts_with("with_authority(): "), "{error}");
            assert!(!error.contains("pw"), "{error}");
        }
    }

    #[test]
    fn refusals() {
        for (rule, grpc, endpoint, words) in [
            ("HTTP needs a scheme", false, "c:4318", "has no scheme"),
            ("HTTP knows no other scheme", false, "ftp://c", "scheme `ftp` is not supported"),
            ("no DNS server is asked", true, "dns://1.1.1.1/c", "write dns:///host"),
            ("nor another resolver", true, "xds:///c:4317", "scheme `xds`"),
            ("nor one without slashes", true, "unix-abstract:c", "scheme `unix-abstract`"),
            ("a socket has no place", true, "unix:c.sock", "relative path"),
            ("nor has it a host", true, "unix://c/run/c.sock", "relative path"),
            ("sockets are not HTTP's", false, "unix:///c.sock", "scheme `unix`"),
            ("gRPC's names are not HTTP's", false, "dns:///c:4318", "scheme `dns`"),
            ("gRPC has no path", true, "https://c:4317/otlp", "the path `/…`"),
            ("without a scheme neither", true, "c:4317/v1/logs", "the path `/v1/logs`"),
            ("a host is needed", false, "https://", "not a valid URL"),
            ("a port is a number", false, "https://c:http", "port"),
            ("port 0 cannot be dialled", true, "https://c:0", "port"),
            ("a fragment is never sent", false, "https://c#token", "has a fragment"),
            ("nor over gRPC", true, "c:4317#token", "has a fragment"),
            ("a name in another script", false, "https://kölle.example", "`xn--…`"),
            ("a variable", false, "https://${COLLECTOR}:4318", "not expanded"),
            ("as in Kubernetes", true, "$(COLLECTOR):4317", "not expanded"),
            ("quotes", false, "\"https://c\"", "in quotes"),
            ("a token in the path", true, "https://c/token/v1/traces", "the path `/…/v1/traces`"),
            ("two colons are no port", false, "https://c::", "not a valid URL"),
            ("a port has 16 bits", true, "https://c:70000", "port"),
            ("secrets belong in headers", false, "https://u:pw@c", "user information"),
            ("a query is no path either", true, "https://c/p?token", "the path `/…`"),
            ("a query over gRPC", true, "https://c?token", "because of its query"),
            ("and behind the root", true, "c:4317/?token", "because of its query"),
            ("a password with a `?` in it", false, "https://u:pw?x@c", ""),
            ("a password with a `/` in it", true, "http:/u:pw@4318/otlp/", ""),
            ("a scheme has no `@`", false, "pw@https://c", "has no scheme"),
        ] {
            let endpoint = given(endpoint);
            let error = if grpc {
                Endpoint::grpc(endpoint, Signal::Traces, false)
            } else {
                Endpoint::http(endpoint, Signal::Traces)
            };
            let error = error.expect_err(rule).to_string();
            assert!(error.contains("with_endpoint()"), "{rule}: {error}");
            assert!(error.contains(words), "{rule}: {error}");
            assert!(!error.contains("pw"), "{rule}: {error}");
            assert!(!error.contains("token"), "{rule}: {error}");
        }
    }

    #[test]
    fn shown_endpoints() {
        for (endpoint, expected) in [
            ("https://c:4318/v1/traces", "https://c:4318/v1/traces"),
            ("https://c:4318/", "https://c:4318/"),
            ("https://c/receiver/SECRET/v1/logs", "https://c/…/v1/logs"),
            ("https://c/SECRET", "https://c/…"),
            ("https://c/SECRETv1/logs", "https://c/…"),
            ("https://c?SECRET", "https://c?…"),
            ("https://c/a#SECRET", "https://c/…#…"),
            ("https://u:SECRET@c:4318/SECRET", "…@c:4318/…"),
            ("https://u:SEC/RET@c", "…@c"),
            ("https://u:SEC?RET@c", "…"),
            ("-----BEGIN PRIVATE KEY-----", "…"),
            ("unix:run/c.sock", "unix:run/c.sock"),
            ("unix:u:SECRET@c", "…@c"),
            ("https://${HOST}:4318", "https://${HOST}:4318"),
            ("collector", "collector"),
            ("key:SECRET", "key:…"),
            ("https://[::1]:4318", "https://[::1]:4318"),
            ("a=SECRET", "…"),
            (":80.SECRET://c", "…://c"),
        ] {
            assert_eq!(shown(endpoint), expected, "{endpoint}");
        }
    }
}
