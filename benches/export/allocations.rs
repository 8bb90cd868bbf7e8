//! Allocations of an export on the thread that encodes, which is the SDK's thread that calls `export`.
//!
//! ```sh
//! cargo bench --manifest-path benches/export/Cargo.toml --bench allocations
//! ```
//!
//! Allocations that grow with the number of items are per item; the others are per export. The allocated bytes
//! show that the request is encoded on this thread: otherwise they would be fewer than the request has.
//! Allocations of the I/O thread, and of tonic on the runtime's threads, are not counted.

mod batch;
mod exporters;
mod sink_process;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use allocation_counter::AllocationInfo;
use opentelemetry::KeyValue;
use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider};
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{
    BatchConfigBuilder, BatchLogProcessor, LogBatch, LogExporter, SdkLoggerProvider,
};
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{SdkMeterProvider, Stream, Temporality};
use opentelemetry_sdk::trace::SpanExporter;
use otlp_mtls::Protocol;
use tokio::runtime::{Handle, Runtime};

use crate::sink_process::Sink;

/// Items per export.
const ITEMS: [u64; 4] = [1, 64, 512, 8_192];

/// The first export connects, and from the second on the buffer's size is known.
const EXPORTS: u64 = 3;

fn main() {
    let sink = Sink::start();
    let runtime = Runtime::new().expect("a runtime");
    // tonic's channel and reqwest's client require a runtime context when created.
    let _context = runtime.enter();
    let runtime = runtime.handle();

    let sizes = ITEMS.map(|items| format!("{items:>9}")).concat();
    println!("Allocations of one export, on the thread that encodes");
    println!("{:<28}{sizes}{:>12}{:>16}", "items", "per item", "bytes per item");
    for (name, protocol) in [("grpc", Protocol::Grpc), ("http", Protocol::HttpProtobuf)] {
        let ours = exporters::ours(&sink, protocol, true);
        print(&format!("ours, {name}, traces"), |items| {
            spans(runtime, ours.span_exporter().expect("an exporter"), items)
        });
        print(&format!("ours, {name}, logs"), |items| {
            logs(runtime, ours.log_exporter().expect("an exporter"), items)
        });
        print(&format!("ours, {name}, metrics"), |items| {
            metrics(runtime, ours.metric_exporter().expect("an exporter"), items)
        });
    }
    print("hand-wired, grpc, traces", |items| spans(runtime, exporters::tonic(&sink, true), items));
    print("hand-wired, http, traces", |items| {
        spans(runtime, exporters::reqwest(&sink, true, false), items)
    });
}

/// One row of the table.
fn print(name: &str, measure: impl Fn(u64) -> AllocationInfo) {
    let infos = ITEMS.map(measure);
    let counts = infos.map(|info| format!("{:>9}", info.count_total)).concat();
    // The slope between the smallest and the largest export.
    let per_item = |of: fn(&AllocationInfo) -> u64| {
        let [first, .., last] = &infos;
        (of(last) as f64 - of(first) as f64) / (ITEMS[ITEMS.len() - 1] - ITEMS[0]) as f64
    };
    let (count, bytes) = (per_item(|info| info.count_total), per_item(|info| info.bytes_total));
    println!("{name:<28}{counts}{count:>12.3}{bytes:>16.0}");
}

fn spans(runtime: &Handle, exporter: impl SpanExporter, items: u64) -> AllocationInfo {
    let exports = (0..EXPORTS).map(|_| {
        let batch = batch::spans(items);
        allocation_counter::measure(|| {
            runtime.block_on(exporter.export(batch)).expect("the sink accepts all");
        })
    });
    exports.last().expect("there are some")
}

fn logs(runtime: &Handle, exporter: impl LogExporter + 'static, items: u64) -> AllocationInfo {
    let (exporter, last) = Measured::new(runtime, exporter);
    // Large enough that only a flush starts an export.
    let size = 2 * items as usize;
    let config = BatchConfigBuilder::default()
        .with_max_queue_size(size)
        .with_max_export_batch_size(size)
        .with_scheduled_delay(Duration::from_secs(3600))
        .build();
    let processor = BatchLogProcessor::builder(exporter).with_batch_config(config).build();
    let provider = SdkLoggerProvider::builder().with_log_processor(processor).build();
    let logger = provider.logger("checkout");
    for _ in 0..EXPORTS {
        for number in 0..items {
            let mut record = logger.create_log_record();
            record.set_body(AnyValue::from(format!("order {number} was placed")));
            record.add_attribute("http.route", "/orders/{order_id}");
            record.add_attribute("http.response.status_code", 200);
            logger.emit(record);
        }
        provider.force_flush().expect("the sink accepts all");
    }
    last()
}

fn metrics(runtime: &Handle, exporter: impl PushMetricExporter, items: u64) -> AllocationInfo {
    let (exporter, last) = Measured::new(runtime, exporter);
    let series =
        move |_: &_| Stream::builder().with_cardinality_limit(2 * items as usize).build().ok();
    let provider =
        SdkMeterProvider::builder().with_periodic_exporter(exporter).with_view(series).build();
    let histogram = provider.meter("checkout").f64_histogram("order.value").build();
    for number in 0..items {
        histogram.record(9.5, &[KeyValue::new("customer.id", number as i64)]);
    }
    for _ in 0..EXPORTS {
        provider.force_flush().expect("the sink accepts all");
    }
    last()
}

/// An exporter that measures its last export.
#[derive(Debug)]
struct Measured<E> {
    runtime: Handle,
    exporter: E,
    last: Arc<Mutex<AllocationInfo>>,
}

impl<E> Measured<E> {
    /// Returns the exporter, and a function that reads the measurement.
    fn new(runtime: &Handle, exporter: E) -> (Self, impl FnOnce() -> AllocationInfo) {
        let last = Arc::default();
        let measured = Self { runtime: runtime.clone(), exporter, last: Arc::clone(&last) };
        (measured, move || *last.lock().expect("no panic"))
    }

    /// Runs the export on this thread: a future that is only polled could move to another.
    fn measure(&self, export: impl Future<Output = OTelSdkResult>) -> OTelSdkResult {
        let mut result = Ok(());
        let info = allocation_counter::measure(|| result = self.runtime.block_on(export));
        *self.last.lock().expect("no panic") = info;
        result
    }
}

impl<E: LogExporter> LogExporter for Measured<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        self.measure(self.exporter.export(batch))
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Measured<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.measure(self.exporter.export(metrics))
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}
