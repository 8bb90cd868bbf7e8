//! Writes to standard error what operators must know, if no `tracing` subscriber receives it.

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::Mutex;
use std::thread;

use tracing::level_filters::LevelFilter;
use tracing::{Level, dispatcher, enabled};

use crate::lock::lock;

/// The process's most verbose level that is written (`OTEL_LOG_LEVEL`).
static LEVEL: Mutex<LevelFilter> = Mutex::new(LevelFilter::INFO);

pub(crate) fn set_level(level: LevelFilter) {
    *lock(&LEVEL) = level;
}

/// Writes the text of an event, unless a subscriber has our errors enabled.
pub(crate) fn write_unless_heard(level: Level, words: impl Display) {
    if !is_heard(|| enabled!(target: "otlp_mtls", Level::ERROR)) {
        write(level, words);
    }
}

/// Writes a line. `eprintln!` would panic if standard error is closed.
pub(crate) fn write(level: Level, words: impl Display) {
    if level <= *lock(&LEVEL) {
        drop(writeln!(io::stderr(), "otlp-mtls: {words}"));
    }
}

/// Asks on a separate thread. `enabled!` makes a per-layer filter record its answer for the thread's next event
/// or span; on this thread, it would wrongly drop or pass one of the application's.
pub(crate) fn is_heard(ask: fn() -> bool) -> bool {
    if LevelFilter::current() == LevelFilter::OFF {
        return false;
    }
    let subscriber = dispatcher::get_default(Clone::clone);
    let ask = move || dispatcher::with_default(&subscriber, ask);
    let asked = thread::Builder::new().spawn(ask).map(thread::JoinHandle::join);
    matches!(asked, Ok(Ok(true)))
}
