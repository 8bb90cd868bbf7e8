//! Failures before there is a TCP connection: name resolution, dialling, and a proxy.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::context::{Context, PORTS};
use super::describe::{Description, Group, Say, TRANSIENT};
use super::kind::{Cure, FailureKind, Side};
use crate::config::Proxy;

impl FailureKind {
    /// The failure for a TCP connection that could not be made.
    pub(crate) fn connect(source: io::Error) -> Self {
        let kind = source.kind();
        let source = Arc::new(source);
        match kind {
            io::ErrorKind::ConnectionRefused => Self::ConnectionRefused { source },
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                Self::Unreachable { source }
            }
            _ => Self::Connect { source },
        }
    }
}

pub(super) fn resolve(source: &Arc<io::Error>) -> Description<'_> {
    Description::new("resolve", Group::Connect, TRANSIENT, move |Context { host, .. }| {
        format!("the host name `{host}` cannot be resolved: {source}")
    })
    .source(source)
    .remedy(or_descriptors(source, |Context { endpoint, .. }| {
        format!(
            "correct the host in {endpoint} (in Kubernetes: service.namespace.svc), or the DNS \
             configuration"
        )
    }))
}

pub(super) fn connection_refused(source: &Arc<io::Error>) -> Description<'_> {
    Description::new("connection_refused", Group::Connect, TRANSIENT, |_| {
        "nothing listens there: connection refused".into()
    })
    .refused_by(Side::Server)
    .source(source)
    .remedy(|context| match (context.is_socket(), &context.endpoint) {
        (true, endpoint) => format!(
            "start the collector, which left its socket file behind, or correct the path in \
             {endpoint}"
        ),
        (false, endpoint) => {
            format!("start the collector, or correct host and port in {endpoint} ({PORTS})")
        }
    })
}

pub(super) fn unreachable(source: &Arc<io::Error>) -> Description<'_> {
    Description::new("unreachable", Group::Connect, TRANSIENT, move |_| {
        format!("there is no route to the host: {source}")
    })
    .source(source)
    .remedy(see_the_way)
}

pub(super) fn connect(source: &Arc<io::Error>) -> Description<'_> {
    Description::new("connect", Group::Connect, TRANSIENT, move |context| {
        match (context.is_socket(), source.kind()) {
            (true, io::ErrorKind::NotFound) => "there is no socket at that path".to_owned(),
            (true, io::ErrorKind::PermissionDenied) => {
                format!("this process is not permitted to connect to the socket: {source}")
            }
            _ => format!("no connection: {source}"),
        }
    })
    .source(source)
    .remedy(or_descriptors(source, |context| {
        match (context.is_socket(), source.kind(), &context.endpoint) {
            (true, io::ErrorKind::PermissionDenied, _) => "give this process's user write \
                                                           permission on the socket and search \
                                                           permission on its directories"
                .to_owned(),
            (true, io::ErrorKind::InvalidInput, endpoint) => {
                format!("correct the path in {endpoint}")
            }
            (true, _, endpoint) => format!(
                "start the collector, or correct the path in {endpoint}; containers need a shared \
                 volume for the socket"
            ),
            (false, ..) => see_the_way(context),
        }
    }))
}

pub(super) fn connect_timeout<'a>(after: Duration) -> Description<'a> {
    Description::new("connect_timeout", Group::Connect, TRANSIENT, move |context| {
        let whose = context.whose(after, ": nothing answered");
        format!("no TCP connection within {after:?}{whose}")
    })
    .timeout()
    .remedy(move |context| context.or_longer(after, see_the_way(context)))
}

pub(super) fn proxy_unreachable<'a>(proxy: &'a str, source: &'a Arc<io::Error>) -> Description<'a> {
    Description::new("proxy_unreachable", Group::Connect, TRANSIENT, move |_| {
        format!("the proxy {proxy} cannot be reached: {source}")
    })
    .source(source)
    .remedy(or_descriptors(source, correct_the_proxy))
}

pub(super) fn proxy_timeout(proxy: &str, after: Duration) -> Description<'_> {
    Description::new("proxy_timeout", Group::Connect, TRANSIENT, move |context| {
        let whose = context.whose(after, "");
        format!("the proxy {proxy} did not answer CONNECT within {after:?}{whose}")
    })
    .timeout()
    .remedy(move |context| context.or_longer(after, correct_the_proxy(context)))
}

