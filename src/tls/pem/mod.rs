//! Parses certificates and keys from PEM, or says what the file is instead.
//!
//! No part of a file is skipped silently: a section that is neither used, nor of a kind known to
//! accompany those, is an error. Text between sections is allowed.

mod access;
mod format;
mod scan;

use std::io;
use std::mem;
use std::path::Path;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use self::scan::Section;
use crate::config::{Pem, Sourced};
use crate::error::{CredentialLocation, CredentialProblem, Error, PathMistake, PemProblem};
use crate::secrets;

/// The expected content of a [`Pem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    TrustAnchors,
    Chain,
    PrivateKey,
}

impl Wanted {
    fn words(self) -> &'static str {
        match self {
            Self::TrustAnchors | Self::Chain => "certificate",
            Self::PrivateKey => "private key",
        }
    }
}

/// The requested content, and the labels of other sections in the same file.
#[derive(Debug)]
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) beside: Vec<String>,
}

/// The content of a section, by its label.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Certificate,
    PrivateKey,
    /// Parameters, which certificates and keys contain as well, and CRLs, which are not used.
    Other,
}

impl Holds {
    fn of(label: &str) -> Option<Self> {
        match label {
            "CERTIFICATE" | "X509 CERTIFICATE" => Some(Self::Certificate),
            "EC PARAMETERS" | "DH PARAMETERS" | "X9.42 DH PARAMETERS" | "X509 CRL" => {
                Some(Self::Other)
            }
            _ if label.ends_with("PRIVATE KEY") => Some(Self::PrivateKey),
            _ => None,
        }
    }
}

/// The certificates in a file or in bytes, at least one.
pub(super) fn certificates(
    pem: &Sourced<Pem>,
    wanted: Wanted,
) -> Result<Found<Vec<CertificateDer<'static>>>, Error> {
    let read = || {
        let (certificates, others): (Vec<_>, Vec<_>) = sections(&pem.value, wanted)?
            .into_iter()
            .partition(|section| Holds::of(&section.label) == Some(Holds::Certificate));
        let value = certificates.into_iter().map(|mut section| mem::take(&mut *section.der).into());
        Ok(Found { value: value.collect(), beside: labels(&others) })
    };
    read().map_err(|problem| located(pem, problem))
}

/// The first private key in a file or in bytes. Others may follow it, encrypted ones too.
pub(super) fn private_key(
    pem: &Sourced<Pem>,
) -> Result<Found<Zeroizing<PrivateKeyDer<'static>>>, Error> {
    let read = || {
        let mut sections = sections(&pem.value, Wanted::PrivateKey)?;
        let position = sections
            .iter()
            .position(|section| Holds::of(&section.label) == Some(Holds::PrivateKey))
            .ok_or_else(|| wrong_section(Wanted::PrivateKey, &sections))?;
        let section = sections.remove(position);
        let value = Zeroizing::new(key(section, &pem.value.place())?);
        Ok(Found { value, beside: labels(&sections) })
    };
    read().map_err(|problem| located(pem, problem))
}

fn located(pem: &Sourced<Pem>, problem: CredentialProblem) -> Error {
    Error::Credential { origin: pem.origin.clone(), place: pem.value.place(), problem }
}

/// All sections: each of a known kind, and at least one of the wanted kind.
fn sections(pem: &Pem, wanted: Wanted) -> Result<Vec<Section>, CredentialProblem> {
    let place = pem.place();
    if place == CredentialLocation::Value {
        return Err(CredentialProblem::NotAPath);
    }
    let content = pem.read().map_err(|source| unreadable(pem.path(), Pem::LARGEST, source))?;
    if content.trim_ascii().is_empty() {
        return Err(CredentialProblem::Empty);
    }
    let decoded = scan::from_utf16(&content);
    let text: &[u8] = decoded.as_ref().map_or(content.as_slice(), |text| text.as_slice());
    if !scan::contains(text, secrets::BEGIN.as_bytes())
        && let Some(problem) = format::other_format(text, wanted, &place)
    {
        return Err(problem);
    }
    let sections = match scan::is_text(text) {
        true => scan::scan(text, wanted, &place)?,
        false => Vec::new(),
    };
    if sections.is_empty() {
        return Err(CredentialProblem::NotPem);
    }

    let convertible = sections.iter().find_map(|section| format::convertible(section, &place));
    if let Some(problem) = convertible {
        return Err(problem);
    }
    let is_wanted = match wanted {
        Wanted::TrustAnchors | Wanted::Chain => Holds::Certificate,
        Wanted::PrivateKey => Holds::PrivateKey,
    };
    if !sections.iter().any(|section| Holds::of(&section.label) == Some(is_wanted)) {
        return Err(wrong_section(wanted, &sections));
    }
    match sections.iter().find(|section| Holds::of(&section.label).is_none()) {
        Some(Section { label, line, .. }) => Err(CredentialProblem::InvalidPem {
            line: *line,
            problem: PemProblem::Unusable { label: label.clone() },
        }),
        None => Ok(sections),
    }
}

/// Decodes a key by its content: the section's label may name another format.
fn key(
    mut section: Section,
    place: &CredentialLocation,
) -> Result<PrivateKeyDer<'static>, CredentialProblem> {
    if section.label == "OPENSSH PRIVATE KEY" {
        return Err(format::openssh(&section, place));
    }
    if section.is_encrypted || section.label == "ENCRYPTED PRIVATE KEY" {
        return Err(CredentialProblem::EncryptedKey {
            command: format!(
                "openssl pkey -in {} -out {}",
                place.argument(""),
                place.argument(".pem")
            ),
        });
    }
    PrivateKeyDer::try_from(mem::take(&mut *section.der)).map_err(|unknown| {
        CredentialProblem::UnsupportedKey { source: rustls::Error::General(unknown.to_owned()) }
    })
}

fn wrong_section(wanted: Wanted, sections: &[Section]) -> CredentialProblem {
    CredentialProblem::WrongSection { wanted: wanted.words(), found: labels(sections) }
}

fn labels(sections: &[Section]) -> Vec<String> {
    sections.iter().map(|section| section.label.clone()).collect()
}

/// Why a file of at most `limit` bytes cannot be read.
pub(super) fn unreadable(path: Option<&Path>, limit: u64, source: io::Error) -> CredentialProblem {
    match source.kind() {
        io::ErrorKind::NotFound => {
            CredentialProblem::Missing { mistake: path.and_then(mistake), source }
        }
        io::ErrorKind::IsADirectory => CredentialProblem::Directory,
        io::ErrorKind::Unsupported => CredentialProblem::NotAFile,
        io::ErrorKind::FileTooLarge => CredentialProblem::TooLarge { limit },
        io::ErrorKind::PermissionDenied => {
            CredentialProblem::Unreadable { access: path.and_then(access::denied), source }
        }
        _ => CredentialProblem::Unreadable { access: None, source },
    }
}

/// Whether a path needs interpretation by a shell or a URL client, which it does not get.
fn mistake(path: &Path) -> Option<PathMistake> {
    let path = path.to_str()?;
    if secrets::is_quoted(path) {
        Some(PathMistake::Quoted)
    } else if path.starts_with('~') {
        Some(PathMistake::Tilde)
    } else if path.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("file:")) {
        Some(PathMistake::Url)
    } else if path.contains('$') || path.matches('%').count() > 1 {
        Some(PathMistake::Variable)
    } else {
        None
    }
}
