//! What reaches the collector: every signal, over every protocol, in plaintext, with TLS and with mutual TLS.

use std::net::{IpAddr, Ipv6Addr};

use otlp_mtls::testing::{Collector, Fixture, Pki};
use otlp_mtls::{Compression, Exporters, Pem, Protocol, Signal};

use crate::support::{
    PROTOCOLS, SOON, TRANSPORTS, alone, builder, export, is_own, items, mtls_builder,
    mtls_collector, plaintext_builder, plaintext_collector, with_vars,
};

fn all_signals_arrive(exporters: &Exporters, collector: &Collector, protocol: Protocol) {
    for signal in Signal::ALL {
        export(exporters, signal).unwrap_or_else(|error| panic!("{protocol} {signal}: {error}"));
        // The SDK's metric reader exports again when it is dropped.
        let expected = if signal == Signal::Metrics { 2 } else { 1 };
        assert_eq!(items(collector, signal), expected, "{protocol} {signal}");
    }
    let content_type = match protocol {
        Protocol::Grpc => "application/grpc",
        Protocol::HttpProtobuf => "application/x-protobuf",
        _ => "application/json",
    };
    for request in collector.requests() {
        assert_eq!(request.headers["content-type"], content_type);
        assert_eq!(request.grpc, protocol == Protocol::Grpc);
    }
}

#[test]
fn plaintext() {
    for protocol in PROTOCOLS {
        let collector = plaintext_collector();
        let exporters = plaintext_builder(&collector, protocol).build().unwrap();
        all_signals_arrive(&exporters, &collector, protocol);
        assert_eq!(collector.handshakes(), 0);
    }
}

#[test]
fn tls() {
    let pki = Pki::new();
    for protocol in PROTOCOLS {
        let collector = Collector::builder().with_tls(pki.server(Fixture::Good)).start().unwrap();
        let exporters = builder()
            .with_endpoint(collector.endpoint())
            .with_protocol(protocol)
            .with_ca_certificate(Pem::bytes(pki.ca_pem()))
            .build()
            .unwrap();
        all_signals_arrive(&exporters, &collector, protocol);
        assert!(collector.client_certificates().is_empty());
    }
}

#[test]
fn mutual_tls() {
    for protocol in PROTOCOLS {
        let (pki, collector) = mtls_collector();
        let exporters = mtls_builder(&pki, &collector, protocol).build().unwrap();
        all_signals_arrive(&exporters, &collector, protocol);
        let seen = collector.client_certificates();
        assert_eq!(seen[0].common_name(), Some("test-client"));
    }
}

#[test]
fn mutual_tls_from_the_environment_alone() {
    for (protocol, name) in PROTOCOLS.into_iter().zip(["grpc", "http/protobuf", "http/json"]) {
        let (pki, collector) = mtls_collector();
        let directory = tempfile::tempdir().unwrap();
        let ca = pki.write_ca_to(directory.path()).unwrap();
        let client = pki.client(Fixture::Good);
        let (certificate, key) = client.write_to(directory.path(), "client").unwrap();
        let exporters = with_vars(vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint().into()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", name.into()),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", ca.into_os_string()),
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certificate.into_os_string()),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", key.into_os_string()),
        ])
        .build()
        .unwrap();
        all_signals_arrive(&exporters, &collector, protocol);
    }
}

#[test]
fn a_client_certificate_of_version_1_is_presented() {
    for protocol in PROTOCOLS {
        let (pki, collector) = mtls_collector();
        let client = pki.client(Fixture::V1);
        let exporters = mtls_builder(&pki, &collector, protocol)
            .with_client_identity(
                Pem::bytes(client.certificate_pem()),
                Pem::bytes(client.key_pem()),
            )
            .build()
            .unwrap();
        all_signals_arrive(&exporters, &collector, protocol);
        assert_eq!(collector.client_certificates()[0].der(), client.certificate_ders()[0].as_ref());
    }
}

