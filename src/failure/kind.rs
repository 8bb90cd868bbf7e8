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

/// What kind of failure it was.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FailureKind {
    /// The host's name could not be resolved.
    #[non_exhaustive]
    Resolve {
        /// The system's word.
        source: Arc<io::Error>,
    },
    /// Nothing listens at the address.
    #[non_exhaustive]
    ConnectionRefused {
        /// The system's word.
        source: Arc<io::Error>,
    },
    /// There is no way to the address.
    #[non_exhaustive]
    Unreachable {
        /// The system's word.
        source: Arc<io::Error>,
    },
    /// No TCP connection could be made, for another reason.
    #[non_exhaustive]
    Connect {
        /// The system's word.
        source: Arc<io::Error>,
    },
    /// No TCP connection was made in time.
    #[non_exhaustive]
    ConnectTimeout {
        /// How long was waited.
        after: Duration,
    },
    /// The proxy could not be reached.
    #[non_exhaustive]
    ProxyUnreachable {
        /// The proxy, as host and port.
        proxy: String,
        /// The system's word.
        source: Arc<io::Error>,
    },
    /// The proxy did not connect us to the collector in time.
    #[non_exhaustive]
    ProxyTimeout {
        /// The proxy, as host and port.
        proxy: String,
        /// How long was waited.
        after: Duration,
    },
    /// The proxy did not connect us to the collector.
    #[non_exhaustive]
    ProxyRefused {
        /// The proxy, as host and port.
        proxy: String,
        /// Its HTTP status; `None` if it closed the connection or did not speak HTTP.
        status: Option<u16>,
    },
    /// The TLS handshake was not done in time.
    #[non_exhaustive]
    HandshakeTimeout {
        /// How long was waited.
        after: Duration,
    },
    /// The TLS handshake was done, but the server did not begin HTTP/2 in time.
    #[non_exhaustive]
    Http2Timeout {
        /// How long was waited.
        after: Duration,
    },
    /// We spoke TLS, and the server does not.
    #[non_exhaustive]
    NotTls {
        /// What it speaks, if it said anything.
        found: Option<PeerProtocol>,
    },
    /// We spoke plaintext, and the server speaks TLS.
    NeedsTls,
    /// Server and client have no version or cipher of TLS in common.
    #[non_exhaustive]
    Incompatible {
        /// Who found out.
        refused_by: Side,
        /// What they do not have in common.
        lacking: Incompatibility,
        /// rustls' word.
        source: rustls::Error,
    },
    /// We refused the server's certificate.
    ServerCertificate(Box<ServerCertificate>),
    /// The server refused our certificate, or that we have none.
    #[non_exhaustive]
    ClientCertificate {
        /// What the server has against it.
        problem: ClientCertificateProblem,
        /// How the server said so.
        said: RejectedVia,
        /// Whose certificates it says that it takes, as distinguished names. Many say nothing.
        acceptable_issuers: Vec<String>,
    },
    /// TLS failed otherwise.
    #[non_exhaustive]
    Tls {
        /// rustls' word.
        source: rustls::Error,
    },
    /// The server does not speak HTTP/2, which gRPC needs.
    #[non_exhaustive]
    NoHttp2 {
        /// Who found out.
        refused_by: Side,
        /// Whether TLS was there to agree on it, by ALPN.
        by_alpn: bool,
    },
    /// We spoke gRPC, and the server answered with plain HTTP.
    #[non_exhaustive]
    NotGrpc {
        /// Its HTTP status.
        status: u16,
    },
    /// We spoke OTLP/HTTP, and the server speaks gRPC.
    ServerSpeaksGrpc,
    /// We spoke HTTP/2 in plaintext to a server that has never answered, and it closed the connection
    /// before its SETTINGS. Servers for TLS do so, grpc-go for one; it may have another reason.
    #[non_exhaustive]
    Closed {
        /// What the connection said last.
        source: Arc<dyn StdError + Send + Sync>,
    },
    /// The connection broke.
    #[non_exhaustive]
    Connection {
        /// Whether the server had said nothing on it.
        was_silent: bool,
        /// What the connection said last.
        source: Arc<dyn StdError + Send + Sync>,
    },
    /// The path to the server carries nothing any more, and nobody has closed the connection.
    #[non_exhaustive]
    Silent {
        /// How long nothing came back, not even the answer to a PING or an acknowledgement of TCP.
        after: Duration,
    },
    /// The server ended the request, or the connection, with an error of HTTP/2.
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
        /// How long it was given.
        after: Duration,
    },
    /// Shutting down left no more time.
    Shutdown,
    /// A request with a single item is larger than the collector takes. What is too large because of the number of
    /// its items is cut and sent in parts.
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
        /// The most that is allowed, in bytes.
        limit: usize,
    },
    /// The collector answered with a gRPC status other than OK.
    #[non_exhaustive]
    Grpc {
        /// The status code's name, for instance `UNAVAILABLE`.
        code: &'static str,
        /// The status code.
        number: i32,
        /// Why, in the collector's words: at most 200 characters, escaped, without header values that were
        /// sent. Empty if it does not say.
        message: String,
    },
    /// The collector answered with a redirect, which is not followed.
    #[non_exhaustive]
    Redirect {
        /// The HTTP status.
        status: u16,
        /// Where it leads to, if it says so: scheme, host, port and the part of the path that is no
        /// secret.
        location: Option<String>,
    },
    /// The collector answered with an HTTP status other than success.
    #[non_exhaustive]
    Http {
        /// The status code.
        status: u16,
        /// Why, as in [`Grpc`](Self::Grpc).
        message: String,
    },
    /// The collector accepted the export, but not all of its items.
    #[non_exhaustive]
    Rejected {
        /// How many it rejected.
        items: u64,
        /// Why, as in [`Grpc`](Self::Grpc).
        message: String,
    },
    /// The collector accepted the export whole, and has a warning. Nothing is lost.
    #[non_exhaustive]
    Warning {
        /// The warning, as in [`Grpc`](Self::Grpc).
        message: String,
    },
    /// The collector accepted the export, and does not say in a way that can be read whether it rejected some of
    /// its items. They count as delivered.
    #[non_exhaustive]
    UnreadAnswer {
        /// What the answer is.
        reason: String,
    },
    /// The answer does not say whether the export was accepted.
    #[non_exhaustive]
    InvalidResponse {
        /// What is wrong with it.
        reason: String,
    },
    /// [`with_header_provider`](crate::ExportersBuilder::with_header_provider) had no headers.
    #[non_exhaustive]
    HeaderProvider {
        /// The provider's word.
        source: Arc<dyn StdError + Send + Sync>,
    },
    /// The runtime that does all I/O has ended.
    Runtime,
    /// The export ended in a panic.
    Panicked,
    /// The exporter was made in another process, of which this one is a forked child: the thread that
    /// does all I/O did not come along.
    Forked,
}

