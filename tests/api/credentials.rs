//! Accepted certificates and keys, and the errors for others.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use der::Decode;
use der::asn1::AnyRef;
use otlp_mtls::error::CredentialProblem;
use otlp_mtls::testing::{Collector, Fixture, Identity, KeyType, Pki};
use otlp_mtls::{Error, Exporters, Pem, Protocol, Signal, TlsVersion};
use rustls::crypto::CryptoProvider;

use crate::support::{builder, export, mtls_collector, with_vars};
use crate::trust::authority::with_compressed_point;

const CA: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";
const CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE";
const KEY: &str = "OTEL_EXPORTER_OTLP_CLIENT_KEY";

/// Exports once over mutual TLS with these bytes.
fn present(
    collector: &Collector,
    ca: impl Into<Vec<u8>>,
    certificate: impl Into<Vec<u8>>,
    key: impl Into<Vec<u8>>,
) {
    let exporters = builder()
        .with_endpoint(collector.endpoint())
        .with_protocol(Protocol::Grpc)
        .with_ca_certificate(Pem::bytes(ca))
        .with_client_identity(Pem::bytes(certificate), Pem::bytes(key))
        .build()
        .unwrap();
    export(&exporters, Signal::Traces).unwrap();
}

/// The key within PKCS#8: PKCS#1 for RSA, SEC1 for elliptic curves.
fn inner_key(identity: &Identity) -> Vec<u8> {
    let der = identity.key_der();
    let [_version, _algorithm, key, ..] = *Vec::<AnyRef<'_>>::from_der(der.secret_der()).unwrap()
    else {
        panic!("no PKCS#8: {der:?}");
    };
    key.value().to_vec()
}

fn pem(label: &str, der: &[u8]) -> String {
    pem::encode(&pem::Pem::new(label, der))
}

#[test]
fn keys_of_every_type_and_form() {
    let (pki, collector) = mtls_collector();
    for (key_type, traditional) in [
        (KeyType::EcdsaP256, Some("EC PRIVATE KEY")),
        (KeyType::EcdsaP384, Some("EC PRIVATE KEY")),
        (KeyType::Ed25519, None),
        (KeyType::Rsa2048, Some("RSA PRIVATE KEY")),
    ] {
        let client = pki.client_with_key(key_type);
        present(&collector, pki.ca_pem(), client.certificate_pem(), client.key_pem());
        if let Some(label) = traditional {
            let key = pem(label, &inner_key(&client));
            present(&collector, pki.ca_pem(), client.certificate_pem(), key);
        }
    }
}

#[test]
fn pem_as_found_in_practice() {
    let (pki, collector) = mtls_collector();
    let client = pki.client(Fixture::Good);
    let (ca, certificate, key) = (pki.ca_pem(), client.certificate_pem(), client.key_pem());
    let both = format!("{certificate}{key}");
    let reversed = format!("{key}{certificate}");
    let bag = format!("Bag Attributes\n    friendlyName: me\n{certificate}\n# the key\n{key}");
    let crlf = |pem: &str| pem.replace('\n', "\r\n");
    let marked = format!("\u{feff}{certificate}");
    let parameters = format!(
        "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n{key}"
    );

    present(&collector, ca, &*both, &*both);
    present(&collector, ca, &*reversed, &*reversed);
    present(&collector, ca, &*bag, &*bag);
    present(&collector, crlf(ca), crlf(certificate), crlf(key));
    present(&collector, ca, &*marked, key);
    present(&collector, ca, certificate, &*parameters);
    // A bundle of CAs, one of which issued the server's certificate.
    present(&collector, format!("{}{ca}", pki.other_ca_pem()), certificate, key);
}

#[test]
fn a_chain_with_its_intermediate() {
    let (pki, collector) = mtls_collector();
    let client = pki.client(Fixture::Intermediate);
    present(&collector, pki.ca_pem(), client.certificate_pem(), client.key_pem());
}

/// A file as the value of one variable; the other files are valid.
struct Case {
    directory: tempfile::TempDir,
    pki: Pki,
    client: Identity,
}

impl Case {
    fn new() -> Self {
        let pki = Pki::new();
        let client = pki.client(Fixture::Good);
        Self { directory: tempfile::tempdir().unwrap(), pki, client }
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn build(&self, variable: &str, path: &Path) -> Result<Exporters, Error> {
        let good = |name: &str, content| {
            if name == variable { path.to_owned() } else { self.write(name, content) }
        };
        with_vars(vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", PathBuf::from("https://localhost")),
            (CA, good(CA, self.pki.ca_pem())),
            (CERTIFICATE, good(CERTIFICATE, self.client.certificate_pem())),
            (KEY, good(KEY, self.client.key_pem())),
        ])
        .build()
    }

