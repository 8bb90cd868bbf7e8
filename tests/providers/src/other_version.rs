//! A service with another minor version of `opentelemetry` than ours: what it records with that version is silently
//! lost. With the re-exported version it reaches the exporters.

use std::time::Duration;

use otlp_mtls::{Exporters, Signal};

/// Whether a span of the global tracer is recorded, in each version.
macro_rules! records {
    ($opentelemetry:path) => {{
        use api::trace::{Span, Tracer};
        use $opentelemetry as api;
        api::global::tracer("service").start("checkout").is_recording()
    }};
}

fn main() {
    // A port without a listener.
    let exporters = Exporters::builder().with_env(|_| None).with_endpoint("http://127.0.0.1:1");
    let exporters = exporters.with_timeout(Duration::from_millis(1)).build().expect("an endpoint");
    let spans = || {
        let exports = exporters.status().exports.into_iter();
        exports
            .filter(|of| of.signal == Signal::Traces)
            .map(|of| of.delivered + of.dropped)
            .sum::<u64>()
    };
    let telemetry = exporters.install().expect("the first one");
    assert!(!records!(opentelemetry));
    telemetry.shutdown(Duration::from_secs(10)).expect("it exits without an error");
    assert_eq!(spans(), 0);

    let telemetry = exporters.install().expect("the next one");
    assert!(records!(otlp_mtls::opentelemetry));
    telemetry
        .shutdown(Duration::from_secs(10))
        .expect_err("the span is exported, and nobody listens");
    assert_eq!(spans(), 1);
}
