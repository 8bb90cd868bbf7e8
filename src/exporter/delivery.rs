//! What became of the items that a set of exporters was given.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use opentelemetry::Context;
use opentelemetry::context::FutureExt;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use tokio::sync::watch;

use crate::failure::Failure;
use crate::signal::Signal;

/// Counts what was handed over and not acknowledged, and ends all of it at one instant.
///
/// The SDK's own word is not enough: its tracer and logger providers report success after a lost
/// batch.
#[derive(Debug)]
pub(crate) struct Delivery {
    tallies: [Tally; Signal::ALL.len()],
    drain: watch::Sender<Option<Instant>>,
}

#[derive(Debug, Default)]
struct Tally {
    /// Items whose export has not ended.
    in_flight: AtomicU64,
    /// Items whose export has failed.
    failed: AtomicU64,
    last_failure: Mutex<Option<Failure>>,
}

/// Where a failed export leaves its words, for upstream's exporter replaces them by its own.
#[derive(Clone, Default)]
struct LastWords(Arc<Mutex<Option<Failure>>>);

impl Delivery {
    pub(crate) fn new() -> Arc<Self> {
        let (drain, _) = watch::channel(None);
        Arc::new(Self { tallies: Default::default(), drain })
    }

    /// Ends every export by an instant, those included that have not begun.
    pub(crate) fn drain_by(&self, instant: Instant) {
        self.drain.send_replace(Some(instant));
    }

    pub(crate) fn drain(&self) -> watch::Receiver<Option<Instant>> {
        self.drain.subscribe()
    }

    /// Items that were not acknowledged: those that failed, and those still in flight.
    pub(crate) fn failed(&self, signal: Signal) -> u64 {
        self.tally(signal).failed.load(Ordering::SeqCst)
    }

    pub(crate) fn in_flight(&self, signal: Signal) -> u64 {
        self.tally(signal).in_flight.load(Ordering::SeqCst)
    }

    pub(crate) fn last_failure(&self, signal: Signal) -> Option<Failure> {
        lock(&self.tally(signal).last_failure).clone()
    }

    /// Runs one of upstream's exports, counts its items, and puts our words in place of
    /// upstream's.
    pub(super) async fn count(
        &self,
        signal: Signal,
        items: u64,
        export: impl Future<Output = OTelSdkResult>,
    ) -> OTelSdkResult {
        let tally = self.tally(signal);
        let in_flight = InFlight::new(tally, items);
        let words = LastWords::default();
        let context = Context::current_with_value(words.clone()).with_telemetry_suppressed();
        let result = export.with_context(context).await;
        let result = result.map_err(|error| match lock(&words.0).take() {
            Some(failure) => {
                let error = OTelSdkError::InternalFailure(failure.to_string());
                *lock(&tally.last_failure) = Some(failure);
                error
            }
            None => error,
        });
        in_flight.ended(result.is_ok());
        result
    }

    fn tally(&self, signal: Signal) -> &Tally {
        match signal {
            Signal::Logs => &self.tallies[0],
            Signal::Metrics => &self.tallies[1],
            Signal::Traces => &self.tallies[2],
        }
    }
}

/// Leaves a failure where [`Delivery::count`] finds it. For what runs within it, on its thread.
pub(super) fn leave_words(failure: &Failure) {
    if let Some(words) = Context::current().get::<LastWords>() {
        *lock(&words.0) = Some(failure.clone());
    }
}

/// Items in flight, which have failed unless told otherwise: the export may be dropped.
struct InFlight<'a> {
    tally: &'a Tally,
    items: u64,
    failed: bool,
}

impl<'a> InFlight<'a> {
    fn new(tally: &'a Tally, items: u64) -> Self {
        tally.in_flight.fetch_add(items, Ordering::SeqCst);
        Self { tally, items, failed: true }
    }

    fn ended(mut self, well: bool) {
        self.failed = !well;
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        // Failed first, so that a reader of both misses nothing.
        if self.failed {
            self.tally.failed.fetch_add(self.items, Ordering::SeqCst);
        }
        self.tally.in_flight.fetch_sub(self.items, Ordering::SeqCst);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
