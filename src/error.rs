//! What can be wrong with a configuration, and what to do about it.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::{Compression, Origin, Protocol};
use crate::failure::Failure;
use crate::signal::Signal;

/// Why exporters could not be built, installed or shut down.
///
/// Every message names the variable or builder call that led to it, the file concerned, and what
/// to do. `Debug` prints the same words, followed by the causes, so that they can be read where
/// `fn main() -> Result<(), Error>` ends.
#[non_exhaustive]
pub enum Error {
    /// A variable's value is not Unicode.
    NotUnicode {
        /// The variable.
        variable: String,
    },

    /// An endpoint cannot be used.
    Endpoint {
        /// Where the endpoint came from.
        origin: Origin,
        /// The endpoint, without user information.
        value: String,
        /// What is wrong with it.
        problem: EndpointProblem,
    },

    /// The protocol needs a feature that is not compiled in.
    ProtocolNotCompiled {
        /// Where the protocol came from.
        origin: Origin,
        /// The protocol.
        protocol: Protocol,
        /// The feature to enable.
        feature: &'static str,
    },

    /// The compression needs a feature that is not compiled in.
    CompressionNotCompiled {
        /// Where the compression came from.
        origin: Origin,
        /// The compression, which is also the feature's name.
        compression: Compression,
    },

    /// A signal is to go to standard output, and the feature for it is not compiled in.
    ConsoleNotCompiled {
        /// Where that was said.
        origin: Origin,
    },

    /// A header cannot be sent.
    Header {
        /// Where the headers came from.
        origin: Origin,
        /// Which header, counted from 1. Its content is not shown, for it may be a secret.
        position: usize,
        /// What is wrong with it.
        problem: HeaderProblem,
    },

    /// A client certificate was given without its key, or a key without its certificate.
    IncompleteIdentity {
        /// What was given.
        given: Origin,
        /// The variable that is missing.
        missing: String,
    },

    /// Certificates or a private key cannot be used.
    Credential {
        /// Where the file or the bytes came from.
        origin: Origin,
        /// The file, or that there is none.
        place: Place,
        /// What is wrong with the content.
        problem: CredentialProblem,
    },

    /// The client's certificate and private key do not belong together.
    KeyMismatch(Box<KeyMismatch>),

    /// A [`CredentialSource`](crate::CredentialSource) has nothing to give.
    CredentialSource {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// A proxy cannot be used: it is not one that is spoken to by plaintext HTTP.
    Proxy {
        /// Where it came from. The URL is not shown, for it may have a password in it.
        origin: Origin,
    },

    /// No certificate authority is there to trust.
    NoPlatformRoots {
        /// The endpoint.
        endpoint: String,
        /// Where the endpoint came from.
        origin: Origin,
        /// The variable that names a CA.
        variable: String,
    },

    /// No cryptography is there to speak TLS with.
    NoCryptoProvider,

    /// rustls refused the configuration.
    Rustls {
        /// The endpoint.
        endpoint: String,
        /// Why.
        source: rustls::Error,
    },

    /// The server's name cannot be verified.
    ServerName {
        /// Where the name came from.
        origin: Origin,
        /// The name.
        name: String,
    },

    /// The thread that does all I/O could not be started.
    StartThread {
        /// Why.
        source: io::Error,
    },

    /// There is a [`Telemetry`](crate::Telemetry) already.
    AlreadyInstalled,

    /// `tracing` has a global subscriber already.
    SubscriberAlreadySet,

    /// One of upstream's exporters could not be built.
    Exporter {
        /// The signal.
        signal: Signal,
        /// Why.
        source: opentelemetry_otlp::ExporterBuildError,
    },

    /// Shutting down was asked for on the thread whose work it would have to wait for.
    ShutdownOnIoThread,

    /// Telemetry was set up in another process, of which this one is a forked child: the threads that
    /// would export did not come along.
    Forked,

    /// Shutting down did not deliver everything.
    Shutdown {
        /// What was lost, a row per signal.
        lost: Vec<Lost>,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUnicode { variable } => {
                write!(f, "{variable}: the value is not valid Unicode")
            }
            Self::Endpoint { origin, value, problem } => {
                write!(f, "{origin}: the endpoint `{value}` {problem}")
            }
            Self::ProtocolNotCompiled { origin, protocol, feature } => write!(
                f,
                "{origin}: the protocol `{protocol}` needs the feature `{feature}` of otlp-mtls, \
                 which this build does not have"
            ),
            Self::CompressionNotCompiled { origin, compression } => write!(
                f,
                "{origin}: the compression `{compression}` needs the feature `{compression}` of \
                 otlp-mtls, which this build does not have"
            ),
            Self::ConsoleNotCompiled { origin } => write!(
                f,
                "{origin}: `console` needs the feature `console` of otlp-mtls, which this build \
                 does not have"
            ),
            Self::Header { origin, position, problem } => {
                write!(f, "{origin}: header {position} {problem}")
            }
            Self::IncompleteIdentity { given, missing } => write!(
                f,
                "{given} is set and {missing} is not: a client certificate needs its private key, \
                 and the reverse (set both, to the same file if it holds both)"
            ),
            Self::Credential { origin, place, problem } => write!(f, "{origin}: {place}: {problem}"),
            Self::KeyMismatch(mismatch) => mismatch.fmt(f),
            Self::CredentialSource { .. } => {
                f.write_str("with_credential_source(): the source gives no credentials")
            }
            Self::Proxy { origin } => write!(
                f,
                "{origin}: only proxies with http:// URLs are supported, which are asked to CONNECT; \
                 name such a one (user and password percent-encoded), or the collector's host in \
                 NO_PROXY"
            ),
            Self::NoPlatformRoots { endpoint, origin, variable } => write!(
                f,
                "{endpoint} ({origin}) needs TLS, and no trusted root certificates were found on \
                 this system: install them (Debian: `ca-certificates`) or name the collector's CA \
                 with {variable}"
            ),
            Self::NoCryptoProvider => f.write_str(
                "no CryptoProvider: enable the feature `aws-lc-rs` or `ring` of otlp-mtls, pass \
                 one to with_crypto_provider(), or install one with \
                 CryptoProvider::install_default()",
            ),
            Self::Rustls { endpoint, .. } => {
                write!(f, "rustls refused the TLS configuration for {endpoint}")
            }
            Self::ServerName { origin, name } => write!(
                f,
                "{origin}: `{name}` is neither a DNS name nor an IP address that a certificate \
                 could hold"
            ),
            Self::StartThread { .. } => f.write_str("the I/O thread could not be started"),
            Self::AlreadyInstalled => f.write_str(
                "telemetry is installed already, and a second set of OpenTelemetry's globals would \
                 cut off the first: keep one `Telemetry`, or shut it down before there is another",
            ),
            Self::SubscriberAlreadySet => f.write_str(
                "`tracing` has a global subscriber already: call init_tracing() in its place, or \
                 init() before it, and add Telemetry::tracing_layer() to it",
            ),
            Self::Exporter { signal, .. } => {
                write!(f, "the exporter for {signal} could not be built")
            }
            Self::ShutdownOnIoThread => f.write_str(
                "shutdown was called on the I/O thread, which cannot wait for itself: it goes on in \
                 the background, and nobody sees its result",
            ),
            Self::Forked => f.write_str(
                "telemetry was set up before this process was forked, and threads do not survive a \
                 fork: call init() in the child",
            ),
            Self::Shutdown { lost } => {
                f.write_str("shutdown lost telemetry:")?;
                lost.iter().try_for_each(|lost| write!(f, "\n  {lost}"))
            }
        }
    }
}

