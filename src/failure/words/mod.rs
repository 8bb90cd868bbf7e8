//! Kinds to words: the cause, what either side showed, and what to do about it.

mod certificates;
mod faults;
mod remedy;

use std::io;
use std::time::{Duration, SystemTime};

use rustls::AlertDescription;

use super::evidence::Evidence;
use super::kind::{FailureKind, Incompatibility, Side};
use crate::config::{Origin, Settings, Variable};
use crate::failure::PeerProtocol;
use crate::text::printable;
use crate::tls::Generation;

/// What decides on TLS in place of our settings, where there is one.
const CONFIGURATION: &str = "the configuration given to with_rustls_config()";

/// What words need beside the kind.
pub(super) struct Context<'a> {
    settings: &'a Settings,
    credentials: Option<&'a Generation>,
    /// When the bearer token that was sent was read.
    token_read: Option<SystemTime>,
    now: SystemTime,
}

#[derive(Default)]
pub(super) struct Words {
    pub(super) cause: String,
    pub(super) facts: Vec<String>,
    pub(super) remedy: String,
}

impl<'a> Context<'a> {
    pub(super) fn new(settings: &'a Settings, evidence: Option<&'a Evidence>) -> Self {
        Self {
            settings,
            credentials: evidence.and_then(|evidence| evidence.credentials.as_deref()),
            token_read: evidence.and_then(|evidence| evidence.token_read),
            now: SystemTime::now(),
        }
    }

    pub(super) fn words(&self, kind: &FailureKind) -> Words {
        match kind {
            FailureKind::ServerCertificate(refused) => self.server_certificate(refused),
            FailureKind::ClientCertificate { problem, said, acceptable_issuers } => {
                self.client_certificate(*problem, *said, acceptable_issuers)
            }
            FailureKind::Incompatible { refused_by, lacking, source } => {
                self.incompatible(*refused_by, *lacking, source)
            }
            kind => {
                let facts = match kind {
                    FailureKind::Connection { source, .. } => {
                        vec![format!("seen: {source}")]
                    }
                    kind if is_forbidden(kind) => self
                        .only_identity()
                        .map(|leaf| format!("ours: {leaf}, in {}", self.identity()))
                        .into_iter()
                        .collect(),
                    _ => Vec::new(),
                };
                let remedies = [self.remedy(kind), self.compression(kind), self.other_port(kind)];
                let remedy = remedies.into_iter().filter(|remedy| !remedy.is_empty());
                let remedy = remedy.collect::<Vec<_>>().join("; ");
                Words { cause: self.cause(kind), facts, remedy }
            }
        }
    }

