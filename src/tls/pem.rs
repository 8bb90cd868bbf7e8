//! PEM to certificates and keys, or to a refusal that says what the file is.

use std::fs;
use std::io;
use std::path::Path;

use rustls::pki_types::pem::{self, PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::{Pem, PemSource, Sourced};
use crate::error::{CredentialProblem, Error, Place};

/// Where a PEM is.
pub(super) fn place(pem: &Sourced<Pem>) -> Place {
    pem.value.path().map_or(Place::Bytes, |path| Place::File(path.to_owned()))
}

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

/// What a file holds, if it is one that can be read again: a pipe would hang.
fn read_again_and_again(path: &Path) -> io::Result<Vec<u8>> {
    let kind = fs::metadata(path)?.file_type();
    if kind.is_file() || kind.is_dir() {
        fs::read(path)
    } else {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// What was read, with the words for where.
pub(super) struct Content<'a> {
    pem: &'a Sourced<Pem>,
    place: Place,
    bytes: Vec<u8>,
}

impl<'a> Content<'a> {
    pub(super) fn read(pem: &'a Sourced<Pem>) -> Result<Self, Error> {
        let place = place(pem);
        let read = match &pem.value.0 {
            PemSource::Bytes(bytes) => Ok(bytes.to_vec()),
            PemSource::File(path) => read_again_and_again(path),
        };
        let mut content = Self { pem, place, bytes: Vec::new() };
        content.bytes = read.map_err(|source| {
            content.problem(match source.kind() {
                io::ErrorKind::NotFound => CredentialProblem::Missing { source },
                io::ErrorKind::IsADirectory => CredentialProblem::Directory,
                io::ErrorKind::Unsupported => CredentialProblem::NotAFile,
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

    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        let sections = self.sections(Wanted::Certificates)?;
        Ok(sections
            .into_iter()
            .filter(|(kind, _)| *kind == SectionKind::Certificate)
            .map(|(_, der)| der.into())
            .collect())
    }

    pub(super) fn private_key(&self) -> Result<PrivateKeyDer<'static>, Error> {
        let sections = self.sections(Wanted::PrivateKey)?;
        let key = sections.into_iter().find_map(|(kind, der)| PrivateKeyDer::from_pem(kind, der));
        key.ok_or_else(|| self.wrong_section(Wanted::PrivateKey))
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
                    // The line may hold the key.
                    pem::Error::IllegalSectionStart { .. } => CredentialProblem::InvalidPem {
                        source: pem::Error::IllegalSectionStart { line: Vec::new() },
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
            .map(|rest| match rest.windows(5).position(|dashes| dashes == b"-----") {
                Some(end) => &rest[..end],
                None => rest,
            })
            .map(|label| {
                // With its newlines lost, a whole key may stand here.
                let is_label = label
                    .iter()
                    .all(|byte| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b' ' | b'#'));
                match is_label {
                    true => String::from_utf8_lossy(label).into_owned(),
                    false => "…".to_owned(),
                }
            })
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
