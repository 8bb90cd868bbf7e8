//! The [declarative configuration][spec], which `OTEL_CONFIG_FILE` names: one file instead of all
//! other variables.
//!
//! It becomes a layer like the others, in which every value knows its line. Unsupported keys are
//! errors.
//!
//! [spec]: https://opentelemetry.io/docs/specs/otel/configuration/#declarative-configuration

mod otlp;
mod providers;
mod resource;
#[cfg(feature = "trace")]
mod sampler;
mod scalar;
mod substitution;
mod table;
#[cfg(test)]
mod tests;
mod yaml;

use std::io;
use std::path::{Path, PathBuf};

use tracing::level_filters::LevelFilter;

use self::providers::FileProviders;
use self::table::{Context, Table};
use self::yaml::{Content, Node};
use super::env::Env;
use super::layer::Rank;
use super::pem::{Pem, read_file};
use super::switches::{Propagator, Switches};
use super::warning::Warning;
use crate::error::{ConfigFileProblem as Problem, Error};
use crate::origin::{Origin, Sourced};
use crate::signal::Signal;

/// The largest file that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// The version of the [schema](https://github.com/open-telemetry/opentelemetry-configuration) that
/// is supported.
const MAJOR: &str = "1";
const MINOR: u32 = 1;

/// The contents of a configuration file.
pub(super) struct ConfigFile {
    pub(super) rank: Rank,
    pub(super) switches: Switches,
    /// The key that disables all telemetry, if it is set.
    pub(super) disabled: Option<Origin>,
    /// Whether it configures propagators.
    pub(super) names_propagators: bool,
}

