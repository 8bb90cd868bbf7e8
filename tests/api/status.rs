//! Counters, status, metrics and warnings about exports and certificates.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point;
use otlp_mtls::testing::{Collector, Fixture, Pki, Reply};
use otlp_mtls::{Pem, Protocol, RetryPolicy, Signal, Telemetry};

use crate::support::{
    PROTOCOLS, SOON, TRANSPORTS, alone, builder, export, mtls_builder, mtls_collector, once,
    plaintext_builder, plaintext_collector, tls_client,
};
use crate::warnings::warnings_of;

#[test]
fn status_counts_what_was_delivered_rejected_and_dropped() {
    for protocol in PROTOCOLS {
        let (pki, collector) = mtls_collector();
        let exporters =
            mtls_builder(&pki, &collector, protocol).with_failure_handler(|_| {}).build().unwrap();
        let of = |signal| {
            let exports = exporters.status().exports;
            exports.into_iter().find(|exports| exports.signal == signal).unwrap()
        };
        for signal in [Signal::Traces, Signal::Logs] {
            let none = of(signal);
            assert_eq!((none.succeeded, none.failed, none.delivered), (0, 0, 0));
            assert!(none.last_success.is_none() && none.last_failure.is_none());

            export(&exporters, signal).unwrap();
            let one = of(signal);
            assert_eq!((one.succeeded, one.delivered), (1, 1), "{protocol} {signal}");
            assert!(one.last_success.is_some());

            collector
                .set_reply(|_| Reply::PartialSuccess { rejected: 1, message: "too old".into() });
            export(&exporters, signal).unwrap();
            let two = of(signal);
            assert_eq!((two.succeeded, two.delivered, two.rejected, two.dropped), (2, 1, 1, 0));
            let failure = two.last_failure.unwrap();
            assert_eq!(failure.kind().name(), "rejected");
            let summary = failure.summary();
            assert!(summary.contains("rejected 1 of its"), "{failure}");
            assert!(summary.ends_with(": too old") && !summary.contains("failed"), "{failure}");

            collector.set_reply(|_| Reply::Http { status: 400, headers: Vec::new() });
            export(&exporters, signal).unwrap_err();
            let three = of(signal);
            assert_eq!(
                (three.failed, three.delivered, three.rejected, three.dropped),
                (1, 1, 1, 1)
            );
            assert!(three.last_failed.unwrap() >= three.last_success.unwrap());
            collector.set_reply(|_| Reply::Accept);
        }
    }
}

#[test]
fn the_last_server_certificate_is_in_status() {
    for protocol in TRANSPORTS {
        let (pki, collector) = mtls_collector();
        let exporters = mtls_builder(&pki, &collector, protocol).build().unwrap();
        assert!(exporters.status().credentials[0].server.is_none());
        export(&exporters, Signal::Traces).unwrap();
        let server = exporters.status().credentials[0].server.clone().unwrap();
        assert_eq!(server.names, ["localhost", "127.0.0.1", "::1"], "{protocol}");
    }
}

#[test]
fn the_failure_handler_is_called_once_for_each_kind() {
    for protocol in TRANSPORTS {
        let collector = plaintext_collector();
        let told = Arc::new(Mutex::new(Vec::new()));
        let telling = Arc::clone(&told);
        let exporters = once(plaintext_builder(&collector, protocol))
            .with_failure_handler(move |failure| {
                telling.lock().unwrap().push(failure.kind().name());
            })
            .build()
            .unwrap();
        for status in [401, 401, 403, 401, 500] {
            collector.set_reply(move |_| Reply::Http { status, headers: Vec::new() });
            export(&exporters, Signal::Traces).unwrap_err();
        }
        // It is the same collector for every signal.
        export(&exporters, Signal::Logs).unwrap_err();
        assert_eq!(*told.lock().unwrap(), ["http_401", "http_403", "http_5xx"], "{protocol}");
    }
}

#[test]
fn a_handler_that_panics_ends_nothing() {
    let collector = plaintext_collector();
    collector.set_reply(|_| Reply::Http { status: 400, headers: Vec::new() });
    let exporters = once(plaintext_builder(&collector, Protocol::Grpc))
        .with_failure_handler(|_| panic!("the handler's own"))
        .build()
        .unwrap();
    export(&exporters, Signal::Traces).unwrap_err();
    collector.set_reply(|_| Reply::Accept);
    export(&exporters, Signal::Traces).unwrap();
}

