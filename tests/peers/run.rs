//! Runs cases concurrently and reports those that differ from their table.

use std::any::Any;
use std::env;
use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::table::{self, Case, Kind, Observed};

/// The number of threads. The cases wait most of the time.
pub(crate) fn run(kinds: &[Kind], threads: usize, observe: impl Fn(&Case) -> Observed + Sync) {
    let cases = table::load(kinds);
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(failure) = check(case, &observe) {
                        failed.lock().unwrap().push((case, failure));
                    }
                }
            });
        }
    });
    let failures: Vec<_> = failed
        .into_inner()
        .unwrap()
        .into_iter()
        // A case with time limits is run again alone, because the others may have delayed it.
        .filter_map(|(case, failure)| match is_timed(case) {
            true => check(case, &observe).err(),
            false => Some(failure),
        })
        .collect();
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

fn check(case: &Case, observe: &impl Fn(&Case) -> Observed) -> Result<(), String> {
    let observed = panic::catch_unwind(AssertUnwindSafe(|| observe(case)))
        .map_err(|panic| format!("{case}\n  panicked: {}", text(&*panic)))?;
    case.check(&observed)
}

fn text(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text,
        (None, None) => "without a text",
    }
}

fn is_timed(case: &Case) -> bool {
    case.wanted().keys().any(|name| name.contains("_ms_"))
}

/// Set by `.ci/run`: tests with missing tools then fail instead of being skipped.
const REQUIRE_SERVERS: &str = "OTLP_MTLS_REQUIRE_SERVERS";

pub(crate) fn skipped(why: &str) {
    assert!(env::var_os(REQUIRE_SERVERS).is_none(), "{REQUIRE_SERVERS} is set: {why}");
    // libtest captures `eprintln!` and discards it if the test passes.
    let _ = writeln!(io::stderr(), "skipped: {why}");
}
