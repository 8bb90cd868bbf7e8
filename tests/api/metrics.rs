//! Metrics about the exporters, on providers that a service has built itself.

use std::collections::BTreeSet;
use std::time::UNIX_EPOCH;

use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use otlp_mtls::testing::{Collector, Reply};
use otlp_mtls::{Exporters, Protocol, Providers, Signal};

use crate::books::points;
use crate::support::{
    SOON, TRANSPORTS, builder, export, mtls_builder, mtls_collector, once, plaintext_builder,
    plaintext_collector,
};

fn meters(exporters: &Exporters) -> SdkMeterProvider {
    let exporter = exporters.metric_exporter().unwrap();
    SdkMeterProvider::builder().with_periodic_exporter(exporter).build()
}

fn names(collector: &Collector) -> BTreeSet<String> {
    collector.metrics().into_iter().map(|metric| metric.name).collect()
}

#[test]
fn the_expiry_of_certificates_is_a_gauge_of_ones_own_provider() {
    for protocol in TRANSPORTS {
        let (pki, collector) = mtls_collector();
        let exporters = mtls_builder(&pki, &collector, protocol).build().unwrap();
        let meters = meters(&exporters);
        exporters.register_metrics(&meters);
        export(&exporters, Signal::Traces).unwrap();
        meters.force_flush().unwrap();

        let status = exporters.status().credentials.remove(0);
        let seen = points(&collector, "otlp_mtls.certificate.not_after");
        let certificates = [
            ("ca", status.anchor.as_ref().unwrap()),
            ("client", &status.chain[0]),
            ("server", status.server.as_ref().unwrap()),
        ];
        let expected = certificates.map(|(role, certificate)| {
            let expires = certificate.not_after.unwrap().duration_since(UNIX_EPOCH).unwrap();
            let attributes = [("role", role), ("subject", &certificate.subject)]
                .map(|(name, value)| (format!("otlp_mtls.certificate.{name}"), value.to_owned()));
            (attributes.to_vec(), expires.as_secs() as i64)
        });
        assert_eq!(seen, expected, "{protocol}");
        assert_eq!(points(&collector, "otlp_mtls.tls.handshakes"), [(vec![], 1)]);
        let [(_, 1)] = points(&collector, "otlp_mtls.traces.exports")[..] else { panic!() };
        // What is in development is there for those who ask for it.
        assert!(names(&collector).iter().all(|name| name.starts_with("otlp_mtls.")));
        exporters.shutdown(Providers::new().with_meter_provider(&meters), SOON).unwrap();
    }
}

#[test]
fn metrics_in_development_are_there_if_asked_for() {
    let collector = plaintext_collector();
    let exporters =
        plaintext_builder(&collector, Protocol::Grpc).with_sdk_metrics(true).build().unwrap();
    let meters = meters(&exporters);
    exporters.register_metrics(&meters);
    export(&exporters, Signal::Logs).unwrap();
    meters.force_flush().unwrap();
    let [(_, 1)] = points(&collector, "otel.sdk.exporter.log.exported")[..] else { panic!() };
    let [(_, 0)] = points(&collector, "otel.sdk.exporter.log.inflight")[..] else { panic!() };
    exporters.shutdown(Providers::new().with_meter_provider(&meters), SOON).unwrap();
}

/// Points with equal attributes would hide one another.
#[test]
fn every_handle_has_a_name_of_its_own() {
    let collector = plaintext_collector();
    let build = || plaintext_builder(&collector, Protocol::Grpc).build().unwrap();
    let (first, second) = (build(), build());
    let meters = meters(&first);
    first.register_metrics(&meters);
    second.register_metrics(&meters);
    export(&first, Signal::Traces).unwrap();
    export(&second, Signal::Traces).unwrap();
    export(&second, Signal::Traces).unwrap();
    meters.force_flush().unwrap();
    let points = points(&collector, "otlp_mtls.traces.exports");
    let mut counts: Vec<_> = points.iter().map(|(_, count)| *count).collect();
    counts.sort_unstable();
    assert_eq!(counts, [1, 2], "{points:?}");
    for (attributes, _) in points {
        let [(name_key, name), (kind_key, kind)] = &attributes[..] else { panic!() };
        assert_eq!((&**name_key, &**kind_key), ("otel.component.name", "otel.component.type"));
        assert_eq!(kind, "otlp_grpc_span_exporter");
        let number = name.strip_prefix("otlp_grpc_span_exporter/").unwrap();
        assert!(number.parse::<u64>().is_ok(), "{name}");
    }
    first.shutdown(Providers::new().with_meter_provider(&meters), SOON).unwrap();
}

/// Nobody has recorded them, so nobody has lost them.
#[test]
fn metrics_about_the_exporters_are_no_loss() {
    let collector = plaintext_collector();
    collector.set_reply(|_| Reply::Http { status: 400, headers: Vec::new() });
    let exporters =
        once(builder()).with_endpoint(collector.endpoint()).with_sdk_metrics(true).build().unwrap();
    let shut_down = |meters: &SdkMeterProvider| {
        exporters.shutdown(Providers::new().with_meter_provider(meters), SOON)
    };
    let first = meters(&exporters);
    exporters.register_metrics(&first);
    first.force_flush().unwrap_err();
    shut_down(&first).unwrap();

    let second = meters(&exporters);
    exporters.register_metrics(&second);
    second.meter("test").u64_counter("of_the_service").build().add(1, &[]);
    let error = shut_down(&second).unwrap_err();
    assert_eq!(error.losses()[0].items, 1, "{error}");
}
