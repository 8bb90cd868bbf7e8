//! The parts of a certificate that only explain a rejection: its key, algorithms and constraints.

use std::fmt;
use std::net::IpAddr;

use der::asn1::{AnyRef, BitStringRef, UintRef};
use der::{Decode, SliceReader, Tag, TagNumber, Tagged};
use rustls::pki_types::CertificateDer;

use super::x509::{self, EXTENSIONS, NAME_CONSTRAINTS, SUBJECT_ALT_NAME, ToBeSigned, in_short};
use crate::text::printable;

/// The names of key and signature algorithms, and of curves.
const ALGORITHMS: &[(&str, &str)] = &[
    ("1.2.840.113549.1.1.1", "RSA"),
    ("1.2.840.113549.1.1.2", "RSA with MD2"),
    ("1.2.840.113549.1.1.4", "RSA with MD5"),
    ("1.2.840.113549.1.1.5", "RSA with SHA-1"),
    ("1.3.14.3.2.29", "RSA with SHA-1"),
    ("1.2.840.113549.1.1.10", "RSASSA-PSS"),
    ("1.2.840.113549.1.1.11", "RSA with SHA-256"),
    ("1.2.840.113549.1.1.12", "RSA with SHA-384"),
    ("1.2.840.113549.1.1.13", "RSA with SHA-512"),
    ("1.2.840.113549.1.1.14", "RSA with SHA-224"),
    ("1.2.840.10040.4.1", "DSA"),
    ("1.2.840.10040.4.3", "DSA with SHA-1"),
    ("2.16.840.1.101.3.4.3.1", "DSA with SHA-224"),
    ("2.16.840.1.101.3.4.3.2", "DSA with SHA-256"),
    ("2.16.840.1.101.3.4.3.17", "ML-DSA-44"),
    ("2.16.840.1.101.3.4.3.18", "ML-DSA-65"),
    ("2.16.840.1.101.3.4.3.19", "ML-DSA-87"),
    ("1.2.840.10045.2.1", "ECDSA"),
    ("1.2.840.10045.4.1", "ECDSA with SHA-1"),
    ("1.2.840.10045.4.3.1", "ECDSA with SHA-224"),
    ("1.2.840.10045.4.3.2", "ECDSA with SHA-256"),
    ("1.2.840.10045.4.3.3", "ECDSA with SHA-384"),
    ("1.2.840.10045.4.3.4", "ECDSA with SHA-512"),
    ("1.2.156.10197.1.301", "SM2"),
    ("1.2.156.10197.1.501", "SM2 with SM3"),
    ("1.3.101.112", "Ed25519"),
    ("1.3.101.113", "Ed448"),
    ("1.2.840.10045.3.1.1", "P-192"),
    ("1.2.840.10045.3.1.7", "P-256"),
    ("1.3.132.0.10", "secp256k1"),
    ("1.3.132.0.33", "P-224"),
    ("1.3.132.0.34", "P-384"),
    ("1.3.132.0.35", "P-521"),
    ("1.3.36.3.3.2.8.1.1.7", "brainpoolP256r1"),
    ("1.3.36.3.3.2.8.1.1.11", "brainpoolP384r1"),
    ("1.3.36.3.3.2.8.1.1.13", "brainpoolP512r1"),
];

/// Extensions that must not be critical, or that documents other than RFC 5280 define.
const OTHER_EXTENSIONS: &[(&str, &str)] = &[
    ("1.3.6.1.5.5.7.1.1", "authorityInfoAccess"),
    ("1.3.6.1.5.5.7.1.11", "subjectInfoAccess"),
    ("1.3.6.1.5.5.7.1.24", "tlsFeature"),
];

/// The extensions that webpki supports. It rejects a certificate with any other critical extension.
const READ_BY_WEBPKI: &[&str] =
    &["2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.30", "2.5.29.31", "2.5.29.37"];

