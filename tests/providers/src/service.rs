//! A service on rustls with ring that does not install a provider. With this crate's default features there are two,
//! and its own `ClientConfig::builder()` panics unless one is installed; with `base` and `ring` there is one.

use std::panic::catch_unwind;

use otlp_mtls::{Exporters, Signal};
use rustls::{ClientConfig, RootCertStore, crypto};

/// The service's own TLS client.
fn own_client() -> Option<ClientConfig> {
    let build = || {
        ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth()
    };
    catch_unwind(build).ok()
}

fn main() {
    let exporters = Exporters::builder().with_env(|_| None).with_endpoint("https://localhost");
    let exporters = exporters.build().expect("exporters work with two providers");
    assert!(exporters.client_config(Signal::Traces).is_some());

    if cfg!(feature = "with-default-features") {
        assert!(own_client().is_none(), "rustls chooses one of two");
        crypto::ring::default_provider().install_default().expect("none is installed yet");
    }
    assert!(own_client().is_some());
}
