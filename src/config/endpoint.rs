//! An endpoint, parsed: where to dial, whether under TLS, and which path to ask for.

use std::fmt;

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
    /// A name or an IP literal, without the brackets of IPv6.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// What the server is told it is called: the host, and the port if it is not the scheme's own,
    /// which many a proxy would not recognise.
    pub(crate) authority: Authority,
    /// What the request asks for: the gRPC method, or the HTTP path and query.
    pub(crate) path: PathAndQuery,
    pub(crate) origin: Origin,
}

impl Endpoint {
    /// An OTLP/gRPC endpoint: the scheme decides on TLS, and without one `insecure` does.
    pub(crate) fn grpc(
        endpoint: Sourced<String>,
        signal: Signal,
        insecure: bool,
    ) -> Result<Self, Error> {
        // As gRPC [names](https://github.com/grpc/grpc/blob/master/doc/naming.md) what DNS resolves.
        let value = endpoint.value.strip_prefix("dns:///").unwrap_or(&endpoint.value);
        // Named by gRPC as well, with no `//` that would tell them from a host and a port.
        let names_scheme = value.contains("://") || value.starts_with("unix:");
        let url = match (names_scheme, insecure) {
            (true, _) => value.to_owned(),
            (false, true) => format!("http://{value}"),
            (false, false) => format!("https://{value}"),
        };
        let (parsed, uri) = Self::parse(&endpoint, &url)?;
        // OTLP/gRPC has no place for a prefix: its path is the method's.
        match uri.path_and_query().map_or("/", |path| path.as_str()) {
            "" | "/" => Ok(Self { path: PathAndQuery::from_static(signal.grpc_path()), ..parsed }),
            path if path.starts_with("/?") || path.starts_with('?') => {
                Err(problem(&endpoint, EndpointProblem::QueryOverGrpc))
            }
            _ => {
                // With an `@` in it, it may be the rest of a password.
                let path = match endpoint.value.contains('@') {
                    true => "/…".to_owned(),
                    false => shown_path(uri.path()),
                };
                Err(problem(&endpoint, EndpointProblem::PathOverGrpc { path }))
            }
        }
    }

    /// An OTLP/HTTP endpoint for all signals: each appends its own path.
    pub(crate) fn http(endpoint: Sourced<String>, signal: Signal) -> Result<Self, Error> {
        let (parsed, uri) = Self::parse(&endpoint, &endpoint.value)?;
        let prefix = uri.path().trim_end_matches('/');
        let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let path = format!("{prefix}/{}{query}", signal.http_path()).parse();
        let path =
            path.map_err(|source| problem(&endpoint, EndpointProblem::Invalid { source }))?;
        Ok(Self { path, ..parsed })
    }

    /// An OTLP/HTTP endpoint for one signal: used as it stands.
    pub(crate) fn http_as_is(endpoint: Sourced<String>) -> Result<Self, Error> {
        Self::parse(&endpoint, &endpoint.value).map(|(parsed, _)| parsed)
    }

    fn parse(endpoint: &Sourced<String>, url: &str) -> Result<(Self, Uri), Error> {
        if is_quoted(&endpoint.value) {
            return Err(Error::Quoted { origin: endpoint.origin.clone() });
        }
        if ["${", "$("].iter().any(|start| url.contains(start)) {
            return Err(problem(endpoint, EndpointProblem::NotExpanded));
        }
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
            // An empty port is the scheme's own (RFC 3986, section 3.2.3).
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
            host: host.to_owned(),
            port,
            authority: authority
                .map_err(|source| problem(endpoint, EndpointProblem::Invalid { source }))?,
            path: uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")),
            origin: endpoint.origin.clone(),
        };
        Ok((parsed, uri))
    }

    /// The path without what may be a token in it.
    pub(crate) fn shown_path(&self) -> String {
        shown_path(self.path.path())
    }

    pub(crate) fn scheme(&self) -> Scheme {
        if self.secure { Scheme::HTTPS } else { Scheme::HTTP }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { authority, port, .. } = self;
        write!(f, "{}://{authority}", self.scheme())?;
        if authority.port().is_none() {
            write!(f, ":{port}")?;
        }
        Ok(())
    }
}

