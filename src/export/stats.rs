//! What became of each item of one signal: the only counters there are. `status()`, the metrics and the result of a
//! shutdown read them.

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

/// Is told of every export that has ended.
pub(crate) type Observer = dyn Fn(&ExportEnd) + Send + Sync;

/// How an export has ended.
#[derive(Debug)]
pub(crate) struct ExportEnd {
    /// Of all attempts and the waits between them.
    pub(crate) duration: Duration,
    /// Why it failed, or did in part.
    pub(crate) error: Option<&'static str>,
    /// The status of the answer to the last attempt, if it had one.
    pub(crate) status: Option<StatusName>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// Exports of which no item was dropped.
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    /// Items, as all below.
    pub(crate) delivered: u64,
    /// Those that the collector rejected of what it accepted.
    pub(crate) rejected: u64,
    /// Those whose request has failed, by [`FailureKind::name`]. Those of exports that were given up are there as
    /// `cancelled`.
    pub(crate) dropped: Vec<(&'static str, Dropped)>,
    pub(crate) in_flight: u64,
    /// Of those, the crate's own metrics.
    pub(crate) own_in_flight: u64,
    /// The crate's own metrics of those that are rejected or dropped.
    pub(crate) own_lost: u64,
    /// Those that the SDK was given to batch, and of which no export was begun.
    pub(crate) queued: u64,
    pub(crate) last_failed: Option<SystemTime>,
    pub(crate) last_failure: Option<Failure>,
    pub(crate) last_success: Option<SystemTime>,
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

    /// Items that the collector does not have, though their export has ended.
    pub(crate) fn lost(&self) -> u64 {
        self.dropped_items() + self.rejected
    }

    /// Why the last export failed, if the last one did.
    pub(crate) fn current_failure(&self) -> Option<&Failure> {
        self.last_failure.as_ref().filter(|_| self.last_failed >= self.last_success)
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

    /// Counts an item that the SDK is given to batch.
    pub(crate) fn enqueue(&self) {
        self.enqueued.fetch_add(1, Ordering::Relaxed);
    }

    /// Tells an observer of every export that ends from now on, for as long as it is kept elsewhere: what it
    /// keeps itself ends with the meter provider.
    #[cfg(feature = "metrics")]
    pub(crate) fn observe(&self, observer: &Arc<Observer>) {
        let mut observers = lock(&self.observers);
        observers.retain(|known| known.strong_count() > 0);
        observers.push(Arc::downgrade(observer));
    }

    /// How many observers there are.
    #[cfg(all(test, feature = "metrics"))]
    pub(crate) fn observers(&self) -> usize {
        lock(&self.observers).iter().filter(|known| known.strong_count() > 0).count()
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

/// How many items there are, and how many of them are the crate's own metrics.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) all: u64,
    pub(super) own: u64,
}

/// One export. Each of its items is delivered, rejected or dropped, once.
pub(super) struct InFlight<'a> {
    stats: &'a ExportStats,
    /// Items of which nothing is known yet.
    items: Share,
    rejected: u64,
    /// Why the first items that were dropped were.
    dropped: Option<Failure>,
    /// What the collector remarked on items that it accepted.
    remark: Option<Failure>,
    begun: Instant,
    answered: Answered,
}

impl InFlight<'_> {
    /// Where the status of each answer is noted.
    pub(super) fn answered(&self) -> Answered {
        Arc::clone(&self.answered)
    }

    /// Counts items that the collector has accepted. Some of them it may have rejected, as the remark then says.
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
        if let Some(remark) = remark {
            counts.last_failure = Some(remark.clone());
            // Whoever is told may ask for the status.
            drop(counts);
            self.stats.notifier.notify(&remark);
            self.remark = Some(remark);
        }
    }

    /// Counts items that are lost.
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

    /// Ends the export, and tells the SDK how.
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

/// Items that are still in flight are lost: the export was given up.
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
                counts.dropped_as("cancelled").items += self.items.all;
                counts.dropped_as(kind).exports += 1;
            }
            None => {
                counts.succeeded += 1;
                counts.last_success = Some(now);
                if self.rejected > 0 {
                    counts.last_failed = Some(now);
                }
                drop(counts);
                self.stats.notifier.note_success(self.stats.signal, self.remark.as_ref());
            }
        }
    }
}
