//! Builds exporters for a TLS endpoint with the providers that are compiled in, and none installed.

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
    assert!(CryptoProvider::get_default().is_none(), "none is installed behind one's back");
}
