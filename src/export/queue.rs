//! What waits in the queue of one of the SDK's processors, which tells nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use opentelemetry::Context;

use super::stats::ExportStats;
use crate::signal::Signal;

/// A queue, counted at its two ends: where the processor is given items, and where the exporter is.
///
/// What the SDK's queue has no room for it drops without a word, and a dropped item could not be told from one that
/// waits. So it is dropped here, before, by the same limit: the SDK's own queue is never full.
#[derive(Debug)]
pub(crate) struct Queue {
    signal: Signal,
    capacity: Option<usize>,
    waiting: AtomicUsize,
    taken: AtomicU64,
    full: AtomicU64,
    closed: AtomicBool,
    stats: Arc<ExportStats>,
}

impl Queue {
    /// Of a processor that lets so many items wait; of one that exports each at once, if it is `None`.
    pub(crate) fn new(signal: Signal, capacity: Option<usize>, stats: Arc<ExportStats>) -> Self {
        Self {
            signal,
            capacity,
            waiting: AtomicUsize::new(0),
            taken: AtomicU64::new(0),
            full: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            stats,
        }
    }

    /// Counts an item for the processor, and says whether there is room for it.
    pub(crate) fn enter(&self) -> bool {
        self.stats.enqueue();
        if self.closed.load(Ordering::Relaxed) {
            return true;
        }
        // Acquire and Release: whoever sees that an item has left is to find its room in the SDK's queue.
        let before = self.waiting.fetch_add(1, Ordering::Acquire);
        if self.capacity.is_none_or(|capacity| before < capacity) {
            return true;
        }
        self.waiting.fetch_sub(1, Ordering::Release);
        if self.full.fetch_add(1, Ordering::Relaxed) == 0 {
            // It may be the bridge of an event to a log record that is told so.
            let _suppressed = Context::enter_telemetry_suppressed_scope();
            let (signal, capacity) = (self.signal, before);
            tracing::warn!(
                name: "otlp_mtls.queue.full", %signal, capacity,
                "the queue of {} is full, and what finds no room is lost; this is said once",
                signal.items(),
            );
        }
        false
    }

    /// Counts items that the exporter is given.
    pub(super) fn take(&self, items: usize) {
        // What came after `close` has not entered.
        let leave = |waiting: usize| Some(waiting.saturating_sub(items));
        let _ = self.waiting.fetch_update(Ordering::Release, Ordering::Relaxed, leave);
        self.taken.fetch_add(items as u64, Ordering::Relaxed);
    }

    /// Lets everything by: after its shutdown, the processor itself says of each item that it came too late.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}

#[cfg(feature = "metrics")]
impl Queue {
    pub(crate) fn signal(&self) -> Signal {
        self.signal
    }

    /// How many items may wait; `None` where none do.
    pub(crate) fn capacity(&self) -> Option<usize> {
        self.capacity
    }

    /// Items that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Items that the exporter was given.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Items that found no room.
    pub(crate) fn full(&self) -> u64 {
        self.full.load(Ordering::Relaxed)
    }
}
