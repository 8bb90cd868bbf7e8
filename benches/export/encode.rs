//! Encoding alone: ours beside the tree of messages that opentelemetry-proto builds. For each size of a batch, what a
//! span costs in nanoseconds, the best of many rounds, and in allocations.
//!
//! ```sh
//! cargo bench --manifest-path benches/export/Cargo.toml --bench encode
//! ```

mod batch;
mod otlp;

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use opentelemetry::KeyValue;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;
use prost::Message;

use crate::otlp::common::Items;
use crate::otlp::traces::Spans;

/// Counts what is allocated.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: it passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

fn main() {
    let resource = Resource::builder_empty()
        .with_attributes([KeyValue::new("service.name", "checkout")])
        .build();
    println!("spans  bytes     ours: ns, allocations   upstream: ns, allocations, each per span");
    for count in [1, 8, 64, 512, 4096, 8192] {
        let spans: Vec<SpanData> = batch::spans().into_iter().cycle().take(count).collect();
        let size = ours(&resource, &spans, 0).len();
        let ours = measure(&spans, |spans| {
            ours(&resource, &spans, size);
        });
        let upstream = measure(&spans, |spans| {
            let resource_spans = group_spans_by_resource_and_scope(spans, &(&resource).into());
            black_box(ExportTraceServiceRequest { resource_spans }.encode_to_vec());
        });
        let of = |(time, allocations): (Duration, u64)| {
            (time.as_nanos() as f64 / count as f64, allocations as f64 / count as f64)
        };
        let (ours, upstream) = (of(ours), of(upstream));
        println!(
            "{count:5}  {size:8}  {:8.0}  {:10.3}   {:12.0}  {:10.3}",
            ours.0, ours.1, upstream.0, upstream.1
        );
    }
}

/// As the exporter encodes, with the capacity that the last batch took.
fn ours(resource: &Resource, spans: &[SpanData], capacity: usize) -> Vec<u8> {
    let items = Spans { resource, spans };
    black_box(items.encode(0..spans.len(), Vec::with_capacity(capacity)))
}

/// The shortest time of many rounds, and the fewest allocations. Each side drops the spans, as the SDK has it.
fn measure(spans: &[SpanData], encode: impl Fn(Vec<SpanData>)) -> (Duration, u64) {
    let rounds = 200.max(20_000 / spans.len());
    let all = (0..rounds).map(|_| {
        let spans = spans.to_vec();
        let (allocations, start) = (ALLOCATIONS.load(Ordering::Relaxed), Instant::now());
        encode(spans);
        (start.elapsed(), ALLOCATIONS.load(Ordering::Relaxed) - allocations)
    });
    all.reduce(|least, one| (least.0.min(one.0), least.1.min(one.1))).unwrap_or_default()
}
