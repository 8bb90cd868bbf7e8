//! What can be wrong in a configuration file.

use std::borrow::Cow;
use std::fmt;

use super::variable::HeaderProblem;

/// What is wrong in a configuration file, and where.
#[derive(Debug)]
#[non_exhaustive]
pub struct ConfigFileError {
    /// The line, counted from 1.
    pub line: usize,
    /// The key, with those that lead to it: `tracer_provider.processors[0].batch`. Empty for the whole file.
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

/// What is wrong with a key of a configuration file, or with its value. No value is shown, for it may be a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigFileProblem {
    /// The file is not YAML.
    #[error("invalid YAML: {reason}")]
    Syntax {
        /// Why.
        reason: String,
    },
    /// A part of YAML that a configuration has no use for.
    #[error("{construct} not supported")]
    Construct {
        /// Which, with its verb.
        construct: &'static str,
    },
    /// A key is there twice.
    #[error("the key is there twice")]
    Duplicate,
    /// What should be a reference to a variable is none.
    #[error(
        "invalid substitution: expected ${{NAME}}, ${{env:NAME}} or ${{NAME:-default}}; a literal `$` is `$$`"
    )]
    Substitution,
    /// A variable that is referred to is not Unicode.
    #[error("the value of {variable} is not valid Unicode")]
    NotUnicode {
        /// The variable.
        variable: String,
    },
    /// The schema has no such key.
    #[error("unknown key, expected {expected}")]
    Unknown {
        /// The keys that may be there.
        expected: String,
    },
    /// The schema has it, and this crate or the SDK for Rust cannot do it.
    #[error("not supported")]
    NotSupported,
    /// The SDK for Rust has no such limit for log records.
    #[error(
        "not supported for log records: set tracer_provider.limits.attribute_count_limit instead"
    )]
    NotSupportedForLogs,
    /// It needs a feature that is not compiled in.
    #[error("needs the feature `{feature}` of otlp-mtls, which this build does not have")]
    NotCompiled {
        /// The feature to enable.
        feature: &'static str,
    },
    /// A key is missing.
    #[error("the key `{key}` is missing")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// The value is not one of those that are possible.
    #[error("expected {expected}")]
    Value {
        /// What is possible.
        expected: Cow<'static, str>,
    },
    /// A file has a relative path.
    #[error("expected an absolute path")]
    RelativePath,
    /// A client certificate was given without its key, or a key without its certificate.
    #[error("a client certificate needs its private key, and the reverse: set `{missing}` too")]
    IncompleteIdentity {
        /// The key of the file that is missing.
        missing: &'static str,
    },
    /// A header cannot be sent.
    #[error("the header {0}")]
    Header(HeaderProblem),
    /// A signal has an OTLP exporter already.
    #[error("there is an OTLP exporter of this signal already, and only one is supported")]
    SecondExporter,
}