    fn cause(&self, kind: &FailureKind) -> String {
        let endpoint = &self.settings.endpoint;
        match kind {
            FailureKind::Resolve { source } => {
                format!("the host name `{}` cannot be resolved: {source}", endpoint.address.host())
            }
            FailureKind::ConnectionRefused { .. } => {
                "nothing listens there: connection refused".to_owned()
            }
            FailureKind::Unreachable { source } => {
                format!("there is no route to the host: {source}")
            }
            FailureKind::Connect { source } => match (endpoint.address.socket(), source.kind()) {
                (Some(_), io::ErrorKind::NotFound) => "there is no socket of that path".to_owned(),
                (Some(_), io::ErrorKind::PermissionDenied) => {
                    format!("this process is not permitted to connect to the socket: {source}")
                }
                _ => format!("no connection: {source}"),
            },
            FailureKind::ConnectTimeout { after } => {
                format!(
                    "no TCP connection within {after:?}{}",
                    self.whose(*after, ": nothing answers")
                )
            }
            FailureKind::ProxyUnreachable { proxy, source } => {
                format!("the proxy {proxy} cannot be reached: {source}")
            }
            FailureKind::ProxyTimeout { proxy, after } => {
                format!(
                    "the proxy {proxy} did not connect us within {after:?}{}",
                    self.whose(*after, "")
                )
            }
            FailureKind::ProxyRefused { proxy, status: Some(status) } => {
                format!("the proxy {proxy} refused to connect us, with HTTP status {status}")
            }
            FailureKind::ProxyRefused { proxy, status: None } => {
                format!("the proxy {proxy} did not connect us: it gave no HTTP answer")
            }
            FailureKind::HandshakeTimeout { after } => {
                let whose = self.whose(*after, ": the server says nothing");
                format!("connected, but no TLS handshake within {after:?}{whose}")
            }
            FailureKind::Http2Timeout { after } => {
                let whose = self.whose(*after, "");
                format!(
                    "TLS was agreed on, but the server did not begin HTTP/2 within {after:?}{whose}"
                )
            }
            FailureKind::NotTls { found: Some(PeerProtocol::Http1) } => {
                "we refused the server: it speaks plaintext HTTP, not TLS".to_owned()
            }
            FailureKind::NotTls { found: Some(PeerProtocol::Other) } => {
                "we refused the server: it speaks neither TLS nor HTTP".to_owned()
            }
            FailureKind::NotTls { found: Some(_) } => {
                "we refused the server: it speaks plaintext HTTP/2, as gRPC does, not TLS"
                    .to_owned()
            }
            FailureKind::NotTls { found: None } => {
                "the server closed the connection when the TLS handshake began".to_owned()
            }
            FailureKind::NeedsTls => {
                "the server refused us: it speaks TLS, and we spoke plaintext".to_owned()
            }
            FailureKind::Tls { source: rustls::Error::AlertReceived(alert) } => {
                format!("the server refused us in the TLS handshake{}", alert_words(Some(*alert)))
            }
            FailureKind::Tls { source } => format!("we refused the server: {source}"),
            FailureKind::NoHttp2 { refused_by, by_alpn: true } => format!(
                "{}: there is no agreement by ALPN on {}",
                who(*refused_by),
                match self.settings.protocol.is_grpc() {
                    true => "HTTP/2, which gRPC needs",
                    false => "a version of HTTP",
                }
            ),
            FailureKind::NoHttp2 { refused_by, by_alpn: false } => {
                format!("{}: it speaks HTTP/1.1, and gRPC needs HTTP/2", who(*refused_by))
            }
            FailureKind::NotGrpc { status } => format!(
                "the server refused us: it does not speak gRPC, and answered with HTTP status {status}"
            ),
            FailureKind::ServerSpeaksGrpc => {
                "we refused the server: it speaks gRPC, not HTTP".to_owned()
            }
            FailureKind::Closed { .. } => {
                "the server closed the connection before it said anything".to_owned()
            }
            FailureKind::Connection { was_silent: true, .. } => {
                "the connection broke before the server said anything".to_owned()
            }
            FailureKind::Connection { was_silent: false, .. } => {
                "the connection broke before the answer was there".to_owned()
            }
            FailureKind::Silent { after } => {
                format!("the path to the server went silent: nothing came back for {after:?}")
            }
            FailureKind::Http2 { error, code, is_connection } => {
                let what = if *is_connection { "connection" } else { "request" };
                format!("the server ended the {what} with HTTP/2 error {code} ({error})")
            }
            FailureKind::Deadline { after } => format!("no answer within {after:?}"),
            FailureKind::Shutdown => "shutting down left no more time".to_owned(),
            FailureKind::TooLarge { bytes, uncompressed } => {
                let item = self.settings.signal.item();
                let plain = uncompressed
                    .map(|plain| format!(" ({plain} before compression)"))
                    .unwrap_or_default();
                format!(
                    "the collector refused a single {item} as too large, in a request of {bytes} \
                     bytes{plain}"
                )
            }
            FailureKind::OverRequestLimit { bytes, limit } => {
                let item = self.settings.signal.item();
                format!("a request with a single {item} has {bytes} bytes, and {limit} are allowed")
            }
            FailureKind::Redirect { status, location } => {
                let place = location.as_deref().unwrap_or("a place that it does not name");
                format!("the collector answered with HTTP status {status}, a redirect to {place}")
            }
            FailureKind::Grpc { code, number, message } => {
                let status = format!("the collector answered with gRPC status {number} ({code})");
                because(status, message)
            }
            FailureKind::Http { status, message } => {
                because(format!("the collector answered with HTTP status {status}"), message)
            }
            FailureKind::Rejected { items, message } => {
                let of = self.settings.signal.items();
                let rejected =
                    format!("the collector accepted the batch, but rejected {items} of its {of}");
                because(rejected, message)
            }
            FailureKind::Warning { message } => {
                because("the collector accepted the batch, with a warning".to_owned(), message)
            }
            FailureKind::UnreadAnswer { reason } => {
                format!("the collector accepted the batch, but its answer {reason}")
            }
            FailureKind::InvalidResponse { reason } => format!("the collector's answer {reason}"),
            FailureKind::HeaderProvider { source } => {
                format!("the header provider failed: {}", printable(&source.to_string()))
            }
            FailureKind::Runtime => "the runtime that does its I/O has ended".to_owned(),
            FailureKind::Panicked => "it ended in a panic of this crate".to_owned(),
            FailureKind::Forked => "the exporter was made before this process was forked, and the \
                 thread that does its I/O did not survive the fork"
                .to_owned(),
            // Worded in whole elsewhere.
            FailureKind::ServerCertificate(_)
            | FailureKind::ClientCertificate { .. }
            | FailureKind::Incompatible { .. } => String::new(),
        }
    }