/// What `Display` says already is not a source: the cause of a `problem` is.
impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Endpoint { problem, .. } => problem.source(),
            Self::Credential { problem, .. } => problem.source(),
            Self::CredentialSource { source } => Some(&**source),
            Self::Rustls { source, .. } => Some(source),
            Self::StartThread { source } => Some(source),
            Self::Exporter { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// What one signal lost in a shutdown.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Lost {
    /// The signal.
    pub signal: Signal,
    /// Items that were not acknowledged by the collector.
    pub items: u64,
    /// Those of them that no export was begun of: the SDK's queue was not empty when time ran out. What
    /// it had no room for before is among them. Metrics have no queue.
    pub queued: u64,
    /// Whether the SDK was still at work when the time given to the shutdown was over.
    pub unfinished_after: Option<Duration>,
    /// Why the last export failed.
    pub failure: Option<Failure>,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} not acknowledged", self.items, self.signal.items())?;
        if self.queued > 0 {
            write!(f, ", {} of them never taken from the SDK's queue", self.queued)?;
        }
        if let Some(after) = self.unfinished_after {
            write!(f, ", the SDK not done after {after:?}")?;
        }
        if let Some(failure) = &self.failure {
            write!(f, ": {}", failure.summary())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut cause = self.source();
        while let Some(source) = cause {
            write!(f, "\n  because: {source}")?;
            cause = source.source();
        }
        Ok(())
    }
}

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

/// What is wrong with an endpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointProblem {
    /// It has no scheme, and OTLP/HTTP needs one.
    #[error("has no scheme: begin it with https:// or http://")]
    NoScheme,
    /// It has a scheme that is neither `https` nor `http`.
    #[error("cannot be used: its scheme `{scheme}` is not supported, only https and http are")]
    UnsupportedScheme {
        /// The scheme.
        scheme: String,
    },
    /// It has no host.
    #[error("has no host")]
    NoHost,
    /// Its port is not one that can be dialled.
    #[error("has no valid port: give a number from 1 to 65535, or leave the colon away")]
    InvalidPort,
    /// It has user information, which OTLP has no use for.
    #[error("has user information in it: send credentials as a header instead")]
    UserInfo,
    /// It has a path, which OTLP/gRPC has no place for.
    #[error(
        "cannot be used over gRPC because of the path `{path}`: leave the path away, \
         or use the protocol http/protobuf"
    )]
    PathOverGrpc {
        /// The path.
        path: String,
    },
    /// It is no URL.
    #[error("is not a valid URL")]
    Invalid {
        /// Why.
        source: http::uri::InvalidUri,
    },
}

/// What is wrong with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderProblem {
    /// It has no `=`.
    #[error("is not of the form name=value")]
    NotAPair,
    /// Its name has characters that no header may have.
    #[error("has a name that is not a valid header name")]
    Name,
    /// Its value has characters that no header may have.
    #[error("has a value that is not a valid header value (ASCII without control characters)")]
    Value,
    /// Its name is one that the protocol sets itself.
    #[error("has a name that only the protocol itself may set")]
    Reserved,
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
