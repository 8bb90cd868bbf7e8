//! The proxy on the way to a collector, by the variables that curl and most others read.

use std::fmt;

use http::{HeaderValue, Uri};

#[cfg(feature = "proxy")]
pub(super) use from_env::proxy;

/// An HTTP proxy that connects us to the collector.
#[derive(Clone, Debug)]
pub(crate) struct Proxy {
    pub(crate) uri: Uri,
    /// Sensitive.
    pub(crate) authorization: Option<HeaderValue>,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.uri.authority().map_or("", |authority| authority.as_str()))
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
    use crate::config::endpoint::Endpoint;
    use crate::config::env::Env;
    use crate::error::Error;

    /// The proxy for an endpoint: by `HTTPS_PROXY` or `HTTP_PROXY`, after its scheme, else by
    /// `ALL_PROXY`, unless `NO_PROXY` names the host. Lower case wins.
    pub(crate) fn proxy(env: &Env, endpoint: &Endpoint) -> Result<Option<Proxy>, Error> {
        let either = |lower: &str| {
            let upper = lower.to_ascii_uppercase();
            Ok(env.text(lower)?.or(env.text(&upper)?))
        };
        let scheme = if endpoint.secure { "https_proxy" } else { "http_proxy" };
        let Some(named) = either(scheme)?.or(either("all_proxy")?) else {
            return Ok(None);
        };
        let no = either("no_proxy")?.map(|no| no.value).unwrap_or_default();
        let matcher = Matcher::builder().all(named.value.as_str()).no(no).build();
        let destination = format!("{endpoint}").parse::<Uri>();
        let Some(found) = destination.ok().and_then(|uri| matcher.intercept(&uri)) else {
            return Ok(None);
        };
        // Others would have to be spoken to by TLS or SOCKS.
        if found.uri().scheme_str() != Some("http") {
            return Err(Error::Proxy { origin: named.origin });
        }
        let authorization = found.basic_auth().cloned().map(|mut value| {
            value.set_sensitive(true);
            value
        });
        Ok(Some(Proxy { uri: found.uri().clone(), authorization }))
    }
}