pub(super) fn proxy_refused(proxy: &str, status: Option<u16>) -> Description<'_> {
    // Proxies answer with 5xx while they cannot reach the collector.
    let is_permanent = !matches!(status, None | Some(500..600));
    Description::new("proxy_refused", Group::Connect, is_permanent, move |_| match status {
        Some(status) => {
            format!("the proxy {proxy} refused CONNECT with HTTP status {status}")
        }
        None => format!("the proxy {proxy} did not answer CONNECT with HTTP"),
    })
    .refused_by(Side::Server)
    .remedy(move |context| match (status, context.proxy()) {
        (Some(407), variable) => {
            let proxy = context.settings.proxy.as_ref();
            let scheme = if proxy.is_some_and(Proxy::is_secure) { "https" } else { "http" };
            format!(
                "put a percent-encoded user and password into the proxy's URL: \
                 {variable}={scheme}://user:password@host"
            )
        }
        (_, variable) => format!(
            "let the proxy in {variable} allow CONNECT to that port, or add the host `{}` to \
             NO_PROXY",
            context.host
        ),
    })
}

/// The description of a failure with a server, reworded for the proxy.
pub(super) fn proxy_tls<'a>(proxy: &'a str, reason: &'a FailureKind) -> Description<'a> {
    let described = reason.describe();
    let of_proxy = |say: Say<'a>| -> Say<'a> {
        Box::new(move |context| {
            let words = context.with_proxy(&say).replace("the server", "the proxy");
            match words.strip_prefix("server: ") {
                Some(certificate) => format!("proxy: {certificate}"),
                None => words,
            }
        })
    };
    let cause = of_proxy(described.cause);
    let remedies = match reason {
        FailureKind::ClientCertificate { .. } => {
            let remedy = "configure the proxy not to require a client certificate: none is \
                          presented to proxies";
            vec![Box::new(|_: &Context<'_>| remedy.to_owned()) as Say<'a>]
        }
        _ => described.remedies.into_iter().map(of_proxy).collect(),
    };
    Description {
        name: "proxy_tls",
        group: Group::Connect,
        // No client certificate is presented to proxies.
        cure: match described.cure {
            Cure::TrustAnchors => Cure::ProxyTrustAnchors,
            _ => Cure::Nothing,
        },
        cause: Box::new(move |context| {
            format!("no TLS with the proxy {proxy}: {}", cause(context))
        }),
        facts: described.facts.into_iter().map(of_proxy).collect(),
        remedies,
        ..described
    }
}

fn or_descriptors<'a>(
    source: &'a io::Error,
    otherwise: impl Fn(&Context<'_>) -> String + 'a,
) -> impl Fn(&Context<'_>) -> String + 'a {
    // EMFILE and ENFILE, for which the standard library has no `ErrorKind`.
    move |context| match cfg!(unix) && matches!(source.raw_os_error(), Some(23 | 24)) {
        true => "this process or the whole system has no file descriptors left: find the leak, or \
                 raise the limit (`ulimit -n`)"
            .to_owned(),
        false => otherwise(context),
    }
}

fn see_the_way(Context { endpoint, .. }: &Context<'_>) -> String {
    format!(
        "check network policies and firewalls on the path, or correct host and port in {endpoint}"
    )
}

fn correct_the_proxy(context: &Context<'_>) -> String {
    let (variable, host) = (context.proxy(), context.host);
    format!("correct the proxy in {variable}, or add the host `{host}` to NO_PROXY")
}

#[cfg(test)]
mod tests {
    /// A password for a proxy over TLS must not be sent in plaintext.
    #[test]
    #[cfg(all(feature = "http", feature = "proxy"))]
    fn the_url_of_a_proxy_keeps_its_scheme() {
        use super::FailureKind;
        use crate::config::{Env, Rank, Settings, load};
        use crate::failure::Failure;
        use crate::signal::Signal;

        for scheme in ["http", "https"] {
            let env = Env::new(move |name| match name {
                "OTEL_EXPORTER_OTLP_ENDPOINT" => Some("http://collector".into()),
                "HTTP_PROXY" => Some(format!("{scheme}://proxy").into()),
                _ => None,
            });
            let mut warnings = Vec::new();
            let (code, defaults) = (Rank::default(), Rank::default());
            let (layers, _) = load(code, env, defaults, &mut warnings).unwrap();
            let settings =
                Settings::resolve(Signal::Traces, &layers, false, &mut warnings).unwrap();
            let kind = FailureKind::ProxyRefused { proxy: "proxy".to_owned(), status: Some(407) };
            let words = Failure::new(kind, &settings, None).to_string();
            let url = format!("HTTP_PROXY={scheme}://user:password@host");
            assert!(words.contains(&url), "{words}");
        }
    }

    /// Errors that loopback does not produce.
    #[test]
    #[cfg(target_os = "linux")]
    fn kinds_of_tcp_errors() {
        use super::{FailureKind, io};
        for (code, expected) in [
            (111, "connection_refused"), // ECONNREFUSED
            (101, "unreachable"),        // ENETUNREACH
            (113, "unreachable"),        // EHOSTUNREACH
            (99, "connect"),             // EADDRNOTAVAIL
        ] {
            let kind = FailureKind::connect(io::Error::from_raw_os_error(code));
            assert_eq!(kind.name(), expected, "{code}");
            assert!(!kind.is_permanent(), "{code}");
        }
    }
}
