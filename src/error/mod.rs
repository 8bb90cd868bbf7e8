//! Errors in the configuration, and what to do about them.

mod config_file;
mod credential;
mod variable;

use std::error::Error as _;
use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::protocol::{Compression, Protocol};
use crate::signal::Signal;
use crate::text::printable;

pub use crate::origin::{ConfigFileKey, Origin};
pub use config_file::{ConfigFileError, ConfigFileProblem};
pub(crate) use credential::located;
pub use credential::{
    Access, CredentialLocation, CredentialProblem, Format, KeyMismatch, PathMistake, PemProblem,
};
pub use variable::{EndpointProblem, HeaderProblem, SpiffeIdProblem};

/// Why exporters could not be built, installed or shut down.
///
/// Every message names the variable or builder call, the file concerned, and what to do. `Debug`
/// prints the same text followed by the causes, so that `fn main() -> Result<(), Error>` ends with
/// a readable message.
#[non_exhaustive]
pub enum Error {
    /// A variable's value is not valid Unicode.
    #[non_exhaustive]
    NotUnicode {
        /// The variable.
        variable: String,
    },

    /// `OTEL_CONFIG_FILE` is set, and the feature `config-file` is not compiled in.
    ConfigFileNotCompiled,

    /// The configuration file cannot be read.
    #[non_exhaustive]
    ReadConfigFile {
        /// The file.
        place: CredentialLocation,
        /// Why.
        source: io::Error,
    },

    /// The configuration file's name does not end in `.yaml` or `.yml`, as it must.
    #[non_exhaustive]
    ConfigFileExtension {
        /// The file.
        place: CredentialLocation,
    },

    /// The configuration file has errors.
    #[non_exhaustive]
    ConfigFile {
        /// The file.
        path: PathBuf,
        /// The errors, ordered by line.
        errors: Vec<ConfigFileError>,
    },

    /// `OTEL_EXPERIMENTAL_CONFIG_FILE` is set, but is not supported.
    ExperimentalConfigFile,

    /// An endpoint cannot be used.
    #[non_exhaustive]
    Endpoint {
        /// Where the endpoint came from.
        origin: Origin,
        /// The endpoint, without user information.
        value: String,
        /// What is wrong with it.
        problem: EndpointProblem,
    },

    /// The authority is not a host with an optional port.
    #[non_exhaustive]
    Authority {
        /// Where it came from.
        origin: Origin,
        /// The authority, without user information.
        authority: String,
    },

    /// The protocol needs a feature that is not compiled in.
    #[non_exhaustive]
    ProtocolNotCompiled {
        /// Where the protocol came from.
        origin: Origin,
        /// The protocol.
        protocol: Protocol,
        /// The feature to enable.
        feature: &'static str,
    },

    /// The compression needs a feature that is not compiled in.
    #[non_exhaustive]
    CompressionNotCompiled {
        /// Where the compression came from.
        origin: Origin,
        /// The compression, which is also the feature's name.
        compression: Compression,
    },

    /// A signal goes to standard output, but the feature for that is not compiled in.
    #[non_exhaustive]
    ConsoleNotCompiled {
        /// Where that was set.
        origin: Origin,
    },

    /// A value is in quotes, which are taken literally.
    #[non_exhaustive]
    Quoted {
        /// Where the value came from.
        origin: Origin,
    },

    /// A header cannot be sent.
    #[non_exhaustive]
    Header {
        /// Where the headers came from.
        origin: Origin,
        /// The header's position, counted from 1. Its content is not shown, because it may be
        /// secret.
        position: usize,
        /// What is wrong with it.
        problem: HeaderProblem,
    },

    /// There is an `authorization` header in addition to
    /// [`with_bearer_token_file`](crate::ExportersBuilder::with_bearer_token_file).
    #[non_exhaustive]
    TwoAuthorizations {
        /// Where the header came from.
        header: Origin,
        /// Where the token's file came from.
        token: Origin,
    },

    /// A client certificate was given without its key, or a key without its certificate.
    #[non_exhaustive]
    IncompleteIdentity {
        /// What was given.
        given: Origin,
        /// The variable that is missing.
        missing: String,
        /// Whether the given file contains the missing half too.
        is_beside: bool,
    },

    /// Certificates or a private key cannot be used.
    #[non_exhaustive]
    Credential {
        /// Where the file or the bytes came from.
        origin: Origin,
        /// Where they are.
        place: CredentialLocation,
        /// What is wrong with the content.
        problem: CredentialProblem,
    },

    /// The client's certificate and private key do not belong together.
    KeyMismatch(Box<KeyMismatch>),

