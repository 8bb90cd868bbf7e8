//! Whose OpenTelemetry's globals are.

use std::sync::Mutex;

use crate::error::Error;
use crate::lock::lock;
use crate::process::Process;

static OWNER: Mutex<Option<Process>> = Mutex::new(None);

/// OpenTelemetry's globals, claimed: there is one of these at a time in a process, because a second set
/// of globals would cut off the first. Once it is dropped, there may be another.
///
/// A forked child has a copy of its parent's, which does not count: its threads are the parent's.
#[derive(Debug)]
pub(super) struct Claim(Process);

impl Claim {
    pub(super) fn take() -> Result<Self, Error> {
        let current = Process::current();
        match lock(&OWNER).replace(current) {
            Some(owner) if owner == current => Err(Error::AlreadyInstalled),
            _ => Ok(Self(current)),
        }
    }

    /// False in a child that was forked since.
    pub(super) fn is_of_this_process(&self) -> bool {
        self.0.is_current()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&OWNER).take_if(|owner| *owner == self.0);
    }
}
