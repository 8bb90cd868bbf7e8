//! Warnings about a configuration.

use std::borrow::Cow;
use std::fmt;

use tracing::Level;

use super::values::Value;
use crate::origin::{Origin, Sourced};
use crate::secrets::{is_quoted, shown};
use crate::stderr;

/// Parses a variable's value. An invalid one is [ignored with a warning][spec].
///
/// [spec]: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
pub(super) fn accept<T: Value>(
    found: Sourced<String>,
    warnings: &mut Vec<Warning>,
) -> Option<Sourced<T>> {
    let Sourced { value: text, origin } = found;
    match T::parse(&text) {
        Some(value) => Some(Sourced { value, origin }),
        None => {
            let expected = T::EXPECTED.into();
            warnings.push(Warning::NotUnderstood { origin, value: text, expected, used: None });
            None
        }
    }
}

/// A problem in a configuration that does not prevent its use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Warning {
    NotUnderstood {
        origin: Origin,
        value: String,
        expected: Cow<'static, str>,
        /// The value used instead; `None` if another setting or none applies.
        used: Option<String>,
    },
    NoneBesideOthers {
        origin: Origin,
        value: String,
    },
    TlsBesidePlaintext {
        endpoint: String,
        origin: Origin,
        ignored: Vec<Origin>,
    },
    /// A token that can be read in transit.
    TokenOverPlaintext {
        endpoint: String,
        origin: Origin,
        token: Origin,
    },
    /// A service without a name, and the setting for it.
    UnknownService {
        setting: &'static str,
    },
    /// A setting that contradicts the scheme of the endpoint.
    SchemeBesideInsecure {
        insecure: Origin,
        endpoint: String,
        origin: Origin,
    },
    /// Variables that have no effect, and the text after "no effect".
    WithoutEffect {
        variables: Vec<&'static str>,
        reason: &'static str,
    },
}

impl Warning {
    /// A value that is not used, and the value used instead.
    pub(super) fn replaced(
        origin: Origin,
        value: String,
        expected: impl Into<Cow<'static, str>>,
        used: impl fmt::Display,
    ) -> Self {
        let (expected, used) = (expected.into(), Some(used.to_string()));
        Self::NotUnderstood { origin, value, expected, used }
    }

    pub(crate) fn tell(&self) {
        tracing::warn!(name: "otlp_mtls.configuration", "{self}");
        stderr::write_unless_heard(Level::WARN, self);
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUnderstood { origin, value, expected, used } => {
                let quoted = if is_quoted(value) { ": remove the quotes" } else { "" };
                write!(f, "{origin}: {} is ignored, expected {expected}{quoted}", shown(value))?;
                used.iter().try_for_each(|used| write!(f, "; using {used}"))
            }
            Self::UnknownService { setting } => write!(
                f,
                "the service has no name and appears as `unknown_service`: set {setting} or \
                 with_service_name()"
            ),
            Self::SchemeBesideInsecure { insecure, endpoint, origin } => write!(
                f,
                "{insecure}: no effect: the scheme of {endpoint} ({origin}) takes precedence"
            ),
            Self::WithoutEffect { variables, reason } => {
                write!(f, "{}: no effect{reason}", variables.join(", "))
            }
            Self::NoneBesideOthers { origin, value } => {
                write!(
                    f,
                    "{origin}: {} has `none` together with other values, and `none` wins",
                    shown(value)
                )
            }
            Self::TokenOverPlaintext { endpoint, origin, token } => write!(
                f,
                "{endpoint} ({origin}) is plaintext, so the token of {token} can be read in \
                 transit: begin the endpoint with https://"
            ),
            Self::TlsBesidePlaintext { endpoint, origin, ignored } => {
                write!(f, "{endpoint} ({origin}) is plaintext, which does not use ")?;
                for (index, origin) in ignored.iter().enumerate() {
                    write!(f, "{}{origin}", if index == 0 { "" } else { ", " })?;
                }
                match endpoint.starts_with("unix:") {
                    true => Ok(()),
                    false => f.write_str(": for TLS, begin the endpoint with https://"),
                }
            }
        }
    }
}
