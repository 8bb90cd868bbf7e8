//! Errors in a configuration file.

use std::borrow::Cow;
use std::fmt;

use super::variable::HeaderProblem;

/// An error in a configuration file, and its place.
#[derive(Debug)]
#[non_exhaustive]
pub struct ConfigFileError {
    /// The line, counted from 1.
    pub line: usize,
    /// The path of the key: `tracer_provider.processors[0].batch`. Empty for the whole file.
    pub key: String,
    /// What is wrong with it.
    pub problem: ConfigFileProblem,
}

impl fmt::Display for ConfigFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, key, problem } = self;
        write!(f, "line {line}: ")?;
        match key.is_empty() {
            true => write!(f, "{problem}"),
            false => write!(f, "{key}: {problem}"),
        }
    }
}

/// What is wrong with a key of a configuration file, or with its value. Values are not shown,
/// because they may be secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigFileProblem {
    /// The file is not YAML.
    #[error("invalid YAML: {reason}")]
    #[non_exhaustive]
    Syntax {
        /// Why.
        reason: String,
    },
    /// A YAML construct that configuration files must not use.
    #[error("{construct} not supported")]
    #[non_exhaustive]
    Construct {
        /// The construct, with its verb.
        construct: &'static str,
    },
    /// A key is repeated.
    #[error("the key is repeated")]
    Duplicate,
    /// A reference to a variable is malformed.
    #[error(
        "invalid substitution: expected ${{NAME}}, ${{env:NAME}} or ${{NAME:-default}}; a literal `$` is `$$`"
    )]
    Substitution,
    /// A referenced variable is not valid Unicode.
    #[error("the value of {variable} is not valid Unicode")]
    #[non_exhaustive]
    NotUnicode {
        /// The variable.
        variable: String,
    },
    /// The schema has no such key.
    #[error("unknown key, expected {expected}")]
    #[non_exhaustive]
    Unknown {
        /// The possible keys.
        expected: String,
    },
    /// The key is in the schema, but this crate or the Rust SDK does not support it.
    #[error("not supported")]
    NotSupported,
    /// The Rust SDK has no such limit for log records.
    #[error(
        "not supported for log records: set tracer_provider.limits.attribute_count_limit instead"
    )]
    NotSupportedForLogs,
    /// The key needs a feature that is not compiled in.
    #[error("needs the feature `{feature}` of otlp-mtls, which this build does not have")]
    #[non_exhaustive]
    NotCompiled {
        /// The feature to enable.
        feature: &'static str,
    },
    /// A key is missing.
    #[error("the key `{key}` is missing")]
    #[non_exhaustive]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// The value is not one of the possible ones.
    #[error("expected {expected}")]
    #[non_exhaustive]
    Value {
        /// The possible values.
        expected: Cow<'static, str>,
    },
    /// A file has a relative path.
    #[error("expected an absolute path")]
    RelativePath,
    /// A client certificate was given without its key, or a key without its certificate.
    #[error("a client certificate needs its private key, and the reverse: set `{missing}` too")]
    #[non_exhaustive]
    IncompleteIdentity {
        /// The missing key.
        missing: &'static str,
    },
    /// A header cannot be sent.
    #[error("the header {0}")]
    Header(HeaderProblem),
    /// The signal already has an OTLP exporter.
    #[error("this signal already has an OTLP exporter, and only one is supported")]
    SecondExporter,
}