#[test]
fn certificates_that_expire_are_warned_of_once_a_day() {
    let year = Duration::from_secs(365 * 24 * 3600);
    let (pki, collector) = mtls_collector();
    let warnings = warnings_of(|| {
        let build = |before| {
            mtls_builder(&pki, &collector, Protocol::Grpc)
                .with_expiry_warning(before)
                .with_reload_interval(Duration::ZERO)
                .build()
                .unwrap()
        };
        // Not yet.
        build(Duration::from_secs(24 * 3600)).reload().unwrap();
        let exporters = build(year);
        for _ in 0..3 {
            exporters.reload().unwrap();
        }
        export(&exporters, Signal::Traces).unwrap();
        for _ in 0..3 {
            exporters.reload().unwrap();
        }
    });
    let [client, ca, server] = warnings.as_slice() else { panic!("{warnings:#?}") };
    assert!(
        client.starts_with("the client certificate (CN=test-client) expires in 29 days, at 20")
    );
    assert!(client.ends_with("Z: renew it in with_client_identity()"), "{client}");
    assert!(ca.starts_with("the CA certificate (CN=otlp-mtls test ca) expires in 29 days"), "{ca}");
    assert!(server.starts_with("the server certificate (CN=localhost) expires in 29 days"));
    assert!(server.ends_with("renew it at the server"), "{server}");

    // With `with_rustls_config`, only the server's certificate is known.
    let identity = pki.client(Fixture::Good);
    let config = tls_client(pki.ca_pem(), Some(&identity), rustls::DEFAULT_VERSIONS);
    let warnings = warnings_of(|| {
        let exporters = once(builder())
            .with_endpoint(collector.endpoint())
            .with_protocol(Protocol::Grpc)
            .with_rustls_config(config)
            .with_expiry_warning(year)
            .with_reload_interval(Duration::ZERO)
            .build()
            .unwrap();
        export(&exporters, Signal::Traces).unwrap();
        for _ in 0..3 {
            exporters.reload().unwrap();
        }
    });
    assert_eq!(warnings, [server.as_str()]);
}

/// A point of a metric: its attributes except the server's, and its value.
pub(crate) type Point = (Vec<(String, String)>, i64);

pub(crate) fn points(collector: &Collector, name: &str) -> Vec<Point> {
    // The newest points.
    let metrics = collector.metrics();
    let Some(metric) = metrics.iter().rev().find(|metric| metric.name == name) else {
        return Vec::new();
    };
    let points = match metric.data.clone().unwrap() {
        Data::Gauge(gauge) => gauge.data_points,
        Data::Sum(sum) => sum.data_points,
        other => panic!("{other:?}"),
    };
    let mut points: Vec<Point> = points
        .into_iter()
        .map(|point| {
            let mut attributes: Vec<_> = point
                .attributes
                .into_iter()
                .filter(|attribute| !attribute.key.starts_with("server."))
                .map(|attribute| match attribute.value.unwrap().value.unwrap() {
                    Value::StringValue(value) => (attribute.key, value),
                    other => panic!("{other:?}"),
                })
                .collect();
            attributes.sort();
            let Some(number_data_point::Value::AsInt(value)) = point.value else { panic!() };
            (attributes, value)
        })
        .collect();
    points.sort();
    points
}

fn flush(telemetry: &Telemetry) {
    telemetry.tracer_provider().unwrap().force_flush().unwrap();
    telemetry.meter_provider().unwrap().force_flush().unwrap();
}

