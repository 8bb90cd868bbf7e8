//! The work of a Rust peer; those in other languages do the same.

use std::io::Read;

use opentelemetry::KeyValue;
use opentelemetry::trace::{Span, SpanKind, Tracer, TracerProvider};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanExporter};

/// Of an export. The SDK is told to batch more, so that a flush is all that starts an export.
const BATCH: u64 = 512;

/// Makes as many spans as the program's last argument says, flushes after each batch of them, and
/// shuts down.
pub(crate) fn run(exporter: impl SpanExporter + 'static) {
    let count: u64 = std::env::args().next_back().and_then(|count| count.parse().ok()).unwrap_or(1);
    // Its resource and batch processor take their settings from the environment.
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).build();
    let tracer = provider.tracer("checkout");
    for number in 1..=count {
        tracer
            .span_builder("GET /orders/{order_id}")
            .with_kind(SpanKind::Server)
            .with_attributes(attributes(number))
            .start(&tracer)
            .end();
        if number % BATCH == 0 || number == count {
            provider.force_flush().expect("the sink accepts all");
        }
    }
    provider.shutdown().expect("nothing is left to lose");
    finish();
}

/// As instrumentation records them: constants, numbers, and strings made for the request.
fn attributes(number: u64) -> [KeyValue; 8] {
    [
        KeyValue::new("http.request.method", "GET"),
        KeyValue::new("http.route", "/orders/{order_id}"),
        KeyValue::new("http.response.status_code", 200),
        KeyValue::new("url.scheme", "https"),
        KeyValue::new("url.path", format!("/orders/{}", 1_000_000_000_000 + number)),
        KeyValue::new("server.address", "checkout.shop.svc.cluster.local".to_owned()),
        KeyValue::new("server.port", 8443),
        KeyValue::new("user_agent.original", "grpc-java-okhttp/1.71.0".to_owned()),
    ]
}

/// Says that all is done, and waits until the driver has read what this process used.
fn finish() {
    println!("done");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}
