//! Counts the outcome of each item of one signal. These are the only counters: `status()`, the
//! metrics and the result of a shutdown read them.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant, SystemTime};

use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};

use super::notify::FailureNotifier;
use super::transport::Answered;
use crate::failure::{Failure, FailureKind};
use crate::lock::lock;
use crate::otlp::StatusName;
use crate::signal::Signal;

/// Counts of one signal since the exporters were built.
pub(crate) struct ExportStats {
    signal: Signal,
    counts: Mutex<Counts>,
    enqueued: AtomicU64,
    observers: Mutex<Vec<Weak<Observer>>>,
    notifier: Arc<FailureNotifier>,
}

/// Called at the end of every export.
pub(crate) type Observer = dyn Fn(&ExportEnd) + Send + Sync;

/// How an export has ended.
#[derive(Debug)]
pub(crate) struct ExportEnd {
    /// Includes all attempts and the delays between them.
    pub(crate) duration: Duration,
    /// Why it failed, in whole or in part.
    pub(crate) error: Option<&'static str>,
    /// The status of the answer to the last attempt, if it had one.
    pub(crate) status: Option<StatusName>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// Exports of which no item was dropped.
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    /// In items, as are all counts below.
    pub(crate) delivered: u64,
    /// Items that the collector rejected in a partial success.
    pub(crate) rejected: u64,
    /// Items whose request failed, by [`FailureKind::name`]; those of abandoned exports as
    /// `cancelled`.
    pub(crate) dropped: Vec<(&'static str, Dropped)>,
    pub(crate) in_flight: u64,
    /// How many of those are the crate's own metrics.
    pub(crate) own_in_flight: u64,
    /// How many of the rejected and dropped items are the crate's own metrics.
    pub(crate) own_lost: u64,
    /// Items in the SDK's batch queue, whose export has not begun.
    pub(crate) queued: u64,
    pub(crate) last_failed: Option<SystemTime>,
    pub(crate) last_failure: Option<Failure>,
    pub(crate) last_success: Option<SystemTime>,
    /// Why the last export failed, in whole or in part; `None` if it succeeded or was abandoned.
    /// Not by a comparison of times, because the clock may be set.
    pub(crate) current_failure: Option<Failure>,
}

/// Exports that failed, and items that were dropped.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Dropped {
    pub(crate) exports: u64,
    pub(crate) items: u64,
}

impl Counts {
    pub(crate) fn dropped_items(&self) -> u64 {
        self.dropped.iter().map(|(_, dropped)| dropped.items).sum()
    }

    /// Items that the collector does not have although their export has ended.
    pub(crate) fn lost(&self) -> u64 {
        self.dropped_items() + self.rejected
    }

    fn dropped_as(&mut self, kind: &'static str) -> &mut Dropped {
        let known = self.dropped.iter().position(|(known, _)| *known == kind);
        let index = known.unwrap_or(self.dropped.len());
        if known.is_none() {
            self.dropped.push((kind, Dropped::default()));
        }
        &mut self.dropped[index].1
    }
}

