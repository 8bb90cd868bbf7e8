//! The items that a shutdown or a flush did not deliver.

use std::fmt;
use std::time::Duration;

use crate::error::Error;
use crate::failure::Failure;
use crate::signal::Signal;

/// The loss of one signal.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ShutdownLoss {
    /// The signal.
    pub signal: Signal,
    /// Items that the collector did not acknowledge.
    pub items: u64,
    /// Those of the items for which no export was started: they were still in the SDK's queue when the timeout
    /// expired, or had been dropped before because the queue was full. Metrics have no queue.
    pub queued: u64,
    /// The timeout, if the SDK had not finished when it expired.
    pub unfinished_after: Option<Duration>,
    /// Why the last export failed.
    pub failure: Option<Failure>,
}

impl fmt::Display for ShutdownLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} not acknowledged", self.signal.counted(self.items))?;
        if self.queued > 0 {
            write!(f, ", {} of them never taken from the SDK's queue", self.queued)?;
        }
        if let Some(after) = self.unfinished_after {
            write!(f, ", the SDK had not finished after {after:?}")?;
        }
        if let Some(failure) = &self.failure {
            write!(f, ": {}", failure.summary())?;
        }
        Ok(())
    }
}

/// The loss of all signals, one line each.
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

/// An error if anything was lost.
pub(super) fn unless_lost(by: &'static str, of_signals: Vec<ShutdownLoss>) -> Result<(), Error> {
    if of_signals.is_empty() {
        return Ok(());
    }
    Err(Error::Undelivered { loss: Box::new(Losses { by, of_signals }) })
}

impl Error {
    /// The loss of each signal of a shutdown or a flush. Empty for any other error.
    pub fn losses(&self) -> &[ShutdownLoss] {
        let losses = match self {
            Self::Undelivered { loss } => loss.downcast_ref::<Losses>(),
            _ => None,
        };
        losses.map_or(&[], |losses| &losses.of_signals)
    }
}
