//! Where a value came from, so that every message can name what to change.

use std::fmt;
use std::ops::Deref;
use std::path::PathBuf;

/// Where a setting's value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// An environment variable, by name.
    Variable(String),
    /// A method of the builder, by name.
    Builder(&'static str),
    /// A key of a configuration file.
    File(Box<ConfigFileKey>),
    /// The default: it is not set.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => f.write_str(name),
            Self::Builder(method) => write!(f, "{method}()"),
            Self::File(key) => key.fmt(f),
            Self::Default => f.write_str("the default"),
        }
    }
}

/// A key of a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigFileKey {
    /// The file.
    pub path: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
    /// The key itself, without its parents.
    pub key: String,
}

impl fmt::Display for ConfigFileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, key } = self;
        write!(f, "{key} ({}:{line})", path.display())
    }
}

/// A value and its origin. Comparison ignores the origin.
#[derive(Clone, Debug)]
pub(crate) struct Sourced<T> {
    pub(crate) value: T,
    pub(crate) origin: Origin,
}

impl<T: PartialEq> PartialEq for Sourced<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Sourced<T> {}

impl<T> Deref for Sourced<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Sourced<T> {
    pub(crate) fn builder(method: &'static str, value: T) -> Self {
        Self { value, origin: Origin::Builder(method) }
    }

    pub(crate) fn default(value: T) -> Self {
        Self { value, origin: Origin::Default }
    }

    pub(crate) fn map<U>(self, f: impl FnOnce(T) -> U) -> Sourced<U> {
        Sourced { value: f(self.value), origin: self.origin }
    }
}
