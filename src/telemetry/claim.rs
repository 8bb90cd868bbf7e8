//! Whose OpenTelemetry's globals are.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::Error;

static CLAIMED: AtomicBool = AtomicBool::new(false);

/// OpenTelemetry's globals, claimed: there is one of these at a time, for a second set of globals
/// would cut off the first. Once it is dropped, there may be another.
#[derive(Debug)]
pub(super) struct Claim(());

impl Claim {
    pub(super) fn take() -> Result<Self, Error> {
        match CLAIMED.swap(true, Ordering::AcqRel) {
            true => Err(Error::AlreadyInstalled),
            false => Ok(Self(())),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        CLAIMED.store(false, Ordering::Release);
    }
}
