//! Continuous exports while something happens to the Collector, and the result for each span.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures_executor::block_on;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use otlp_mtls::{Exporters, Signal, SpanExporter};

use super::{OtelCollector, status_of};
use crate::support::{SOON, span};

pub(super) const THREADS: usize = 3;

/// The spans of one export.
pub(super) const BATCH: usize = 20;

/// What the exporters report about the spans.
pub(super) struct Claims {
    delivered: Vec<String>,
    /// With the failure of each.
    lost: Vec<(String, String)>,
}

/// Spans by result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) exported: usize,
    /// In the Collector's files.
    pub(super) received: usize,
    /// In the Collector's files more than once.
    pub(super) duplicated: usize,
    /// Reported as delivered, but not in the Collector's files.
    pub(super) lost: usize,
    /// Reported as lost.
    pub(super) reported: usize,
}

impl Count {
    /// Each span has arrived exactly once.
    pub(super) fn assert_exact(&self) {
        let exported = self.exported;
        let exact = Self { exported, received: exported, duplicated: 0, lost: 0, reported: 0 };
        assert_eq!(*self, exact);
    }
}

/// The number of exports that have ended.
#[derive(Default)]
pub(super) struct Progress {
    succeeded: AtomicUsize,
    failed: AtomicUsize,
}

impl Progress {
    /// Waits until this many more exports have succeeded.
    pub(super) fn wait_for(&self, exports: usize) {
        wait_for(&self.succeeded, exports);
    }

    /// Waits until this many more exports have failed.
    pub(super) fn wait_for_failures(&self, exports: usize) {
        wait_for(&self.failed, exports);
    }
}

fn wait_for(counter: &AtomicUsize, more: usize) {
    let enough = counter.load(Ordering::SeqCst) + more;
    let deadline = Instant::now() + SOON;
    while counter.load(Ordering::SeqCst) < enough {
        assert!(Instant::now() < deadline, "the exports do not end as expected");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Exports spans from several threads while `meanwhile` runs.
pub(super) fn under_load(exporters: &Exporters, meanwhile: impl FnOnce(&Progress)) -> Claims {
    let progress = Progress::default();
    let is_over = AtomicBool::new(false);
    let exports: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let exporter = exporters.span_exporter().unwrap();
                let (progress, is_over) = (&progress, &is_over);
                scope.spawn(move || export_until(is_over, &exporter, thread, progress))
            })
            .collect();
        {
            // Also if it panics.
            let _ends = SetOnDrop(&is_over);
            meanwhile(&progress);
        }
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });

    let mut claims = Claims { delivered: Vec::new(), lost: Vec::new() };
    for (names, result) in exports {
        match result {
            Ok(()) => claims.delivered.extend(names),
            Err(error) => claims.lost.extend(names.into_iter().map(|name| (name, error.clone()))),
        }
    }
    claims
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The names of one export's spans, and its result.
type Exported = (Vec<String>, Result<(), String>);

fn export_until(
    is_over: &AtomicBool,
    exporter: &SpanExporter,
    thread: usize,
    progress: &Progress,
) -> Vec<Exported> {
    let mut exports = Vec::new();
    while !is_over.load(Ordering::SeqCst) {
        let nth = exports.len();
        let names: Vec<_> = (0..BATCH).map(|item| format!("{thread}.{nth}.{item}")).collect();
        let spans = names.iter().map(|name| SpanData { name: name.clone().into(), ..span("") });
        let result = block_on(exporter.export(spans.collect()));
        let ended = if result.is_ok() { &progress.succeeded } else { &progress.failed };
        ended.fetch_add(1, Ordering::SeqCst);
        exports.push((names, result.map_err(|error| error.to_string())));
    }
    exports
}

impl Claims {
    /// Compares them with the Collector's files, and with the exporters' counters.
    pub(super) fn count(&self, exporters: &Exporters, collector: &OtelCollector) -> Count {
        let mut received: HashMap<String, usize> = HashMap::new();
        for name in collector.received(Signal::Traces) {
            *received.entry(name).or_default() += 1;
        }
        for (name, error) in &self.lost {
            eprintln!("{name}, received {} times: {error}", received.get(name).unwrap_or(&0));
        }
        let status = status_of(exporters, Signal::Traces);
        let counted = (status.delivered as usize, status.dropped as usize, status.rejected);
        assert_eq!(counted, (self.delivered.len(), self.lost.len(), 0));
        let count = Count {
            exported: self.delivered.len() + self.lost.len(),
            received: received.len(),
            duplicated: received.values().filter(|times| **times > 1).count(),
            lost: self.delivered.iter().filter(|name| !received.contains_key(*name)).count(),
            reported: self.lost.len(),
        };
        eprintln!("{}: {count:?}", status.endpoint);
        count
    }
}