    /// The error for a file, which names the variable and the path.
    fn refusal(&self, variable: &str, path: &Path) -> String {
        let error = self.build(variable, path).expect_err(variable);
        let words = format!("{error:?}");
        assert!(words.starts_with(&format!("{variable}: {}: ", path.display())), "{words}");
        words
    }
}

#[test]
fn refusals_name_variable_path_finding_and_remedy() {
    let case = Case::new();
    let certificate = case.client.certificate_pem();
    let key = case.client.key_pem();
    let (der, der_key) = (&case.client.certificate_ders()[0], case.client.key_der());
    let (unended, _) = certificate.split_at(certificate.len() - 40);
    // RFC 7292: PFX ::= SEQUENCE { version INTEGER {v3(3)}, authSafe ContentInfo … }
    let pkcs12 = [&[0x30, 0x82, 0x09, 0x2f, 0x02, 0x01, 0x03, 0x30, 0x82][..], &[0; 64]].concat();
    let old_style = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\
                     DEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";

    let all = [CA, CERTIFICATE, KEY].as_slice();
    let certificates = [CA, CERTIFICATE].as_slice();
    // A description, the variables, the bytes, and parts of the error.
    type Row<'a> = (&'a str, &'a [&'a str], &'a [u8], &'a [&'a str]);
    let rows: &[Row<'_>] = &[
        ("empty", all, b"", &["it is empty"]),
        ("blank", all, b" \r\n\t\n", &["it is empty"]),
        ("not PEM", all, b"hello", &["holds no PEM"]),
        ("a key", certificates, key.as_bytes(), &["holds no certificate, but: PRIVATE KEY"]),
        ("a certificate", &[KEY], certificate.as_bytes(), &["no private key, but: CERTIFICATE"]),
        (
            "a request",
            all,
            b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
            &["but: CERTIFICATE REQUEST"],
        ),
        ("cut off", all, unended.as_bytes(), &["cut off", "`CERTIFICATE`"]),
        (
            "not base64",
            all,
            b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
            &["line 1: the content of the section `CERTIFICATE` is not valid base64"],
        ),
        (
            "not a certificate",
            certificates,
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            &["certificate 1 in it cannot be parsed", "because: "],
        ),
        (
            "not a key",
            &[KEY],
            b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            &["cannot be used by the crypto provider", "P-256", "because: "],
        ),
        (
            "encrypted",
            &[KEY],
            b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
            &["encrypted", "openssl pkey -in "],
        ),
        ("encrypted the old way", &[KEY], old_style.as_bytes(), &["encrypted", "openssl pkey"]),
        ("PKCS#12", all, &pkcs12, &["PKCS#12", "openssl pkcs12 -in "]),
        ("a DER certificate", certificates, der, &["is DER", "openssl x509 -inform DER -in "]),
        ("a DER key", &[KEY], der_key.secret_der(), &["is DER", "openssl pkey -inform DER"]),
    ];
    for (name, variables, content, expected) in rows {
        let path = case.write("refused", content);
        for variable in *variables {
            let words = case.refusal(variable, &path);
            for expected in *expected {
                assert!(words.contains(expected), "{name}: {words}");
            }
        }
    }
}

#[test]
fn refusals_of_unreadable_files() {
    let case = Case::new();
    let file = case.write("file", "");
    for variable in [CA, CERTIFICATE, KEY] {
        let words = case.refusal(variable, &case.directory.path().join("missing"));
        assert!(words.contains("there is no such file"), "{words}");
        let words = case.refusal(variable, case.directory.path());
        assert!(words.contains("this is a directory"), "{words}");
        // Root may read any file, but not a path through a file.
        let words = case.refusal(variable, &file.join("within"));
        assert!(words.contains("cannot be read"), "{words}");
        assert!(words.contains("because: "), "{words}");
    }
}

#[test]
fn the_system_error_is_the_source() {
    let case = Case::new();
    let error = case.build(KEY, &case.directory.path().join("missing")).unwrap_err();
    let Error::Credential { problem: CredentialProblem::Missing { .. }, .. } = &error else {
        panic!("{error:?}");
    };
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.downcast_ref::<io::Error>().unwrap().kind(), io::ErrorKind::NotFound);
}

#[test]
fn bytes_are_refused_by_the_name_of_the_builder_call() {
    let error = builder()
        .with_endpoint("https://localhost")
        .with_ca_certificate(Pem::bytes("nothing"))
        .build()
        .unwrap_err();
    let words = error.to_string();
    assert!(
        words.starts_with("with_ca_certificate(): the bytes given: it holds no PEM"),
        "{words}"
    );
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let case = Case::new();
    let other = case.pki.client_named("other");
    let path = case.write("other.key", other.key_pem());
    let words = case.build(KEY, &path).unwrap_err().to_string();
    for expected in [CERTIFICATE, KEY, "CN=test-client", "do not match", "other.key"] {
        let expected = expected.replace("do not match", "their public keys differ");
        assert!(words.contains(&expected), "{words}");
    }
    assert!(!words.contains("must come first"), "{words}");
}

