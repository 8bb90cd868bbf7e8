//! PEM to validated trust anchors and identity, or to a refusal that says what the file is.

use std::fs;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::{IdentitySettings, Pem, PemSource, Sourced, Warning};
use crate::error::{CredentialProblem, Error, KeyMismatch, Place};

/// What a [`Pem`] is expected to hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Certificates,
    PrivateKey,
}

impl Wanted {
    fn words(self) -> &'static str {
        match self {
            Self::Certificates => "certificate",
            Self::PrivateKey => "private key",
        }
    }
}

/// The certificates of one PEM as trust anchors, added to those there already.
pub(super) fn add_trust_anchors(
    pem: &Sourced<Pem>,
    roots: &mut RootCertStore,
) -> Result<(), Error> {
    let content = Content::read(pem)?;
    for (index, certificate) in content.certificates()?.into_iter().enumerate() {
        roots.add(certificate).map_err(|source| {
            let source = Box::new(source);
            content.problem(CredentialProblem::InvalidCertificate { position: index + 1, source })
        })?;
    }
    Ok(())
}

/// The client's certificate chain with its key, matched.
pub(super) fn load_identity(
    settings: &IdentitySettings,
    provider: &CryptoProvider,
    warnings: &mut Vec<Warning>,
) -> Result<Arc<CertifiedKey>, Error> {
    let certificate_pem = Content::read(&settings.certificate)?;
    let chain = certificate_pem.certificates()?;
    let facts = certificate_pem.facts(&chain)?;
    let key_pem = Content::read(&settings.key)?;
    let key = key_pem.signing_key(provider)?;

    // A provider that cannot tell the public key leaves a mismatch to the handshake.
    if let Some(public_key) = key.public_key()
        && facts.first().is_none_or(|leaf| leaf.public_key != public_key.as_ref())
    {
        return Err(Error::KeyMismatch(Box::new(KeyMismatch {
            certificate_origin: settings.certificate.origin.clone(),
            certificate: certificate_pem.place,
            leaf_is_not_first: facts.iter().any(|facts| facts.public_key == public_key.as_ref()),
            subject: facts.into_iter().next().map(|leaf| leaf.subject).unwrap_or_default(),
            key_origin: settings.key.origin.clone(),
            key: key_pem.place,
        })));
    }

    if let Some(leaf) = facts.into_iter().next()
        && leaf.not_after < SystemTime::now()
    {
        warnings.push(Warning::ClientCertificateExpired {
            origin: settings.certificate.origin.clone(),
            subject: leaf.subject,
            not_after: leaf.not_after_words,
        });
    }
    // Not by `from_der`, which parses the leaf with webpki and so refuses X.509 v1 (rustls #2364),
    // which servers take. What it checks, that key and leaf match, was seen to above.
    Ok(Arc::new(CertifiedKey::new(chain, key)))
}

/// What is worth knowing of a certificate.
struct Facts {
    subject: String,
    not_after: SystemTime,
    not_after_words: String,
    /// The `SubjectPublicKeyInfo` in DER.
    public_key: Vec<u8>,
}

/// What was read, with the words for where.
struct Content<'a> {
    pem: &'a Sourced<Pem>,
    place: Place,
    bytes: Vec<u8>,
}

impl<'a> Content<'a> {
    fn read(pem: &'a Sourced<Pem>) -> Result<Self, Error> {
        let place = pem.value.path().map_or(Place::Bytes, |path| Place::File(path.to_owned()));
        let read = match &pem.value.0 {
            PemSource::Bytes(bytes) => Ok(bytes.to_vec()),
            PemSource::File(path) => fs::read(path),
        };
        let mut content = Self { pem, place, bytes: Vec::new() };
        content.bytes = read.map_err(|source| {
            content.problem(match source.kind() {
                io::ErrorKind::NotFound => CredentialProblem::Missing { source },
                io::ErrorKind::IsADirectory => CredentialProblem::Directory,
                _ => CredentialProblem::Unreadable { source },
            })
        })?;
        if content.bytes.trim_ascii().is_empty() {
            return Err(content.problem(CredentialProblem::Empty));
        }
        Ok(content)
    }

    fn problem(&self, problem: CredentialProblem) -> Error {
        Error::Credential { origin: self.pem.origin.clone(), place: self.place.clone(), problem }
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        let sections = self.sections(Wanted::Certificates)?;
        Ok(sections
            .into_iter()
            .filter(|(kind, _)| *kind == SectionKind::Certificate)
            .map(|(_, der)| der.into())
            .collect())
    }

