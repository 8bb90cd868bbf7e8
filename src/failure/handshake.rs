//! Failures of the TLS handshake and of the choice of HTTP version, except for certificates.

use std::time::Duration;

use rustls::AlertDescription;
use rustls::AlertDescription::{CloseNotify, InternalError, UnrecognisedName, UserCanceled};

use super::PeerProtocol;
use super::context::{CONFIGURATION, Context, PORTS, correct_the_port, other_port, speak_tls};
use super::describe::{Description, Group, PERMANENT, TRANSIENT};
use super::kind::{Cure, Incompatibility, Side};

pub(super) fn handshake_timeout<'a>(after: Duration) -> Description<'a> {
    Description::new("handshake_timeout", Group::Tls, TRANSIENT, move |context| {
        let whose = context.whose(after, ": the server sent nothing");
        format!("connected, but no TLS handshake within {after:?}{whose}")
    })
    .timeout()
    .remedy(move |context| {
        let longer = match context.is_timeout(after) {
            true => "",
            false => ", or raise with_connect_timeout()",
        };
        let remedy = format!(
            "check that the server is alive and that the port in {} speaks TLS{longer}",
            context.endpoint
        );
        context.or_longer(after, remedy)
    })
    .remedy(other_port)
}

pub(super) fn http2_timeout<'a>(after: Duration) -> Description<'a> {
    Description::new("http2_timeout", Group::Other, TRANSIENT, move |context| {
        let whose = context.whose(after, "");
        format!(
            "the TLS handshake is complete, but the server did not begin HTTP/2 within \
                 {after:?}{whose}"
        )
    })
    .timeout()
    .remedy(move |context| {
        let remedy = format!(
            "check that the server is alive; the port in {} may be that of a TCP proxy",
            context.endpoint
        );
        context.or_longer(after, remedy)
    })
    .remedy(other_port)
}

pub(super) fn not_tls<'a>(found: Option<PeerProtocol>) -> Description<'a> {
    let cause = match found {
        Some(PeerProtocol::Http1) => "we refused the server: it speaks plaintext HTTP, not TLS",
        Some(PeerProtocol::Http2 | PeerProtocol::Tls) => {
            "we refused the server: it speaks plaintext HTTP/2, as gRPC does, not TLS"
        }
        Some(PeerProtocol::Other) => "we refused the server: it speaks neither TLS nor HTTP",
        None => "the server closed the connection when the TLS handshake began",
    };
    Description::new("not_tls", Group::Tls, found.is_some(), |_| cause.to_owned())
        .refused_by(found.map(|_| Side::Us))
        .remedy(move |Context { endpoint, .. }| match found {
            Some(PeerProtocol::Http1 | PeerProtocol::Http2 | PeerProtocol::Tls) => format!(
                "enable TLS at the server, or, if plaintext is acceptable, begin {endpoint} with \
                 http://"
            ),
            Some(PeerProtocol::Other) => {
                format!("correct host and port in {endpoint} ({PORTS}): no collector listens there")
            }
            None => format!(
                "check that the port in {endpoint} is a TLS port, and that a load balancer there \
                 has a collector behind it"
            ),
        })
        .remedy(other_port)
}

pub(super) fn needs_tls<'a>() -> Description<'a> {
    Description::new("needs_tls", Group::Tls, PERMANENT, |_| {
        "the server refused us: it speaks TLS, but we spoke plaintext".to_owned()
    })
    .refused_by(Side::Server)
    .remedy(speak_tls)
}

