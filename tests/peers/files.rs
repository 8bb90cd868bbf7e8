//! Cases with certificate, key and CA files, created by rcgen and OpenSSL as README.md describes.

use std::fs;
use std::path::Path;
use std::process::Command;

use otlp_mtls::Signal;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, date_time_ymd,
};
use serde_json::json;
use tempfile::TempDir;

use crate::export::build;
use crate::input::{Input, Places};
use crate::run::{run as run_cases, skipped};
use crate::table::{Case, Kind, Observed};

pub(crate) fn run() {
    let directory = tempfile::tempdir().unwrap();
    if let Err(why) = write(directory.path()) {
        return skipped(&why);
    }
    let places = places(&directory);
    run_cases(&[Kind::Files], 1, |case| observe(case, &places));
}

fn observe(case: &Case, places: &Places) -> Observed {
    let (exporters, mut observed) = build(&Input::new(case.input(), places));
    let Some(exporters) = exporters else { return observed };
    let secure = exporters.client_config(Signal::Traces).is_some();
    observed.insert("tls".to_owned(), json!(secure));
    if let [credentials] = &*exporters.status().credentials {
        observed.insert("anchors".to_owned(), json!(credentials.trust_anchors.len()));
        observed.insert("chain".to_owned(), json!(credentials.chain.len()));
        let leaf = credentials.chain.first().map(|leaf| leaf.subject.to_string());
        observed.insert("leaf".to_owned(), json!(leaf));
    }
    observed
}

fn places(directory: &TempDir) -> Places {
    let mut places = vec![("$DIR".to_owned(), directory.path().to_str().unwrap().to_owned())];
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        // DER is not text.
        if let Ok(text) = fs::read_to_string(entry.path()) {
            places.push((format!("$PEM({})", entry.file_name().to_str().unwrap()), text));
        }
    }
    places
}

/// Fails without OpenSSL, which converts keys to their traditional formats.
fn write(directory: &Path) -> Result<(), String> {
    let file = |name: &str| directory.join(name);
    let put = |name: &str, content: &dyn AsRef<[u8]>| fs::write(file(name), content).unwrap();
    let convert = |from: &str, to: &str| {
        let mut openssl = Command::new("openssl");
        openssl.args(["pkey", "-traditional", "-in"]).arg(file(from)).arg("-out").arg(file(to));
        let output = openssl.output().map_err(|error| format!("openssl does not run: {error}"))?;
        output.status.success().then_some(()).ok_or_else(|| format!("openssl: {output:?}"))
    };

    let [ca, other] = ["pem-ca", "pem-other-ca"].map(|name| {
        let mut params = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    });
    put("ca.crt", &ca.pem());
    put("ca.der", &ca.der());
    put("pool.crt", &(ca.pem() + &other.pem()));
    put("pool-bad.crt", &(ca.pem() + &block("AAAA")));
    put("notb64.crt", &block("not base64!"));

    let ec = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let certificate = named("pem-client").signed_by(&ec, &ca).unwrap();
    put("ec.crt", &certificate.pem());
    put("ec.der", &certificate.der());
    put("ec.explained.crt", &explained(&certificate.pem()));
    put("ec.pk8.key", &ec.serialize_pem());
    put("ec.pk8.der", &ec.serialize_der());
    convert("ec.pk8.key", "ec.key")?;
    put("both.pem", &(certificate.pem() + &fs::read_to_string(file("ec.key")).unwrap()));

    let rsa = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    let certificate = named("pem-client-rsa").signed_by(&rsa, &ca).unwrap();
    put("rsa.crt", &certificate.pem());
    put("rsa.explained.crt", &explained(&certificate.pem()));
    put("rsa.pk8.key", &rsa.serialize_pem());
    convert("rsa.pk8.key", "rsa.key")?;

    let weak = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = named("pem-weak");
    params.is_ca = IsCa::ExplicitNoCa;
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    put("weak.crt", &params.self_signed(&weak).unwrap().pem());
    put("weak.key", &weak.serialize_pem());
    convert("weak.key", "weak.sec1")?;

    put("foobar", &"foobar");
    put("invalid_cert", &"invalid certificate file.");
    put("empty", &"");
    Ok(())
}

fn named(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

fn block(content: &str) -> String {
    format!("-----BEGIN CERTIFICATE-----\n{content}\n-----END CERTIFICATE-----\n")
}

fn explained(pem: &str) -> String {
    format!("Subject: CN=Foo\nIssuer: CN=Foo\nValidity: from 7/9/2012 to 7/9/2013\n{pem}")
}
