//! Errors in certificates and keys, and their locations.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::origin::Origin;

/// A client certificate and a private key that do not belong together.
#[derive(Debug)]
#[non_exhaustive]
pub struct KeyMismatch {
    /// Where the certificate came from.
    pub certificate_origin: Origin,
    /// The certificate's file.
    pub certificate: CredentialLocation,
    /// The certificate's subject.
    pub subject: String,
    /// Where the key came from.
    pub key_origin: Origin,
    /// The key's file.
    pub key: CredentialLocation,
    /// Whether the key belongs to a later certificate of the file: the leaf must come first.
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
pub enum CredentialLocation {
    /// In a file.
    File(PathBuf),
    /// In memory.
    Bytes,
    /// In a [`CredentialSource`](crate::CredentialSource).
    Source,
    /// In the value itself, which should be a path. It is not shown, because it may be a key.
    Value,
}

impl CredentialLocation {
    /// The file as an argument of a shell command, with a suffix appended to its name.
    pub(crate) fn argument(&self, suffix: &str) -> String {
        let path = match self {
            Self::File(path) => format!("{}{suffix}", path.display()),
            _ => format!("FILE{suffix}"),
        };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
        match path.chars().all(is_plain) {
            true => path,
            false => format!("'{}'", path.replace('\'', r"'\''")),
        }
    }
}

/// A location and the setting that names it.
pub(crate) fn located((origin, place): &(Origin, CredentialLocation)) -> String {
    match place {
        CredentialLocation::File(path) => format!("{} ({origin})", path.display()),
        CredentialLocation::Bytes | CredentialLocation::Source | CredentialLocation::Value => {
            origin.to_string()
        }
    }
}

impl fmt::Display for CredentialLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Bytes => f.write_str("the bytes given"),
            Self::Source => f.write_str("the source"),
            Self::Value => f.write_str("the value (not shown)"),
        }
    }
}

/// Why certificates or a private key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialProblem {
    /// The file does not exist.
    #[error("there is no such file{}", .mistake.map(|mistake| format!(": {mistake}")).unwrap_or_default())]
    #[non_exhaustive]
    Missing {
        /// The likely mistake in the path.
        mistake: Option<PathMistake>,
        /// The system's error.
        source: io::Error,
    },
    /// The file is not readable.
    #[error("the file cannot be read{}", .access.as_ref().map(ToString::to_string).unwrap_or_default())]
    #[non_exhaustive]
    Unreadable {
        /// Which user has no access to what, if that is known.
        access: Option<Access>,
        /// The system's error.
        source: io::Error,
    },
    /// The value is not a path, but for instance the text of a certificate or key, or a URL.
    #[error(
        "it is not a path: write the text of a certificate or key to a file and set its path, or \
         pass the text to Pem::bytes() in code"
    )]
    NotAPath,
    /// The value is not the path of a file; it may be the token itself.
    #[error("it is not the path of a file: write the token to a file and set its path")]
    NotATokenPath,
    /// A token has a character that tokens cannot have.
    #[error(
        "character {position} of it is not visible ASCII: the file must contain only the token, \
         without `Bearer`"
    )]
    #[non_exhaustive]
    InvalidToken {
        /// The byte's position in the token, counted from 1.
        position: usize,
    },
    /// The path is that of a directory.
    #[error("this is a directory: set the path of a file in it")]
    Directory,
    /// The path is that of a pipe, a socket or a device.
    #[error(
        "this is not a file, but a pipe, a socket or a device, which cannot be read again \
         later"
    )]
    NotAFile,
    /// It is larger than any file of certificates or keys.
    #[error("it is larger than {limit} bytes")]
    #[non_exhaustive]
    TooLarge {
        /// The largest size that is read.
        limit: u64,
    },
    /// The file is empty.
    #[error("it is empty")]
    Empty,
    /// It is in another format than PEM.
    #[error("it is {format}, but PEM is needed: convert it with `{command}`")]
    #[non_exhaustive]
    OtherFormat {
        /// The format.
        format: Format,
        /// The shell command that converts it.
        command: String,
    },
    /// It has no PEM section at all.
    #[error("it holds no PEM: no line begins with `-----BEGIN `")]
    NotPem,
    /// It has PEM sections, but none of the required kind.
    #[error("it holds no {wanted}, but: {}", .found.join(", "))]
    #[non_exhaustive]
    WrongSection {
        /// The required kind.
        wanted: &'static str,
        /// The labels of its sections.
        found: Vec<String>,
    },
    /// A section has no END line.
    #[error("it is cut off: the section `{label}` in line {line} has no END line")]
    #[non_exhaustive]
    Truncated {
        /// The section's label.
        label: String,
        /// The line of its beginning, counted from 1.
        line: usize,
    },
    /// A part of it cannot be parsed. No part of a file is skipped.
    #[error("line {line}: {problem}")]
    #[non_exhaustive]
    InvalidPem {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        problem: PemProblem,
    },
    /// The private key is encrypted.
    #[error(
        "the private key is encrypted, which is not supported: decrypt it with `{command}` and \
         protect the new file by its mode"
    )]
    #[non_exhaustive]
    EncryptedKey {
        /// The shell command that decrypts it.
        command: String,
    },
    /// The certificate chain is empty.
    #[error("the certificate chain is empty: it needs at least the certificate of the key")]
    EmptyChain,
    /// The list of certificate authorities is empty.
    #[error("the list of certificate authorities is empty")]
    NoTrustAnchors,
    /// A certificate cannot be parsed.
    #[error("certificate {position} in it cannot be parsed")]
    #[non_exhaustive]
    InvalidCertificate {
        /// Its position, counted from 1.
        position: usize,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It has expired, so it does not replace a certificate that has not.
    #[error("the certificate ({subject}) expired at {not_after}")]
    #[non_exhaustive]
    Expired {
        /// The certificate's subject.
        subject: String,
        /// When it expired.
        not_after: String,
    },
    /// It is not yet valid, so it does not replace one that is.
    #[error(
        "the certificate ({subject}) is not valid before {not_before}, by this machine's \
         clock"
    )]
    #[non_exhaustive]
    NotYetValid {
        /// The certificate's subject.
        subject: String,
        /// The start of its validity.
        not_before: String,
    },
    /// The crypto provider cannot use the private key.
    #[error(
        "the private key cannot be used by the crypto provider (it supports RSA from 2048 bits, \
         P-256, P-384 and Ed25519)"
    )]
    #[non_exhaustive]
    UnsupportedKey {
        /// Why.
        source: rustls::Error,
    },
}

