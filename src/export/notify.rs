//! Reports failures to the handler or to the log.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use tracing::{Level, enabled};

use crate::failure::Failure;
use crate::lock::lock;
use crate::signal::Signal;
use crate::stderr;

/// The handler that a user has set for failures.
pub(crate) type FailureHandler = dyn Fn(&Failure) + Send + Sync;

/// Reports the first failure of each kind, and again after a success in between.
pub(crate) struct FailureNotifier {
    handler: Option<Arc<FailureHandler>>,
    /// The failures that were reported, by collector and kind, with the signals that have failed so
    /// since.
    told: Mutex<BTreeMap<(String, &'static str), BTreeSet<Signal>>>,
}

impl FailureNotifier {
    pub(crate) fn new(handler: Option<Arc<FailureHandler>>) -> Self {
        Self { handler, told: Mutex::default() }
    }

    /// Records a success of a signal, after which its failures are reported again, except for the
    /// collector's remark on that success.
    pub(super) fn note_success(&self, signal: Signal, remark: Option<&Failure>) {
        let remark = remark.map(|remark| remark.kind().name());
        lock(&self.told).retain(|(_, kind), signals| {
            if Some(*kind) != remark {
                signals.remove(&signal);
            }
            !signals.is_empty()
        });
    }

    pub(super) fn notify(&self, failure: &Failure) {
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
            // The export succeeds for the SDK, so the SDK does not log this.
            tracing::warn!(name: "otlp_mtls.export.rejected", "{failure}");
        }
        match &self.handler {
            // A panic of the handler must not end the SDK's thread.
            Some(handler) => drop(catch_unwind(AssertUnwindSafe(|| handler(failure)))),
            // The SDK logs it, if a subscriber is enabled for that.
            None if stderr::is_heard(|| enabled!(target: "opentelemetry_sdk", Level::ERROR)) => {}
            None => stderr::write(Level::ERROR, failure),
        }
    }
}

impl fmt::Debug for FailureNotifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FailureNotifier")
    }
}
