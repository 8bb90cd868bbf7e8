//! Counts the items in the queue of an SDK processor, which does not report its length.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use opentelemetry::Context;

use super::stats::ExportStats;
use crate::signal::Signal;

/// A processor's queue, counted at both ends: when the processor receives items, and when the
/// exporter does.
///
/// When the SDK's queue is full it drops items silently, and they would be counted as waiting for
/// ever. So items are dropped here first, by the same limit: the SDK's own queue is never full.
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
    /// `capacity` is the limit of the processor's queue; `None` if it exports each item at once.
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

    /// Counts an item for the processor. False if the queue is full.
    pub(crate) fn enter(&self) -> bool {
        self.stats.enqueue();
        if self.closed.load(Ordering::Relaxed) {
            return true;
        }
        // Acquire and Release: a thread that sees here that an item has left must also see its slot
        // in the SDK's queue as free.
        let before = self.waiting.fetch_add(1, Ordering::Acquire);
        if self.capacity.is_none_or(|capacity| before < capacity) {
            return true;
        }
        self.waiting.fetch_sub(1, Ordering::Release);
        if self.full.fetch_add(1, Ordering::Relaxed) == 0 {
            // The caller may be the bridge from `tracing` to log records, which would turn this
            // event into another record.
            let _suppressed = Context::enter_telemetry_suppressed_scope();
            let (signal, capacity) = (self.signal, before);
            tracing::warn!(
                name: "otlp_mtls.queue.full", %signal, capacity,
                "the queue of {} is full, and further items are lost; this is reported once",
                signal.items(),
            );
        }
        false
    }

    /// Counts items that the exporter receives.
    pub(super) fn take(&self, items: usize) {
        // Items that came after `close` were not counted.
        let leave = |waiting: usize| Some(waiting.saturating_sub(items));
        let _ = self.waiting.fetch_update(Ordering::Release, Ordering::Relaxed, leave);
        self.taken.fetch_add(items as u64, Ordering::Relaxed);
    }

    /// Stops counting: after its shutdown, the processor itself rejects each item.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}

#[cfg(feature = "metrics")]
impl Queue {
    pub(crate) fn signal(&self) -> Signal {
        self.signal
    }

    /// The limit of waiting items; `None` if there is no queue.
    pub(crate) fn capacity(&self) -> Option<usize> {
        self.capacity
    }

    /// Items that are waiting.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Items that the exporter has received.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Items that were dropped because the queue was full.
    pub(crate) fn full(&self) -> u64 {
        self.full.load(Ordering::Relaxed)
    }
}