#[test]
fn tls_1_2_only() {
    for protocol in PROTOCOLS {
        let pki = Pki::new();
        let collector = Collector::builder()
            .with_tls(pki.server(Fixture::Good))
            .with_client_ca(pki.ca_pem())
            .with_tls_versions(&[&rustls::version::TLS12])
            .start()
            .unwrap();
        let exporters = mtls_builder(&pki, &collector, protocol).build().unwrap();
        all_signals_arrive(&exporters, &collector, protocol);
    }
}

#[test]
fn a_min_tls_version_refuses_an_older_server() {
    let pki = Pki::new();
    let collector = Collector::builder()
        .with_tls(pki.server(Fixture::Good))
        .with_tls_versions(&[&rustls::version::TLS12])
        .start()
        .unwrap();
    let exporters = builder()
        .with_endpoint(collector.endpoint())
        .with_ca_certificate(Pem::bytes(pki.ca_pem()))
        .with_min_tls_version(otlp_mtls::TlsVersion::Tls13)
        .build()
        .unwrap();
    let error = export(&exporters, Signal::Traces).unwrap_err().to_string();
    assert!(error.contains("ProtocolVersion"), "{error}");
}

#[test]
fn http_1_1_over_tls_where_alpn_says_nothing() {
    let pki = Pki::new();
    let collector = Collector::builder()
        .with_tls(pki.server(Fixture::Good))
        .with_alpn(Vec::new())
        .start()
        .unwrap();
    let exporters = |protocol| {
        builder()
            .with_endpoint(collector.endpoint())
            .with_protocol(protocol)
            .with_ca_certificate(Pem::bytes(pki.ca_pem()))
    };
    let http = exporters(Protocol::HttpProtobuf).build().unwrap();
    export(&http, Signal::Traces).unwrap();

    let strict = exporters(Protocol::Grpc).build().unwrap();
    let error = export(&strict, Signal::Traces).unwrap_err().to_string();
    assert!(error.contains("ALPN"), "{error}");

    let lenient = exporters(Protocol::Grpc).with_assume_http2(true).build().unwrap();
    export(&lenient, Signal::Traces).unwrap();
}

#[test]
fn headers_compression_and_the_user_agent() {
    for protocol in PROTOCOLS {
        for compression in [None, Some(Compression::Gzip), Some(Compression::Zstd)] {
            let collector = plaintext_collector();
            let exporters = plaintext_builder(&collector, protocol)
                .with_headers([("api-key", "k"), ("x-both", "static")])
                .with_header_provider(|signal| {
                    let mut headers = http::HeaderMap::new();
                    headers.insert("x-both", signal.to_string().parse()?);
                    Ok(headers)
                })
                .with_compression(compression)
                .build()
                .unwrap();
            all_signals_arrive(&exporters, &collector, protocol);
            for request in collector.requests() {
                assert_eq!(request.headers["api-key"], "k");
                assert_eq!(request.headers["x-both"], request.signal.to_string());
                let agent = concat!("OTel-OTLP-Exporter-Rust/", env!("CARGO_PKG_VERSION"));
                assert_eq!(request.headers["user-agent"], agent);
                let expected = compression.map(|compression| compression.to_string());
                assert_eq!(request.encoding, expected, "{protocol}");
            }
        }
    }
}

#[test]
fn a_header_provider_may_repeat_a_name_and_not_break_the_protocol() {
    for protocol in TRANSPORTS {
        let (pki, collector) = mtls_collector();
        let exporters = mtls_builder(&pki, &collector, protocol)
            .with_header_provider(|_| {
                let mut headers = http::HeaderMap::new();
                for (name, value) in [
                    ("x-twice", "1"),
                    ("x-twice", "2"),
                    ("content-length", "5"),
                    ("content-encoding", "gzip"),
                    ("grpc-encoding", "gzip"),
                    ("te", "gzip"),
                ] {
                    headers.append(name, http::HeaderValue::from_static(value));
                }
                Ok(headers)
            })
            .build()
            .unwrap();
        export(&exporters, Signal::Traces).unwrap();
        let request = collector.requests().remove(0);
        assert_eq!(request.headers.get_all("x-twice").iter().count(), 2, "{protocol}");
        assert_eq!(request.encoding, None, "{protocol}");
    }
}

