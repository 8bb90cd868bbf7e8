//! What was seen of one dial and the connection that it made, and the errors that carry it.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::dial::Target;
use crate::failure::{FailureKind, Scene};
use crate::lock::lock;
use crate::observation::Observation;
use crate::tls::Snapshot;

/// How far a dial has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    #[default]
    Resolving,
    Connecting,
    /// A proxy is asked to connect us.
    Tunnelling,
    Handshaking,
    /// The server has yet to begin HTTP/2, or to refuse our certificate.
    AwaitingSettings,
    Ready,
}

/// What a dial saw, and the credentials it was made with: all that its failure is judged and worded by,
/// whatever is current later.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence {
    /// `None` over plaintext.
    pub(crate) credentials: Option<Snapshot>,
    pub(crate) stage: Stage,
    pub(crate) seen: Observation,
}

impl Evidence {
    pub(super) fn scene(&self) -> Scene<'_> {
        Scene { seen: &self.seen, credentials: self.credentials.as_ref() }
    }
}

/// The evidence of a dial that goes on. Each step of the dial is written down where it begins, and read
/// by whoever's deadline comes first.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<Evidence>);

impl Progress {
    pub(super) fn new(credentials: Option<Snapshot>) -> Self {
        Self(Mutex::new(Evidence { credentials, ..Evidence::default() }))
    }

    pub(super) fn reach(&self, stage: Stage) {
        lock(&self.0).stage = stage;
    }

    pub(super) fn note(&self, note: impl FnOnce(&mut Observation)) {
        note(&mut lock(&self.0).seen);
    }

    pub(super) fn read<T>(&self, read: impl FnOnce(&Evidence) -> T) -> T {
        read(&lock(&self.0))
    }

    pub(super) fn evidence(&self) -> Arc<Evidence> {
        Arc::new(self.read(Evidence::clone))
    }

    /// The failure of a dial that has taken too long, by how far it has come.
    pub(super) fn late(&self, target: &Target, after: Duration) -> FailureKind {
        let stage = self.read(|evidence| evidence.stage);
        match (stage, &target.proxy) {
            (Stage::Resolving | Stage::Connecting | Stage::Tunnelling, Some(proxy)) => {
                FailureKind::ProxyTimeout { proxy: proxy.to_string(), after }
            }
            (Stage::Resolving, None) => {
                let words = format!("no answer from the name servers within {after:?}");
                let source = std::io::Error::new(std::io::ErrorKind::TimedOut, words);
                FailureKind::Resolve { source: source.into() }
            }
            (Stage::Connecting | Stage::Tunnelling, None) => FailureKind::ConnectTimeout { after },
            (Stage::Handshaking, _) => FailureKind::HandshakeTimeout { after },
            (Stage::AwaitingSettings | Stage::Ready, _) => FailureKind::Http2Timeout { after },
        }
    }
}

/// Why there is no answer to a request.
#[derive(Clone)]
pub(crate) struct NetError {
    pub(crate) kind: FailureKind,
    pub(crate) evidence: Arc<Evidence>,
    pub(crate) sent: Sent,
    /// When the next dial may begin, where this failure is remembered and nothing was tried.
    pub(crate) next_attempt: Option<Instant>,
}

/// Whether the server may have acted on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Unsent,
    Maybe,
}

impl NetError {
    pub(super) fn unsent(kind: FailureKind, evidence: Arc<Evidence>) -> Self {
        Self { kind, evidence, sent: Sent::Unsent, next_attempt: None }
    }
}

impl fmt::Debug for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetError")
            .field("kind", &self.kind)
            .field("sent", &self.sent)
            .finish_non_exhaustive()
    }
}
