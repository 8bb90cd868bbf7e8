//! Reads variables from the process or an injected lookup.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::variables::{CONFIG_FILE, EXPERIMENTAL_CONFIG_FILE};
use super::warning::Warning;
use crate::error::Error;
use crate::origin::{Origin, Sourced};

/// The environment: the process's, or its replacement from the builder.
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

    /// The text of a variable.
    pub(crate) fn text(&self, name: &str) -> Result<Option<Sourced<String>>, Error> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        match value.into_string() {
            Ok(value) => Ok(Some(Sourced { value, origin: Origin::Variable(name.to_owned()) })),
            Err(_) => Err(Error::NotUnicode { variable: name.to_owned() }),
        }
    }

    /// The same for a variable whose errors are only warnings.
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

    /// Whether a variable has any value.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// The configuration file, if one is set. It is an error if files are not supported: without it
    /// the configuration would be another than the intended one.
    pub(super) fn config_file(&self, is_compiled: bool) -> Result<Option<Sourced<PathBuf>>, Error> {
        match self.path(CONFIG_FILE) {
            Some(_) if !is_compiled => Err(Error::ConfigFileNotCompiled),
            None if self.is_set(EXPERIMENTAL_CONFIG_FILE) => Err(Error::ExperimentalConfigFile),
            path => Ok(path),
        }
    }

    /// A variable's path, which need not be Unicode.
    pub(super) fn path(&self, name: &str) -> Option<Sourced<PathBuf>> {
        let value = self.value(name)?.into();
        Some(Sourced { value, origin: Origin::Variable(name.to_owned()) })
    }

    /// The raw value.
    pub(super) fn raw(&self, name: &str) -> Option<OsString> {
        (self.0)(name)
    }

    /// The same environment without OpenTelemetry's own variables.
    #[cfg(feature = "config-file")]
    pub(super) fn without_own(self) -> Self {
        Self::new(move |name| (!name.starts_with("OTEL_")).then(|| self.raw(name)).flatten())
    }

    /// The value without surrounding white space. An empty one counts as unset, [as the
    /// specification
    /// requires](https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#parsing-empty-value).
    fn value(&self, name: &str) -> Option<OsString> {
        let value = self.raw(name)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_file_is_read_or_an_error() {
        let found = |variable: &'static str, is_compiled| {
            let env = Env::new(move |name| (name == variable).then(|| "/etc/otel.yaml".into()));
            let found = env.config_file(is_compiled).map(|found| found.map(|found| found.value));
            found.map_err(|error| error.to_string())
        };
        assert_eq!(found(CONFIG_FILE, true), Ok(Some("/etc/otel.yaml".into())));
        assert_eq!(found("OTEL_SERVICE_NAME", false), Ok(None));
        let refused = found(CONFIG_FILE, false).unwrap_err();
        assert!(refused.starts_with("OTEL_CONFIG_FILE: "), "{refused}");
        assert!(refused.contains("the feature `config-file`"), "{refused}");
        for is_compiled in [true, false] {
            let refused = found(EXPERIMENTAL_CONFIG_FILE, is_compiled).unwrap_err();
            assert!(refused.starts_with("OTEL_EXPERIMENTAL_CONFIG_FILE: "), "{refused}");
            assert!(refused.contains("set OTEL_CONFIG_FILE instead"), "{refused}");
        }
    }
}
