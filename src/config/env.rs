//! Variables to values, from an injected lookup.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::origin::{Origin, Sourced};
use super::warning::Warning;
use crate::error::Error;

/// The environment: the process's, or whatever the builder was given in its place.
#[derive(Clone)]
pub(crate) struct Env(Arc<Lookup>);

type Lookup = dyn Fn(&str) -> Option<OsString> + Send + Sync;

impl Env {
    pub(crate) fn new(lookup: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static) -> Self {
        Self(Arc::new(lookup))
    }

    pub(crate) fn process() -> Self {
        Self::new(|name| std::env::var_os(name))
    }

    /// A variable's text.
    pub(crate) fn text(&self, name: &str) -> Result<Option<Sourced<String>>, Error> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        match value.into_string() {
            Ok(value) => Ok(Some(Sourced { value, origin: Origin::Variable(name.to_owned()) })),
            Err(_) => Err(Error::NotUnicode { variable: name.to_owned() }),
        }
    }

    /// The same, of a variable that is warned of where it cannot be used.
    pub(super) fn lenient(
        &self,
        name: &str,
        warnings: &mut Vec<Warning>,
    ) -> Option<Sourced<String>> {
        self.text(name).unwrap_or_else(|_not_unicode| {
            let origin = Origin::Variable(name.to_owned());
            warnings.push(Warning::replaced(origin, "…".to_owned(), "Unicode", "the default"));
            None
        })
    }

    /// Whether a variable has a value, of whatever kind.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// A variable's path, which need not be Unicode.
    pub(super) fn path(&self, name: &str) -> Option<Sourced<PathBuf>> {
        let value = self.value(name)?.into();
        Some(Sourced { value, origin: Origin::Variable(name.to_owned()) })
    }

    /// The value without white space around it. What is empty then counts as unset, [as the
    /// specification says](https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#parsing-empty-value).
    fn value(&self, name: &str) -> Option<OsString> {
        let value = (self.0)(name)?;
        let trimmed = match value.to_str() {
            Some(text) => text.trim().into(),
            None => value,
        };
        (!trimmed.is_empty()).then_some(trimmed)
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Env")
    }
}
