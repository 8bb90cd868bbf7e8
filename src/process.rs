//! Which process something belongs to: threads do not survive a `fork()`, and what waits for one in the
//! child waits for ever.

use std::process;

/// The process that made something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process(u32);

impl Process {
    pub(crate) fn current() -> Self {
        Self(process::id())
    }

    /// False in a child that was forked since.
    pub(crate) fn is_current(self) -> bool {
        self == Self::current()
    }
}
