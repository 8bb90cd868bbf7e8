//! Exclusive ownership of OpenTelemetry's globals.

use std::sync::Mutex;

use crate::error::Error;
use crate::lock::lock;
use crate::process::Process;

static OWNER: Mutex<Option<Process>> = Mutex::new(None);

/// The claim to OpenTelemetry's globals. Only one exists at a time in a process: setting the globals again
/// would cut off the first providers. It is released on drop.
///
/// A forked child inherits a copy of its parent's claim. It does not count there, because the providers'
/// threads exist only in the parent.
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

    /// False in a child that was forked after the claim.
    pub(super) fn is_of_this_process(&self) -> bool {
        self.0.is_current()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&OWNER).take_if(|owner| *owner == self.0);
    }
}
