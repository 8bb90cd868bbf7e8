//! The kinds of failure.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::AlertDescription;

use super::certificates::Fault;
use super::describe::{Description, Group};
use super::{PeerProtocol, answers, certificates, exchange, handshake, reach};
use crate::tls::CertificateFacts;

/// The kind of a failure.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FailureKind {
    /// The host's name could not be resolved.
    #[non_exhaustive]
    Resolve {
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// Nothing listens at the address.
    #[non_exhaustive]
    ConnectionRefused {
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// There is no route to the address.
    #[non_exhaustive]
    Unreachable {
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// No TCP connection could be made, for another reason.
    #[non_exhaustive]
    Connect {
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// No TCP connection was made in time.
    #[non_exhaustive]
    ConnectTimeout {
        /// How long we waited.
        after: Duration,
    },
    /// The proxy could not be reached.
    #[non_exhaustive]
    ProxyUnreachable {
        /// The proxy, as host and port.
        proxy: String,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// The proxy did not connect to the collector in time.
    #[non_exhaustive]
    ProxyTimeout {
        /// The proxy, as host and port.
        proxy: String,
        /// How long we waited.
        after: Duration,
    },
    /// The proxy did not connect to the collector.
    #[non_exhaustive]
    ProxyRefused {
        /// The proxy, as host and port.
        proxy: String,
        /// Its HTTP status; `None` if it closed the connection or did not speak HTTP.
        status: Option<u16>,
    },
    /// TLS with the proxy failed.
    #[non_exhaustive]
    ProxyTls {
        /// The proxy, as host and port.
        proxy: String,
        /// The failure that it would be with a server.
        reason: Box<Self>,
    },
    /// The TLS handshake was not done in time.
    #[non_exhaustive]
    HandshakeTimeout {
        /// How long we waited.
        after: Duration,
    },
    /// The TLS handshake was done, but the server did not begin HTTP/2 in time.
    #[non_exhaustive]
    Http2Timeout {
        /// How long we waited.
        after: Duration,
    },
    /// We spoke TLS, but the server does not.
    #[non_exhaustive]
    NotTls {
        /// The protocol that it speaks, if it sent anything.
        found: Option<PeerProtocol>,
    },
    /// We spoke plaintext, but the server speaks TLS.
    NeedsTls,
    /// Server and client have no TLS version or cipher in common.
    #[non_exhaustive]
    Incompatible {
        /// The side that found out.
        refused_by: Side,
        /// What they do not have in common.
        lacking: Incompatibility,
        /// rustls' error.
        source: rustls::Error,
    },
    /// We rejected the server's certificate.
    ServerCertificate(Box<ServerCertificate>),
    /// The server rejected our certificate, or that we have none.
    #[non_exhaustive]
    ClientCertificate {
        /// Why the server rejected it.
        problem: ClientCertificateProblem,
        /// How the server reported it.
        said: RejectedVia,
        /// The issuers that the server accepts, as distinguished names. Many servers name none.
        acceptable_issuers: Vec<String>,
    },
    /// TLS failed for another reason.
    #[non_exhaustive]
    Tls {
        /// rustls' error.
        source: rustls::Error,
    },
    /// The server does not speak HTTP/2, which gRPC needs.
    #[non_exhaustive]
    NoHttp2 {
        /// The side that found out.
        refused_by: Side,
        /// Whether this was found by ALPN, that is over TLS.
        by_alpn: bool,
    },
    /// We spoke gRPC, but the server answered with plain HTTP.
    #[non_exhaustive]
    NotGrpc {
        /// Its HTTP status.
        status: u16,
    },
    /// We spoke OTLP/HTTP, but the server speaks gRPC.
    ServerSpeaksGrpc,
    /// We spoke HTTP/2 in plaintext, and a server that has never answered closed the connection
    /// before it sent SETTINGS. TLS servers such as grpc-go do this, but there may be another
    /// reason.
    #[non_exhaustive]
    Closed {
        /// The connection's error.
        source: Arc<dyn StdError + Send + Sync>,
    },
    /// The connection broke.
    #[non_exhaustive]
    Connection {
        /// Whether the server had sent nothing on it.
        was_silent: bool,
        /// The connection's error.
        source: Arc<dyn StdError + Send + Sync>,
    },
    /// The network path to the server is dead, although neither side closed the connection.
    #[non_exhaustive]
    Silent {
        /// How long nothing arrived, not even the answer to an HTTP/2 PING or a TCP
        /// acknowledgement.
        after: Duration,
    },
    /// The server ended the request or the connection with an HTTP/2 error.
    #[non_exhaustive]
    Http2 {
        /// The error code's name, for instance `REFUSED_STREAM`.
        error: String,
        /// The error code.
        code: u32,
        /// Whether it ended the connection.
        is_connection: bool,
    },
    /// The export was not done in time.
    #[non_exhaustive]
    Deadline {
        /// The timeout.
        after: Duration,
    },
    /// The shutdown left no more time.
    Shutdown,
    /// A request with a single item is larger than the collector accepts. A request with several
    /// items is split and sent in parts instead.
    #[non_exhaustive]
    TooLarge {
        /// The size of the request's body, in bytes, as it was sent.
        bytes: usize,
        /// Its size before it was compressed, if it was.
        uncompressed: Option<usize>,
    },
    /// A request with a single item is larger than
    /// [`with_max_request_size`](crate::ExportersBuilder::with_max_request_size) allows.
    #[non_exhaustive]
    OverRequestLimit {
        /// The size of the request's body, in bytes, before compression.
        bytes: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The collector answered with a gRPC status other than OK.
    #[non_exhaustive]
    Grpc {
        /// The status code's name, for instance `UNAVAILABLE`.
        code: &'static str,
        /// The status code.
        number: i32,
        /// The collector's reason: at most 200 characters, escaped, with the header values, path
        /// and query that were sent masked. Empty if it gave none.
        message: String,
    },
    /// The collector answered with a redirect, which is not followed.
    #[non_exhaustive]
    Redirect {
        /// The HTTP status.
        status: u16,
        /// Its target, if it names one: scheme, host, port and the part of the path that is not
        /// secret.
        location: Option<String>,
    },
    /// The collector answered with an HTTP status other than success.
    #[non_exhaustive]
    Http {
        /// The status code.
        status: u16,
        /// The reason, as in [`Grpc`](Self::Grpc).
        message: String,
    },
    /// The collector accepted the export, but not all of its items.
    #[non_exhaustive]
    Rejected {
        /// How many it rejected.
        items: u64,
        /// The reason, as in [`Grpc`](Self::Grpc).
        message: String,
    },
    /// The collector accepted the whole export, with a warning. Nothing is lost.
    #[non_exhaustive]
    Warning {
        /// The warning, as in [`Grpc`](Self::Grpc).
        message: String,
    },
    /// The collector accepted the export, but the part of its answer about rejected items cannot be
    /// read. All items count as delivered.
    #[non_exhaustive]
    UnreadAnswer {
        /// What is wrong with the answer.
        reason: String,
    },
    /// The answer does not say whether the export was accepted.
    #[non_exhaustive]
    InvalidResponse {
        /// What is wrong with it.
        reason: String,
    },
    /// [`with_header_provider`](crate::ExportersBuilder::with_header_provider) failed.
    #[non_exhaustive]
    HeaderProvider {
        /// The provider's error.
        source: Arc<dyn StdError + Send + Sync>,
    },
    /// The I/O runtime has ended.
    Runtime,
    /// The export ended in a panic.
    Panicked,
    /// The exporter was created before this process was forked: the I/O thread exists only in the
    /// parent.
    Forked,
}

/// The part of our credentials that a failure is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cure {
    /// We rejected the server's certificate.
    TrustAnchors,
    /// The server rejected ours.
    Identity,
    /// We rejected the proxy's certificate.
    ProxyTrustAnchors,
    Nothing,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Side {
    /// This process.
    Us,
    /// The collector, or a proxy or load balancer before it.
    Server,
}

/// What two TLS peers lack in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Incompatibility {
    /// A TLS version.
    Version,
    /// A cipher suite, a key exchange group or a signature scheme.
    Cipher,
}

/// A server's certificate that we rejected.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerCertificate {
    /// What is wrong with it.
    pub problem: ServerCertificateProblem,
    /// What the server presented, leaf first.
    pub chain: Vec<CertificateFacts>,
    /// rustls' error.
    pub source: rustls::Error,
    /// The certificate that caused the rejection, if the leaf alone did not.
    pub(crate) fault: Option<Fault>,
}

/// What is wrong with a server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerCertificateProblem {
    /// It was not issued by a trusted CA.
    UnknownIssuer,
    /// It is self-signed, and not a trusted certificate.
    SelfSigned,
    /// It is a CA's own certificate.
    CaUsedAsEndEntity,
    /// It is for another name.
    WrongName,
    /// It does not have the expected SPIFFE ID, or is not an X.509-SVID.
    WrongSpiffeId,
    /// It has no subject alternative name, and so no name that clients verify.
    NoName,
    /// It has no IP address, and we dialled one.
    NoIpAddress,
    /// It has expired.
    Expired,
    /// It is not yet valid, by this machine's clock.
    NotYetValid,
    /// It is an X.509 version 1 certificate, which cannot hold a subject alternative name; or an
    /// intermediate is not a version 3 certificate.
    Version1,
    /// It is not for servers.
    WrongUsage,
    /// Its signature is wrong: it was issued by another CA of the same name.
    BadSignature,
    /// An RSA key of the chain is too short, or too long.
    KeySize,
    /// A signature or key of the chain has an algorithm that is not accepted.
    Algorithm,
    /// The server does not have the private key that belongs to it.
    KeyMismatch,
    /// A CA of the chain must not issue for one of its names.
    NameConstraint,
    /// A CA of the chain has more CAs below it than it permits.
    PathLength,
    /// A certificate of the chain has a critical extension that is not supported.
    CriticalExtension,
    /// It has more intermediates than rustls follows.
    TooLong,
    /// A certificate of the chain was issued by a certificate that is not a CA's.
    IssuerIsNoCa,
    /// The CA to which the chain leads has expired.
    ExpiredCa,
    /// The CA to which the chain leads is not valid yet, by this machine's clock.
    NotYetValidCa,
    /// A CA of the chain must not issue certificates for servers, or cannot be decoded.
    UnfitCa,
    /// It was revoked.
    Revoked,
    /// Something else.
    Other,
}

/// How a server reported that it rejected our certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RejectedVia {
    /// By a TLS alert.
    Alert(AlertDescription),
    /// By HTTP: nginx answers with status 400 and a page.
    Page,
    /// Not at all: it asked for a certificate and then closed the connection, perhaps for another
    /// reason.
    Nothing,
}

/// Why a server rejected our certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientCertificateProblem {
    /// It requires one, and we have none.
    Required,
    /// It does not know the CA that issued ours.
    UnknownIssuer,
    /// It has expired.
    Expired,
    /// It is not yet valid.
    NotYetValid,
    /// It was revoked.
    Revoked,
    /// It is not for clients.
    WrongUsage,
    /// It is of a kind that the server does not accept.
    Unsupported,
    /// The server gave no reason.
    Unexplained,
}

