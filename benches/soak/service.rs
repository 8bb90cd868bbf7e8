//! A service that emits spans, log records and metrics at a steady rate: `soak NAME RATE`, the rate being that of the
//! spans and of the log records, per second.
//!
//! It answers each line on stdin with its counts and the status of its exporters, as one line of JSON. When stdin is
//! closed, it shuts down and prints them a last time.

use std::error::Error;
use std::fs;
use std::io::{self, BufRead};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry::metrics::NoopMeterProvider;
use opentelemetry::trace::noop::NoopTracerProvider;
use opentelemetry::trace::{Span, Tracer};
use opentelemetry::{KeyValue, global};
use serde_json::json;

/// The emitter wakes up this often.
const TICK: Duration = Duration::from_millis(20);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().ok_or("no name")?;
    let rate = arguments.next().ok_or("no rate")?.parse()?;
    serve(&name, rate)?;
    // What the globals hold is not lost: a leak checker is to see the rest.
    global::set_tracer_provider(NoopTracerProvider::new());
    global::set_meter_provider(NoopMeterProvider::new());
    // The I/O thread ends with the exporters, and nobody joins it.
    let end = Instant::now() + Duration::from_secs(10);
    while fs::read_dir("/proc/self/task")?.count() > 1 && Instant::now() < end {
        thread::sleep(TICK);
    }
    Ok(())
}

fn serve(name: &str, rate: f64) -> Result<(), Box<dyn Error>> {
    let telemetry = otlp_mtls::init()?;
    let exporters = telemetry.exporters().ok_or("telemetry is off")?.clone();
    let (collected, emitted) = (Arc::new(AtomicU64::new(0)), AtomicU64::new(0));
    let collections = Arc::clone(&collected);
    let _counter = global::meter("soak")
        .u64_observable_counter("collections")
        .with_callback(move |counter| {
            counter.observe(collections.fetch_add(1, Ordering::Relaxed) + 1, &[]);
        })
        .build();
    let print = || {
        let emitted = emitted.load(Ordering::Relaxed);
        let collected = collected.load(Ordering::Relaxed);
        let status = exporters.status();
        println!("{}", json!({ "emitted": emitted, "collected": collected, "status": status }));
    };

    let logger = telemetry.logger_provider().ok_or("logs are off")?.logger("soak");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let emit = emitter(name, &logger);
            let began = Instant::now();
            for tick in 1.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let due = (TICK * tick).as_secs_f64() * rate;
                while (emitted.load(Ordering::Relaxed) as f64) < due {
                    emit(emitted.fetch_add(1, Ordering::Relaxed));
                }
                thread::sleep((began + TICK * tick).saturating_duration_since(Instant::now()));
            }
        });
        io::stdin().lock().lines().map_while(Result::ok).for_each(|_| print());
        stop.store(true, Ordering::Relaxed);
    });
    if let Err(error) = telemetry.shutdown(Duration::from_secs(60)) {
        eprintln!("{error}");
    }
    print();
    Ok(())
}

/// Emits the nth span, log record and measurements.
fn emitter(name: &str, logger: &impl Logger) -> impl Fn(u64) {
    let tracer = global::tracer("soak");
    let meter = global::meter("soak");
    let orders = meter.u64_counter("orders").build();
    let duration = meter.f64_histogram("duration").with_unit("s").build();
    move |number| {
        let item = format!("{name}-{number}");
        let route = KeyValue::new("http.route", format!("/orders/{}", number % 50));
        let mut span = tracer.start(item.clone());
        span.set_attribute(route.clone());
        span.set_attribute(KeyValue::new("http.response.status_code", 200));
        span.add_event("an order was placed", vec![KeyValue::new("cart.items", 3)]);
        span.end();
        let mut record = logger.create_log_record();
        record.set_severity_number(Severity::Info);
        record.set_body(AnyValue::from(item));
        record.add_attribute("http.route", route.value.to_string());
        logger.emit(record);
        orders.add(1, std::slice::from_ref(&route));
        duration.record((number % 1000) as f64 / 1e3, &[route]);
    }
}
