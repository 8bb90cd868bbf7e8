//! Kinds to words: the cause, what either side showed, and what to do about it.

use std::error::Error as StdError;
use std::time::SystemTime;

use rustls::AlertDescription;
use rustls::pki_types::ServerName;

use super::kind::{
    ClientCertificateProblem, FailureKind, Incompatibility, ServerCertificate,
    ServerCertificateProblem, Side,
};
use crate::config::{Origin, Settings};
use crate::error::located;
use crate::observation::Spoken;
use crate::signal::{Signal, Variable};
use crate::tls::{Snapshot, distinguished_name, list, utc};

/// What is meant to listen where.
const PORTS: &str = "4317 is usually OTLP/gRPC, 4318 OTLP/HTTP";

/// What words need beside the kind.
pub(super) struct Context<'a> {
    settings: &'a Settings,
    credentials: Option<&'a Snapshot>,
    now: SystemTime,
}

#[derive(Default)]
pub(super) struct Words {
    pub(super) cause: String,
    pub(super) facts: Vec<String>,
    pub(super) remedy: String,
}

impl<'a> Context<'a> {
    pub(super) fn new(settings: &'a Settings, credentials: Option<&'a Snapshot>) -> Self {
        Self { settings, credentials, now: SystemTime::now() }
    }

    pub(super) fn words(&self, kind: &FailureKind) -> Words {
        match kind {
            FailureKind::ServerCertificate(refused) => self.server_certificate(refused),
            FailureKind::ClientCertificate { problem, alert } => {
                self.client_certificate(*problem, *alert)
            }
            FailureKind::Incompatible { refused_by, lacking, source } => {
                self.incompatible(*refused_by, *lacking, source)
            }
            kind => {
                let facts = match kind {
                    FailureKind::Connection { source, .. } => {
                        vec![format!("seen: {}", chain(source))]
                    }
                    _ => Vec::new(),
                };
                Words { cause: self.cause(kind), facts, remedy: self.remedy(kind) }
            }
        }
    }

    fn cause(&self, kind: &FailureKind) -> String {
        let endpoint = &self.settings.endpoint;
        match kind {
            FailureKind::Resolve { source } => {
                format!("the host name `{}` cannot be resolved: {source}", endpoint.host)
            }
            FailureKind::Refused { .. } => "nothing listens there: connection refused".to_owned(),
            FailureKind::Unreachable { source } => {
                format!("there is no route to the host: {source}")
            }
            FailureKind::Connect { source } => format!("no connection: {source}"),
            FailureKind::ConnectTimeout { after } => {
                format!("no TCP connection within {after:?}: nothing answers")
            }
            FailureKind::ProxyRefused { proxy, status: Some(status) } => {
                format!("the proxy {proxy} refused to connect us, with HTTP status {status}")
            }
            FailureKind::ProxyRefused { proxy, status: None } => {
                format!("the proxy {proxy} did not connect us: it gave no HTTP answer")
            }
            FailureKind::HandshakeTimeout { after } => {
                format!("connected, but no TLS handshake within {after:?}: the server says nothing")
            }
            FailureKind::NotTls { found: Some(Spoken::Http1) } => {
                "we refused the server: it speaks plaintext HTTP, not TLS".to_owned()
            }
            FailureKind::NotTls { found: Some(_) } => {
                "we refused the server: it speaks plaintext HTTP/2, as gRPC does, not TLS"
                    .to_owned()
            }
            FailureKind::NotTls { found: None } => "the server closed the connection in answer to \
                 the first message of TLS, without a word"
                .to_owned(),
            FailureKind::NeedsTls => {
                "the server refused us: it speaks TLS, and we spoke plaintext".to_owned()
            }
            FailureKind::Tls { source: rustls::Error::AlertReceived(alert) } => {
                format!("the server refused us in the TLS handshake{}", alert_words(Some(*alert)))
            }
            FailureKind::Tls { source } => format!("we refused the server: {source}"),
            FailureKind::NoHttp2 { refused_by, by_alpn: true } => format!(
                "{}: there is no agreement on HTTP/2 (by ALPN), which gRPC needs",
                who(*refused_by)
            ),
            FailureKind::NoHttp2 { refused_by, by_alpn: false } => {
                format!("{}: it speaks HTTP/1.1, and gRPC needs HTTP/2", who(*refused_by))
            }
            FailureKind::NotGrpc { status } => format!(
                "the server refused us: it does not speak gRPC, and answered with HTTP status {status}"
            ),
            FailureKind::OnlyGrpc => "we refused the server: it speaks gRPC, not HTTP".to_owned(),
            FailureKind::Connection { was_silent: true, .. } => {
                "the connection broke before the server said anything".to_owned()
            }
            FailureKind::Connection { was_silent: false, .. } => {
                "the connection broke before the answer was there".to_owned()
            }
            FailureKind::Deadline { after } => format!("no answer within {after:?}"),
            FailureKind::Shutdown => "shutting down left no more time".to_owned(),
            FailureKind::TooLarge { bytes } => {
                format!("the collector refused a batch of {bytes} bytes: it is too large")
            }
            FailureKind::Grpc { code, number } => {
                format!("the collector answered with gRPC status {number} ({code})")
            }
            FailureKind::Http { status } => {
                format!("the collector answered with HTTP status {status}")
            }
            FailureKind::Rejected { items } => {
                let of = self.settings.signal.items();
                format!("the collector accepted the batch, but rejected {items} of its {of}")
            }
            FailureKind::Answer { reason } => format!("the collector's answer {reason}"),
            FailureKind::HeaderProvider { source } => {
                format!("the header provider failed: {source}")
            }
            FailureKind::Runtime => "the runtime that does its I/O has ended".to_owned(),
            // Worded in whole elsewhere.
            FailureKind::ServerCertificate(_)
            | FailureKind::ClientCertificate { .. }
            | FailureKind::Incompatible { .. } => String::new(),
        }
    }

