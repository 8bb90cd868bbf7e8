//! The proxy for a collector, from the variables that curl and most programs read.

use std::fmt;

use http::uri::Scheme;
use http::{HeaderValue, Uri};

use super::settings::TlsSettings;
use crate::origin::Origin;

#[cfg(feature = "proxy")]
pub(super) use from_env::proxy;

/// An HTTP proxy to the collector.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Proxy {
    pub(crate) uri: Uri,
    /// The variable.
    pub(crate) origin: Origin,
    /// Marked as sensitive.
    pub(crate) authorization: Option<HeaderValue>,
    /// `None` if the proxy is spoken to in plaintext.
    pub(crate) tls: Option<TlsSettings>,
}

impl Proxy {
    pub(crate) fn is_secure(&self) -> bool {
        self.uri.scheme() == Some(&Scheme::HTTPS)
    }

    /// A name or an IP literal, without the brackets of IPv6.
    pub(crate) fn host(&self) -> &str {
        self.uri.host().unwrap_or_default().trim_matches(['[', ']'])
    }

    pub(crate) fn port(&self) -> u16 {
        self.uri.port_u16().unwrap_or(if self.is_secure() { 443 } else { 80 })
    }
}

/// Shown without user and password.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uri.host().unwrap_or_default(), self.port())
    }
}

/// Without the feature `proxy` the variables are not read.
#[cfg(not(feature = "proxy"))]
pub(super) fn proxy(
    _env: &super::env::Env,
    _endpoint: &super::endpoint::Endpoint,
) -> Result<Option<Proxy>, crate::error::Error> {
    Ok(None)
}

#[cfg(feature = "proxy")]
mod from_env {
    use http::Uri;
    use hyper_util::client::proxy::matcher::Matcher;

    use super::Proxy;
    use crate::config::endpoint::{Address, Endpoint, is_host_and_port};
    use crate::config::env::Env;
    use crate::config::no_proxy;
    use crate::error::Error;
    use crate::origin::Sourced;
    use crate::secrets::is_quoted;

    /// The proxy for an endpoint: `HTTPS_PROXY` or `HTTP_PROXY` by its scheme, else `ALL_PROXY`,
    /// unless `NO_PROXY` matches the host. Lower-case names take precedence. As in Go, this machine
    /// is never reached through a proxy.
    pub(crate) fn proxy(env: &Env, endpoint: &Endpoint) -> Result<Option<Proxy>, Error> {
        let Address::Tcp { host, port } = &endpoint.address else {
            return Ok(None);
        };
        if endpoint.address.is_this_machine() {
            return Ok(None);
        }
        // In CGI, HTTP_PROXY may come from the header `Proxy` of a request (httpoxy).
        let is_cgi = env.text("REQUEST_METHOD")?.is_some();
        let either = |lower: &str| match env.text(lower)? {
            None if is_cgi && lower == "http_proxy" => Ok(None),
            None => env.text(&lower.to_ascii_uppercase()),
            found => Ok(found),
        };
        let scheme = if endpoint.secure { "https_proxy" } else { "http_proxy" };
        let Some(named) = either(scheme)?.or(either("all_proxy")?) else {
            return Ok(None);
        };
        let is_named = |no: Sourced<String>| no_proxy::names(&no.value, host, *port);
        if either("no_proxy")?.is_some_and(is_named) {
            return Ok(None);
        }
        if is_quoted(&named.value) {
            return Err(Error::Quoted { origin: named.origin });
        }
        // Cannot fail: the endpoint was already parsed.
        let destination = endpoint.to_string().parse::<Uri>().unwrap_or_default();
        let matcher = Matcher::builder().all(named.value.as_str()).build();
        // Other schemes mean SOCKS, which is not supported, and an invalid URL would silently be
        // ignored.
        let usable = matcher.intercept(&destination).filter(|found| {
            matches!(found.uri().scheme_str(), Some("http" | "https"))
                && found.uri().authority().is_some_and(is_host_and_port)
        });
        let Some(found) = usable else {
            return Err(Error::Proxy { origin: named.origin });
        };
        let authorization = found.basic_auth().cloned().map(|mut value| {
            value.set_sensitive(true);
            value
        });
        let uri = found.uri().clone();
        Ok(Some(Proxy { uri, origin: named.origin, authorization, tls: None }))
    }
}

