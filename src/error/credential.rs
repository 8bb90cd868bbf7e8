//! What can be wrong with certificates and keys, and where they are.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::config::Origin;

/// A client certificate and a private key that do not belong together.
#[derive(Debug)]
#[non_exhaustive]
pub struct KeyMismatch {
    /// Where the certificate came from.
    pub certificate_origin: Origin,
    /// The certificate's file.
    pub certificate: Place,
    /// The certificate's subject.
    pub subject: String,
    /// Where the key came from.
    pub key_origin: Origin,
    /// The key's file.
    pub key: Place,
    /// Whether a later certificate of the file has that key: the leaf must come first.
    pub leaf_is_not_first: bool,
}

impl fmt::Display for KeyMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { certificate_origin, certificate, subject, key_origin, key, .. } = self;
        write!(
            f,
            "{certificate_origin}: the certificate in {certificate} ({subject}) does not belong \
             to the private key in {key} ({key_origin}): their public keys differ"
        )?;
        if self.leaf_is_not_first {
            f.write_str("; a later certificate in the file has that key, and must come first")?;
        }
        Ok(())
    }
}

/// Where certificates or a key are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// In a file.
    File(PathBuf),
    /// In memory.
    Bytes,
    /// Wherever a [`CredentialSource`](crate::CredentialSource) has it.
    Source,
}

/// A place and what names it.
pub(crate) fn located((origin, place): &(Origin, Place)) -> String {
    match place {
        Place::File(path) => format!("{} ({origin})", path.display()),
        Place::Bytes | Place::Source => origin.to_string(),
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Bytes => f.write_str("the bytes given"),
            Self::Source => f.write_str("the source"),
        }
    }
}

/// What certificates or a private key turned out to be, in place of PEM that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialProblem {
    /// The file is not there.
    #[error("there is no such file")]
    Missing {
        /// The system's word.
        source: io::Error,
    },
    /// The file may not be read.
    #[error("the file cannot be read")]
    Unreadable {
        /// The system's word.
        source: io::Error,
    },
    /// The path is a directory's.
    #[error("this is a directory: name the file in it")]
    Directory,
    /// The path is a pipe's, a socket's or a device's.
    #[error("this is no file, but a pipe, a socket or a device, which cannot be read again later")]
    NotAFile,
    /// There is nothing in it.
    #[error("it is empty")]
    Empty,
    /// It is binary DER.
    #[error(
        "it is DER, and PEM is needed: convert it with `openssl {command} -inform DER -in {place} -out {place}.pem`"
    )]
    Der {
        /// `x509` or `pkey`.
        command: &'static str,
        /// The file.
        place: Place,
    },
    /// It is a PKCS#12 archive (`.p12`, `.pfx`).
    #[error(
        "it is PKCS#12, and PEM is needed: take it apart with \
         `openssl pkcs12 -in {place} -clcerts -nokeys -out client.crt` and \
         `openssl pkcs12 -in {place} -nocerts -nodes -out client.key`"
    )]
    Pkcs12 {
        /// The file.
        place: Place,
    },
    /// It has no PEM section at all.
    #[error("it holds no PEM: no line begins with `-----BEGIN `")]
    NotPem,
    /// It has PEM sections, and none of the kind that is needed.
    #[error("it holds no {wanted}, but: {}", .found.join(", "))]
    WrongSection {
        /// What is needed.
        wanted: &'static str,
        /// The labels of the sections it does have.
        found: Vec<String>,
    },
    /// A section has no end.
    #[error("it is cut off: the section `{label}` has no END line")]
    Truncated {
        /// The section's label.
        label: String,
    },
    /// A section's content cannot be decoded.
    #[error("its PEM cannot be decoded")]
    InvalidPem {
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// The private key is encrypted.
    #[error(
        "the private key is encrypted, and nobody is there to type a passphrase: decrypt it with \
         `openssl pkey -in {place} -out {place}.plain` and protect the file by its mode"
    )]
    EncryptedKey {
        /// The file.
        place: Place,
    },
    /// A certificate cannot be parsed.
    #[error("certificate {position} in it cannot be parsed")]
    InvalidCertificate {
        /// Which one, counted from 1.
        position: usize,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It has expired, and what is in use has not: it is no replacement.
    #[error("the certificate ({subject}) expired at {not_after}")]
    Expired {
        /// The certificate's subject.
        subject: String,
        /// When it expired.
        not_after: String,
    },
    /// It is not yet valid: it is no replacement for now.
    #[error("the certificate ({subject}) is valid from {not_before} on, by this machine's clock")]
    NotYetValid {
        /// The certificate's subject.
        subject: String,
        /// From when on it is valid.
        not_before: String,
    },
    /// The crypto provider cannot use the private key.
    #[error(
        "the private key cannot be used by the crypto provider (it takes RSA of 2048 bits and more, P-256, P-384 and Ed25519)"
    )]
    UnsupportedKey {
        /// Why.
        source: rustls::Error,
    },
}