impl FailureKind {
    /// The description of a kind: each kind has a function in the file of its phase.
    pub(super) fn describe(&self) -> Description<'_> {
        match self {
            Self::Resolve { source } => reach::resolve(source),
            Self::ConnectionRefused { source } => reach::connection_refused(source),
            Self::Unreachable { source } => reach::unreachable(source),
            Self::Connect { source } => reach::connect(source),
            Self::ConnectTimeout { after } => reach::connect_timeout(*after),
            Self::ProxyUnreachable { proxy, source } => reach::proxy_unreachable(proxy, source),
            Self::ProxyTimeout { proxy, after } => reach::proxy_timeout(proxy, *after),
            Self::ProxyRefused { proxy, status } => reach::proxy_refused(proxy, *status),
            Self::ProxyTls { proxy, reason } => reach::proxy_tls(proxy, reason),
            Self::HandshakeTimeout { after } => handshake::handshake_timeout(*after),
            Self::Http2Timeout { after } => handshake::http2_timeout(*after),
            Self::NotTls { found } => handshake::not_tls(*found),
            Self::NeedsTls => handshake::needs_tls(),
            Self::Incompatible { refused_by, lacking, source } => {
                handshake::incompatible(*refused_by, *lacking, source)
            }
            Self::ServerCertificate(refused) => certificates::server(refused),
            Self::ClientCertificate { problem, said, acceptable_issuers } => {
                certificates::client(*problem, *said, acceptable_issuers)
            }
            Self::Tls { source } => handshake::tls(source),
            Self::NoHttp2 { refused_by, by_alpn } => handshake::no_http2(*refused_by, *by_alpn),
            Self::NotGrpc { status } => answers::not_grpc(*status),
            Self::ServerSpeaksGrpc => answers::server_speaks_grpc(),
            Self::Closed { source } => exchange::closed(source),
            Self::Connection { was_silent, source } => exchange::connection(*was_silent, source),
            Self::Silent { after } => exchange::silent(*after),
            Self::Http2 { error, code, is_connection } => {
                exchange::http2(error, *code, *is_connection)
            }
            Self::Deadline { after } => exchange::deadline(*after),
            Self::Shutdown => exchange::shutdown(),
            Self::TooLarge { bytes, uncompressed } => answers::too_large(*bytes, *uncompressed),
            Self::OverRequestLimit { bytes, limit } => exchange::over_request_limit(*bytes, *limit),
            Self::Grpc { code, number, message } => answers::grpc(code, *number, message),
            Self::Redirect { status, location } => answers::redirect(*status, location.as_deref()),
            Self::Http { status, message } => answers::http(*status, message),
            Self::Rejected { items, message } => answers::rejected(*items, message),
            Self::Warning { message } => answers::warning(message),
            Self::UnreadAnswer { reason } => answers::unread_answer(reason),
            Self::InvalidResponse { reason } => answers::invalid_response(reason),
            Self::HeaderProvider { source } => exchange::header_provider(source),
            Self::Runtime => exchange::runtime(),
            Self::Panicked => exchange::panicked(),
            Self::Forked => exchange::forked(),
        }
    }

    /// A stable, machine-readable name, used as `error.type`.
    pub fn name(&self) -> &'static str {
        self.describe().name
    }

    /// The side that rejected the other; `None` if neither did.
    pub fn refused_by(&self) -> Option<Side> {
        self.describe().refused_by
    }

    /// Whether the collector accepted the export despite this failure.
    pub(crate) fn is_accepted(&self) -> bool {
        self.describe().group == Group::Accepted
    }

    /// Whether one side does not speak TLS, or the handshake or a certificate failed.
    pub(crate) fn is_tls(&self) -> bool {
        self.describe().group == Group::Tls
    }

    /// The credentials whose change makes an immediate new dial worthwhile.
    pub(crate) fn cure(&self) -> Cure {
        self.describe().cure
    }

    /// Whether the server rejected us by a TLS alert.
    pub(crate) fn is_alert(&self) -> bool {
        matches!(
            self,
            Self::Tls { source: rustls::Error::AlertReceived(_) }
                | Self::ClientCertificate { said: RejectedVia::Alert(_), .. }
        )
    }

    /// Whether the collector, or a proxy before it, could not authenticate us.
    pub(crate) fn is_unauthenticated(&self) -> bool {
        matches!(self, Self::Http { status: 401, .. } | Self::Grpc { code: "UNAUTHENTICATED", .. })
    }

    /// Whether a retry within the export is useless, because only a change of configuration helps.
    pub(crate) fn is_permanent(&self) -> bool {
        self.describe().is_permanent
    }
}
