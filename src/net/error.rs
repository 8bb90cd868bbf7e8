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
