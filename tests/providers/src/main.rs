//! Builds exporters for a TLS endpoint with the providers that are compiled in, and none installed; and none
//! where a configuration file is named.

use otlp_mtls::rustls::crypto::CryptoProvider;
use otlp_mtls::{Error, Exporters, Protocol, Signal};

fn main() {
    let built = Exporters::builder()
        .with_env(|_| None)
        .with_endpoint("https://localhost")
        .with_protocol(Protocol::Grpc)
        .build();
    if cfg!(any(feature = "aws-lc-rs", feature = "ring")) {
        let config = built.expect("a provider is compiled in").client_config(Signal::Traces);
        let groups = format!("{:?}", config.expect("TLS").crypto_provider().kx_groups);
        // Only aws-lc-rs has post-quantum key exchange.
        assert_eq!(groups.contains("MLKEM"), cfg!(feature = "aws-lc-rs"), "{groups}");
    } else {
        let error = built.expect_err("no provider is there");
        assert!(matches!(error, Error::NoCryptoProvider), "{error}");
    }
    // Nor have they a build without this feature.
    let file = |name: &str| (name == "OTEL_CONFIG_FILE").then(|| "/etc/otel.yaml".into());
    let error = Exporters::builder().with_env(file).build().expect_err("the file is not read");
    assert!(matches!(error, Error::ConfigFileNotCompiled), "{error}");
    assert!(CryptoProvider::get_default().is_none(), "none is installed behind one's back");
}
