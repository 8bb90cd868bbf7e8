//! The platform's roots, which `rustls-native-certs` takes from `SSL_CERT_FILE` if it is set.

use futures_executor::block_on;
use opentelemetry_sdk::trace::SpanExporter;
use otlp_mtls::testing::{Collector, Fixture, Identity, Pki};
use otlp_mtls::{Error, Exporters, Pem};
use rcgen::{CertificateParams, IsCa, Issuer, KeyPair};

use crate::exporter::span;
use crate::{in_a_process, is_child};

/// A process whose platform trusts one CA, and a collector with a certificate issued by it.
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
    block_on(exporter.export(vec![span("a span")])).map_err(|error| error.to_string())
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

/// Like configured CAs: an entry that is not a CA issues nothing.
#[test]
fn judged_as_named_ones_are() {
    let name = "roots::judged_as_named_ones_are";
    if is_child() {
        return in_a_process(name, &[], || {
            let [good, bad, other] =
                ["TEST_GOOD", "TEST_BAD", "TEST_OTHER_CA"].map(|name| std::env::var(name).unwrap());
            for named in [false, true] {
                let builder = |endpoint: &str| match named {
                    true => Exporters::builder()
                        .with_endpoint(endpoint)
                        .with_ca_certificate(Pem::bytes(other.as_str()))
                        .with_system_roots(true),
                    false => Exporters::builder().with_endpoint(endpoint),
                };
                export(&builder(&good).build().unwrap()).unwrap();
                let error = export(&builder(&bad).build().unwrap()).unwrap_err();
                assert!(error.contains("leads to CN=localhost, which is not a CA"), "{error}");
                assert!(error.contains("in the platform's roots"), "{error}");
            }
        });
    }
    let params = |is_ca| {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "localhost");
        params.is_ca = is_ca;
        params
    };
    let (key, server_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let no_ca = params(IsCa::ExplicitNoCa);
    let leaf = no_ca.signed_by(&server_key, &Issuer::from_params(&no_ca, &key)).unwrap();
    let server = Identity::new(vec![leaf.der().clone()], server_key.serialize_der().into());
    let (pki, directory) = (Pki::new(), tempfile::tempdir().unwrap());
    let roots = directory.path().join("roots.pem");
    let pem = no_ca.self_signed(&key).unwrap().pem() + pki.ca_pem();
    std::fs::write(&roots, pem).unwrap();
    let start = |server| Collector::builder().with_tls(server).start().unwrap();
    let (good, bad) = (start(pki.server(Fixture::Good)), start(server));
    let vars = [
        ("SSL_CERT_FILE", roots.to_str().unwrap()),
        ("SSL_CERT_DIR", ""),
        ("TEST_GOOD", &good.endpoint()),
        ("TEST_BAD", &bad.endpoint()),
        ("TEST_OTHER_CA", pki.other_ca_pem()),
    ];
    in_a_process(name, &vars, || unreachable!("the parent has no service"));
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
            let builder = || Exporters::builder().with_endpoint("https://localhost");
            let error = builder().build().unwrap_err();
            let words = format!("{error:?}");
            let ca = Pem::bytes(Pki::new().ca_pem());
            let beside_a_ca = builder().with_ca_certificate(ca.clone()).with_system_roots(true);
            assert_eq!(words, format!("{:?}", beside_a_ca.build().unwrap_err()));
            builder().with_ca_certificate(ca.clone()).build().unwrap();
            // A proxy's CA is named, too.
            let proxy = |name: &str| (name == "HTTPS_PROXY").then(|| "https://proxy".into());
            let by_proxy = Exporters::builder().with_endpoint("https://c").with_env(proxy);
            let error = by_proxy.with_ca_certificate(ca).build().unwrap_err().to_string();
            assert!(error.ends_with("only a CA set with with_proxy_ca_certificate()"), "{error}");
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
            // Over plaintext they are not loaded.
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
