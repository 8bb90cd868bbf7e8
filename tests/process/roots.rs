//! The platform's roots, which `rustls-native-certs` takes from `SSL_CERT_FILE` where it is set.

use futures_executor::block_on;
use opentelemetry_sdk::trace::SpanExporter;
use otlp_mtls::testing::{Collector, Fixture, Pki};
use otlp_mtls::{Error, Exporters, Pem};

use crate::{in_a_process, is_child};

/// A process whose platform trusts one CA, and a collector that has its certificate from it.
fn with_platform_roots(name: &str, service: impl FnOnce(&str, &str)) {
    if is_child() {
        let [endpoint, other] =
            ["TEST_ENDPOINT", "TEST_OTHER_CA"].map(|name| std::env::var(name).unwrap());
        return in_a_process(name, &[], || service(&endpoint, &other));
    }
    let (pki, directory) = (Pki::new(), tempfile::tempdir().unwrap());
    let collector = Collector::builder().with_tls(pki.server(Fixture::Good)).start().unwrap();
    let ca = pki.write_ca_to(directory.path()).unwrap();
    let vars = [
        ("SSL_CERT_FILE", ca.to_str().unwrap()),
        ("SSL_CERT_DIR", ""),
        ("TEST_ENDPOINT", &collector.endpoint()),
        ("TEST_OTHER_CA", pki.other_ca_pem()),
    ];
    in_a_process(name, &vars, || unreachable!("the parent has no service"));
}

fn export(exporters: &Exporters) -> Result<(), String> {
    let exporter = exporters.span_exporter().unwrap();
    block_on(exporter.export(Vec::new())).map_err(|error| error.to_string())
}

#[test]
fn trusted_unless_a_ca_is_named() {
    with_platform_roots("roots::trusted_unless_a_ca_is_named", |endpoint, other| {
        let builder = || Exporters::builder().with_endpoint(endpoint);
        export(&builder().build().unwrap()).unwrap();

        let named = || builder().with_ca_certificate(Pem::bytes(other));
        let error = export(&named().build().unwrap()).unwrap_err();
        assert!(error.contains("it was issued by"), "{error}");

        export(&named().with_system_roots(true).build().unwrap()).unwrap();
    });
}

#[test]
fn a_variable_that_names_none_is_the_error() {
    let empty = tempfile::NamedTempFile::new().unwrap();
    let missing = empty.path().with_extension("missing");
    let name = "roots::a_variable_that_names_none_is_the_error";
    let cases = [
        [("SSL_CERT_FILE", missing.to_str().unwrap()), ("SSL_CERT_DIR", "")],
        [("SSL_CERT_FILE", empty.path().to_str().unwrap()), ("SSL_CERT_DIR", "")],
        [("SSL_CERT_FILE", ""), ("SSL_CERT_DIR", missing.to_str().unwrap())],
    ];
    for vars in cases {
        in_a_process(name, &vars, || {
            let error =
                Exporters::builder().with_endpoint("https://localhost").build().unwrap_err();
            let words = format!("{error:?}");
            let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().find_map(|variable| {
                let path = std::env::var(variable).ok().filter(|path| !path.is_empty())?;
                Some((variable, path))
            });
            let (variable, path) = named.unwrap();
            assert!(words.starts_with(&format!("{variable}: {path}: ")), "{words}");
            assert!(words.contains("there are no root certificates"), "{words}");
            assert!(words.contains("OTEL_EXPORTER_OTLP_CERTIFICATE"), "{words}");
            let is_missing = path.ends_with("missing");
            assert_eq!(words.contains("because: No such file"), is_missing, "{words}");
            // They are not even looked for over plaintext.
            Exporters::builder().with_endpoint("http://localhost").build().unwrap();
        });
    }
}

#[test]
fn none_at_all_is_an_error() {
    let vars = [("SSL_CERT_FILE", ""), ("SSL_CERT_DIR", "")];
    in_a_process("roots::none_at_all_is_an_error", &vars, || {
        let error = Exporters::builder().with_endpoint("https://localhost").build().unwrap_err();
        assert!(matches!(error, Error::NoPlatformRoots { .. }), "{error}");
        assert!(error.to_string().contains("OTEL_EXPORTER_OTLP_CERTIFICATE"), "{error}");
    });
}
