//! Encoding alone: our encoder, and the message tree that opentelemetry-proto builds. Prints, for each batch
//! size, nanoseconds (the minimum of many rounds) and allocations per span.
//!
//! ```sh
//! cargo bench --manifest-path benches/export/Cargo.toml --bench encode
//! ```

mod batch;
mod otlp;

use std::hint::black_box;
use std::time::{Duration, Instant};

use opentelemetry::KeyValue;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;
use prost::Message;

use crate::otlp::common::Items;
use crate::otlp::traces::Spans;

fn main() {
    let resource = Resource::builder_empty()
        .with_attributes([KeyValue::new("service.name", "checkout")])
        .build();
    println!("{:>6} {:>8} | {:>20} | {:>20}", "spans", "bytes", "ours", "upstream");
    for count in [1, 8, 64, 512, 4096, 8192] {
        let spans = batch::spans(count as u64);
        let size = ours(&resource, &spans, 0).len();
        let ours = measure(&spans, |spans| {
            ours(&resource, &spans, size);
            spans
        });
        let upstream = measure(&spans, |spans| {
            let resource_spans = group_spans_by_resource_and_scope(spans, &(&resource).into());
            black_box(ExportTraceServiceRequest { resource_spans }.encode_to_vec());
            Vec::new()
        });
        println!("{count:6} {size:8} | {} | {}", shown(ours, count), shown(upstream, count));
    }
}

/// Encodes like the exporter, with the capacity that the last batch needed.
fn ours(resource: &Resource, spans: &[SpanData], capacity: usize) -> Vec<u8> {
    let items = Spans { resource, spans };
    black_box(items.encode(0..spans.len(), Vec::with_capacity(capacity)))
}

/// The minimum time and allocations of many rounds. Spans left by `encode` are dropped outside the measurement,
/// because upstream's conversion consumes them.
fn measure(spans: &[SpanData], encode: impl Fn(Vec<SpanData>) -> Vec<SpanData>) -> (Duration, u64) {
    let rounds = 200.max(20_000 / spans.len());
    let all = (0..rounds).map(|_| {
        let spans = spans.to_vec();
        let (mut left, mut time) = (Vec::new(), Duration::ZERO);
        let allocations = allocation_counter::measure(|| {
            let start = Instant::now();
            left = encode(spans);
            time = start.elapsed();
        });
        drop(left);
        (time, allocations.count_total)
    });
    all.reduce(|least, one| (least.0.min(one.0), least.1.min(one.1))).unwrap_or_default()
}

fn shown((time, allocations): (Duration, u64), spans: usize) -> String {
    let (time, each) = (time.as_nanos() as f64, allocations as f64);
    format!("{:6.0} ns, {:6.3} allocs", time / spans as f64, each / spans as f64)
}
