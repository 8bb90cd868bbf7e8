// What both services do: a span, a metric point and a log record.

use std::io::Read;

use opentelemetry::global;
use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider};
use opentelemetry::trace::{Span, Tracer};

pub(crate) fn emit(logs: &impl LoggerProvider) {
    global::tracer("checkout").start("GET /orders/{order_id}").end();
    global::meter("checkout").u64_counter("orders").build().add(1, &[]);
    let logger = logs.logger("checkout");
    let mut record = logger.create_log_record();
    record.set_body(AnyValue::from("an order was placed"));
    logger.emit(record);
}

/// Says that all is done, and waits until the driver has read what this process used.
pub(crate) fn finish() {
    println!("done");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}
