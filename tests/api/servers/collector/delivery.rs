//! What arrives at a Collector.

use std::fs;
use std::time::Duration;

use otlp_mtls::testing::Fixture;
use otlp_mtls::{Compression, Exporters, FailureKind, Protocol, Signal};

use super::{Deployment, OtelCollector, TLS_VERSIONS, on_both, status_of};
use crate::servers::{Certificates, repository};
use crate::support::{PROTOCOLS, TRANSPORTS, export, last_failure, once};

/// The contents of one export of each signal. The metric reader exports again when it is dropped.
const ITEMS: [(Signal, &[&str]); 3] = [
    (Signal::Traces, &["a span"]),
    (Signal::Metrics, &["a_counter", "a_counter"]),
    (Signal::Logs, &["a log record"]),
];

/// Exports one item of each signal, and finds them in the Collector's files.
fn delivers(case: &str, exporters: &Exporters, collector: &OtelCollector) {
    for (signal, expected) in ITEMS {
        let before = collector.received(signal).len();
        export(exporters, signal).unwrap_or_else(|error| panic!("{case}: {signal}: {error}"));
        assert_eq!(collector.received(signal)[before..], *expected, "{case}: {signal}");
        let status = status_of(exporters, signal);
        let items = expected.len() as u64;
        assert_eq!((status.delivered, status.dropped), (items, 0), "{case}: {signal}");
    }
}

/// The client's certificate has version 1 if `openssl` is older than 3.2.
#[test]
fn a_collector_receives_every_signal() {
    let Some(certificates) = Certificates::if_go_builds() else { return };
    let collector = OtelCollector::start(certificates.0.path(), &[]);
    for protocol in PROTOCOLS {
        let exporters = certificates.builder(collector.port(protocol), protocol).build().unwrap();
        delivers(&protocol.to_string(), &exporters, &collector);
    }
}

#[test]
fn a_collector_receives_every_signal_over_each_version_of_tls() {
    for (version, overlays) in TLS_VERSIONS {
        let Some(deployment) = Deployment::start(&on_both(&overlays)) else { return };
        for protocol in TRANSPORTS {
            for fixture in [Fixture::Good, Fixture::V1, Fixture::Intermediate] {
                let case = format!("{protocol} over TLS {version}: {fixture:?}");
                let builder = deployment.builder_with(protocol, Some(fixture));
                delivers(&case, &builder.build().unwrap(), &deployment.collector);
            }
        }
    }
}

#[test]
fn a_collector_receives_every_signal_over_plaintext() {
    let Some(deployment) = Deployment::start_plaintext() else { return };
    for protocol in PROTOCOLS {
        let exporters = deployment.builder(protocol).build().unwrap();
        delivers(&protocol.to_string(), &exporters, &deployment.collector);
    }
}

#[test]
fn the_doctor_reports_delivery_to_a_collector() {
    let Some(deployment) = Deployment::start(&[]) else { return };
    for protocol in PROTOCOLS {
        let report = deployment.builder(protocol).build().unwrap().check_blocking();
        assert!(report.is_delivered(), "{report}");
    }
    for (signal, _) in ITEMS {
        assert_eq!(deployment.collector.received(signal), [] as [&str; 0], "{signal}");
    }
}

#[test]
fn a_collector_receives_compressed_requests() {
    let Some(deployment) = Deployment::start(&[]) else { return };
    for protocol in PROTOCOLS {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let builder = deployment.builder(protocol).with_compression(compression);
            let case = format!("{protocol}: {compression}");
            delivers(&case, &builder.build().unwrap(), &deployment.collector);
        }
    }
}

