//! What a shutdown or a flush did not deliver.

use std::fmt;
use std::time::Duration;

use crate::error::Error;
use crate::failure::Failure;
use crate::signal::Signal;

/// What one signal lost.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ShutdownLoss {
    /// The signal.
    pub signal: Signal,
    /// Items that were not acknowledged by the collector.
    pub items: u64,
    /// Those of them that no export was begun of: the SDK's queue was not empty when time ran out. What
    /// it had no room for before is among them. Metrics have no queue.
    pub queued: u64,
    /// Whether the SDK was still at work when the time was over that was given to it.
    pub unfinished_after: Option<Duration>,
    /// Why the last export failed.
    pub failure: Option<Failure>,
}

impl fmt::Display for ShutdownLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} not acknowledged", self.items, self.signal.items())?;
        if self.queued > 0 {
            write!(f, ", {} of them never taken from the SDK's queue", self.queued)?;
        }
        if let Some(after) = self.unfinished_after {
            write!(f, ", the SDK not done after {after:?}")?;
        }
        if let Some(failure) = &self.failure {
            write!(f, ": {}", failure.summary())?;
        }
        Ok(())
    }
}

/// What all signals lost, a line each.
#[derive(Debug, thiserror::Error)]
struct Losses {
    by: &'static str,
    of_signals: Vec<ShutdownLoss>,
}

impl fmt::Display for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lost telemetry:", self.by)?;
        self.of_signals.iter().try_for_each(|loss| write!(f, "\n  {loss}"))
    }
}

/// An error, if anything was lost.
pub(super) fn unless_lost(by: &'static str, of_signals: Vec<ShutdownLoss>) -> Result<(), Error> {
    if of_signals.is_empty() {
        return Ok(());
    }
    Err(Error::Undelivered { loss: Box::new(Losses { by, of_signals }) })
}

impl Error {
    /// What a shutdown or a flush lost, of each signal that lost anything. Empty for any other error.
    pub fn losses(&self) -> &[ShutdownLoss] {
        let losses = match self {
            Self::Undelivered { loss } => loss.downcast_ref::<Losses>(),
            _ => None,
        };
        losses.map_or(&[], |losses| &losses.of_signals)
    }
}