/// The parts of a certificate that may cause the rejection of a chain.
#[derive(Debug)]
pub(crate) struct CertificateDetails {
    pub(crate) subject: String,
    pub(crate) issuer: String,
    /// The DER contents of both names, which webpki compares byte by byte.
    pub(crate) subject_der: Vec<u8>,
    pub(crate) issuer_der: Vec<u8>,
    pub(crate) version: u32,
    pub(crate) is_ca: bool,
    /// How many CAs may be below it in a chain, if that is limited.
    pub(crate) path_length: Option<u8>,
    /// An `AlgorithmIdentifier`, without its tag and length.
    pub(crate) signature_algorithm: Vec<u8>,
    /// The `AlgorithmIdentifier` of its key, likewise.
    pub(crate) key_algorithm: Vec<u8>,
    /// The size of its key, if it is an RSA key.
    pub(crate) rsa_bits: Option<usize>,
    /// The critical extensions that webpki does not support, by name and object identifier.
    pub(crate) unread_critical: Vec<String>,
    pub(crate) names: Vec<GeneralName>,
    /// The name constraints.
    pub(crate) permitted: Vec<GeneralName>,
    pub(crate) excluded: Vec<GeneralName>,
}

/// A name, or in a name constraint the names that it covers ([RFC 5280, section
/// 4.2.1.6](https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1.6)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GeneralName {
    Dns(String),
    /// An address; in a constraint, followed by its mask.
    Ip(Vec<u8>),
    Uri(String),
    Email(String),
    Directory(String),
    /// Another form, by its tag number.
    Other(u8),
}

impl CertificateDetails {
    /// `None` if it cannot be decoded, which is reported as another failure.
    pub(crate) fn parse(der: &CertificateDer<'_>) -> Option<Self> {
        let certificate = ToBeSigned::parse(der).ok()?;
        let key = certificate.public_key().ok()?;
        let (key_algorithm, key) = public_key(&key)?;
        let unread_critical = certificate
            .extensions()
            .into_iter()
            .filter(|extension| extension.is_critical)
            .map(|extension| dotted(extension.id))
            .filter(|id| !READ_BY_WEBPKI.contains(&id.as_str()))
            .map(|id| {
                match EXTENSIONS.iter().chain(OTHER_EXTENSIONS).find(|(known, _)| *known == id) {
                    Some((_, name)) => format!("{name} ({id})"),
                    None => id,
                }
            })
            .collect();
        let constraints = certificate.list(NAME_CONSTRAINTS);
        Some(Self {
            subject: printable(&certificate.subject()),
            issuer: printable(&certificate.issuer()),
            subject_der: certificate.subject_der().to_vec(),
            issuer_der: certificate.issuer_der().to_vec(),
            version: certificate.version(),
            is_ca: certificate.is_ca(),
            path_length: certificate.path_length(),
            signature_algorithm: certificate.signature_algorithm().to_vec(),
            rsa_bits: rsa_bits(key_algorithm, key),
            key_algorithm: key_algorithm.to_vec(),
            unread_critical,
            names: certificate.list(SUBJECT_ALT_NAME).into_iter().map(general_name).collect(),
            permitted: subtrees(&constraints, 0),
            excluded: subtrees(&constraints, 1),
        })
    }
}

impl GeneralName {
    /// The form of the name.
    pub(crate) fn form(&self) -> &'static str {
        match self {
            Self::Dns(_) => "DNS name",
            Self::Ip(_) => "IP address",
            Self::Uri(_) => "URI",
            Self::Email(_) => "e-mail address",
            Self::Directory(_) => "directory name",
            Self::Other(_) => "name of another form",
        }
    }
}

impl fmt::Display for GeneralName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) | Self::Uri(name) | Self::Email(name) | Self::Directory(name) => {
                f.write_str(&printable(name))
            }
            Self::Ip(bytes) => match address_and_mask(bytes) {
                Some((address, None)) => address.fmt(f),
                Some((address, Some(mask))) => write!(f, "{address}/{mask}"),
                None => f.write_str("(unreadable IP address)"),
            },
            Self::Other(form) => write!(f, "(name of form {form})"),
        }
    }
}