/// With the configuration of `examples/collector`; only its ports and the directory of its certificates
/// differ.
#[test]
fn the_collector_of_the_examples_receives_every_signal() {
    let Some(certificates) = Certificates::if_go_builds() else { return };
    let files = ["cert_file: server.crt", "key_file: server.key", "client_ca_file: ca.crt"];
    let files = files.map(|file| {
        let (setting, name) = file.split_once(": ").unwrap();
        format!("tls::{setting}: {}", certificates.path(name).display())
    });
    let mut overlays = on_both(&files.each_ref().map(String::as_str));
    overlays.push("service::telemetry::metrics::level: none".to_owned());
    let config = repository("examples/collector/otel-collector-config.yaml");
    let collector = OtelCollector::with_config(config, certificates.0.path(), &overlays);
    for protocol in TRANSPORTS {
        let exporters = certificates.builder(collector.port(protocol), protocol).build().unwrap();
        for (signal, items) in ITEMS {
            export(&exporters, signal).unwrap_or_else(|error| panic!("{protocol}: {error}"));
            // It prints them.
            collector.wait_until(items[0]);
        }
    }
}

#[test]
fn a_collector_checks_the_bearer_token_of_a_file() {
    let Some(certificates) = Certificates::if_go_builds() else { return };
    let mut overlays = on_both(&["auth::authenticator: bearertokenauth"]);
    overlays.push("extensions::bearertokenauth::tokens: [first-token, second-token]".to_owned());
    overlays.push("service::extensions: [bearertokenauth]".to_owned());
    let collector = OtelCollector::start(certificates.0.path(), &overlays);
    let token = certificates.path("token");
    for protocol in TRANSPORTS {
        fs::write(&token, "first-token\n").unwrap();
        let exporters = once(certificates.builder(collector.port(protocol), protocol))
            .with_bearer_token_file(&token)
            .with_reload_interval(Duration::from_secs(3600))
            .with_failure_handler(|_| {})
            .build()
            .unwrap();
        delivers(&format!("{protocol}, first"), &exporters, &collector);

        // It is refused, and there is no other token.
        fs::write(&token, "expired-token\n").unwrap();
        exporters.reload().unwrap();
        let error = export(&exporters, Signal::Traces).unwrap_err().to_string();
        assert!(error.contains(token.to_str().unwrap()), "{error}");
        assert!(error.contains("with_bearer_token_file(), last read at "), "{error}");
        let failure = last_failure(&exporters, Signal::Traces);
        assert!(["http_401", "UNAUTHENTICATED"].contains(&failure.kind().name()), "{failure}");
        let shown = format!("{error} {failure:?} {:?}", exporters.status());
        assert!(!shown.contains("-token"), "{shown}");

        // It is refused, and there is a new token.
        fs::write(&token, "second-token\n").unwrap();
        for (signal, expected) in ITEMS {
            let before = collector.received(signal).len();
            export(&exporters, signal).unwrap_or_else(|error| panic!("{protocol}: {error}"));
            assert_eq!(collector.received(signal)[before..], *expected, "{protocol}: {signal}");
        }
        let retried: u64 = exporters.status().exports.iter().map(|export| export.retried).sum();
        assert_eq!(retried, 1, "{protocol}");
    }
}

#[test]
fn a_collector_checks_the_bearer_token() {
    let Some(certificates) = Certificates::if_go_builds() else { return };
    let mut overlays = on_both(&["auth::authenticator: bearertokenauth"]);
    overlays.push("extensions::bearertokenauth::token: open-sesame".to_owned());
    overlays.push("service::extensions: [bearertokenauth]".to_owned());
    let collector = OtelCollector::start(certificates.0.path(), &overlays);
    for protocol in TRANSPORTS {
        let with_token = |token: &str| {
            certificates
                .builder(collector.port(protocol), protocol)
                .with_headers([("authorization", format!("Bearer {token}"))])
                .build()
                .unwrap()
        };
        delivers(&protocol.to_string(), &with_token("open-sesame"), &collector);

        let exporters = with_token("open-barley");
        let error = export(&exporters, Signal::Traces).unwrap_err().to_string();
        assert!(!error.contains("barley"), "{error}");
        let failure = last_failure(&exporters, Signal::Traces);
        let expected = match protocol {
            Protocol::Grpc => matches!(failure.kind(), FailureKind::Grpc { number: 16, .. }),
            _ => matches!(failure.kind(), FailureKind::Http { status: 401, .. }),
        };
        assert!(expected, "{failure}");
    }
}
