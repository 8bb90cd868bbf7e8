//! Who is told of failures.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use tracing::{Level, enabled};

use crate::failure::Failure;
use crate::lock::lock;
use crate::signal::Signal;
use crate::stderr;

/// What a user has set to be told of failures.
pub(crate) type FailureHandler = dyn Fn(&Failure) + Send + Sync;

/// Tells of the first failure, of each new kind, and of one that comes back after a success.
pub(crate) struct FailureNotifier {
    handler: Option<Arc<FailureHandler>>,
    /// Of which collectors and kinds it has told, and which signals have failed so since.
    told: Mutex<BTreeMap<(String, &'static str), BTreeSet<Signal>>>,
}

impl FailureNotifier {
    pub(crate) fn new(handler: Option<Arc<FailureHandler>>) -> Self {
        Self { handler, told: Mutex::default() }
    }

    /// Notes a success of a signal, after which a failure is news again: all but what the collector remarked
    /// on that success.
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
            // The SDK is told of a success, and says nothing.
            tracing::warn!(name: "otlp_mtls.export.rejected", "{failure}");
        }
        match &self.handler {
            // A panic of the handler must not end the SDK's thread.
            Some(handler) => drop(catch_unwind(AssertUnwindSafe(|| handler(failure)))),
            // The SDK logs it, where anybody listens to that.
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