impl ExportStats {
    pub(crate) fn new(signal: Signal, notifier: Arc<FailureNotifier>) -> Self {
        Self {
            signal,
            counts: Mutex::default(),
            enqueued: AtomicU64::new(0),
            observers: Mutex::default(),
            notifier,
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        let counts = lock(&self.counts).clone();
        let taken = counts.delivered + counts.lost() + counts.in_flight;
        let queued = self.enqueued.load(Ordering::Relaxed).saturating_sub(taken);
        Counts { queued, ..counts }
    }

    /// Counts an item that enters the SDK's batch queue.
    pub(crate) fn enqueue(&self) {
        self.enqueued.fetch_add(1, Ordering::Relaxed);
    }

    /// Calls an observer at the end of every export, for as long as the caller keeps it: only a
    /// weak reference is held, so that its instruments end with the meter provider.
    #[cfg(feature = "metrics")]
    pub(crate) fn observe(&self, observer: &Arc<Observer>) {
        let mut observers = lock(&self.observers);
        observers.retain(|known| known.strong_count() > 0);
        observers.push(Arc::downgrade(observer));
    }

    /// The number of observers.
    #[cfg(all(test, feature = "metrics"))]
    pub(crate) fn observers(&self) -> usize {
        lock(&self.observers).iter().filter(|known| known.strong_count() > 0).count()
    }

    /// In a forked child: what was queued or in flight is the parent's.
    pub(crate) fn leave_to_the_parent(&self) {
        let mut counts = lock(&self.counts);
        (counts.in_flight, counts.own_in_flight) = (0, 0);
        self.enqueued.store(counts.delivered + counts.lost(), Ordering::Relaxed);
    }

    /// Begins an export of items.
    pub(super) fn begin(&self, items: Share) -> InFlight<'_> {
        let mut counts = lock(&self.counts);
        counts.in_flight += items.all;
        counts.own_in_flight += items.own;
        drop(counts);
        let (begun, answered) = (Instant::now(), Answered::default());
        InFlight { stats: self, items, rejected: 0, dropped: None, remark: None, begun, answered }
    }
}

impl fmt::Debug for ExportStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExportStats").field("signal", &self.signal).finish_non_exhaustive()
    }
}

/// A number of items, and how many of them are the crate's own metrics.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) all: u64,
    pub(super) own: u64,
}

/// One export. Each of its items is counted once, as delivered, rejected or dropped.
pub(super) struct InFlight<'a> {
    stats: &'a ExportStats,
    /// Items whose outcome is not known yet.
    items: Share,
    rejected: u64,
    /// Why the first dropped items were dropped.
    dropped: Option<Failure>,
    /// The collector's remark on items that it accepted.
    remark: Option<Failure>,
    begun: Instant,
    answered: Answered,
}

impl InFlight<'_> {
    /// Where the status of each answer is recorded.
    pub(super) fn answered(&self) -> Answered {
        Arc::clone(&self.answered)
    }

    /// Counts items of a request that the collector accepted. The remark says if it rejected some
    /// of them.
    pub(super) fn accepted(&mut self, items: Share, remark: Option<Failure>) {
        let Share { all: items, own } = self.take(items);
        let rejected = match remark.as_ref().map(Failure::kind) {
            Some(FailureKind::Rejected { items: rejected, .. }) => items.min(*rejected),
            _ => 0,
        };
        self.rejected += rejected;
        let mut counts = lock(&self.stats.counts);
        counts.in_flight -= items;
        counts.own_in_flight -= own;
        counts.delivered += items - rejected;
        counts.rejected += rejected;
        // Which items were rejected is unknown: as many as possible count as the user's.
        counts.own_lost += rejected.saturating_sub(items - own);
        if let Some(remark) = remark {
            counts.last_failure = Some(remark.clone());
            // The observer may ask for the status, which takes the same lock.
            drop(counts);
            self.stats.notifier.notify(&remark);
            self.remark = Some(remark);
        }
    }

    /// Counts lost items.
    pub(super) fn dropped(&mut self, items: Share, failure: Failure) {
        let Share { all: items, own } = self.take(items);
        let mut counts = lock(&self.stats.counts);
        counts.in_flight -= items;
        counts.own_in_flight -= own;
        counts.own_lost += own;
        counts.dropped_as(failure.kind().name()).items += items;
        counts.last_failure = Some(failure.clone());
        drop(counts);
        self.stats.notifier.notify(&failure);
        self.dropped.get_or_insert(failure);
    }

    /// Ends the export and returns its result for the SDK.
    pub(super) fn end(self) -> OTelSdkResult {
        match &self.dropped {
            Some(failure) => Err(OTelSdkError::InternalFailure(failure.to_string())),
            None => Ok(()),
        }
    }

    fn take(&mut self, items: Share) -> Share {
        let (all, own) = (items.all.min(self.items.all), items.own.min(self.items.own));
        self.items.all -= all;
        self.items.own -= own;
        Share { all, own }
    }
}

