//! What has become of one signal's exports since the exporters were built, and who is told of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use tracing::{Level, enabled};

use crate::failure::Failure;
use crate::lock::lock;
use crate::signal::Signal;
use crate::stderr;

/// Counts of one signal.
#[derive(Debug)]
pub(crate) struct Ledger {
    signal: Signal,
    counts: Mutex<Counts>,
    enqueued: AtomicU64,
    herald: Arc<Herald>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// Exports that ended well, all items accepted or not.
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    /// Items, as all below.
    pub(crate) delivered: u64,
    pub(crate) rejected: u64,
    /// Those whose export has failed, by [`FailureKind::name`](crate::FailureKind::name). Exports
    /// that were given up are there as `cancelled`.
    pub(crate) dropped: Vec<(&'static str, Dropped)>,
    pub(crate) in_flight: u64,
    /// Those that the SDK was given to batch, and of which no export was begun.
    pub(crate) queued: u64,
    pub(crate) last_failed: Option<SystemTime>,
    pub(crate) last_failure: Option<Failure>,
    pub(crate) last_success: Option<SystemTime>,
}

/// Exports that failed, and their items.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Dropped {
    pub(crate) exports: u64,
    pub(crate) items: u64,
}

/// How one export ended.
pub(super) struct Outcome {
    pub(super) items: u64,
    pub(super) lost: u64,
    pub(super) succeeded: bool,
    pub(super) failure: Option<Failure>,
}

impl Counts {
    /// Items whose export has failed.
    pub(crate) fn lost(&self) -> u64 {
        self.dropped.iter().map(|(_, dropped)| dropped.items).sum()
    }
}

impl Ledger {
    pub(crate) fn new(signal: Signal, herald: Arc<Herald>) -> Self {
        Self { signal, counts: Mutex::default(), enqueued: AtomicU64::new(0), herald }
    }

    pub(crate) fn counts(&self) -> Counts {
        let counts = lock(&self.counts).clone();
        let taken = counts.delivered + counts.rejected + counts.lost() + counts.in_flight;
        let queued = self.enqueued.load(Ordering::Relaxed).saturating_sub(taken);
        Counts { queued, ..counts }
    }

    /// Counts an item that the SDK is given to batch.
    pub(crate) fn enqueue(&self) {
        self.enqueued.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn begin(&self, items: u64) {
        lock(&self.counts).in_flight += items;
    }

    pub(super) fn end(&self, outcome: &Outcome) {
        let Outcome { items, lost, succeeded, failure } = outcome;
        let now = SystemTime::now();
        let mut counts = lock(&self.counts);
        counts.in_flight -= items;
        counts.delivered += items - lost;
        if *succeeded {
            counts.succeeded += 1;
            counts.rejected += lost;
            counts.last_success = Some(now);
        } else {
            counts.failed += 1;
            counts.last_failed = Some(now);
            let name = failure.as_ref().map_or("cancelled", |failure| failure.kind().name());
            let known = counts.dropped.iter().position(|(known, _)| *known == name);
            let known = known.unwrap_or_else(|| {
                counts.dropped.push((name, Dropped::default()));
                counts.dropped.len() - 1
            });
            let dropped = &mut counts.dropped[known].1;
            dropped.exports += 1;
            dropped.items += lost;
        }
        if let Some(failure) = failure {
            counts.last_failure = Some(failure.clone());
            if *lost > 0 {
                // Also of what was accepted in part.
                counts.last_failed = Some(now);
            }
        }
        // Whoever is told may ask for the status.
        drop(counts);
        if *succeeded {
            self.herald.forget(self.signal, failure.as_ref());
        }
        if let Some(failure) = failure {
            self.herald.tell(failure);
        }
    }
}

/// What is told of failures.
pub(crate) type Handler = dyn Fn(&Failure) + Send + Sync;

/// Tells of the first failure, of each new kind, and of one that comes back after a success.
pub(crate) struct Herald {
    handler: Option<Arc<Handler>>,
    /// Of which collectors and kinds it was told, and which signals fail so since.
    told: Mutex<BTreeMap<(String, &'static str), BTreeSet<Signal>>>,
}

impl Herald {
    pub(crate) fn new(handler: Option<Arc<Handler>>) -> Self {
        Self { handler, told: Mutex::default() }
    }

    /// Notes a success of a signal, after which a failure is news again: all but what the collector remarked
    /// on that success.
    fn forget(&self, signal: Signal, remark: Option<&Failure>) {
        let remark = remark.map(|remark| remark.kind().name());
        lock(&self.told).retain(|(_, kind), signals| {
            if Some(*kind) != remark {
                signals.remove(&signal);
            }
            !signals.is_empty()
        });
    }

    fn tell(&self, failure: &Failure) {
        let key = (failure.endpoint().to_owned(), failure.kind().name());
        let mut told = lock(&self.told);
        let signals = told.entry(key).or_default();
        let is_news = signals.is_empty();
        signals.insert(failure.signal());
        drop(told);
        if !is_news {
            return;
        }
        if failure.kind().is_accepted() {
            // The SDK takes it for a success, and says nothing.
            tracing::warn!(name: "otlp_mtls.export.rejected", "{failure}");
        }
        match &self.handler {
            // What it panics of must not end the SDK's thread.
            Some(handler) => drop(catch_unwind(AssertUnwindSafe(|| handler(failure)))),
            // The SDK logs it, where anybody listens to that.
            None if stderr::is_heard(|| enabled!(target: "opentelemetry_sdk", Level::ERROR)) => {}
            None => stderr::write(Level::ERROR, failure),
        }
    }
}

impl fmt::Debug for Herald {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Herald")
    }
}