#[test]
fn the_meter_provider_has_metrics_of_the_exporters() {
    use opentelemetry::trace::{Span, Tracer, TracerProvider};

    let _alone = alone();
    for protocol in TRANSPORTS {
        let (pki, collector) = mtls_collector();
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str| pki.client_named(name).write_to(directory.path(), "client");
        let (certificate, key) = write("first").unwrap();
        let telemetry = mtls_builder(&pki, &collector, protocol)
            .with_client_identity(Pem::file(&certificate), Pem::file(&key))
            .with_reload_interval(Duration::ZERO)
            .with_sdk_metrics(true)
            .build()
            .unwrap()
            .install()
            .unwrap();
        let span = || telemetry.tracer_provider().unwrap().tracer("test").start("a span").end();
        span();
        flush(&telemetry);

        let role = |role: &str, subject: &str| {
            vec![
                ("otlp_mtls.certificate.role".to_owned(), role.to_owned()),
                ("otlp_mtls.certificate.subject".to_owned(), subject.to_owned()),
            ]
        };
        let name = "otlp_mtls.certificate.not_after";
        let attributes = |collector: &Collector, name| {
            points(collector, name)
                .into_iter()
                .map(|(attributes, _)| attributes)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            attributes(&collector, name),
            [
                role("ca", "CN=otlp-mtls test ca"),
                role("client", "CN=first"),
                role("server", "CN=localhost")
            ],
            "{protocol}"
        );
        let status = telemetry.exporters().unwrap().status();
        let expected = status.credentials[0].chain[0].not_after;
        let expected = expected.unwrap().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        assert_eq!(points(&collector, name)[1].1, expected as i64);
        assert_eq!(points(&collector, "otlp_mtls.tls.handshakes"), [(vec![], 1)]);
        assert_eq!(points(&collector, "otlp_mtls.credentials.rotations"), [(vec![], 0)]);

        // A rotation, a refused replacement, a failed export.
        write("second").unwrap();
        span();
        flush(&telemetry);
        fs::write(&key, "garbage").unwrap();
        collector.set_reply(|request| match request.signal {
            Signal::Traces => Reply::Http { status: 400, headers: Vec::new() },
            _ => Reply::Accept,
        });
        span();
        telemetry.tracer_provider().unwrap().force_flush().unwrap_err();
        telemetry.meter_provider().unwrap().force_flush().unwrap();
        assert_eq!(attributes(&collector, name)[1], role("client", "CN=second"));
        assert_eq!(points(&collector, "otlp_mtls.credentials.rotations"), [(vec![], 1)]);
        assert_eq!(points(&collector, "otlp_mtls.credentials.refusals"), [(vec![], 1)]);
        assert_eq!(points(&collector, "otlp_mtls.tls.handshakes"), [(vec![], 2)]);
        let kind = match protocol {
            Protocol::Grpc => "otlp_grpc_span_exporter",
            _ => "otlp_http_span_exporter",
        };
        let [(component, in_flight)] = &points(&collector, "otel.sdk.exporter.span.inflight")[..]
        else {
            panic!()
        };
        assert_eq!(component[1], ("otel.component.type".to_owned(), kind.to_owned()));
        assert!(component[0].1.starts_with(&format!("{kind}/")), "{component:?}");
        assert_eq!(*in_flight, 0);
        let mut failed = component.clone();
        failed.insert(0, ("error.type".to_owned(), "http_4xx".to_owned()));
        assert_eq!(
            points(&collector, "otel.sdk.exporter.span.exported"),
            [(failed, 1), (component.clone(), 2)]
        );
        telemetry.shutdown(SOON).unwrap();
    }
}

#[test]
fn failed_handshakes_are_counted_by_kind() {
    let _alone = alone();
    let pki = Pki::new();
    let metrics = plaintext_collector();
    let refusing = Collector::builder().with_tls(pki.server(Fixture::Expired)).start().unwrap();
    let telemetry = builder()
        .with_endpoint(refusing.endpoint())
        .with_ca_certificate(Pem::bytes(pki.ca_pem()))
        .with_signal(Signal::Metrics, |all| {
            all.with_endpoint(format!("{}/v1/metrics", metrics.endpoint()))
        })
        .with_retry(RetryPolicy::disabled())
        .with_failure_handler(|_| {})
        .build()
        .unwrap()
        .install()
        .unwrap();
    use opentelemetry::trace::{Span, Tracer, TracerProvider};
    telemetry.tracer_provider().unwrap().tracer("test").start("a span").end();
    telemetry.tracer_provider().unwrap().force_flush().unwrap_err();
    telemetry.meter_provider().unwrap().force_flush().unwrap();
    let error = ("error.type".to_owned(), "server_certificate_expired".to_owned());
    assert_eq!(points(&metrics, "otlp_mtls.tls.handshakes"), [(vec![error], 1)]);
    drop(telemetry);
}
