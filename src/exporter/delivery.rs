//! What became of the items that a set of exporters was given.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use opentelemetry::Context;
use opentelemetry::context::FutureExt;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use tokio::sync::watch;

use super::ledger::{Ledger, Outcome};
use crate::failure::Failure;
use crate::lock::lock;
use crate::signal::Signal;

/// Counts what was handed over and not acknowledged, and ends all of it at one instant.
///
/// The SDK's own word is not enough: its tracer and logger providers report success after a lost
/// batch.
#[derive(Debug)]
pub(crate) struct Delivery {
    tallies: [Mutex<Tally>; Signal::ALL.len()],
    drain: watch::Sender<Option<Instant>>,
}

/// The items of one signal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Those whose export has not ended.
    pub(crate) in_flight: u64,
    /// Those whose export has failed, and those that the collector rejected.
    pub(crate) failed: u64,
    /// Why the last export failed, if the last one did.
    pub(crate) failure: Option<Failure>,
}

/// What a transport has to say of an export to [`Delivery::count`], past upstream's exporter, which
/// puts words of its own in place of ours and keeps what was rejected to itself.
#[derive(Clone, Default)]
struct Word(Arc<Mutex<Option<(Failure, Extent)>>>);

/// How much of a batch is lost.
#[derive(Clone, Copy, Debug)]
pub(super) enum Extent {
    All,
    /// As many items as the collector says that it rejected.
    Some(u64),
}

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

    pub(crate) fn tally(&self, signal: Signal) -> Tally {
        lock(self.slot(signal)).clone()
    }

    /// The tally, and what else is read before another export begins.
    pub(crate) fn tally_with<T>(&self, signal: Signal, read: impl FnOnce() -> T) -> (Tally, T) {
        let tally = lock(self.slot(signal));
        (tally.clone(), read())
    }

    /// Runs one of upstream's exports, counts its items, and puts our words in place of
    /// upstream's.
    pub(super) async fn count(
        &self,
        signal: Signal,
        items: u64,
        ledger: &Ledger,
        export: impl Future<Output = OTelSdkResult>,
    ) -> OTelSdkResult {
        let mut in_flight = InFlight::new(self.slot(signal), ledger, items);
        let word = Word::default();
        let context = Context::current_with_value(word.clone()).with_telemetry_suppressed();
        let result = export.with_context(context).await;
        let (failure, extent) = lock(&word.0).take().unzip();
        let outcome = &mut in_flight.outcome;
        outcome.succeeded = result.is_ok();
        outcome.lost = match (&result, extent) {
            (Err(_), _) | (_, Some(Extent::All)) => items,
            (Ok(()), Some(Extent::Some(rejected))) => rejected.min(items),
            (Ok(()), None) => 0,
        };
        let result = result.map_err(|error| match &failure {
            Some(failure) => OTelSdkError::InternalFailure(failure.to_string()),
            None => error,
        });
        outcome.failure = failure;
        result
    }

    fn slot(&self, signal: Signal) -> &Mutex<Tally> {
        match signal {
            Signal::Logs => &self.tallies[0],
            Signal::Metrics => &self.tallies[1],
            Signal::Traces => &self.tallies[2],
        }
    }
}

/// Leaves word of a failure for [`Delivery::count`]. For what runs within it, on its thread.
pub(super) fn leave_word(failure: &Failure, extent: Extent) {
    if let Some(word) = Context::current().get::<Word>() {
        *lock(&word.0) = Some((failure.clone(), extent));
    }
}

/// Items in flight, all of which are lost unless told otherwise: the export may be dropped.
struct InFlight<'a> {
    tally: &'a Mutex<Tally>,
    ledger: &'a Ledger,
    outcome: Outcome,
}

impl<'a> InFlight<'a> {
    fn new(tally: &'a Mutex<Tally>, ledger: &'a Ledger, items: u64) -> Self {
        let mut counts = lock(tally);
        counts.in_flight += items;
        ledger.begin(items);
        drop(counts);
        let outcome = Outcome { items, lost: items, succeeded: false, failure: None };
        Self { tally, ledger, outcome }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let Outcome { items, lost, failure, .. } = &self.outcome;
        // Of what is lost: a collector may have something to say of a batch that it took whole.
        let failure = failure.as_ref().filter(|_| *lost > 0);
        let mut tally = lock(self.tally);
        tally.in_flight -= items;
        tally.failed += lost;
        tally.failure = failure.cloned();
        drop(tally);
        self.ledger.end(&self.outcome);
    }
}
