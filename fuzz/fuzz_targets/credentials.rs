//! PEM from memory: a CA, a certificate and a key, apart by lines of `====`. What is not there, or has no byte, is a good
//! one.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use otlp_mtls::error::{CredentialLocation, Origin};
use otlp_mtls::rustls::crypto::{CryptoProvider, aws_lc_rs, ring};
use otlp_mtls::rustls::{Error as TlsError, InconsistentKeys};
use otlp_mtls::{Error, Exporters, Pem, Signal};

const GOOD: [&[u8]; 3] = [
    include_bytes!("../pki/ca.pem"),
    include_bytes!("../pki/client.pem"),
    include_bytes!("../pki/client.key"),
];
const SEPARATOR: &[u8] = b"\n====\n";

static PROVIDERS: LazyLock<[Arc<CryptoProvider>; 2]> =
    LazyLock::new(|| [aws_lc_rs::default_provider().into(), ring::default_provider().into()]);

fuzz_target!(|input: &[u8]| {
    let mut pems = GOOD;
    let mut rest = Some(input);
    for pem in &mut pems {
        let Some(input) = rest else { break };
        let end = input.windows(SEPARATOR.len()).position(|window| window == SEPARATOR);
        let given = &input[..end.unwrap_or(input.len())];
        if !given.is_empty() {
            *pem = given;
        }
        rest = end.map(|end| &input[end + SEPARATOR.len()..]);
    }
    for provider in &*PROVIDERS {
        build(pems, provider);
    }
});

fn build([ca, certificate, key]: [&[u8]; 3], provider: &Arc<CryptoProvider>) {
    let built = Exporters::builder()
        .with_env(|_| None)
        .with_endpoint("https://localhost:4318")
        .with_crypto_provider(Arc::clone(provider))
        .with_ca_certificate(Pem::bytes(ca))
        .with_client_identity(Pem::bytes(certificate), Pem::bytes(key))
        .build();
    let exporters = match built {
        Ok(exporters) => exporters,
        Err(error) => {
            names_the_call(&error);
            shows_no_key(&format!("{error:?}"), &[ca, certificate, key]);
            return;
        }
    };

    let one = exporters.client_config(Signal::Traces).expect("TLS");
    for signal in Signal::ALL {
        let config = exporters.client_config(signal).expect("TLS");
        assert!(Arc::ptr_eq(&config, &one), "{signal} has a connection of its own");
    }
    let identity = one.client_auth_cert_resolver.resolve(&[], &[]).expect("an identity");
    let mismatch = Err(TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch));
    assert_ne!(identity.keys_match(), mismatch);

    exporters.reload().expect("what was good stays so");
    let status = exporters.status();
    let [credentials] = status.credentials.as_slice() else { panic!("{status:?}") };
    assert_eq!(credentials.generation, 0, "nothing has changed");
    assert!(credentials.refusal.is_none());
    assert_eq!(credentials.chain.len(), identity.cert.len());
    assert!(!credentials.trust_anchors.is_empty());
}

fn names_the_call(error: &Error) {
    let origin = match error {
        Error::Credential { origin, place, .. } => {
            assert_eq!(*place, CredentialLocation::Bytes);
            origin
        }
        Error::KeyMismatch(mismatch) => &mismatch.certificate_origin,
        other => panic!("not about credentials: {other:?}"),
    };
    assert!(
        matches!(origin, Origin::Builder("with_ca_certificate" | "with_client_identity")),
        "{origin}"
    );
    assert!(error.to_string().starts_with(&format!("{origin}: ")), "{error}");
}

/// Neither Base64 of the PEM, in any of which a key may be, nor its bytes as `Debug` writes them.
fn shows_no_key(words: &str, pems: &[&[u8]]) {
    let is_given = |bytes: &[u8]| {
        let same = |pem: &&[u8]| pem.windows(bytes.len()).any(|window| window == bytes);
        pems.iter().any(same)
    };
    for run in words.split(|c: char| !c.is_ascii_alphanumeric() && !"+/=".contains(c)) {
        // No label of a PEM section has lower case, and no name of an error digits.
        let has = |kind: fn(&u8) -> bool| run.bytes().any(|byte| kind(&byte));
        let may_be_key = run.len() >= 24 && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit);
        assert!(!may_be_key || !is_given(run.as_bytes()), "{words}");
    }
    for list in words.split(|c: char| !c.is_ascii_digit() && !", ".contains(c)) {
        let bytes: Vec<u8> = list.split(", ").filter_map(|byte| byte.parse().ok()).collect();
        assert!(bytes.len() < 16 || !is_given(&bytes), "{words}");
    }
}
