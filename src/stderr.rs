//! Standard error, for what those who run a service have to know, where nobody subscribes to events.

use std::fmt::Display;
use std::io::{self, Write};

/// Writes what an event of ours has said, unless somebody hears of those.
pub(crate) fn write_unless_heard(words: impl Display) {
    if !tracing::enabled!(target: "otlp_mtls", tracing::Level::WARN) {
        write(words);
    }
}

/// Not by `eprintln!`, which panics where nobody reads any more.
pub(crate) fn write(words: impl Display) {
    drop(writeln!(io::stderr(), "otlp-mtls: {words}"));
}
