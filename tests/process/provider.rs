//! A crypto provider installed by the application is used.

use std::sync::Arc;

use otlp_mtls::{Exporters, Pem, Signal};
use rustls::crypto::CryptoProvider;

use crate::in_a_process;

#[test]
fn the_installed_provider_comes_before_the_compiled_one() {
    in_a_process("provider::the_installed_provider_comes_before_the_compiled_one", &[], || {
        let pki = otlp_mtls::testing::Pki::new();
        let exporters = || {
            Exporters::builder()
                .with_endpoint("https://localhost")
                .with_ca_certificate(Pem::bytes(pki.ca_pem()))
                .build()
                .unwrap()
        };
        let before = exporters().client_config(Signal::Traces).unwrap();
        assert!(CryptoProvider::get_default().is_none(), "none is installed behind one's back");

        rustls::crypto::ring::default_provider().install_default().unwrap();
        let after = exporters().client_config(Signal::Traces).unwrap();
        let installed = CryptoProvider::get_default().unwrap();
        assert!(Arc::ptr_eq(after.crypto_provider(), installed));
        assert!(!Arc::ptr_eq(before.crypto_provider(), installed));
    });
}