#[cfg(test)]
#[cfg(feature = "proxy")]
mod tests {
    use super::*;
    use crate::config::endpoint::Endpoint;
    use crate::config::env::Env;
    use crate::origin::Sourced;
    use crate::signal::Signal;

    fn proxy_for(
        endpoint: &str,
        vars: &'static [(&str, &str)],
    ) -> Result<Option<String>, crate::error::Error> {
        let endpoint = Sourced::builder("with_endpoint", endpoint.to_owned());
        let endpoint = Endpoint::http(endpoint, Signal::Traces).unwrap();
        let env = Env::new(|name| {
            vars.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
        });
        Ok(proxy(&env, &endpoint)?.map(|proxy| proxy.to_string()))
    }

    #[test]
    fn which_proxy() {
        for (rule, endpoint, vars, expected) in [
            ("none is set", "https://c", &[][..], None),
            ("by scheme", "https://c", &[("HTTPS_PROXY", "http://p:1")], Some("p:1")),
            ("not by the other", "https://c", &[("HTTP_PROXY", "http://p:1")], None),
            ("plaintext", "http://c", &[("HTTP_PROXY", "http://p:1")], Some("p:1")),
            (
                "a web server's",
                "http://c",
                &[("HTTP_PROXY", "http://p:1"), ("REQUEST_METHOD", "GET")],
                None,
            ),
            ("for all", "https://c", &[("ALL_PROXY", "http://p:1")], Some("p:1")),
            (
                "lower case wins",
                "https://c",
                &[("https_proxy", "http://p:1"), ("HTTPS_PROXY", "http://q:2")],
                Some("p:1"),
            ),
            ("no scheme is http", "https://c", &[("HTTPS_PROXY", "p:1")], Some("p:1")),
            ("no port", "https://c", &[("HTTPS_PROXY", "http://p")], Some("p:80")),
            ("no port over TLS", "https://c", &[("HTTPS_PROXY", "https://p")], Some("p:443")),
            ("TLS to the proxy alone", "http://c", &[("HTTP_PROXY", "https://p:1")], Some("p:1")),
            (
                "a password is not shown",
                "https://c",
                &[("HTTPS_PROXY", "http://u:pw@p:1")],
                Some("p:1"),
            ),
            (
                "but for some",
                "https://a.c",
                &[("HTTPS_PROXY", "http://p:1"), ("NO_PROXY", "b, .c")],
                None,
            ),
            (
                "one that cannot be used is not asked",
                "https://a.c",
                &[("HTTPS_PROXY", "socks5://p:1"), ("NO_PROXY", ".c")],
                None,
            ),
            (
                "nor one in quotes",
                "https://c",
                &[("ALL_PROXY", "'http://p:1'"), ("NO_PROXY", "*")],
                None,
            ),
            ("empty is unset", "https://c", &[("HTTPS_PROXY", " ")], None),
            ("this machine", "https://localhost", &[("HTTPS_PROXY", "http://p:1")], None),
            ("this machine's address", "https://[::1]", &[("HTTPS_PROXY", "http://p:1")], None),
        ] {
            assert_eq!(proxy_for(endpoint, vars).unwrap().as_deref(), expected, "{rule}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        for vars in [
            &[("HTTPS_PROXY", "socks5://u:pw@p:1")][..],
            &[("HTTPS_PROXY", "https://u:pw@pro xy:1")],
            &[("HTTPS_PROXY", "ftp://u:pw@p:1")],
            &[("HTTPS_PROXY", "http://u:pw@pro xy:1")],
            &[("HTTPS_PROXY", "http://u:pw@[proxy:0")],
            &[("HTTPS_PROXY", "http://u:pw@proxy:99999")],
            &[("HTTPS_PROXY", "::")],
            &[("HTTPS_PROXY", "http://u:p@pw@p:1")],
        ] {
            let error = proxy_for("https://c", vars).expect_err(vars[0].1);
            let words = format!("{error:?}");
            assert!(words.starts_with("HTTPS_PROXY: "), "{words}");
            assert!(!words.contains("pw"), "{words}");
        }
    }
}
