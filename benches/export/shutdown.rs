//! The duration of `Telemetry::shutdown(2 s)` if nothing can be delivered.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider};
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{Span, Tracer, TracerProvider};
use otlp_mtls::testing::{Collector, Reply};
use otlp_mtls::{Exporters, Protocol, Signal, Telemetry};

const TIME: Duration = Duration::from_secs(2);

pub(crate) fn print() {
    println!("\nshutdown({TIME:?}), in s, and the signals that it reports as lost");
    for (name, protocol) in [("grpc", Protocol::Grpc), ("http", Protocol::HttpProtobuf)] {
        // A port without a listener.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let refusing = format!("http://{}", port.expect("a free port"));
        let silent = Collector::builder().start().expect("a collector");
        silent.set_reply(|_| Reply::Hold);
        for signals in [&Signal::ALL[..], &Signal::ALL[..1], &Signal::ALL[1..2], &Signal::ALL[2..]]
        {
            for (collector, endpoint) in
                [("refuses", refusing.clone()), ("is silent", silent.endpoint())]
            {
                let telemetry = Exporters::builder()
                    .with_env(|_| None)
                    .with_endpoint(endpoint)
                    .with_protocol(protocol)
                    .build()
                    .and_then(|exporters| exporters.install())
                    .expect("plaintext needs nothing");
                signals.iter().for_each(|signal| emit(&telemetry, *signal));
                let begun = Instant::now();
                let result = telemetry.shutdown(TIME);
                let took = begun.elapsed().as_secs_f64();
                let error = result.expect_err("lost telemetry is an error");
                let lost: Vec<_> =
                    error.losses().iter().map(|lost| lost.signal.to_string()).collect();
                println!("{name}, the collector {collector:<10}{took:>7.3}  {}", lost.join(", "));
            }
        }
    }
}

fn emit(telemetry: &Telemetry, signal: Signal) {
    match signal {
        Signal::Traces => {
            let provider = telemetry.tracer_provider().expect("traces are on");
            provider.tracer("bench").start("span").end();
        }
        Signal::Metrics => {
            let provider = telemetry.meter_provider().expect("metrics are on");
            provider.meter("bench").u64_counter("counter").build().add(1, &[]);
        }
        Signal::Logs => {
            let logger = telemetry.logger_provider().expect("logs are on").logger("bench");
            let mut record = logger.create_log_record();
            record.set_body(AnyValue::from("log record"));
            logger.emit(record);
        }
    }
}