/// [RFC 3986, section 3.1](https://www.rfc-editor.org/rfc/rfc3986#section-3.1). What has other
/// characters may have a secret in it, and is not shown as a scheme.
fn is_scheme(scheme: &str) -> bool {
    scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// Whether a host is an address or may be a name. Anything else would be looked up in vain, and may be
/// a secret that is in the wrong place.
pub(super) fn is_host(host: &str) -> bool {
    let is_address = host.contains(':');
    let others = if is_address { ":.%-_" } else { "-_." };
    (is_address || is_short(host))
        && host.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c))
}

/// Whether a host is no longer than names of DNS are ([RFC 1035, section 2.3.4](https://www.rfc-editor.org/rfc/rfc1035#section-2.3.4)).
fn is_short(host: &str) -> bool {
    const LONGEST_LABEL: usize = 63;
    const LONGEST_NAME: usize = 253;
    host.trim_end_matches('.').len() <= LONGEST_NAME
        && host.split('.').all(|label| label.len() <= LONGEST_LABEL)
}

fn problem(endpoint: &Sourced<String>, problem: EndpointProblem) -> Error {
    Error::Endpoint { origin: endpoint.origin.clone(), value: shown(&endpoint.value), problem }
}

/// An endpoint, whatever is wrong with it, without what may be a secret: user information, query,
/// fragment, and a path but for its known end.
fn shown(value: &str) -> String {
    const HIDDEN: &str = "…";
    if is_key_text(value) {
        return HIDDEN.to_owned();
    }
    // All before an `@` may be a password, which has any character when it is not percent-encoded.
    let (start, rest) = match (value.rsplit_once('@'), value.split_once("://")) {
        (Some((_, rest)), _) => ("…@".to_owned(), rest),
        (None, Some((scheme, rest))) if is_scheme(scheme) => (format!("{scheme}://"), rest),
        (None, Some((_, rest))) => (format!("{HIDDEN}://"), rest),
        (None, None) => (String::new(), value),
    };
    // What the `@` belongs to is a token.
    if value.split(['?', '#']).skip(1).any(|part| part.contains('@')) {
        return HIDDEN.to_owned();
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let is_shown = authority.chars().all(|c| c.is_alphanumeric() || "-._:[]${}()".contains(c))
        && authority.split(':').all(is_short);
    // The name and the port, of which each may be a password in front of which there is no user.
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

/// A path, of which all but an end that OTLP gives it may be a token.
pub(crate) fn shown_path(path: &str) -> String {
    let known = Signal::ALL.into_iter().find_map(|signal| {
        let (before, _) =
            path.split_at_checked(path.len().checked_sub(signal.http_path().len())?)?;
        let before = before.strip_suffix('/')?;
        path.ends_with(signal.http_path()).then_some((before, signal.http_path()))
    });
    match known {
        Some(("", tail)) => format!("/{tail}"),
        Some((_, tail)) => format!("/…/{tail}"),
        None if path.is_empty() || path == "/" => path.to_owned(),
        None => "/…".to_owned(),
    }
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
        ] {
            let endpoint = Endpoint::grpc(given(endpoint), Signal::Logs, insecure).unwrap();
            assert_eq!(endpoint.to_string(), expected, "{rule}");
            assert_eq!(endpoint.path, Signal::Logs.grpc_path(), "{rule}");
        }
    }

    #[test]
    fn refusals() {
        for (rule, grpc, endpoint, words) in [
            ("HTTP needs a scheme", false, "c:4318", "has no scheme"),
            ("HTTP knows no other scheme", false, "ftp://c", "scheme `ftp` is not supported"),
            ("gRPC knows no unix sockets", true, "unix:/run/c.sock", "scheme `unix`"),
            ("nor with slashes", true, "unix:///run/c.sock", "scheme `unix`"),
            ("no DNS server is asked by name", true, "dns://1.1.1.1/c:4317", "scheme `dns`"),
            ("nor another resolver", true, "xds:///c:4317", "scheme `xds`"),
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
    fn what_is_shown() {
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
