//! Facts about certificates, for messages and status.

use std::error::Error as StdError;
use std::fmt;
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::crypto::hash::HashAlgorithm;
use rustls::pki_types::CertificateDer;

use super::x509::{self, ToBeSigned};
use crate::text::{hex, list, named, printable, utc};

const UNREADABLE: &str = "(unreadable date)";

/// The contents of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
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
    /// The start of its validity; `None` if the date cannot be decoded.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::text::serialize_maybe_utc"))]
    pub not_before: Option<SystemTime>,
    /// The end of its validity; `None` if the date cannot be decoded.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::text::serialize_maybe_utc"))]
    pub not_after: Option<SystemTime>,
    /// Its extended key usages: `serverAuth`, `clientAuth` … Empty if it has none, which allows
    /// every use.
    pub usages: Vec<String>,
    /// The version of X.509: 1, 2 or 3.
    pub version: u32,
    /// Whether it is a certificate authority's.
    pub is_ca: bool,
    /// The `SubjectPublicKeyInfo` in DER.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(super) public_key: Vec<u8>,
}

impl CertificateFacts {
    pub(crate) fn parse(
        der: &CertificateDer<'_>,
        provider: &CryptoProvider,
    ) -> Result<Self, Box<dyn StdError + Send + Sync>> {
        let certificate = ToBeSigned::parse(der)?;
        Ok(Self {
            subject: printable(&certificate.subject()),
            issuer: printable(&certificate.issuer()),
            names: certificate.names().iter().map(|name| printable(name)).collect(),
            fingerprint: sha256(der, provider).unwrap_or_default(),
            not_before: certificate.not_before(),
            not_after: certificate.not_after(),
            usages: certificate.usages(),
            version: certificate.version(),
            is_ca: certificate.is_ca(),
            public_key: certificate.public_key()?,
        })
    }
}

impl CertificateFacts {
    /// When it expired, if it has.
    pub(crate) fn expired(&self, now: SystemTime) -> Option<SystemTime> {
        self.not_after.filter(|not_after| *not_after < now)
    }

    /// When it becomes valid, if it is not valid yet.
    pub(crate) fn not_yet_valid(&self, now: SystemTime) -> Option<SystemTime> {
        self.not_before.filter(|not_before| *not_before > now)
    }
}

/// On one line.
impl fmt::Display for CertificateFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, issuer, names, not_before, not_after, .. } = self;
        f.write_str(named(subject))?;
        if !names.is_empty() {
            write!(f, " for {}", list(names))?;
        }
        let issuer = named(issuer);
        let [from, to] =
            [not_before, not_after].map(|date| date.map_or(UNREADABLE.to_owned(), utc));
        write!(f, ", issued by {issuer}, valid from {from} to {to}")
    }
}

/// A distinguished name in DER, as text.
pub(super) fn distinguished_name(der: &[u8]) -> Option<String> {
    x509::distinguished_name(der).map(|name| printable(&name))
}

fn sha256(der: &[u8], provider: &CryptoProvider) -> Option<String> {
    let mut hashes = provider.cipher_suites.iter().map(|suite| match suite {
        rustls::SupportedCipherSuite::Tls12(suite) => suite.common.hash_provider,
        rustls::SupportedCipherSuite::Tls13(suite) => suite.common.hash_provider,
    });
    let sha256 = hashes.find(|hash| hash.algorithm() == HashAlgorithm::SHA256)?;
    Some(hex(sha256.hash(der).as_ref()))
}