    /// What follows a time that has passed: whose it was, or else what that says.
    fn whose(&self, after: Duration, otherwise: &'static str) -> &'static str {
        match *self.settings.timeout == Some(after) {
            true => ", which is the timeout of the export",
            false => otherwise,
        }
    }

    fn incompatible(
        &self,
        refused_by: Side,
        lacking: Incompatibility,
        source: &rustls::Error,
    ) -> Words {
        let who = who(refused_by);
        let what = match lacking {
            Incompatibility::Version => "no version of TLS",
            Incompatibility::Cipher => "no cipher suite, key exchange or signature scheme",
        };
        let facts = match (self.credentials, lacking) {
            (Some(credentials), Incompatibility::Cipher) => {
                let suites = &credentials.config.crypto_provider().cipher_suites;
                let suites: Vec<String> =
                    suites.iter().map(|suite| format!("{:?}", suite.suite())).collect();
                vec![format!("we offer: {}", suites.join(", "))]
            }
            // What with_min_tls_version() took away does not show.
            _ => Vec::new(),
        };
        let is_brought_along =
            self.credentials.is_some_and(|credentials| credentials.validated.is_none());
        let setting = match lacking {
            _ if is_brought_along => CONFIGURATION,
            Incompatibility::Version => "with_min_tls_version()",
            Incompatibility::Cipher => "with_crypto_provider()",
        };
        let remedy = match lacking {
            Incompatibility::Version => format!(
                "let the server offer TLS 1.2 or 1.3; {setting} must not ask for more than it has"
            ),
            Incompatibility::Cipher => format!(
                "let the server offer one of these with ECDHE, and a certificate of RSA, P-256, \
                 P-384 or Ed25519; {setting} may have others"
            ),
        };
        Words {
            cause: format!("{who}: there is {what} in common ({})", short(source)),
            facts,
            remedy,
        }
    }

    /// What a value came from, or could.
    fn named(&self, origin: &Origin, variable: Variable) -> String {
        match origin {
            Origin::Default => self.generic(variable),
            origin => origin.to_string(),
        }
    }

    /// A variable that may not be set, with the builder's method for it.
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
        format!("{} or {method}()", self.settings.named(variable))
    }

    /// What names the collector.
    fn endpoint(&self) -> String {
        match &self.settings.endpoint.origin {
            Origin::Default => self.generic(Variable::Endpoint),
            origin => origin.to_string(),
        }
    }
}

/// Whether the collector knows who we are, and refuses that.
fn is_forbidden(kind: &FailureKind) -> bool {
    matches!(
        kind,
        FailureKind::Http { status: 403, .. } | FailureKind::Grpc { code: "PERMISSION_DENIED", .. }
    )
}

/// With the collector's reason, if it gave one.
fn because(cause: String, message: &str) -> String {
    if message.is_empty() { cause } else { format!("{cause}: {message}") }
}

fn who(refused: Side) -> &'static str {
    match refused {
        Side::Us => "we refused the server",
        Side::Server => "the server refused us",
    }
}

fn alert_words(alert: Option<AlertDescription>) -> String {
    alert.map(|alert| format!(" (TLS alert {}, {alert:?})", u8::from(alert))).unwrap_or_default()
}

/// rustls' word, without what it says of who said it.
fn short(error: &rustls::Error) -> String {
    match error {
        rustls::Error::AlertReceived(alert) => {
            alert_words(Some(*alert)).trim_start_matches(" (").trim_end_matches(')').to_owned()
        }
        rustls::Error::PeerIncompatible(lacking) => format!("{lacking:?}"),
        error => error.to_string(),
    }
}