#[test]
fn a_chain_that_does_not_begin_with_the_leaf_is_refused_as_such() {
    let case = Case::new();
    let chain = format!("{}{}", case.pki.ca_pem(), case.client.certificate_pem());
    let path = case.write("reversed.crt", chain);
    let words = case.build(CERTIFICATE, &path).unwrap_err().to_string();
    assert!(words.contains("must come first"), "{words}");
}

#[test]
fn a_version_1_certificate_with_another_key_is_refused_too() {
    let (pki, _) = mtls_collector();
    let (v1, other) = (pki.client(Fixture::V1), pki.client(Fixture::Good));
    let error = builder()
        .with_endpoint("https://localhost")
        .with_ca_certificate(Pem::bytes(pki.ca_pem()))
        .with_client_identity(Pem::bytes(v1.certificate_pem()), Pem::bytes(other.key_pem()))
        .build()
        .unwrap_err();
    assert!(matches!(error, Error::KeyMismatch(_)), "{error}");
}

#[test]
fn no_error_and_no_debug_shows_a_key() {
    let case = Case::new();
    let key = case.client.key_pem();
    let secret = key.lines().nth(1).unwrap();
    let path = case.write("mixed", key);
    let exporters = case.build(KEY, &path).unwrap();
    let error = case.build(CERTIFICATE, &path).unwrap_err();
    let config = exporters.client_config(Signal::Traces).unwrap();
    for shown in [format!("{exporters:?}"), format!("{error:?}"), format!("{config:?}")] {
        assert!(!shown.contains(secret), "{shown}");
    }
    // Mangled by environment variables and templates.
    let one_line = key.replace('\n', "");
    let escaped = key.trim_end().replace('\n', "\\n");
    for mangled in [&one_line, &escaped, &one_line[..120].to_owned(), &key[..120].to_owned()] {
        for variable in [KEY, CERTIFICATE, CA] {
            let path = case.write("mangled", mangled);
            let error = case.build(variable, &path).unwrap_err();
            let secrets =
                [&one_line[40..60], &format!("{:?}", &one_line.as_bytes()[40..60])[1..70]];
            for shown in [format!("{error}"), format!("{error:?}")] {
                assert!(secrets.iter().all(|secret| !shown.contains(secret)), "{shown}");
            }
        }
    }
    let headers = builder().with_headers([("authorization", "Bearer hunter2")]).build().unwrap();
    let exporter = headers.span_exporter().unwrap();
    for shown in [format!("{headers:?}"), format!("{exporter:?}")] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn the_rustls_configuration_follows_the_settings() {
    let (pki, collector) = mtls_collector();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let exporters = builder()
        .with_endpoint(collector.endpoint())
        .with_protocol(Protocol::Grpc)
        .with_signal(Signal::Logs, |logs| logs.with_endpoint("http://localhost:4317"))
        .with_signal(Signal::Metrics, |metrics| metrics.with_protocol(Protocol::HttpProtobuf))
        .with_ca_certificate(Pem::bytes(pki.ca_pem()))
        .with_min_tls_version(TlsVersion::Tls13)
        .with_crypto_provider(Arc::clone(&provider))
        .build()
        .unwrap();
    let traces = exporters.client_config(Signal::Traces).unwrap();
    assert!(Arc::ptr_eq(traces.crypto_provider(), &provider));
    assert!(exporters.client_config(Signal::Metrics).is_some());
    assert!(exporters.client_config(Signal::Logs).is_none());
    assert!(CryptoProvider::get_default().is_none(), "no process default is installed");
}

/// OpenSSL and Java accept such certificates; the crypto provider's key has its point uncompressed.
#[test]
fn keys_are_compared_by_value_not_by_encoding() {
    let pki = Pki::new();
    let (client, other) = (pki.client(Fixture::Good), pki.client(Fixture::Good));
    let certificate = with_compressed_point(&client.certificate_ders()[0]);
    assert!(certificate.len() < client.certificate_ders()[0].len());
    let certificate = crate::trust::pem(&[certificate.into()]);
    let build = |key: &Identity| {
        builder()
            .with_endpoint("https://localhost")
            .with_ca_certificate(Pem::bytes(pki.ca_pem()))
            .with_client_identity(Pem::bytes(certificate.clone()), Pem::bytes(key.key_pem()))
            .build()
    };
    build(&client).unwrap();
    let error = build(&other).unwrap_err();
    assert!(matches!(error, Error::KeyMismatch(_)), "{error}");
}