    /// A [`CredentialSource`](crate::CredentialSource) failed.
    #[non_exhaustive]
    CredentialSource {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// A proxy cannot be used: only `http://` and `https://` proxies are supported.
    #[non_exhaustive]
    Proxy {
        /// Where it came from. The URL is not shown, because it may contain a password.
        origin: Origin,
    },

    /// The platform's certificate authorities cannot be read: `SSL_CERT_FILE` or `SSL_CERT_DIR`
    /// names nothing usable.
    #[non_exhaustive]
    PlatformRoots {
        /// Which of the two variables is set.
        variable: &'static str,
        /// The file or directory that it names.
        place: CredentialLocation,
        /// The setting that names a CA to trust in their place.
        ca: String,
        /// Why it cannot be read; `None` if it contains no certificate.
        source: Option<io::Error>,
    },

    /// No certificate authorities are configured, and the platform has none.
    #[non_exhaustive]
    NoPlatformRoots {
        /// The endpoint.
        endpoint: String,
        /// Where the endpoint came from.
        origin: Origin,
        /// The variable that names a CA.
        variable: String,
    },

    /// No crypto provider is available for TLS.
    NoCryptoProvider,

    /// rustls rejected the configuration.
    #[non_exhaustive]
    Rustls {
        /// The endpoint.
        endpoint: String,
        /// Why.
        source: rustls::Error,
    },

    /// The server's name cannot be verified.
    #[non_exhaustive]
    ServerName {
        /// Where the name came from.
        origin: Origin,
        /// The name.
        name: String,
    },

    /// This SPIFFE ID cannot be required of the server.
    #[non_exhaustive]
    SpiffeId {
        /// What requires it.
        origin: Origin,
        /// The ID.
        id: String,
        /// What is wrong.
        problem: SpiffeIdProblem,
    },

    /// The signal is not exported by OTLP, so it has no exporter.
    #[non_exhaustive]
    NotExported {
        /// The signal.
        signal: Signal,
        /// Where that was set.
        origin: Origin,
    },

    /// The I/O thread could not be started.
    #[non_exhaustive]
    StartThread {
        /// Why.
        source: io::Error,
    },

    /// The crate `opentelemetry-otlp` could not build an exporter from a signal's settings.
    #[non_exhaustive]
    Upstream {
        /// The signal.
        signal: Signal,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// A [`Telemetry`](crate::Telemetry) already exists.
    AlreadyInstalled,

    /// `tracing` already has a global subscriber.
    SubscriberAlreadySet,

    /// A shutdown or flush was called on the I/O thread, which it would have to wait for.
    OnIoThread,

    /// Telemetry was set up before this process was forked: the exporting threads exist only in the
    /// parent.
    Forked,

    /// A shutdown or flush did not deliver everything: [`Error::losses`] has the details per
    /// signal.
    #[non_exhaustive]
    Undelivered {
        /// The losses, one line per signal.
        loss: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUnicode { variable } => {
                write!(f, "{variable}: the value is not valid Unicode")
            }
            Self::ConfigFileNotCompiled => f.write_str(
                "OTEL_CONFIG_FILE: a configuration file needs the feature `config-file` of otlp-mtls, \
                 which this build does not have",
            ),
            Self::ReadConfigFile { place, .. } => {
                write!(f, "OTEL_CONFIG_FILE: {place}: the file cannot be read")
            }
            Self::ConfigFileExtension { place } => write!(
                f,
                "OTEL_CONFIG_FILE: {place}: the name of a configuration file ends in .yaml or .yml"
            ),
            Self::ConfigFile { path, errors } => {
                write!(f, "OTEL_CONFIG_FILE: {}:", path.display())?;
                errors.iter().try_for_each(|error| write!(f, "\n  {error}"))
            }
            Self::ExperimentalConfigFile => f.write_str(
                "OTEL_EXPERIMENTAL_CONFIG_FILE: this variable is deprecated and not read: set \
                 OTEL_CONFIG_FILE instead (feature `config-file`)",
            ),
            Self::Endpoint { origin, value, problem } => {
                write!(f, "{origin}: the endpoint `{value}` {problem}")
            }
            Self::Authority { origin, authority } => write!(
                f,
                "{origin}: `{authority}` cannot be an authority: give a host, or host:port"
            ),
            Self::ProtocolNotCompiled { origin, protocol, feature } => {
                write!(
                    f,
                    "{origin}: the protocol `{protocol}` needs the feature `{feature}` of \
                     otlp-mtls, which this build does not have"
                )?;
                let compiled = Protocol::ALL.iter().filter(|protocol| protocol.feature().1);
                let compiled: Vec<_> = compiled.map(|protocol| protocol.as_str()).collect();
                match compiled.as_slice() {
                    [] => Ok(()),
                    compiled => write!(
                        f,
                        ": enable it, or set OTEL_EXPORTER_OTLP_PROTOCOL or with_protocol() to {}",
                        compiled.join(" or ")
                    ),
                }
            }
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
            Self::Quoted { origin } => {
                write!(f, "{origin}: the value is in quotes, which are taken literally: remove them")
            }
            Self::Header { origin, position, problem } => {
                write!(f, "{origin}: header {position} {problem}")
            }
            Self::TwoAuthorizations { header, token } => write!(
                f,
                "{header}: an `authorization` header is set in addition to {token}, which sets it \
                 too: remove one of the two"
            ),
            Self::IncompleteIdentity { given, missing, is_beside: true } => write!(
                f,
                "{given} is set and {missing} is not: the file holds both a certificate and a private \
                 key, so set {missing} to the same file"
            ),
            Self::IncompleteIdentity { given, missing, is_beside: false } => write!(
                f,
                "{given} is set and {missing} is not: a client certificate needs its private key, \
                 and the reverse"
            ),
            Self::Credential { origin, place, problem } => write!(f, "{origin}: {place}: {problem}"),
            Self::KeyMismatch(mismatch) => mismatch.fmt(f),
            Self::CredentialSource { .. } => {
                f.write_str("with_credential_source(): the source returned no credentials")
            }
            Self::Proxy { origin } => write!(
                f,
                "{origin}: only http:// and https:// proxies (CONNECT) are supported: set such a \
                 URL (user and password percent-encoded), or add the collector's host to NO_PROXY"
            ),
            Self::PlatformRoots { variable, place, ca, .. } => write!(
                f,
"{variable}: {place}: there are no root certificates, and this variable replaces \
                 the system's: correct or unset it, or trust only a CA set with {ca}"
            ),
            Self::NoPlatformRoots { endpoint, origin, variable } => write!(
                f,
                "{endpoint} ({origin}) needs TLS, and no trusted root certificates were found on \
                 this system: install them (Debian: `ca-certificates`) or set the collector's CA \
                 with {variable}"
            ),
            Self::NoCryptoProvider => f.write_str(
                "no CryptoProvider: enable the feature `aws-lc-rs` or `ring` of otlp-mtls, pass \
                 one to with_crypto_provider(), or install one with \
                 CryptoProvider::install_default()",
            ),
            Self::Rustls { endpoint, .. } => {
                write!(f, "rustls rejected the TLS configuration for {endpoint}")
            }
            Self::ServerName { origin, name } => write!(
                f,
                "{origin}: `{name}` is neither a DNS name nor an IP address that a certificate \
                 could hold"
            ),
            Self::SpiffeId { origin, id, problem } => {
                write!(f, "{origin}: `{}` {problem}", printable(id))
            }
            Self::NotExported { signal, origin } => {
                write!(f, "{origin}: {signal} are not exported by OTLP")
            }
            Self::StartThread { .. } => f.write_str("the I/O thread could not be started"),
            Self::Upstream { signal, .. } => {
                write!(f, "opentelemetry-otlp could not build an exporter of {signal}")
            }
            Self::AlreadyInstalled => f.write_str(
                "telemetry is already installed, and a second set of OpenTelemetry's globals would \
                 cut off the first: keep one `Telemetry`, or shut it down before you create \
                 another",
            ),
            Self::SubscriberAlreadySet => f.write_str(
                "`tracing` already has a global subscriber: call init_tracing() instead, or call \
                 init() first and add Telemetry::tracing_layer() to the subscriber",
            ),
            Self::OnIoThread => f.write_str(
                "it was called on the I/O thread, which cannot wait for itself: it continues in \
                 the background, and its result is lost",
            ),
            Self::Forked => f.write_str(
                "telemetry was set up before this process was forked, and threads do not survive a \
                 fork: call init() in the child",
            ),
            Self::Undelivered { loss } => loss.fmt(f),
        }
    }
}

/// `Display` already includes a `problem`, so the source is the problem's own cause.
impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Endpoint { problem, .. } => problem.source(),
            Self::Credential { problem, .. } => problem.source(),
            Self::CredentialSource { source } | Self::Upstream { source, .. } => Some(&**source),
            Self::PlatformRoots { source, .. } => source.as_ref().map(|source| source as _),
            Self::Rustls { source, .. } => Some(source),
            Self::StartThread { source } | Self::ReadConfigFile { source, .. } => Some(source),
            _ => None,
        }
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