    fn remedy(&self, kind: &FailureKind) -> String {
        let endpoint = self.endpoint();
        let headers = self.generic(Variable::Headers);
        let protocol = self.generic(Variable::Protocol);
        match kind {
            FailureKind::Resolve { .. } => format!(
                "correct the host in {endpoint} (in Kubernetes: service.namespace.svc), or the \
                 name servers"
            ),
            FailureKind::Refused { .. } => {
                format!("start the collector, or correct host and port in {endpoint} ({PORTS})")
            }
            FailureKind::Unreachable { .. }
            | FailureKind::Connect { .. }
            | FailureKind::ConnectTimeout { .. } => format!(
                "look at network policies and firewalls on the way, or correct host and port in \
                 {endpoint}"
            ),
            FailureKind::ProxyRefused { status: Some(407), .. } => {
                "put user and password into the proxy's URL: HTTPS_PROXY=http://user:password@host"
                    .to_owned()
            }
            FailureKind::ProxyRefused { .. } => format!(
                "let the proxy CONNECT to that port, or add the host `{}` to NO_PROXY",
                self.settings.endpoint.host
            ),
            FailureKind::HandshakeTimeout { .. } => format!(
                "see that the server is alive, and that the port in {endpoint} speaks TLS; \
                 with_connect_timeout() gives it longer"
            ),
            FailureKind::NotTls { found: None } => format!(
                "see that the port in {endpoint} is one for TLS, and that what balances load there \
                 has a collector behind it"
            ),
            FailureKind::NotTls { .. } => format!(
                "switch TLS on at the server, or, where plaintext will do, set {endpoint} to \
                 http://{}",
                self.address()
            ),
            FailureKind::NeedsTls => format!("set {endpoint} to https://{}", self.address()),
            FailureKind::Tls { .. } => format!(
                "see the server's log for its side of it; the server is the one that {endpoint} names"
            ),
            FailureKind::NoHttp2 { by_alpn: true, .. } => format!(
                "correct the port in {endpoint} ({PORTS}), or set {protocol} to http/protobuf; what \
                 ends TLS on the way needs ALPN `h2` (with_assume_http2() if it knows no ALPN)"
            ),
            FailureKind::NoHttp2 { by_alpn: false, .. } => format!(
                "correct the port in {endpoint} ({PORTS}), or set {protocol} to http/protobuf; if \
                 it expects TLS, set {endpoint} to https://{}",
                self.address()
            ),
            FailureKind::NotGrpc { .. } => format!(
                "correct the port in {endpoint} ({PORTS}), or set {protocol} to http/protobuf"
            ),
            FailureKind::OnlyGrpc => {
                format!("correct the port in {endpoint} ({PORTS}), or set {protocol} to grpc")
            }
            FailureKind::Connection { was_silent: true, .. } if !self.settings.endpoint.secure => {
                format!("if the server expects TLS, set {endpoint} to https://{}", self.address())
            }
            FailureKind::Connection { .. } => format!(
                "if it happens again and again, see the log of the server, and of what stands \
                 before it, and whether it is the right port ({PORTS})"
            ),
            FailureKind::Deadline { .. } => format!(
                "see whether the collector is overloaded; {} (ms) gives it longer",
                self.generic(Variable::Timeout)
            ),
            FailureKind::Shutdown => {
                "give shutdown() more time, or see why the collector is slow".to_owned()
            }
            FailureKind::TooLarge { .. } => {
                let batch = match self.settings.signal {
                    Signal::Traces => "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
                    Signal::Logs => "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE",
                    Signal::Metrics => "the number of attribute sets",
                };
                match self.settings.protocol.is_grpc() {
                    true => format!(
                        "lower {batch}, or raise `max_recv_msg_size_mib` (4 by default, after \
                         decompression) of the collector's gRPC receiver"
                    ),
                    false => format!(
                        "lower {batch}, or raise `max_request_body_size` of the collector's HTTP \
                         receiver, or of what stands before it"
                    ),
                }
            }
            FailureKind::Http { status: 401 | 403 }
            | FailureKind::Grpc { code: "UNAUTHENTICATED" | "PERMISSION_DENIED", .. } => format!(
                "correct the credentials in {headers}, or the rights that they have at the \
                 collector; with_header_provider() is for tokens that expire"
            ),
            FailureKind::Http { status: 404 } => format!(
                "correct the path in {endpoint}: it asked for `{}`; {} is used as it stands, and \
                 the generic variable gets `/{}` appended",
                self.settings.endpoint.path.path(),
                Variable::Endpoint.name(Some(self.settings.signal)),
                self.settings.signal.http_path(),
            ),
            FailureKind::Grpc { code: "UNIMPLEMENTED", .. } => format!(
                "let the collector's OTLP receiver be in a pipeline for {}, or correct {endpoint}",
                self.settings.signal
            ),
            FailureKind::Rejected { .. } | FailureKind::Grpc { .. } | FailureKind::Http { .. } => {
                "the collector's log says why; its own words are not shown here".to_owned()
            }
            FailureKind::Answer { .. } => format!("see what listens at {endpoint}"),
            _ => String::new(),
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
        let remedy = match lacking {
            Incompatibility::Version => {
                "let the server offer TLS 1.2 or 1.3; with_min_tls_version() must not ask for more \
                 than it has"
            }
            Incompatibility::Cipher => {
                "let the server offer one of these with ECDHE, and a certificate of RSA, P-256, \
                 P-384 or Ed25519; with_crypto_provider() has others"
            }
        };
        Words {
            cause: format!("{who}: there is {what} in common ({})", short(source)),
            facts,
            remedy: remedy.to_owned(),
        }
    }

    fn server_certificate(&self, refused: &ServerCertificate) -> Words {
        use ServerCertificateProblem as Problem;
        let leaf = refused.chain.first();
        let names = leaf.map(|leaf| list(&leaf.names)).unwrap_or_default();
        let issuer = leaf.map(|leaf| leaf.issuer.as_str()).unwrap_or_default();
        let host = self.server_name();
        // Whose time it is that is over may be an intermediate's.
        let late = refused.chain.iter().find(|facts| facts.not_after < self.now);
        let early = refused.chain.iter().find(|facts| facts.not_before > self.now);
        let cause = match refused.problem {
            Problem::UnknownIssuer => format!("no CA that we trust has issued it, but {issuer}"),
            Problem::SelfSigned => {
                "it is self-signed, and not among the CAs that we trust".to_owned()
            }
            Problem::CaUsedAsEndEntity => {
                "it is a CA's own certificate, which a server must not use as its own".to_owned()
            }
            Problem::WrongName => format!("it is for {names}, and not for {host}"),
            Problem::NoName => {
                format!("it has no subject alternative name, and so is not for {host}")
            }
            Problem::NoIpAddress => {
                format!("it is for {names}, and not for the IP address {host}")
            }
            Problem::Expired => match late {
                Some(late) => format!("{} expired at {}", late.subject, utc(late.not_after)),
                None => "it has expired".to_owned(),
            },
            Problem::NotYetValid => match early {
                Some(early) => {
                    format!("{} is valid from {} on", early.subject, utc(early.not_before))
                }
                None => "it is not yet valid".to_owned(),
            },
            Problem::Version1 => "it is an X.509 certificate of version 1, which cannot hold a \
                 subject alternative name"
                .to_owned(),
            Problem::WrongUsage => format!(
                "it is not for servers, but for {}",
                leaf.map(|leaf| list(&leaf.usages)).unwrap_or_default()
            ),
            Problem::BadSignature => {
                format!("its signature is not by the {issuer} that we trust")
            }
            Problem::Revoked => "it is revoked".to_owned(),
            Problem::Other => short(&refused.source),
        };
        let mut facts = Vec::new();
        if let Some(leaf) = leaf {
            facts.push(format!("server: {leaf}"));
        }
        let ca = self.ca();
        let san = "`-extfile <(printf \"subjectAltName=DNS:NAME\")`";
        let remedy = match refused.problem {
            Problem::UnknownIssuer | Problem::SelfSigned | Problem::BadSignature => {
                facts.push(self.trusted());
                let intermediate = match (refused.problem, refused.chain.as_slice()) {
                    (Problem::UnknownIssuer, [_]) => {
                        "; if that is an intermediate, let the server send it after its own"
                    }
                    _ => "",
                };
                match refused.problem {
                    Problem::SelfSigned => {
                        format!("put that certificate, or better a CA's, into {ca}")
                    }
                    _ => format!("put the certificate of {issuer} into {ca}{intermediate}"),
                }
            }
            Problem::CaUsedAsEndEntity => format!(
                "issue the server a certificate of its own by that CA, and keep the CA's in {ca}"
            ),
            Problem::WrongName => {
                facts.push(format!("expected: {host}, by {}", self.name_origin()));
                format!(
                    "use one of its names in {}, or with_server_name(), or issue it for {host}",
                    self.endpoint()
                )
            }
            Problem::NoName | Problem::Version1 => {
                facts.push(format!("expected: {host}, by {}", self.name_origin()));
                let san = san.replace("NAME", &host);
                format!("issue it anew with `openssl x509 -req … {}", san.trim_start_matches('`'))
            }
            Problem::NoIpAddress => {
                facts.push(format!("expected: {host}, by {}", self.name_origin()));
                format!(
                    "use one of its names in {}, or with_server_name(), or issue it with \
                     subjectAltName=IP:{host}",
                    self.endpoint()
                )
            }
            Problem::Expired | Problem::NotYetValid => {
                facts.push(format!("now: {}, by this machine's clock", utc(self.now)));
                match refused.problem {
                    Problem::Expired => format!(
                        "renew it at the server that {} names, and let that server read it again",
                        self.endpoint()
                    ),
                    _ => format!(
                        "set the clock right, here or where the certificate for {} was issued",
                        self.endpoint()
                    ),
                }
            }
            Problem::WrongUsage => format!(
                "issue the server that {} names a certificate with extendedKeyUsage=serverAuth",
                self.endpoint()
            ),
            Problem::Revoked | Problem::Other => {
                format!("issue the server that {} names another certificate", self.endpoint())
            }
        };
        Words { cause: format!("we refused the server's certificate: {cause}"), facts, remedy }
    }

    fn client_certificate(
        &self,
        problem: ClientCertificateProblem,
        alert: Option<AlertDescription>,
    ) -> Words {
        use ClientCertificateProblem as Problem;
        let validated = self.credentials.and_then(|credentials| credentials.validated.as_ref());
        let leaf = validated.and_then(|validated| validated.chain.first());
        let issuer = leaf.map(|leaf| leaf.issuer.as_str()).unwrap_or("its CA");
        let cause = match problem {
            Problem::Required => "it demands a client certificate, and we have none".to_owned(),
            Problem::UnknownIssuer => {
                format!("it does not know the CA of our client certificate, {issuer}")
            }
            Problem::Expired => match leaf {
                Some(leaf) if leaf.not_before > self.now => {
                    format!("our client certificate is valid from {} on", utc(leaf.not_before))
                }
                Some(leaf) if leaf.not_after < self.now => {
                    format!("our client certificate expired at {}", utc(leaf.not_after))
                }
                _ => "our client certificate has expired, by its clock".to_owned(),
            },
            Problem::Revoked => "our client certificate is revoked".to_owned(),
            Problem::WrongUsage => format!(
                "our client certificate is not for clients, but for {}",
                leaf.map(|leaf| list(&leaf.usages)).unwrap_or_default()
            ),
            Problem::Unsupported => "it does not take our kind of client certificate".to_owned(),
            Problem::Unexplained => "it does not accept our client certificate".to_owned(),
        };
        let mut facts = Vec::new();
        if let Some(leaf) = leaf {
            facts.push(format!("ours: {leaf}, in {}", self.identity()));
        }
        if let Some(accepted) = self.acceptable_issuers() {
            facts.push(format!("the server takes: those issued by {accepted}"));
        }
        if problem == Problem::Expired {
            facts.push(format!("now: {}, by this machine's clock", utc(self.now)));
        }
        let ours = self.identity();
        let remedy = match problem {
            Problem::Required => format!(
                "set {} and {}, or with_client_identity()",
                Variable::ClientCertificate.name(None),
                Variable::ClientKey.name(None),
            ),
            Problem::UnknownIssuer => format!(
                "put the certificate of {issuer} among the server's client CAs (`client_ca_file` of \
                 the Collector), or let {ours} name one that such a CA issued"
            ),
            Problem::Expired => format!("renew it in {ours}; the next export takes it up"),
            Problem::Revoked => format!("issue another one, and put it into {ours}"),
            Problem::WrongUsage => {
                format!("issue it with extendedKeyUsage=clientAuth, and put it into {ours}")
            }
            Problem::Unsupported | Problem::Unexplained => format!(
                "see the server's log for the reason; then issue another one, and put it into {ours}"
            ),
        };
        let how = match alert {
            None => " (it sent no TLS alert)".to_owned(),
            alert => alert_words(alert),
        };
        Words { cause: format!("the server refused us: {cause}{how}"), facts, remedy }
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
        format!("{} or {method}()", variable.name(None))
    }

    /// What names the collector.
    fn endpoint(&self) -> String {
        match &self.settings.endpoint.origin {
            Origin::Default => self.generic(Variable::Endpoint),
            origin => origin.to_string(),
        }
    }

    /// The collector's host and port.
    fn address(&self) -> String {
        let endpoint = self.settings.endpoint.to_string();
        endpoint.split_once("://").map_or(endpoint.clone(), |(_, address)| address.to_owned())
    }

    /// The name that the server's certificate must have.
    fn server_name(&self) -> String {
        match self.settings.tls.as_ref().map(|tls| &tls.server_name) {
            Some(ServerName::IpAddress(address)) => std::net::IpAddr::from(*address).to_string(),
            Some(ServerName::DnsName(name)) => name.as_ref().to_owned(),
            _ => self.settings.endpoint.host.clone(),
        }
    }

    fn name_origin(&self) -> String {
        match self.server_name().eq_ignore_ascii_case(&self.settings.endpoint.host) {
            true => self.endpoint(),
            false => "with_server_name()".to_owned(),
        }
    }

    /// What names the CAs, and the file.
    fn ca(&self) -> String {
        let validated = self.credentials.and_then(|credentials| credentials.validated.as_ref());
        match validated {
            Some(validated) if validated.names_a_ca() => located(&validated.origins().ca),
            Some(_) => format!("a file that {} names", self.generic(Variable::Certificate)),
            None => "the configuration given to with_rustls_config()".to_owned(),
        }
    }

    /// Whom we trust.
    fn trusted(&self) -> String {
        let validated = self.credentials.and_then(|credentials| credentials.validated.as_ref());
        match validated {
            Some(validated) if validated.names_a_ca() => {
                let subjects: Vec<String> =
                    validated.trust_anchors.iter().map(|facts| facts.subject.clone()).collect();
                format!("we trust: {}, by {}", list(&subjects), self.ca())
            }
            Some(_) => format!(
                "we trust: the platform's roots, for {} is not set",
                Variable::Certificate.name(None)
            ),
            None => "we trust: what with_rustls_config() was given".to_owned(),
        }
    }

    /// Where our certificate is from.
    fn identity(&self) -> String {
        let validated = self.credentials.and_then(|credentials| credentials.validated.as_ref());
        match validated {
            Some(validated) => located(&validated.origins().certificate),
            None => "the configuration given to with_rustls_config()".to_owned(),
        }
    }

    /// Whose certificates the server says that it takes.
    fn acceptable_issuers(&self) -> Option<String> {
        let handshake = self.credentials?.notes.read();
        let names: Vec<String> =
            handshake.acceptable_issuers.iter().filter_map(|der| distinguished_name(der)).collect();
        (!names.is_empty()).then(|| list(&names))
    }
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

/// An error and what led to it.
fn chain(error: &(impl StdError + ?Sized)) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(&format!(": {error}"));
        cause = error.source();
    }
    words
}
