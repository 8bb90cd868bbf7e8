//! Identifies the process that owns something. Threads do not survive a `fork()`: in the child, waiting for one
//! would never end.

use std::process;

/// The process that created something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process(u32);

impl Process {
    pub(crate) fn current() -> Self {
        Self(process::id())
    }

    /// False in a child process that was forked after the creation.
    pub(crate) fn is_current(self) -> bool {
        self == Self::current()
    }
}