/// The name of an algorithm, given an `AlgorithmIdentifier` without tag and length; for a key, with
/// its curve.
pub(crate) fn algorithm_name(algorithm: &[u8]) -> String {
    let name = (|| {
        let mut reader = SliceReader::new(algorithm).ok()?;
        let name = in_short(AnyRef::decode(&mut reader).ok()?, ALGORITHMS);
        let curve = AnyRef::decode(&mut reader).ok().filter(|it| it.tag() == Tag::ObjectIdentifier);
        Some(match curve {
            Some(curve) => format!("{name} {}", in_short(curve, ALGORITHMS)),
            None => name,
        })
    })();
    name.unwrap_or_else(|| "an unreadable algorithm".to_owned())
}

fn dotted(id: AnyRef<'_>) -> String {
    in_short(id, &[])
}

/// The parts of a `SubjectPublicKeyInfo`.
fn public_key(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let parts: Vec<AnyRef<'_>> = Vec::from_der(der).ok()?;
    let [algorithm, key] = parts.as_slice() else {
        return None;
    };
    let key: BitStringRef<'_> = key.decode_as().ok()?;
    Some((algorithm.value(), key.as_bytes()?))
}

fn rsa_bits(algorithm: &[u8], key: &[u8]) -> Option<usize> {
    if !algorithm_name(algorithm).starts_with("RSA") {
        return None;
    }
    let parts: Vec<AnyRef<'_>> = Vec::from_der(key).ok()?;
    let modulus: UintRef<'_> = parts.first()?.decode_as().ok()?;
    let bytes = modulus.as_bytes();
    let first = bytes.first()?;
    Some(bytes.len() * 8 - first.leading_zeros() as usize)
}

fn subtrees(constraints: &[AnyRef<'_>], which: u32) -> Vec<GeneralName> {
    let named = constraints.iter().filter(|subtrees| choice(**subtrees) == Some(which));
    let mut names = Vec::new();
    for subtrees in named {
        let Ok(mut reader) = SliceReader::new(subtrees.value()) else {
            continue;
        };
        while let Ok(subtree) = AnyRef::decode(&mut reader) {
            let parts: Vec<AnyRef<'_>> = subtree.decode_as().unwrap_or_default();
            names.extend(parts.first().copied().map(general_name));
        }
    }
    names
}

fn choice(value: AnyRef<'_>) -> Option<u32> {
    match value.tag() {
        Tag::ContextSpecific { number: TagNumber(choice), .. } => Some(choice),
        _ => None,
    }
}

fn general_name(name: AnyRef<'_>) -> GeneralName {
    let text = || String::from_utf8_lossy(name.value()).into_owned();
    match choice(name) {
        Some(1) => GeneralName::Email(text()),
        Some(2) => GeneralName::Dns(text()),
        Some(4) => {
            let inner = AnyRef::from_der(name.value()).and_then(x509::name);
            GeneralName::Directory(inner.unwrap_or_else(|_unreadable| String::new()))
        }
        Some(6) => GeneralName::Uri(text()),
        Some(7) => GeneralName::Ip(name.value().to_vec()),
        Some(other) => GeneralName::Other(u8::try_from(other).unwrap_or(u8::MAX)),
        None => GeneralName::Other(u8::MAX),
    }
}

/// An address, and in a constraint the prefix length of its mask.
fn address_and_mask(bytes: &[u8]) -> Option<(IpAddr, Option<u32>)> {
    let (address, mask) = match bytes.len() {
        4 | 16 => (bytes, None),
        8 | 32 => {
            let (address, mask) = bytes.split_at(bytes.len() / 2);
            (address, Some(mask.iter().map(|byte| byte.count_ones()).sum()))
        }
        _ => return None,
    };
    let address = match <[u8; 4]>::try_from(address) {
        Ok(v4) => IpAddr::from(v4),
        Err(_longer) => IpAddr::from(<[u8; 16]>::try_from(address).ok()?),
    };
    Some((address, mask))
}