/// If the export is abandoned, items in flight count as lost.
impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let now = SystemTime::now();
        let failed = self.dropped.as_ref().map(|failure| failure.kind().name());
        let failed = failed.or((self.items.all > 0).then_some("cancelled"));
        let end = ExportEnd {
            duration: self.begun.elapsed(),
            error: failed.or((self.rejected > 0).then_some("rejected")),
            status: *lock(&self.answered),
        };
        let observers = lock(&self.stats.observers);
        observers.iter().filter_map(Weak::upgrade).for_each(|observer| observer(&end));
        drop(observers);
        let mut counts = lock(&self.stats.counts);
        match failed {
            Some(kind) => {
                counts.in_flight -= self.items.all;
                counts.own_in_flight -= self.items.own;
                counts.own_lost += self.items.own;
                counts.failed += 1;
                counts.last_failed = Some(now);
                counts.current_failure = self.dropped.take();
                counts.dropped_as("cancelled").items += self.items.all;
                counts.dropped_as(kind).exports += 1;
            }
            None => {
                counts.succeeded += 1;
                counts.last_success = Some(now);
                counts.current_failure = self.remark.clone().filter(|_| self.rejected > 0);
                if self.rejected > 0 {
                    counts.last_failed = Some(now);
                }
                drop(counts);
                self.stats.notifier.note_success(self.stats.signal, self.remark.as_ref());
            }
        }
    }
}

#[cfg(feature = "trace")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::exporters::Exporters;

    const ONE: Share = Share { all: 1, own: 0 };

    fn stats() -> ExportStats {
        let handler = |_: &Failure| {};
        let notifier = FailureNotifier::new(Some(Arc::new(handler)));
        ExportStats::new(Signal::Traces, Arc::new(notifier))
    }

    fn failure(kind: FailureKind) -> Failure {
        let exporters = Exporters::builder().with_env(|_| None).build().unwrap();
        exporters.failure(Signal::Traces, kind).unwrap()
    }

    fn fail(stats: &ExportStats) {
        let mut export = stats.begin(ONE);
        export.dropped(ONE, failure(FailureKind::Shutdown));
        export.end().unwrap_err();
    }

    fn succeed(stats: &ExportStats) {
        let mut export = stats.begin(ONE);
        export.accepted(ONE, None);
        export.end().unwrap();
    }

    #[test]
    fn a_success_ends_a_failure_although_the_clock_was_set_back() {
        let stats = stats();
        fail(&stats);
        assert!(stats.counts().current_failure.is_some());
        let hour = Duration::from_secs(3600);
        lock(&stats.counts).last_failed = Some(SystemTime::now() + hour);
        succeed(&stats);
        assert!(stats.counts().current_failure.is_none());
    }

    #[test]
    fn an_abandoned_export_did_not_fail_for_the_reason_of_an_earlier_one() {
        let stats = stats();
        fail(&stats);
        succeed(&stats);
        drop(stats.begin(ONE));
        let counts = stats.counts();
        assert!(counts.current_failure.is_none(), "{:?}", counts.current_failure);
        assert_eq!((counts.failed, counts.dropped_items()), (2, 2));
    }

    /// Which items were rejected is not known, but no more of them than there are can be a user's.
    #[test]
    fn own_metrics_that_are_rejected_are_lost_by_no_user() {
        let stats = stats();
        let mut export = stats.begin(Share { all: 5, own: 3 });
        let kind = FailureKind::Rejected { items: 4, message: String::new() };
        export.accepted(Share { all: 5, own: 3 }, Some(failure(kind)));
        export.end().unwrap();
        let counts = stats.counts();
        assert_eq!((counts.rejected, counts.own_lost), (4, 2));
    }
}
