//! Upstream's exporters read the process's environment themselves. It must not affect requests
//! if the builder or `with_env` overrides it.

use std::time::Duration;

use opentelemetry::logs::{Logger, LoggerProvider};
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{Span, Tracer, TracerProvider};
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use otlp_mtls::testing::{Collector, Reply};
use otlp_mtls::{Compression, Exporters, ExportersBuilder, Protocol, RetryPolicy};

use crate::{SOON, in_a_process};

const HOSTILE: [(&str, &str); 9] = [
    ("HEADERS", "x-hostile=1,user-agent=hostile,content-type=text/hostile,content-encoding=zstd"),
    ("COMPRESSION", "gzip"),
    ("TIMEOUT", "1"),
    ("PROTOCOL", "http/json"),
    ("ENDPOINT", "http://hostile.invalid:1"),
    ("CERTIFICATE", "/hostile/ca.crt"),
    ("CLIENT_KEY", "/hostile/client.key"),
    ("CLIENT_CERTIFICATE", "/hostile/client.crt"),
    ("INSECURE", "true"),
];

#[test]
fn the_environment_has_no_effect() {
    let scopes = ["", "TRACES_", "METRICS_", "LOGS_"];
    let mut vars: Vec<(String, &str)> = HOSTILE
        .iter()
        .flat_map(|(name, value)| {
            scopes.map(|scope| (format!("OTEL_EXPORTER_OTLP_{scope}{name}"), *value))
        })
        .collect();
    vars.push(("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE".to_owned(), "delta"));
    let vars: Vec<_> = vars.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    in_a_process("hostile::the_environment_has_no_effect", &vars, requests_contain_nothing_of_it);
}

fn requests_contain_nothing_of_it() {
    assert!(std::env::var_os("OTEL_EXPORTER_OTLP_TRACES_HEADERS").is_some());
    type Configure = fn(ExportersBuilder, String) -> ExportersBuilder;
    let by_builder: Configure = |builder, endpoint| {
        builder
            .with_endpoint(endpoint)
            .with_headers([("x-mine", "1")])
            .with_timeout(Duration::from_secs(60))
            .with_temporality(Temporality::Cumulative)
    };
    let by_env: Configure = |builder, endpoint| {
        builder.with_env(move |name| match name {
            "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(endpoint.clone().into()),
            "OTEL_EXPORTER_OTLP_HEADERS" => Some("x-mine=1".into()),
            _ => None,
        })
    };
    for configure in [by_builder, by_env] {
        for (protocol, content_type) in [
            (Protocol::Grpc, "application/grpc"),
            (Protocol::HttpProtobuf, "application/x-protobuf"),
            (Protocol::HttpJson, "application/json"),
        ] {
            for compression in [None, Some(Compression::Zstd)] {
                let collector = Collector::builder().start().unwrap();
                // Longer than the hostile timeout of a millisecond.
                let slow = Reply::After(Duration::from_millis(50), Box::new(Reply::Accept));
                collector.set_reply(move |_| slow.clone());
                let exporters = configure(Exporters::builder(), collector.endpoint())
                    .with_protocol(protocol)
                    .with_compression(compression)
                    .with_retry(RetryPolicy::disabled())
                    .build()
                    .unwrap();
                let telemetry = exporters.install().unwrap();
                telemetry.tracer_provider().unwrap().tracer("test").start("a span").end();
                let meter = telemetry.meter_provider().unwrap().meter("test");
                meter.u64_counter("counter").build().add(1, &[]);
                let logger = telemetry.logger_provider().unwrap().logger("test");
                logger.emit(logger.create_log_record());
                telemetry.shutdown(SOON).unwrap();

                let requests = collector.requests();
                assert_eq!(requests.len(), 3);
                for request in requests {
                    assert_eq!(request.grpc, protocol == Protocol::Grpc);
                    assert_eq!(request.headers["content-type"], content_type);
                    assert_eq!(request.headers["x-mine"], "1");
                    assert!(!request.headers.contains_key("x-hostile"));
                    let agent = concat!("OTel-OTLP-Exporter-Rust/", env!("CARGO_PKG_VERSION"));
                    assert_eq!(request.headers["user-agent"], agent);
                    assert_eq!(request.encoding, compression.map(|wanted| wanted.to_string()));
                }
                let metrics = exporters.metric_exporter().unwrap();
                assert_eq!(metrics.temporality(), Temporality::Cumulative);
            }
        }
    }
}
