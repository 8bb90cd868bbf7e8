//! What went wrong with one export, in kind and in words.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::signal::Signal;

/// Why an export failed.
#[derive(Clone, Debug)]
pub struct Failure {
    signal: Signal,
    endpoint: String,
    kind: FailureKind,
}

impl Failure {
    pub(crate) fn new(signal: Signal, endpoint: String, kind: FailureKind) -> Self {
        Self { signal, endpoint, kind }
    }

    /// The signal whose export it was.
    pub fn signal(&self) -> Signal {
        self.signal
    }

    /// The collector, as scheme, host and port.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What went wrong.
    pub fn kind(&self) -> &FailureKind {
        &self.kind
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { signal, endpoint, kind } = self;
        write!(f, "{signal} export to {endpoint} failed: {kind}")
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.kind.source()
    }
}

/// What kind of failure it was.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FailureKind {
    /// The host's name could not be resolved.
    Resolve {
        /// The system's word.
        source: Arc<io::Error>,
    },
    /// No TCP connection could be made.
    Connect {
        /// The system's word.
        source: Arc<io::Error>,
    },
    /// No TCP connection was made in time.
    ConnectTimeout {
        /// How long was waited.
        after: Duration,
    },
    /// The TLS handshake was not done in time.
    HandshakeTimeout {
        /// How long was waited.
        after: Duration,
    },
    /// TLS failed: we refused the server, or its alert says that it refused us.
    Tls {
        /// rustls' word.
        source: rustls::Error,
    },
    /// The peer did not agree on HTTP/2 by ALPN, which gRPC needs.
    NoHttp2,
    /// The connection broke.
    Connection {
        /// What the connection said last.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The export was not done in time.
    Deadline {
        /// How long it was given.
        after: Duration,
    },
    /// Shutting down left no more time.
    Shutdown,
    /// The collector answered with a gRPC status other than OK.
    Grpc {
        /// The status code's name, for instance `Unavailable`.
        code: &'static str,
        /// The status code.
        number: i32,
    },
    /// The collector answered with an HTTP status other than success.
    Http {
        /// The status code.
        status: u16,
    },
    /// The collector accepted the export, but not all of its items.
    Rejected {
        /// How many it rejected.
        items: u64,
    },
    /// The answer could not be read.
    Answer {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// [`with_header_provider`](crate::ExportersBuilder::with_header_provider) had no headers.
    HeaderProvider {
        /// The provider's word.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The runtime that does all I/O has ended or lost the export in a panic.
    Runtime,
}

impl FailureKind {
    pub(crate) fn io(source: io::Error, kind: impl FnOnce(Arc<io::Error>) -> Self) -> Self {
        match tls_error(&source) {
            Some(source) => Self::Tls { source },
            None => kind(Arc::new(source)),
        }
    }

    /// Whether credentials that are out of date may be the reason. Not every server says so with an
    /// alert: some just close the connection.
    pub(crate) fn may_be_credentials(&self) -> bool {
        matches!(self, Self::Tls { .. } | Self::Connection { .. })
    }

    /// Whether trying again within the export is of no use, for nothing but a change of
    /// configuration would help.
    pub(crate) fn is_permanent(&self) -> bool {
        use rustls::AlertDescription::{CloseNotify, InternalError, UserCanceled};
        match self {
            Self::Tls { source } => !matches!(
                source,
                rustls::Error::AlertReceived(CloseNotify | InternalError | UserCanceled)
            ),
            Self::Resolve { .. }
            | Self::Connect { .. }
            | Self::ConnectTimeout { .. }
            | Self::HandshakeTimeout { .. }
            | Self::Connection { .. }
            | Self::HeaderProvider { .. } => false,
            _ => true,
        }
    }

    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Resolve { source } | Self::Connect { source } => Some(source),
            Self::Tls { source } => Some(source),
            Self::Connection { source } | Self::HeaderProvider { source } => Some(source),
            _ => None,
        }
    }
}

/// The TLS error within an I/O error.
pub(crate) fn tls_error(error: &io::Error) -> Option<rustls::Error> {
    error.get_ref()?.downcast_ref::<rustls::Error>().cloned()
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve { source } => write!(f, "the host's name cannot be resolved: {source}"),
            Self::Connect { source } => write!(f, "no connection: {source}"),
            Self::ConnectTimeout { after } => write!(f, "no connection within {after:?}"),
            Self::HandshakeTimeout { after } => {
                write!(f, "connected, but no TLS handshake within {after:?}")
            }
            Self::Tls { source: source @ rustls::Error::AlertReceived(_) } => {
                write!(f, "the server refused us: {source}")
            }
            Self::Tls { source } => write!(f, "we refused the server: {source}"),
            Self::NoHttp2 => f.write_str(
                "the server did not agree on HTTP/2 (ALPN `h2`), which gRPC needs: is this the \
                 port of OTLP/HTTP, or a proxy without HTTP/2?",
            ),
            Self::Connection { source } => {
                write!(f, "the connection broke")?;
                let mut cause: Option<&dyn std::error::Error> = Some(source);
                while let Some(error) = cause {
                    write!(f, ": {error}")?;
                    cause = error.source();
                }
                Ok(())
            }
            Self::Deadline { after } => write!(f, "no answer within {after:?}"),
            Self::Shutdown => f.write_str("shutting down left no more time"),
            Self::Grpc { code, number } => {
                write!(f, "the collector answered with gRPC status {number} ({code})")
            }
            Self::Http { status } => {
                write!(f, "the collector answered with HTTP status {status}")
            }
            Self::Rejected { items } => write!(f, "the collector rejected {items} of the items"),
            Self::Answer { reason } => write!(f, "the collector's answer {reason}"),
            Self::HeaderProvider { source } => {
                write!(f, "the header provider failed: {source}")
            }
            Self::Runtime => f.write_str("the runtime that does its I/O has ended"),
        }
    }
}