/// A likely mistake in a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathMistake {
    /// The value is in quotes.
    #[error("the value is in quotes, which are taken literally: remove them")]
    Quoted,
    /// It begins with `~`.
    #[error("`~` is not expanded: set the absolute path")]
    Tilde,
    /// It is a `file://` URL.
    #[error("a path is needed, not a URL: remove `file://`")]
    Url,
    /// It contains `${…}`, `$(…)` or `%…%`.
    #[error("variables in it are not expanded: set the path itself")]
    Variable,
}

/// The user who was denied access, and the file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Access {
    /// The user ID of this process.
    pub user: u32,
    /// The file, or the directory on the way to it that cannot be searched.
    pub path: PathBuf,
    /// The user ID of its owner.
    pub owner: u32,
    /// The ID of its group.
    pub group: u32,
    /// Its permissions.
    pub mode: u32,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, path, owner, group, mode } = self;
        let path = path.display();
        write!(
            f,
            " by user {user}: {path} belongs to user {owner} and group {group}, and has mode {mode:04o}"
        )
    }
}

/// A format of certificates and keys that is not PEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Format {
    /// Binary DER.
    #[error("DER")]
    Der,
    /// PKCS#7 in DER (`.p7b`).
    #[error("PKCS#7 in DER")]
    Pkcs7,
    /// A PKCS#12 archive (`.p12`, `.pfx`).
    #[error("PKCS#12")]
    Pkcs12,
    /// A keystore of Java's own format (`.jks`).
    #[error("a Java keystore (JKS)")]
    JavaKeyStore,
    /// Base64 of PEM, as in a Kubernetes Secret.
    #[error("base64 of PEM")]
    Base64,
    /// Base64 of DER without BEGIN and END lines.
    #[error("base64 of DER without BEGIN and END lines")]
    Base64Der,
}

/// What is wrong with a part of a PEM file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PemProblem {
    /// The two characters `\n` stand for line ends.
    #[error("line ends are written as the two characters `\\n`: convert it with `{command}`")]
    #[non_exhaustive]
    EscapedLineEnds {
        /// The shell command that converts it.
        command: String,
    },
    /// There are no line ends around BEGIN or END.
    #[error("the line ends are lost: restore them with `{command}`")]
    #[non_exhaustive]
    NoLineEnds {
        /// The shell command that converts it.
        command: String,
    },
    /// The file has NUL bytes, but is not UTF-16 as a whole.
    #[error(
        "there are NUL bytes, as in UTF-16: convert what was written in UTF-16 with `{command}`"
    )]
    #[non_exhaustive]
    Nul {
        /// The shell command that converts it.
        command: String,
    },
    /// A BEGIN or END line is malformed.
    #[error(
        "BEGIN and END need a line of their own, with five dashes on either side and a label in capitals"
    )]
    Boundary,
    /// An END line has no BEGIN line, or one with another label.
    #[error("this END line has no BEGIN line")]
    UnexpectedEnd,
    /// A certificate or key has no BEGIN and END lines.
    #[error("this is base64 without BEGIN and END lines: add them, or remove it")]
    NoBoundary,
    /// A section is base64-encoded once more.
    #[error("this is base64 of PEM: decode that part with `base64 -d`")]
    Base64,
    /// The content of a section is not valid base64.
    #[error("the content of the section `{label}` is not valid base64")]
    InvalidBase64 {
        /// The section's label.
        label: String,
    },
    /// A section is in a format that is not supported.
    #[error("the section `{label}` cannot be used: convert it with `{command}`")]
    #[non_exhaustive]
    OtherFormat {
        /// The section's label.
        label: String,
        /// The shell command that converts it.
        command: String,
    },
    /// OpenSSL's `TRUSTED CERTIFICATE`.
    #[error(
        "the section `{label}` has OpenSSL-specific restrictions, which are not supported: remove \
         them with `{command}`"
    )]
    #[non_exhaustive]
    Trusted {
        /// The section's label.
        label: String,
        /// The shell command that converts the whole file.
        command: String,
    },
    /// OpenSSH's key format.
    #[error(
        "the section `{label}` is in OpenSSH's format: convert an RSA or ECDSA key with \
         `{command}`; an Ed25519 key cannot be converted, make one with \
         `openssl genpkey -algorithm ed25519`"
    )]
    #[non_exhaustive]
    OpenSsh {
        /// The section's label.
        label: String,
        /// The shell command that converts it.
        command: String,
    },
    /// A section that is neither a certificate nor a key.
    #[error("the section `{label}` is neither a certificate nor a private key: remove it")]
    #[non_exhaustive]
    Unusable {
        /// The section's label.
        label: String,
    },
}
