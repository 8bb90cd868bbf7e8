//! Why a request has no answer.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::failure::{Evidence, FailureKind};

/// Why there is no answer to a request.
#[derive(Clone)]
pub(crate) struct NetError {
    pub(crate) kind: FailureKind,
    pub(crate) evidence: Arc<Evidence>,
    pub(crate) sent: Sent,
    /// When the next dial may begin, if this is a remembered failure and nothing was attempted.
    pub(crate) next_attempt: Option<Instant>,
}

/// Whether the server may have acted on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Unsent,
    Maybe,
}

impl NetError {
    /// Whether another attempt within the export is useless. After a TLS failure it is not if the
    /// server has answered before: its certificate or its CA may be about to be replaced, or ours.
    pub(crate) fn is_permanent(&self) -> bool {
        let may_pass = self.evidence.has_answered && self.kind.is_tls();
        self.kind.is_permanent() && !may_pass
    }

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