impl ConfigFile {
    /// Reads a file, and substitutes the variables that it refers to.
    pub(super) fn read(
        path: &Sourced<PathBuf>,
        env: &Env,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, Error> {
        let Sourced { value: path, origin } = path;
        // People put the file's content there.
        let place = || Pem::file(path).place();
        let extension = path.extension().unwrap_or_default();
        if extension != "yaml" && extension != "yml" {
            return Err(Error::ConfigFileExtension { place: place() });
        }
        let text =
            content(path).map_err(|source| Error::ReadConfigFile { place: place(), source })?;
        Self::parse(&text, path, origin, env, warnings)
    }

    /// `origin` is what names the file.
    fn parse(
        text: &str,
        path: &Path,
        origin: &Origin,
        env: &Env,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, Error> {
        let mut context = Context { path, errors: Vec::new() };
        let file = match yaml::parse(text, env) {
            Ok(document) => document
                .table_or_null(&mut context)
                .map(|table| Self::of(table, origin, &mut context, warnings)),
            Err(error) => {
                context.errors.push(error);
                None
            }
        };
        let mut errors = context.errors;
        match file {
            Some(file) if errors.is_empty() => Ok(file),
            _ => {
                errors.sort_by_key(|error| error.line);
                Err(Error::ConfigFile { path: path.to_owned(), errors })
            }
        }
    }

    fn of(
        mut table: Table,
        origin: &Origin,
        context: &mut Context<'_>,
        warnings: &mut Vec<Warning>,
    ) -> Self {
        if let Some(node) = table.required("file_format", context) {
            format(&node, context, warnings);
        }
        let disabled = table.optional("disabled");
        let disabled = disabled.filter(|node| node.boolean(context) == Some(true));
        let log_level = table.optional("log_level").and_then(|node| log_level(&node, context));

        let mut providers = FileProviders::default();
        if let Some(node) = table.take("attribute_limits") {
            providers.attribute_limits(node, context);
        }
        for (key, signal) in [
            ("tracer_provider", Signal::Traces),
            ("meter_provider", Signal::Metrics),
            ("logger_provider", Signal::Logs),
        ] {
            match table.take(key) {
                Some(node) => providers.provider(signal, node, context),
                None => providers.off(signal, origin.clone()),
            }
        }
        let FileProviders { mut rank, outputs, .. } = providers;
        let propagator = table.take("propagator");
        let names_propagators = propagator.is_some();
        let propagators = propagator.map(|node| propagators(node, context)).unwrap_or_default();
        let (resource, attributes) = resource::resource(table.take("resource"), context);
        rank.all.sdk.resource = Some(resource);
        rank.all.sdk.attributes = attributes;
        table.finish(context);

        let disabled = disabled.map(|node| context.origin(&node));
        let switches = Switches { disabled: disabled.is_some(), outputs, propagators, log_level };
        Self { rank, switches, disabled, names_propagators }
    }
}

fn content(path: &Path) -> io::Result<String> {
    let content = read_file(path, LARGEST)?;
    let text = std::str::from_utf8(&content);
    text.map(str::to_owned).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// A newer minor version [may have unknown keys][versioning]; another major version has another
/// schema.
///
/// [versioning]: https://github.com/open-telemetry/opentelemetry-configuration/blob/main/VERSIONING.md#file-format
fn format(node: &Node, context: &mut Context<'_>, warnings: &mut Vec<Warning>) {
    // Accepted with or without quotes.
    let version = match &node.content {
        Content::Scalar { text, .. } => text.as_str(),
        Content::List(_) | Content::Table(_) => "",
    };
    let minor = version.split_once('.').filter(|(major, _)| *major == MAJOR);
    let expected = format!("{MAJOR}.0 to {MAJOR}.{MINOR}");
    match minor.and_then(|(_, minor)| minor.parse::<u32>().ok()) {
        Some(minor) if minor <= MINOR => {}
        Some(_) => {
            let (origin, used) = (context.origin(node), format!("{MAJOR}.{MINOR}"));
            warnings.push(Warning::replaced(origin, version.to_owned(), expected, used));
        }
        None => context.refuse(node, Problem::Value { expected: expected.into() }),
    }
}

/// The most verbose level that is at least as severe: `info2` is above `info`.
fn log_level(node: &Node, context: &mut Context<'_>) -> Option<LevelFilter> {
    const LEVELS: [(&str, LevelFilter, LevelFilter); 6] = [
        ("trace", LevelFilter::TRACE, LevelFilter::DEBUG),
        ("debug", LevelFilter::DEBUG, LevelFilter::INFO),
        ("info", LevelFilter::INFO, LevelFilter::WARN),
        ("warn", LevelFilter::WARN, LevelFilter::ERROR),
        ("error", LevelFilter::ERROR, LevelFilter::OFF),
        ("fatal", LevelFilter::OFF, LevelFilter::OFF),
    ];
    let text = node.text(context)?.value;
    let level = LEVELS.iter().find_map(|(name, own, next)| match text.strip_prefix(name)? {
        "" => Some(*own),
        "2" | "3" | "4" => Some(*next),
        _ => None,
    });
    if level.is_none() {
        let expected = "trace, debug, info, warn, error or fatal, or one of them with 2, 3 or 4";
        context.refuse(node, Problem::Value { expected: expected.into() });
    }
    level
}

fn propagators(node: Node, context: &mut Context<'_>) -> Vec<Propagator> {
    let mut found = Vec::new();
    let mut add = |name: &str, node: &Node, context: &mut Context<'_>| match name {
        "b3" | "b3multi" if !cfg!(feature = "b3") => {
            context.refuse(node, Problem::NotCompiled { feature: "b3" });
        }
        name => match Propagator::parse(name) {
            Some(propagator) if found.contains(&propagator) => {}
            Some(propagator) => found.push(propagator),
            None => {
                context.refuse(node, Problem::Value { expected: Propagator::EXPECTED.into() });
            }
        },
    };
    let Some(mut table) = node.table(context) else {
        return Vec::new();
    };
    if let Some(list) = table.take("composite") {
        for node in list.list(context) {
            if let Some((name, node)) = node.kind(context) {
                add(&name, &node, context);
                if let Some(table) = node.table_or_null(context) {
                    table.finish(context);
                }
            }
        }
    }
    if let Some(node) = table.optional("composite_list") {
        let list = node.text(context).map(|list| list.value).unwrap_or_default();
        let names = list.split(',').map(str::trim);
        for name in names.filter(|name| !name.is_empty() && *name != "none") {
            add(name, &node, context);
        }
    }
    table.finish(context);
    found
}