    fn signing_key(&self, provider: &CryptoProvider) -> Result<Arc<dyn SigningKey>, Error> {
        let sections = self.sections(Wanted::PrivateKey)?;
        let key = sections.into_iter().find_map(|(kind, der)| PrivateKeyDer::from_pem(kind, der));
        let Some(key) = key else {
            return Err(self.wrong_section(Wanted::PrivateKey));
        };
        provider
            .key_provider
            .load_private_key(key)
            .map_err(|source| self.problem(CredentialProblem::UnsupportedKey { source }))
    }

    fn facts(&self, chain: &[CertificateDer<'_>]) -> Result<Vec<Facts>, Error> {
        let facts = |(index, der): (usize, &CertificateDer<'_>)| {
            let (_, certificate) = X509Certificate::from_der(der).map_err(|source| {
                let source = Box::new(source);
                self.problem(CredentialProblem::InvalidCertificate { position: index + 1, source })
            })?;
            let not_after = certificate.validity().not_after;
            Ok(Facts {
                subject: certificate.subject().to_string(),
                not_after: system_time(not_after.timestamp()),
                not_after_words: not_after.to_string(),
                public_key: certificate.public_key().raw.to_vec(),
            })
        };
        chain.iter().enumerate().map(facts).collect()
    }

    /// The PEM sections that rustls can use, at least one of them of the wanted kind.
    fn sections(&self, wanted: Wanted) -> Result<Vec<(SectionKind, Vec<u8>)>, Error> {
        let labels = self.labels();
        if labels.is_empty() {
            return Err(self.not_pem(wanted));
        }
        if wanted == Wanted::PrivateKey && self.is_encrypted(&labels) {
            let place = self.place.clone();
            return Err(self.problem(CredentialProblem::EncryptedKey { place }));
        }
        let sections: Vec<(SectionKind, Vec<u8>)> = PemObject::pem_slice_iter(self.text())
            .collect::<Result<_, _>>()
            .map_err(|source: pem::Error| {
                self.problem(match source {
                    pem::Error::MissingSectionEnd { .. } => CredentialProblem::Truncated {
                        label: labels.last().cloned().unwrap_or_default(),
                    },
                    source => CredentialProblem::InvalidPem { source },
                })
            })?;
        let is_wanted = |kind: &SectionKind| match wanted {
            Wanted::Certificates => *kind == SectionKind::Certificate,
            Wanted::PrivateKey => matches!(
                kind,
                SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey
            ),
        };
        if sections.iter().any(|(kind, _)| is_wanted(kind)) {
            Ok(sections)
        } else {
            Err(self.wrong_section(wanted))
        }
    }

    fn wrong_section(&self, wanted: Wanted) -> Error {
        let (wanted, found) = (wanted.words(), self.labels());
        self.problem(CredentialProblem::WrongSection { wanted, found })
    }

    /// Without the byte order mark that some editors put before the first section.
    fn text(&self) -> &[u8] {
        self.bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.bytes)
    }

    /// The labels of all sections, those that rustls has no use for included.
    fn labels(&self) -> Vec<String> {
        self.text()
            .split(|byte| *byte == b'\n' || *byte == b'\r')
            .filter_map(|line| line.trim_ascii().strip_prefix(b"-----BEGIN "))
            .map(|label| label.strip_suffix(b"-----").unwrap_or(label))
            .map(|label| String::from_utf8_lossy(label).into_owned())
            .collect()
    }

    /// PKCS#8 says so in its label, OpenSSL's own format in a header (RFC 1421, section 4.6.1.1).
    fn is_encrypted(&self, labels: &[String]) -> bool {
        labels.iter().any(|label| label == "ENCRYPTED PRIVATE KEY")
            || self.text().split(|byte| *byte == b'\n').any(|line| {
                line.starts_with(b"Proc-Type:") && line.trim_ascii_end().ends_with(b"ENCRYPTED")
            })
    }

    /// What binary formats begin with: a SEQUENCE with a long length, and in PKCS#12 the version
    /// 3 and another SEQUENCE (RFC 7292, section 4).
    fn not_pem(&self, wanted: Wanted) -> Error {
        let place = self.place.clone();
        let body = match self.bytes.as_slice() {
            [0x30, 0x80, body @ ..]
            | [0x30, 0x81, _, body @ ..]
            | [0x30, 0x82, _, _, body @ ..]
            | [0x30, 0x83, _, _, _, body @ ..] => body,
            // Ed25519 keys in PKCS#8 are this short.
            [0x30, length, body @ ..] if usize::from(*length) == body.len() => body,
            _ => return self.problem(CredentialProblem::NotPem),
        };
        let command = match wanted {
            Wanted::Certificates => "x509",
            Wanted::PrivateKey => "pkey",
        };
        self.problem(match body {
            [0x02, 0x01, 0x03, 0x30, ..] => CredentialProblem::Pkcs12 { place },
            _ => CredentialProblem::Der { command, place },
        })
    }
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