/// Which part of our credentials a failure is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cure {
    /// We refused the server.
    TrustAnchors,
    /// The server refused us.
    Identity,
    Nothing,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Side {
    /// This process.
    Us,
    /// The collector, or what stands before it.
    Server,
}

/// What two ends of TLS may not have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Incompatibility {
    /// A version of TLS.
    Version,
    /// A cipher suite, a key exchange group or a signature scheme.
    Cipher,
}

/// A server's certificate that we refused.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerCertificate {
    /// What is wrong with it.
    pub problem: ServerCertificateProblem,
    /// What the server presented, leaf first.
    pub chain: Vec<CertificateFacts>,
    /// rustls' word.
    pub source: rustls::Error,
    /// Which certificate is the reason, where that is not the leaf alone.
    pub(crate) fault: Option<Fault>,
}

/// What is wrong with a server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerCertificateProblem {
    /// No CA that we trust has issued it.
    UnknownIssuer,
    /// It is issued by nobody but itself, and not one of the CAs that we trust.
    SelfSigned,
    /// It is a CA's own certificate.
    CaUsedAsEndEntity,
    /// It is for another name.
    WrongName,
    /// It does not have the SPIFFE ID that is expected, or is no X.509-SVID.
    WrongSpiffeId,
    /// It has no name at all that clients look at: no subject alternative name.
    NoName,
    /// It is for no IP address, and we dialled one.
    NoIpAddress,
    /// Its time is over.
    Expired,
    /// Its time is yet to come, by this machine's clock.
    NotYetValid,
    /// It is an X.509 certificate of version 1, which cannot hold a name that clients look at; or an
    /// intermediate is not of version 3.
    Version1,
    /// It is not for servers.
    WrongUsage,
    /// Its signature is wrong: another CA of the same name has issued it.
    BadSignature,
    /// An RSA key of the chain is too short, or too long.
    KeySize,
    /// The chain has a signature or a key of an algorithm that is not accepted.
    Algorithm,
    /// The server does not have the private key that belongs to it.
    KeyMismatch,
    /// A CA of the chain must not issue for one of its names.
    NameConstraint,
    /// More CAs follow one of the chain than that one permits.
    PathLength,
    /// A certificate of the chain has a critical extension that is not supported.
    CriticalExtension,
    /// It has more intermediates than are followed.
    TooLong,
    /// A certificate of the chain was issued by one that is not a CA's.
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

/// How a server says that it has something against our certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RejectedVia {
    /// By a TLS alert.
    Alert(AlertDescription),
    /// By HTTP: nginx answers with status 400 and a page.
    Page,
    /// Not at all: it asked for a certificate, and then closed the connection. That may have another
    /// reason.
    Nothing,
}

/// What a server has against our certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientCertificateProblem {
    /// It demands one, and we have none.
    Required,
    /// It does not know the CA that issued ours.
    UnknownIssuer,
    /// Its time is over.
    Expired,
    /// Its time is yet to come.
    NotYetValid,
    /// It was revoked.
    Revoked,
    /// It is not for clients.
    WrongUsage,
    /// It is of a kind that the server does not take.
    Unsupported,
    /// The server does not say.
    Unexplained,
}

impl FailureKind {
    /// All there is to say of a kind: each has its function in the file of its phase.
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

    /// A name for machines, which does not change: an `error.type`.
    pub fn name(&self) -> &'static str {
        self.describe().name
    }

    /// Who refused whom; `None` where nobody did.
    pub fn refused_by(&self) -> Option<Side> {
        self.describe().refused_by
    }

    /// Whether the collector accepted the export nonetheless.
    pub(crate) fn is_accepted(&self) -> bool {
        self.describe().group == Group::Accepted
    }

    /// Which change of our credentials makes another dial worth while at once.
    pub(crate) fn cure(&self) -> Cure {
        self.describe().cure
    }

    /// Whether the server said by a TLS alert that it refuses us.
    pub(crate) fn is_alert(&self) -> bool {
        matches!(
            self,
            Self::Tls { source: rustls::Error::AlertReceived(_) }
                | Self::ClientCertificate { said: RejectedVia::Alert(_), .. }
        )
    }

    /// Whether the collector, or a proxy before it, does not know who we are.
    pub(crate) fn is_unauthenticated(&self) -> bool {
        matches!(self, Self::Http { status: 401, .. } | Self::Grpc { code: "UNAUTHENTICATED", .. })
    }

    /// Whether trying again within the export is of no use, for nothing but a change of
    /// configuration would help.
    pub(crate) fn is_permanent(&self) -> bool {
        self.describe().is_permanent
    }
}
