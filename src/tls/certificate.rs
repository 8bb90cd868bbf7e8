//! The facts worth knowing of a certificate.

use std::error::Error as StdError;
use std::fmt;
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::crypto::hash::HashAlgorithm;
use rustls::pki_types::CertificateDer;

use super::time::utc;
use super::x509::{self, ToBeSigned};

const UNREADABLE: &str = "(unreadable date)";

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
    /// From when on it is valid; `None` if the date cannot be read.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialise::maybe_utc"))]
    pub not_before: Option<SystemTime>,
    /// Until when it is valid; `None` if the date cannot be read.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialise::maybe_utc"))]
    pub not_after: Option<SystemTime>,
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

    /// When it is going to be valid, if it is not yet.
    pub(crate) fn not_yet_valid(&self, now: SystemTime) -> Option<SystemTime> {
        self.not_before.filter(|not_before| *not_before > now)
    }
}

/// In one line.
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

/// A distinguished name, which may be empty.
pub(crate) fn named(name: &str) -> &str {
    if name.is_empty() { "(no subject)" } else { name }
}

/// How many are shown one by one: a certificate may have a hundred names, and a file as many CAs.
pub(crate) const FEW: usize = 4;

/// The first few of a list.
pub(crate) fn list(items: &[String]) -> String {
    let shown = items[..items.len().min(FEW)].join(", ");
    match items.len().saturating_sub(FEW) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// A distinguished name in DER, as text.
pub(super) fn distinguished_name(der: &[u8]) -> Option<String> {
    x509::distinguished_name(der).map(|name| printable(&name))
}

/// Text that somebody else wrote, for instance in a certificate: it stays in its line of a log, and
/// reads there as it is.
pub(crate) fn printable(text: &str) -> String {
    const LONGEST: usize = 200;
    let mut shown = String::new();
    for character in text.chars().take(LONGEST) {
        match character.is_control() || rearranges(character) {
            true => shown.extend(character.escape_default()),
            false => shown.push(character),
        }
    }
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

/// Whether a character ends a line, or changes the direction of what follows it (`Bidi_Control` in
/// [Unicode's PropList](https://www.unicode.org/Public/UCD/latest/ucd/PropList.txt)), without being a
/// control character.
fn rearranges(character: char) -> bool {
    matches!(
        character,
        '\u{2028}' | '\u{2029}'
            | '\u{61c}' | '\u{200e}' | '\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
    )
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(der: &[u8], provider: &CryptoProvider) -> Option<String> {
    let mut hashes = provider.cipher_suites.iter().map(|suite| match suite {
        rustls::SupportedCipherSuite::Tls12(suite) => suite.common.hash_provider,
        rustls::SupportedCipherSuite::Tls13(suite) => suite.common.hash_provider,
    });
    let sha256 = hashes.find(|hash| hash.algorithm() == HashAlgorithm::SHA256)?;
    Some(hex(sha256.hash(der).as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Also of a certificate that is refused, names are shown.
    #[test]
    fn a_name_stays_in_its_line() {
        assert_eq!(printable("CN=ü, O=a\nERROR: b\x1b[31m"), "CN=ü, O=a\\nERROR: b\\u{1b}[31m");
        assert_eq!(
            printable("CN=a\u{2028}ERROR: b\u{2029}\u{202e}moc.elpmaxe\u{2066}\u{61c}"),
            r"CN=a\u{2028}ERROR: b\u{2029}\u{202e}moc.elpmaxe\u{2066}\u{61c}"
        );
        let long = printable(&"x".repeat(10_000));
        assert_eq!(long.chars().count(), 201);
        assert!(long.ends_with('…'));
    }
}
