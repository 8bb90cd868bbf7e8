//! Standard error, for what those who run a service have to know, where nobody subscribes to events.

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::Mutex;
use std::thread;

use tracing::level_filters::LevelFilter;
use tracing::{Level, dispatcher, enabled};

use crate::lock::lock;

/// The most verbose level that is written, of the whole process: `OTEL_LOG_LEVEL`.
static LEVEL: Mutex<LevelFilter> = Mutex::new(LevelFilter::INFO);

pub(crate) fn set_level(level: LevelFilter) {
    *lock(&LEVEL) = level;
}

/// Writes what an event of ours says, unless somebody subscribes to our errors.
pub(crate) fn write_unless_heard(level: Level, words: impl Display) {
    if !is_heard(|| enabled!(target: "otlp_mtls", Level::ERROR)) {
        write(level, words);
    }
}

/// Not by `eprintln!`, which panics where nobody reads any more.
pub(crate) fn write(level: Level, words: impl Display) {
    if level <= *lock(&LEVEL) {
        drop(writeln!(io::stderr(), "otlp-mtls: {words}"));
    }
}

/// Asks on a thread of its own: a filter of one layer takes the thread's next event or span, whosever
/// it is, for the one that was asked about.
pub(crate) fn is_heard(ask: fn() -> bool) -> bool {
    if LevelFilter::current() == LevelFilter::OFF {
        return false;
    }
    let subscriber = dispatcher::get_default(Clone::clone);
    let ask = move || dispatcher::with_default(&subscriber, ask);
    let asked = thread::Builder::new().spawn(ask).map(thread::JoinHandle::join);
    matches!(asked, Ok(Ok(true)))
}
