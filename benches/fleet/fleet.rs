//! A fleet of services in one process, configured by its environment: each has `Exporters` of its own, and so
//! certificates, a connection and pacing of its own.
//!
//!     fleet SERVICES PERIOD SPANS spread|together [AGE]
//!
//! Every PERIOD milliseconds each service exports a batch of SPANS spans, at an instant of its own or all of them
//! together; with 0, as soon as the previous export has ended. AGE is the maximum age of a connection, in milliseconds.
//!
//! It prints a line when it has started, builds the fleet after a line on stdin, and prints a second one when every
//! service has exported once. Then it answers each line: `status` with the numbers of delivered and of dropped spans, and
//! `herd` when every service has begun to export, and to dial if it has no connection. It ends when stdin is closed.

#[path = "../export/batch.rs"]
mod batch;

use std::env;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use otlp_mtls::Exporters;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

struct Load {
    period: Duration,
    batch: Vec<SpanData>,
}

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let number = |index: usize| arguments[index].parse::<u64>().expect("a number");
    let (services, period) = (number(0), Duration::from_millis(number(1)));
    let load = Arc::new(Load { period, batch: batch::spans(number(2)) });
    let is_spread = arguments[3] == "spread";
    let age = if arguments.len() > 4 { number(4) } else { 0 };

    println!("started");
    let mut lines = io::stdin().lock().lines().map_while(Result::ok);
    lines.next();
    let build = || {
        let builder = Exporters::builder().with_max_connection_age(Duration::from_millis(age));
        builder.with_failure_handler(|_| {}).build().expect("an environment of a service")
    };
    let fleet: Vec<_> = (0..services).map(|_| build()).collect();
    let (herd, _) = watch::channel(());
    let exporters: Vec<_> =
        fleet.iter().map(|one| one.span_exporter().expect("traces are on")).collect();
    let (begun, mut have_begun) = mpsc::channel::<()>(1);
    let receiver = herd.subscribe();
    let services = thread::Builder::new().name("services".to_owned());
    let running = services.spawn(move || {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let now = Instant::now();
            let mut services = JoinSet::new();
            for exporter in exporters {
                let phase = if is_spread { load.period.mul_f64(random()) } else { Duration::ZERO };
                let (herd, begun) = (receiver.clone(), begun.clone());
                services.spawn(serve(exporter, Arc::clone(&load), now + phase, herd, begun));
            }
            drop(begun);
            services.join_all().await;
        });
    });
    running.expect("a thread");
    // Nothing is ever sent: each service drops its sender.
    have_begun.blocking_recv();
    println!("exporting");

    for line in lines {
        match line.as_str() {
            "herd" => {
                // A reload also ends the delay after a failed dial.
                fleet.iter().for_each(|one| one.reload().expect("the same files"));
                herd.send_replace(());
                println!();
            }
            _ => {
                let (mut delivered, mut dropped) = (0, 0);
                for export in fleet.iter().flat_map(|one| one.status().exports) {
                    delivered += export.delivered;
                    dropped += export.dropped;
                }
                println!("{delivered} {dropped}");
            }
        }
    }
}

async fn serve(
    exporter: impl SpanExporter,
    load: Arc<Load>,
    mut next: Instant,
    mut herd: watch::Receiver<()>,
    begun: mpsc::Sender<()>,
) {
    let mut begun = Some(begun);
    loop {
        tokio::select! {
            () = sleep_until(next) => {}
            // The sender lives as long as the process.
            _ = herd.changed() => {}
        }
        // Its outcome is in the status.
        let _ = exporter.export(load.batch.clone()).await;
        drop(begun.take());
        next = Instant::now().max(next + load.period);
    }
}

/// From 0 to 1. Each `RandomState` has different keys.
fn random() -> f64 {
    RandomState::new().hash_one(()) as f64 / u64::MAX as f64
}
