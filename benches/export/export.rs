//! Exports one batch of 512 spans, with our exporter and with hand-wired opentelemetry-otlp.
//!
//! ```sh
//! cargo bench --manifest-path benches/export/Cargo.toml --bench export               # criterion, then the ratios
//! cargo bench --manifest-path benches/export/Cargo.toml --bench export -- --ratios   # the ratios alone
//! cargo bench --manifest-path benches/export/Cargo.toml --bench export -- --shutdown # how long a shutdown takes
//! cargo bench --manifest-path benches/export/Cargo.toml --bench export -- --rotation # what watching files costs, and how soon new ones count
//! cargo bench --manifest-path benches/export/Cargo.toml --bench export -- --lane grpc/mtls/ours 1000   # to profile
//! ```
//!
//! The collector is a sink in a separate process, so that CPU figures are those of the exporter alone.

mod batch;
mod exporters;
mod lanes;
mod ratios;
mod rotation;
mod shutdown;
mod sink_process;

use criterion::{BatchSize, Criterion, SamplingMode};

use crate::lanes::{Lane, SPANS};
use crate::sink_process::Sink;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    // Cargo adds `--bench`.
    let arguments = arguments.iter().skip(1).map(String::as_str).filter(|word| *word != "--bench");

    let sink = Sink::start();
    // The default runtime, as in a service.
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let lanes = lanes::all(&sink, runtime.handle());

    match *arguments.collect::<Vec<_>>() {
        ["--ratios"] => ratios::print(&lanes),
        ["--shutdown"] => shutdown::print(),
        ["--rotation"] => rotation::print(&sink, runtime.handle()),
        ["--lane", name, count] => repeat(&lanes, name, count.parse().expect("a number")),
        _ => {
            wall(&lanes);
            ratios::print(&lanes);
            shutdown::print();
            rotation::print(&sink, runtime.handle());
        }
    }
}

fn wall(lanes: &[Lane]) {
    let mut criterion = Criterion::default().configure_from_args();
    for lane in lanes {
        let mut group = criterion.benchmark_group(lane.case);
        // Exports take long enough for all samples to have the same number of iterations.
        group.sampling_mode(SamplingMode::Flat);
        group.bench_function(lane.side.name(), |bencher| {
            bencher.iter_batched(
                || batch::spans(SPANS),
                |spans| lane.export(spans),
                BatchSize::LargeInput,
            );
        });
        group.finish();
    }
    criterion.final_summary();
}

fn repeat(lanes: &[Lane], name: &str, count: usize) {
    let lane = lanes.iter().find(|lane| format!("{}/{}", lane.case, lane.side.name()) == name);
    let lane = lane.expect("the name of a lane, as criterion prints it");
    for _ in 0..count {
        lane.export(batch::spans(SPANS));
    }
}
