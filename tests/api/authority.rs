//! The authority of requests.

use otlp_mtls::{Error, Protocol, Signal, upstream};

use opentelemetry_sdk::trace::SpanExporter as _;

use crate::support::{
    PROTOCOLS, TRANSPORTS, builder, export, mtls_builder, mtls_collector, plaintext_builder,
    plaintext_collector, span,
};

#[test]
fn it_is_the_endpoint_unless_another_is_set() {
    for protocol in PROTOCOLS {
        let collector = plaintext_collector();
        let authorities = || -> Vec<_> {
            collector.requests().into_iter().map(|request| request.authority.unwrap()).collect()
        };
        let of_endpoint = collector.addr().to_string();
        let exporters = plaintext_builder(&collector, protocol).build().unwrap();
        export(&exporters, Signal::Traces).unwrap();
        assert_eq!(authorities(), [of_endpoint.as_str()], "{protocol}");

        let exporters = plaintext_builder(&collector, protocol)
            .with_authority("otel.example")
            .with_signal(Signal::Logs, |logs| logs.with_authority("logs.example:4317"))
            .build()
            .unwrap();
        export(&exporters, Signal::Traces).unwrap();
        export(&exporters, Signal::Logs).unwrap();
        let expected = [of_endpoint.as_str(), "otel.example", "logs.example:4317"];
        assert_eq!(authorities(), expected, "{protocol}");
    }
}

/// The certificate must be for the endpoint's host, or for the name in `with_server_name`.
#[test]
fn the_certificate_is_not_verified_against_it() {
    for protocol in TRANSPORTS {
        let (pki, collector) = mtls_collector();
        let exporters = mtls_builder(&pki, &collector, protocol)
            .with_authority("otel.example")
            .build()
            .unwrap();
        export(&exporters, Signal::Traces).unwrap();
        let request = &collector.requests()[0];
        assert_eq!(request.authority.as_deref(), Some("otel.example"), "{protocol}");

        let address = format!("https://{}", collector.addr());
        let exporters = mtls_builder(&pki, &collector, protocol)
            .with_endpoint(address)
            .with_server_name("localhost")
            .with_authority("otel.example")
            .build()
            .unwrap();
        export(&exporters, Signal::Traces).unwrap();
        assert_eq!(collector.requests().len(), 2, "{protocol}");
    }
}

#[test]
fn upstreams_exporters_have_it_too() {
    for protocol in TRANSPORTS {
        let collector = plaintext_collector();
        let exporters =
            plaintext_builder(&collector, protocol).with_authority("otel.example").build().unwrap();
        let exporter = upstream::span_exporter(&exporters).unwrap();
        futures_executor::block_on(exporter.export(vec![span("a")])).unwrap();
        let request = &collector.requests()[0];
        assert_eq!(request.authority.as_deref(), Some("otel.example"), "{protocol}");
    }
}

#[test]
fn an_invalid_host_is_an_error() {
    let builder = builder().with_protocol(Protocol::Grpc).with_endpoint("http://localhost");
    let error = builder.with_authority("https://otel.example").build().unwrap_err();
    assert!(matches!(error, Error::Authority { .. }), "{error:?}");
    let words = "with_authority(): `https://otel.example` cannot be an authority: give a host, or \
                 host:port";
    assert_eq!(error.to_string(), words);
}
