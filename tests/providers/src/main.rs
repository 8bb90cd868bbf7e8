//! Builds exporters for a TLS endpoint with the providers that are compiled in, and none installed, and reaches a
//! collector of `testing` with them. `OTEL_CONFIG_FILE` is an error, because the feature is off.

use otlp_mtls::rustls::crypto::CryptoProvider;
use otlp_mtls::{Error, Exporters, ExportersBuilder, Protocol, Signal};

fn main() {
    let built = builder().with_endpoint("https://localhost").build();
    if cfg!(any(feature = "aws-lc-rs", feature = "ring")) {
        let config = built.expect("a provider is compiled in").client_config(Signal::Traces);
        let config = config.expect("TLS");
        assert_eq!(config.fips(), cfg!(feature = "fips"));
        let groups = format!("{:?}", config.crypto_provider().kx_groups);
        // Only aws-lc-rs has post-quantum key exchange.
        assert_eq!(groups.contains("MLKEM"), cfg!(feature = "aws-lc-rs"), "{groups}");
    } else {
        let error = built.expect_err("no provider is there");
        assert!(matches!(error, Error::NoCryptoProvider), "{error}");
    }
    #[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
    reach_a_collector();

    let error = Exporters::builder().with_env(|_| None).build().expect_err("HTTP is the default");
    let remedy = "set OTEL_EXPORTER_OTLP_PROTOCOL or with_protocol() to grpc";
    assert!(error.to_string().ends_with(remedy), "{error}");

    let logs = |name: &str| match name {
        "OTEL_LOGS_EXPORTER" => Some("otlp".into()),
        "OTEL_METRICS_EXPORTER" => Some("none".into()),
        _ => None,
    };
    let exporters = Exporters::builder().with_env(logs).with_protocol(Protocol::Grpc).build();
    let report = exporters.expect("an endpoint").check_blocking();
    let expected =
        "OTEL_LOGS_EXPORTER: no effect: this build of otlp-mtls does not have the signal's feature";
    assert_eq!(report.warnings, [expected]);

    let file = |name: &str| (name == "OTEL_CONFIG_FILE").then(|| "/etc/otel.yaml".into());
    let error = Exporters::builder().with_env(file).build().expect_err("the file is not read");
    assert!(matches!(error, Error::ConfigFileNotCompiled), "{error}");
    assert!(CryptoProvider::get_default().is_none(), "none is installed behind one's back");
}

fn builder() -> ExportersBuilder {
    Exporters::builder().with_env(|_| None).with_protocol(Protocol::Grpc)
}

/// With a client certificate that rustls verifies, and with one that `testing` verifies itself.
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
fn reach_a_collector() {
    use otlp_mtls::Pem;
    use otlp_mtls::testing::{Collector, Fixture, Pki};

    let pki = Pki::new();
    let collector = Collector::builder()
        .with_tls(pki.server(Fixture::Good))
        .with_client_ca(pki.ca_pem())
        .start()
        .expect("the collector starts");
    for fixture in [Fixture::Good, Fixture::V1] {
        let client = pki.client(fixture);
        let exporters = builder()
            .with_endpoint(collector.endpoint())
            .with_ca_certificate(Pem::bytes(pki.ca_pem()))
            .with_client_identity(
                Pem::bytes(client.certificate_pem()),
                Pem::bytes(client.key_pem()),
            )
            .build()
            .expect("exporters");
        let report = exporters.check_blocking();
        assert!(report.is_delivered(), "{report}");
    }
}