#[test]
fn a_custom_user_agent() {
    let collector = plaintext_collector();
    let exporters = plaintext_builder(&collector, Protocol::Grpc)
        .with_headers([("user-agent", "mine/1")])
        .build()
        .unwrap();
    export(&exporters, Signal::Traces).unwrap();
    assert_eq!(collector.requests()[0].headers["user-agent"], "mine/1");
}

#[test]
fn paths_over_http() {
    let collector = plaintext_collector();
    let endpoint = collector.endpoint();
    for (rule, generic, specific, expected) in [
        ("the signal's path is appended", endpoint.clone(), None, "/v1/traces"),
        ("a slash at the end is not doubled", format!("{endpoint}/"), None, "/v1/traces"),
        ("a prefix is kept", format!("{endpoint}/a/b/"), None, "/a/b/v1/traces"),
        (
            "a signal's own is used as it stands",
            "http://nowhere.invalid".to_owned(),
            Some(format!("{endpoint}/mine/v1/traces")),
            "/mine/v1/traces",
        ),
    ] {
        let exporters = builder()
            .with_endpoint(generic)
            .with_signal(Signal::Traces, |traces| match specific {
                Some(specific) => traces.with_endpoint(specific),
                None => traces,
            })
            .build()
            .unwrap();
        export(&exporters, Signal::Traces).unwrap();
        assert_eq!(collector.requests().pop().unwrap().path, expected, "{rule}");
    }
}

#[test]
fn ipv6_literals() {
    let pki = Pki::new();
    for protocol in PROTOCOLS {
        let collector = Collector::builder()
            .with_tls(pki.server(Fixture::Good))
            .with_bind_address(IpAddr::V6(Ipv6Addr::LOCALHOST))
            .start()
            .unwrap();
        let endpoint = format!("https://[::1]:{}", collector.addr().port());
        let exporters = builder()
            .with_endpoint(endpoint)
            .with_protocol(protocol)
            .with_ca_certificate(Pem::bytes(pki.ca_pem()))
            .build()
            .unwrap();
        all_signals_arrive(&exporters, &collector, protocol);
    }
}

#[test]
fn a_custom_server_name_is_verified() {
    let pki = Pki::new();
    let collector = Collector::builder().with_tls(pki.server(Fixture::WrongName)).start().unwrap();
    let strict =
        builder().with_endpoint(collector.endpoint()).with_ca_certificate(Pem::bytes(pki.ca_pem()));
    let error = export(&strict.build().unwrap(), Signal::Traces).unwrap_err().to_string();
    assert!(error.contains("localhost") && error.contains("other.example"), "{error}");

    let exporters = builder()
        .with_endpoint(collector.endpoint())
        .with_ca_certificate(Pem::bytes(pki.ca_pem()))
        .with_server_name("other.example")
        .build()
        .unwrap();
    export(&exporters, Signal::Traces).unwrap();
}

#[test]
fn temporality_and_histograms_as_preferred() {
    let _alone = alone();
    use opentelemetry::metrics::MeterProvider;
    use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, metric::Data};

    let collector = plaintext_collector();
    let telemetry = with_vars(vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta".to_owned()),
        (
            "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
            "base2_exponential_bucket_histogram".to_owned(),
        ),
    ])
    .build()
    .unwrap()
    .install()
    .unwrap();
    let meter = telemetry.meter_provider().unwrap().meter("test");
    meter.u64_counter("counter").build().add(1, &[]);
    meter.f64_histogram("histogram").build().record(1.0, &[]);
    telemetry.shutdown(SOON).unwrap();

    let metrics = collector.metrics().into_iter().filter(|metric| !is_own(&metric.name));
    let metrics: Vec<_> = metrics.collect();
    assert_eq!(metrics.len(), 2);
    for metric in metrics {
        match metric.data.unwrap() {
            Data::Sum(sum) => {
                assert_eq!(sum.aggregation_temporality(), AggregationTemporality::Delta);
            }
            Data::ExponentialHistogram(histogram) => {
                assert_eq!(histogram.aggregation_temporality(), AggregationTemporality::Delta);
            }
            other => panic!("{other:?}"),
        }
    }
}
