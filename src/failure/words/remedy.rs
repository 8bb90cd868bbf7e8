//! What to do about it.

use std::io;
use std::time::Duration;

use rustls::AlertDescription;

use super::{Context, is_forbidden};
use crate::config::{Origin, Sourced, TokenSettings, Variable};
use crate::failure::FailureKind;
use crate::failure::PeerProtocol;
use crate::text::{named, utc};

/// [RFC 9113, section 7](https://www.rfc-editor.org/rfc/rfc9113#section-7).
const HTTP_1_1_REQUIRED: u32 = 13;

/// What is meant to listen where.
const PORTS: &str = "4317 is usually OTLP/gRPC, 4318 OTLP/HTTP";

/// What is too short for a handshake: whoever set it may have meant seconds.
const SHORT: Duration = Duration::from_secs(1);

impl Context<'_> {
    pub(super) fn remedy(&self, kind: &FailureKind) -> String {
        if let Some(leaf) = self.only_identity().filter(|_| is_forbidden(kind)) {
            return format!(
                "the collector knows us by our client certificate alone, because no headers are set: \
                 authorise {} there, or put another certificate into {}",
                named(&leaf.subject),
                self.identity()
            );
        }
        match kind {
            FailureKind::ConnectTimeout { after }
            | FailureKind::ProxyTimeout { after, .. }
            | FailureKind::HandshakeTimeout { after }
            | FailureKind::Http2Timeout { after }
                if *self.settings.timeout == Some(*after) =>
            {
                let longer = format!("raise {}", self.timeout());
                match *after < SHORT {
                    true => longer,
                    false => format!("{}, or {longer}", self.remedy_of(kind)),
                }
            }
            kind => self.remedy_of(kind),
        }
    }

    /// What limits an export, with its unit.
    fn timeout(&self) -> String {
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

    fn remedy_of(&self, kind: &FailureKind) -> String {
        let endpoint = self.endpoint();
        let address = &self.settings.endpoint.address;
        let host = address.host();
        let (port, begin_with_https) = match address.socket() {
            None => (
                format!("the port in {endpoint} ({PORTS})"),
                format!("begin {endpoint} with https://"),
            ),
            Some(_) => (
                format!("the socket in {endpoint}"),
                "switch TLS off for that socket at the collector".to_owned(),
            ),
        };
        let headers = self.named(&self.settings.headers.origin, Variable::Headers);
        let protocol = self.named(&self.settings.protocol.origin, Variable::Protocol);
        match kind {
            FailureKind::Resolve { source }
            | FailureKind::Connect { source }
            | FailureKind::ProxyUnreachable { source, .. }
                if is_out_of_descriptors(source) =>
            {
                "this process has no file descriptors left, or the whole system: see who leaks \
                 them, or raise the limit (`ulimit -n`)"
                    .to_owned()
            }
            FailureKind::Resolve { .. } => format!(
                "correct the host in {endpoint} (in Kubernetes: service.namespace.svc), or the \
                 name servers"
            ),
            FailureKind::ConnectionRefused { .. } if address.socket().is_some() => format!(
                "start the collector, which has left its socket behind, or correct the path in {endpoint}"
            ),
            FailureKind::Connect { source } if address.socket().is_some() => match source.kind() {
                io::ErrorKind::PermissionDenied => {
                    "let this process's user write to the socket, and \
                     search the directories that lead to it"
                        .to_owned()
                }
                io::ErrorKind::InvalidInput => format!("correct the path in {endpoint}"),
                _ => format!(
                    "start the collector, or correct the path in {endpoint}; a container sees it in a \
                     volume that both share"
                ),
            },
            FailureKind::ConnectionRefused { .. } => {
                format!("start the collector, or correct host and port in {endpoint} ({PORTS})")
            }
            FailureKind::Unreachable { .. }
            | FailureKind::Connect { .. }
            | FailureKind::ConnectTimeout { .. } => format!(
                "look at network policies and firewalls on the way, or correct host and port in \
                 {endpoint}"
            ),
            FailureKind::ProxyUnreachable { .. } | FailureKind::ProxyTimeout { .. } => format!(
                "correct the proxy in {}, or add the host `{host}` to NO_PROXY",
                self.proxy()
            ),
            FailureKind::ProxyRefused { status: Some(407), .. } => format!(
                "put user and password into the proxy's URL, percent-encoded: \
                 {}=http://user:password@host",
                self.proxy()
            ),
            FailureKind::ProxyRefused { .. } => format!(
                "let the proxy that {} names CONNECT to that port, or add the host `{host}` to \
                 NO_PROXY",
                self.proxy()
            ),
            FailureKind::Forked => "call init(), or make the exporters, in the child".to_owned(),
            FailureKind::Http2Timeout { .. } => format!(
                "see whether the server is alive; the port in {endpoint} may be one that only passes \
                 bytes on"
            ),
            FailureKind::HandshakeTimeout { .. } => format!(
                "see that the server is alive, and that the port in {endpoint} speaks TLS{}",
                match kind {
                    FailureKind::HandshakeTimeout { after }
                        if *self.settings.timeout != Some(*after) =>
                    {
                        "; with_connect_timeout() gives it longer"
                    }
                    _ => "",
                }
            ),
            FailureKind::NotTls { found: None } => format!(
                "see that the port in {endpoint} is one for TLS, and that what balances load there \
                 has a collector behind it"
            ),
            FailureKind::NotTls { found: Some(PeerProtocol::Other) } => {
                format!("correct host and port in {endpoint} ({PORTS}): no collector listens there")
            }
            FailureKind::NotTls { .. } => format!(
                "switch TLS on at the server, or, where plaintext will do, begin {endpoint} with \
                 http://"
            ),
            FailureKind::NeedsTls => begin_with_https,
            FailureKind::Tls {
                source: rustls::Error::AlertReceived(AlertDescription::UnrecognisedName),
            } => format!(
                "the server has no certificate for `{}`: correct the host in {endpoint}, or name one \
                 that it has by with_server_name()",
                self.server_name()
            ),
            FailureKind::Tls { .. } => format!(
                "see the server's log for its side of it; the server is the one that {endpoint} names"
            ),
            FailureKind::NoHttp2 { by_alpn: true, .. } if !self.settings.protocol.is_grpc() => {
                format!("let the server agree on `http/1.1` or `h2` by ALPN, or correct {endpoint}")
            }
            FailureKind::NoHttp2 { by_alpn: true, .. } => format!(
                "correct {port}, or set {protocol} to http/protobuf; what \
                 ends TLS on the way needs ALPN `h2` (with_assume_http2() if it knows no ALPN)"
            ),
            FailureKind::NoHttp2 { by_alpn: false, .. } => format!(
                "correct {port}, or set {protocol} to http/protobuf; if it expects TLS, {begin_with_https}"
            ),
            FailureKind::NotGrpc { .. } => {
                format!("correct {port}, or set {protocol} to http/protobuf")
            }
            FailureKind::ServerSpeaksGrpc => {
                format!("correct the port in {endpoint} ({PORTS}), or set {protocol} to grpc")
            }
            FailureKind::Closed { .. } if address.socket().is_some() => {
                format!("if the server expects TLS, {begin_with_https}")
            }
            FailureKind::Closed { .. } => format!(
                "if the server expects TLS, which Exporters::check() finds out, begin {endpoint} with \
                 https://"
            ),
            FailureKind::Connection { was_silent: true, .. } if !self.settings.endpoint.secure => {
                format!("if the server expects TLS, {begin_with_https}")
            }
            FailureKind::Connection { .. } => format!(
                "if it happens again and again, see the log of the server, and of what stands \
                 before it, and whether it is the right port ({PORTS})"
            ),
            FailureKind::Silent { .. } => {
                "look at what is on the path: a firewall, NAT or load balancer that forgets \
                 connections"
                    .to_owned()
            }
            FailureKind::Http2 { code: HTTP_1_1_REQUIRED, .. } => {
                format!("correct {port}, or set {protocol} to http/protobuf")
            }
            FailureKind::Http2 { .. } => {
                "see the log of the server, and of what stands before it".to_owned()
            }
            FailureKind::Deadline { .. } => {
                let unit = match self.settings.timeout.origin {
                    Origin::Builder(_) => "",
                    _ => " (in milliseconds)",
                };
                format!(
                    "see whether the collector is overloaded; {}{unit} gives it longer",
                    self.named(&self.settings.timeout.origin, Variable::Timeout)
                )
            }
            FailureKind::Shutdown => {
                "give shutdown() more time, or see why the collector is slow".to_owned()
            }
            FailureKind::TooLarge { .. } => {
                let item = self.settings.signal.item();
                let (setting, place) = match self.settings.protocol.is_grpc() {
                    true => (
                        "`max_recv_msg_size_mib` (4 by default, after decompression)",
                        "the collector's gRPC receiver",
                    ),
                    false => (
                        "`max_request_body_size`",
                        "the collector's HTTP receiver, or of what stands before it",
                    ),
                };
                format!("record less in one {item}, or raise {setting} of {place}")
            }
            FailureKind::OverRequestLimit { .. } => {
                let key = match self.settings.config_file {
                    Some(_) => "max_request_size or ",
                    None => "",
                };
                let item = self.settings.signal.item();
                format!(
                    "record less in one {item}, or raise the limit by {key}with_max_request_size()"
                )
            }
            FailureKind::Http { status: 401 | 403, .. }
            | FailureKind::Grpc { code: "UNAUTHENTICATED" | "PERMISSION_DENIED", .. }
                if let Some(token) = &self.settings.token =>
            {
                self.token_remedy(kind, token)
            }
            FailureKind::Http { status: 401 | 403, .. }
            | FailureKind::Grpc { code: "UNAUTHENTICATED" | "PERMISSION_DENIED", .. } => {
                let expiring = match &self.settings.headers.origin {
                    Origin::Builder("with_header_provider") => "",
                    _ => {
                        "; with_bearer_token_file() and with_header_provider() are for tokens that expire"
                    }
                };
                format!(
                    "correct the credentials in {headers}, or the rights that they have at the \
                     collector{expiring}"
                )
            }
            FailureKind::Http { status: 404, .. } if self.settings.config_file.is_some() => {
                format!(
                    "correct the path in {endpoint}: it asked for `{}`, and the endpoint is used as it \
                 stands",
                    self.settings.endpoint.shown_path(),
                )
            }
            FailureKind::Http { status: 404, .. } => format!(
                "correct the path in {endpoint}: it asked for `{}`; {} is used as it stands, and \
                 the generic variable gets `/{}` appended",
                self.settings.endpoint.shown_path(),
                Variable::Endpoint.name(Some(self.settings.signal)),
                self.settings.signal.http_path(),
            ),
            FailureKind::Grpc { code: "UNIMPLEMENTED", .. } => format!(
                "let the collector's OTLP receiver be in a pipeline for {}, or correct {endpoint}",
                self.settings.signal
            ),
            FailureKind::Redirect { location: Some(_), .. } => {
                format!("redirects are not followed: name that place in {endpoint}")
            }
            FailureKind::Redirect { location: None, .. } => {
                format!("redirects are not followed: correct {endpoint}")
            }
            FailureKind::Http { status: 415, .. } => {
                format!("set {protocol} to what the collector takes, `http/protobuf` for one")
            }
            FailureKind::Http { status: 429 | 502..=504, .. }
            | FailureKind::Grpc { code: "UNAVAILABLE", .. } => {
                "see whether the collector is down or \
                 overloaded; what balances load before it may be who answers"
                    .to_owned()
            }
            FailureKind::Rejected { message, .. }
            | FailureKind::Grpc { message, .. }
            | FailureKind::Http { message, .. }
                if message.is_empty() =>
            {
                "see the collector's log for the reason".to_owned()
            }
            FailureKind::InvalidResponse { .. } | FailureKind::UnreadAnswer { .. } => {
                format!("see what listens at {endpoint}")
            }
            FailureKind::Panicked => {
                "report it, with what the process wrote to standard error".to_owned()
            }
            _ => String::new(),
        }
    }

    /// What to do about a bearer token that the collector refuses.
    fn token_remedy(&self, kind: &FailureKind, token: &TokenSettings) -> String {
        let Sourced { value, origin } = &token.file;
        let read = self.token_read.map(|read| format!(", last read at {}", utc(read)));
        let file = format!("{} ({origin}{})", value.display(), read.unwrap_or_default());
        match is_forbidden(kind) {
            true => format!("give the token in {file} the rights that it needs at the collector"),
            false => format!(
                "put a token that the collector accepts into {file}; the next export reads it again"
            ),
        }
    }

    /// What else it may be: the port is usually the other protocol's.
    pub(super) fn other_port(&self, kind: &FailureKind) -> String {
        let (port, is_grpc) =
            (self.settings.endpoint.address.port(), self.settings.protocol.is_grpc());
        let (port, other, value, own) = match (port, is_grpc) {
            (Some(4317), false) => (4317, "OTLP/gRPC", "grpc", 4318),
            (Some(4318), true) => (4318, "OTLP/HTTP", "http/protobuf", 4317),
            _ => return String::new(),
        };
        match kind {
            FailureKind::HandshakeTimeout { .. }
            | FailureKind::Http2Timeout { .. }
            | FailureKind::NotTls { .. }
            | FailureKind::Incompatible { .. }
            | FailureKind::Closed { .. }
            | FailureKind::Connection { .. }
            | FailureKind::Deadline { .. }
            | FailureKind::Grpc { code: "UNIMPLEMENTED" | "INTERNAL" | "UNKNOWN", .. }
            | FailureKind::Http { status: 400 | 404..=428 | 500..=599, .. }
            | FailureKind::Redirect { .. }
            | FailureKind::InvalidResponse { .. } => {
                let protocol = self.named(&self.settings.protocol.origin, Variable::Protocol);
                format!(
                    "port {port} is usually {other}: if it is, set {protocol} to {value}, or use port {own}"
                )
            }
            _ => String::new(),
        }
    }

    /// What else it may be: servers answer so that cannot read a compressed batch.
    pub(super) fn compression(&self, kind: &FailureKind) -> String {
        match (kind, *self.settings.compression) {
            (
                FailureKind::Grpc { code: "INTERNAL" | "UNIMPLEMENTED", .. }
                | FailureKind::Http { status: 400 | 415, .. },
                Some(compression),
            ) => format!(
                "if it cannot read {}, change {}",
                compression.as_str(),
                self.generic(Variable::Compression)
            ),
            _ => String::new(),
        }
    }

    /// The variable that names the proxy.
    fn proxy(&self) -> String {
        let proxy = self.settings.proxy.as_ref();
        proxy.map_or_else(String::new, |proxy| proxy.origin.to_string())
    }
}

/// EMFILE and ENFILE, which the standard library has no kind for.
fn is_out_of_descriptors(error: &io::Error) -> bool {
    cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24))
}
