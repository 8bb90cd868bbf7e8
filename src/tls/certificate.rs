//! The facts worth knowing of a certificate.

use std::error::Error as StdError;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rustls::crypto::CryptoProvider;
use rustls::crypto::hash::HashAlgorithm;
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};
use x509_parser::x509::{X509Name, X509Version};

/// What a certificate says of itself.
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
    /// From when on it is valid.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialise::utc"))]
    pub not_before: SystemTime,
    /// Until when it is valid.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialise::utc"))]
    pub not_after: SystemTime,
    /// What it may be used for, by its extended key usage: `serverAuth`, `clientAuth` … Empty if it
    /// does not say, which allows everything.
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
        let (_, certificate) = X509Certificate::from_der(der)?;
        let validity = certificate.validity();
        // An extension that cannot be parsed is the verifier's to judge.
        let names = certificate.subject_alternative_name().ok().flatten();
        let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
        Ok(Self {
            subject: printable(&certificate.subject().to_string()),
            issuer: printable(&certificate.issuer().to_string()),
            names: names.iter().filter_map(name).map(|name| printable(&name)).collect(),
            fingerprint: sha256(der, provider).unwrap_or_default(),
            not_before: system_time(validity.not_before.timestamp()),
            not_after: system_time(validity.not_after.timestamp()),
            usages: usages(&certificate),
            version: match certificate.version() {
                X509Version(number) => number.saturating_add(1),
            },
            is_ca: certificate.is_ca(),
            public_key: certificate.public_key().raw.to_vec(),
        })
    }
}

/// In one line.
impl fmt::Display for CertificateFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, issuer, names, not_before, not_after, .. } = self;
        f.write_str(subject)?;
        if !names.is_empty() {
            write!(f, " for {}", list(names))?;
        }
        let (from, to) = (utc(*not_before), utc(*not_after));
        write!(f, ", issued by {issuer}, valid from {from} to {to}")
    }
}

/// The first few of a list: a certificate may have a hundred names, and a file as many CAs.
pub(crate) fn list(items: &[String]) -> String {
    const SHOWN: usize = 4;
    let shown = items[..items.len().min(SHOWN)].join(", ");
    match items.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// By the names that OpenSSL's configuration has for them.
fn usages(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(usage)) = certificate.extended_key_usage() else {
        return Vec::new();
    };
    let usage = usage.value;
    let known = [
        (usage.any, "anyExtendedKeyUsage"),
        (usage.server_auth, "serverAuth"),
        (usage.client_auth, "clientAuth"),
        (usage.code_signing, "codeSigning"),
        (usage.email_protection, "emailProtection"),
        (usage.time_stamping, "timeStamping"),
        (usage.ocsp_signing, "OCSPSigning"),
    ];
    let known = known.iter().filter(|(is_set, _)| *is_set).map(|(_, name)| (*name).to_owned());
    known.chain(usage.other.iter().map(ToString::to_string)).collect()
}

/// A distinguished name in DER, as text.
pub(crate) fn distinguished_name(der: &[u8]) -> Option<String> {
    let (_, name) = X509Name::from_der(der).ok()?;
    Some(printable(&name.to_string()))
}

/// What anybody may have written into a certificate, so that it stays in its line of a log.
fn printable(text: &str) -> String {
    const LONGEST: usize = 200;
    let mut shown = String::new();
    for character in text.chars().take(LONGEST) {
        match character.is_control() {
            true => shown.extend(character.escape_default()),
            false => shown.push(character),
        }
    }
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

/// An instant as people write it who have to be understood everywhere (RFC 3339, UTC).
pub(crate) fn utc(time: SystemTime) -> String {
    let seconds = match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |secs| -secs),
    };
    let Ok(time) = ASN1Time::from_timestamp(seconds) else {
        return format!("{seconds} s after 1970");
    };
    let time = time.to_datetime();
    let (year, month, day) = time.to_calendar_date();
    let (hour, minute, second) = time.to_hms();
    format!("{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z", u8::from(month))
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
