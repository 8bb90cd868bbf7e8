//! `init()` with a configuration file instead of variables: see config-file/README.md beside this file.

use std::time::Duration;

use opentelemetry::global;
use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider};
use opentelemetry::trace::{Span, Tracer};

fn main() -> Result<(), otlp_mtls::Error> {
    let telemetry = otlp_mtls::init()?;
    global::tracer("checkout").start("pay").end();
    global::meter("checkout").u64_counter("payments").build().add(1, &[]);
    if let Some(provider) = telemetry.logger_provider() {
        let logger = provider.logger("checkout");
        let mut record = logger.create_log_record();
        record.set_body(AnyValue::from("paid"));
        logger.emit(record);
    }
    telemetry.shutdown(Duration::from_secs(5))
}