pub(super) fn incompatible(
    refused_by: Side,
    lacking: Incompatibility,
    source: &rustls::Error,
) -> Description<'_> {
    let (name, what) = match lacking {
        Incompatibility::Version => ("tls_version", "no TLS version"),
        Incompatibility::Cipher => {
            ("tls_cipher", "no cipher suite, key exchange or signature scheme")
        }
    };
    Description::new(name, Group::Tls, PERMANENT, move |_| {
        format!("{}: {what} in common ({})", who(refused_by), short(source))
    })
    .refused_by(refused_by)
    .cure(match refused_by {
        Side::Server => Cure::Identity,
        Side::Us => Cure::Nothing,
    })
    .source(source)
    .fact(move |context| match (lacking, context.credentials) {
        (Incompatibility::Cipher, Some(credentials)) => {
            let suites = &credentials.config.crypto_provider().cipher_suites;
            let suites: Vec<String> =
                suites.iter().map(|suite| format!("{:?}", suite.suite())).collect();
            format!("we offer: {}", suites.join(", "))
        }
        // The configuration does not show which versions with_min_tls_version() disabled.
        (Incompatibility::Version, _) | (_, None) => String::new(),
    })
    .remedy(move |context| {
        let is_brought_along = context.credentials.is_some_and(|it| it.validated.is_none());
        let or_brought_along = |setting| if is_brought_along { CONFIGURATION } else { setting };
        match lacking {
            Incompatibility::Version => format!(
                "enable TLS 1.2 or 1.3 at the server; {} must not require a version that it does \
                 not support",
                or_brought_along("with_min_tls_version()")
            ),
            Incompatibility::Cipher => format!(
                "enable one of these with ECDHE at the server, and use an RSA, P-256, P-384 or \
                 Ed25519 certificate; {} may support others",
                or_brought_along("with_crypto_provider()")
            ),
        }
    })
}

pub(super) fn tls(source: &rustls::Error) -> Description<'_> {
    let alert = match source {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    };
    let (side, cure) = match alert {
        Some(_) => (Side::Server, Cure::Identity),
        None => (Side::Us, Cure::TrustAnchors),
    };
    let is_permanent = !matches!(alert, Some(CloseNotify | InternalError | UserCanceled));
    Description::new("tls", Group::Tls, is_permanent, move |_| match alert {
        Some(alert) => format!("{} in the TLS handshake ({})", who(side), alert_words(alert)),
        None => format!("{}: {source}", who(side)),
    })
    .refused_by(side)
    .cure(cure)
    .source(source)
    .remedy(move |context| match (alert, &context.endpoint) {
        (Some(UnrecognisedName), endpoint) => format!(
            "the server has no certificate for `{}`: correct the host in {endpoint}, or set a name \
             that it has by with_server_name()",
            context.server_name()
        ),
        (_, endpoint) => format!("see the log of the server in {endpoint} for the reason"),
    })
}

pub(super) fn no_http2<'a>(refused_by: Side, by_alpn: bool) -> Description<'a> {
    Description::new("no_http2", Group::Other, PERMANENT, move |context| {
        let what = match (by_alpn, context.is_grpc()) {
            (true, true) => "ALPN did not select HTTP/2, which gRPC needs",
            (true, false) => "ALPN did not select a version of HTTP",
            (false, _) => "it speaks HTTP/1.1, but gRPC needs HTTP/2",
        };
        format!("{}: {what}", who(refused_by))
    })
    .refused_by(refused_by)
    .remedy(move |context| {
        let (endpoint, port) = (&context.endpoint, correct_the_port(context, "http/protobuf"));
        match (by_alpn, context.is_grpc()) {
            (true, true) => format!(
                "{port}; a proxy that terminates TLS must offer ALPN `h2` (with_assume_http2() if \
                 it does not support ALPN)"
            ),
            (true, false) => {
                format!("let the server select `http/1.1` or `h2` by ALPN, or correct {endpoint}")
            }
            (false, _) => format!("{port}; if it expects TLS, {}", speak_tls(context)),
        }
    })
}

fn who(refused: Side) -> &'static str {
    match refused {
        Side::Us => "we refused the server",
        Side::Server => "the server refused us",
    }
}

pub(super) fn alert_words(alert: AlertDescription) -> String {
    format!("TLS alert {}, {alert:?}", u8::from(alert))
}

/// rustls' message, without its prefix about who sent it.
pub(super) fn short(error: &rustls::Error) -> String {
    match error {
        rustls::Error::AlertReceived(alert) => alert_words(*alert),
        rustls::Error::PeerIncompatible(lacking) => format!("{lacking:?}"),
        error => error.to_string(),
    }
}
