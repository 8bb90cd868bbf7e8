//! Reads the environment, or the configuration file instead of it.

use std::path::PathBuf;

use super::env::Env;
#[cfg(feature = "config-file")]
use super::file::ConfigFile;
use super::layer::{Layers, Rank};
use super::switches::Switches;
use super::warning::Warning;
use crate::error::Error;
use crate::origin::Sourced;

/// Creates the layers, and the switches from environment or file.
pub(crate) fn load(
    code: Rank,
    env: Env,
    defaults: Rank,
    warnings: &mut Vec<Warning>,
) -> Result<(Layers, Switches), Error> {
    match env.config_file(cfg!(feature = "config-file"))? {
        None => {
            let layers = Layers { code, env, defaults, file: None };
            let switches = Switches::resolve(&layers, warnings)?;
            Ok((layers, switches))
        }
        Some(path) => with_file(code, env, defaults, path, warnings),
    }
}

/// From the environment [only variables that the file refers to][spec] are used.
///
/// [spec]: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#declarative-configuration
#[cfg(feature = "config-file")]
fn with_file(
    code: Rank,
    env: Env,
    defaults: Rank,
    path: Sourced<PathBuf>,
    warnings: &mut Vec<Warning>,
) -> Result<(Layers, Switches), Error> {
    let file = ConfigFile::read(&path, &env, warnings)?;
    let switches = file.switches.below(&code, file.disabled.as_ref());
    #[cfg(feature = "trace")]
    let defaults = match file.names_propagators {
        true => defaults.without_propagator(),
        false => defaults,
    };
    let defaults = file.rank.or(defaults);
    Ok((Layers { code, env: env.without_own(), defaults, file: Some(path.value) }, switches))
}

/// Not reached: it is rejected earlier.
#[cfg(not(feature = "config-file"))]
fn with_file(
    _code: Rank,
    _env: Env,
    _defaults: Rank,
    _path: Sourced<PathBuf>,
    _warnings: &mut Vec<Warning>,
) -> Result<(Layers, Switches), Error> {
    Err(Error::ConfigFileNotCompiled)
}
