//! The facts worth knowing of a certificate.

use std::error::Error as StdError;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rustls::crypto::CryptoProvider;
use rustls::crypto::hash::HashAlgorithm;
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// What a certificate says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertificateFacts {
    /// The subject's distinguished name.
    pub subject: String,
    /// The issuer's distinguished name.
    pub issuer: String,
    /// The subject's alternative names: DNS names, IP addresses and URIs (SPIFFE has one).
    pub names: Vec<String>,
    /// SHA-256 of the whole certificate, in hexadecimal digits. Empty if the crypto provider has no
    /// SHA-256.
    pub fingerprint: String,
    /// From when on it is valid.
    pub not_before: SystemTime,
    /// Until when it is valid.
    pub not_after: SystemTime,
    pub(super) not_before_words: String,
    pub(super) not_after_words: String,
    /// The `SubjectPublicKeyInfo` in DER.
    pub(super) public_key: Vec<u8>,
}

impl CertificateFacts {
    pub(super) fn parse(
        der: &CertificateDer<'_>,
        provider: &CryptoProvider,
    ) -> Result<Self, Box<dyn StdError + Send + Sync>> {
        let (_, certificate) = X509Certificate::from_der(der)?;
        let validity = certificate.validity();
        // An extension that cannot be parsed is the verifier's to judge.
        let names = certificate.subject_alternative_name().ok().flatten();
        let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
        Ok(Self {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            names: names.iter().filter_map(name).collect(),
            fingerprint: sha256(der, provider).unwrap_or_default(),
            not_before: system_time(validity.not_before.timestamp()),
            not_after: system_time(validity.not_after.timestamp()),
            not_before_words: validity.not_before.to_string(),
            not_after_words: validity.not_after.to_string(),
            public_key: certificate.public_key().raw.to_vec(),
        })
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) | GeneralName::URI(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(address) => match *address {
            [a, b, c, d] => Some(IpAddr::from([*a, *b, *c, *d]).to_string()),
            address => Some(IpAddr::from(<[u8; 16]>::try_from(address).ok()?).to_string()),
        },
        _ => None,
    }
}

fn sha256(der: &[u8], provider: &CryptoProvider) -> Option<String> {
    let mut hashes = provider.cipher_suites.iter().map(|suite| match suite {
        rustls::SupportedCipherSuite::Tls12(suite) => suite.common.hash_provider,
        rustls::SupportedCipherSuite::Tls13(suite) => suite.common.hash_provider,
    });
    let sha256 = hashes.find(|hash| hash.algorithm() == HashAlgorithm::SHA256)?;
    Some(sha256.hash(der).as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn system_time(timestamp: i64) -> SystemTime {
    let distance = Duration::from_secs(timestamp.unsigned_abs());
    let time = if timestamp < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}
