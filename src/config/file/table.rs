//! Takes typed values from the tree. Errors are collected, so that all of them can be corrected at
//! once.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use super::scalar::{Scalar, resolve};
use super::yaml::{Content, Node, joined};
use crate::config::sdk_layer::MAX_MILLISECONDS;
use crate::error::{ConfigFileError, ConfigFileProblem as Problem};
use crate::origin::{ConfigFileKey, Origin, Sourced};

/// Keys of the schema that neither this crate nor the Rust SDK supports.
const NOT_SUPPORTED: &[&str] = &[
    "always_record",
    "attribute_count_limit",
    "attribute_value_depth_limit",
    "attribute_value_length_limit",
    "cardinality_limits",
    "distribution",
    "id_generator",
    "producers",
    "pull",
    "views",
];

/// Unsupported keys that may be null, which is the default.
const NULLABLE: &[&str] = &[
    "attribute_count_limit",
    "attribute_value_depth_limit",
    "attribute_value_length_limit",
    "max_export_batch_size/development",
];

/// The file, and its errors so far.
pub(super) struct Context<'a> {
    pub(super) path: &'a Path,
    pub(super) errors: Vec<ConfigFileError>,
}

impl Context<'_> {
    pub(super) fn refuse(&mut self, node: &Node, problem: Problem) {
        self.errors.push(node.error(problem));
    }

    /// Reports a value that is not one of the possible ones.
    fn expected<T>(&mut self, node: &Node, expected: impl Into<String>) -> Option<T> {
        self.refuse(node, Problem::Value { expected: expected.into().into() });
        None
    }

    /// Reports a key that is not expected.
    pub(super) fn unknown(&mut self, name: &str, node: &Node, expected: &[&str]) {
        // An experimental feature, which has the suffix `/development` in the schema.
        let is_of_the_schema = NOT_SUPPORTED.contains(&name) || name.contains('/');
        let problem = match is_of_the_schema {
            true => Problem::NotSupported,
            false => Problem::Unknown { expected: expected.join(", ") },
        };
        self.refuse(node, problem);
    }

    pub(super) fn sourced<T>(&self, node: &Node, value: T) -> Sourced<T> {
        Sourced { value, origin: self.origin(node) }
    }

    pub(super) fn origin(&self, node: &Node) -> Origin {
        let key = node.key.rsplit('.').next().unwrap_or_default().to_owned();
        Origin::File(Box::new(ConfigFileKey { path: self.path.to_owned(), line: node.line, key }))
    }
}

impl Node {
    pub(super) fn is_null(&self) -> bool {
        match &self.content {
            Content::Scalar { text, is_plain: true } => resolve(text) == Scalar::Null,
            _ => false,
        }
    }

    /// The value of a scalar; `None` for a list or a table.
    pub(super) fn scalar(&self) -> Option<Scalar<'_>> {
        match &self.content {
            Content::Scalar { text, is_plain: true } => Some(resolve(text)),
            Content::Scalar { text, is_plain: false } => Some(Scalar::Text(text)),
            Content::List(_) | Content::Table(_) => None,
        }
    }

    pub(super) fn table(self, context: &mut Context<'_>) -> Option<Table> {
        match self.content {
            Content::Table(entries) => {
                Some(Table { key: self.key, line: self.line, entries, known: Vec::new() })
            }
            _ => context.expected(&self, "a mapping"),
        }
    }

    /// The same for a table that has all its defaults if it is null.
    pub(super) fn table_or_null(self, context: &mut Context<'_>) -> Option<Table> {
        match self.is_null() {
            true => Self { content: Content::Table(Vec::new()), ..self }.table(context),
            false => self.table(context),
        }
    }

    /// The single entry of a table, whose key names a kind.
    pub(super) fn kind(self, context: &mut Context<'_>) -> Option<(String, Self)> {
        let node = self.clone();
        let mut entries = self.table(context)?.entries;
        match entries.len() {
            1 => entries.pop(),
            _ => context.expected(&node, "a mapping with one key"),
        }
    }

    /// A list that is not empty.
    pub(super) fn list(self, context: &mut Context<'_>) -> Vec<Self> {
        match self.content {
            Content::List(nodes) if !nodes.is_empty() => nodes,
            _ => context.expected(&self, "a list with at least one entry").unwrap_or_default(),
        }
    }

    pub(super) fn text(&self, context: &mut Context<'_>) -> Option<Sourced<String>> {
        match self.scalar() {
            Some(Scalar::Text(text)) => Some(context.sourced(self, text.to_owned())),
            Some(Scalar::Null) | None => context.expected(self, "a string"),
            Some(_) => context.expected(self, "a string: put the value in quotes"),
        }
    }

    pub(super) fn boolean(&self, context: &mut Context<'_>) -> Option<bool> {
        match self.scalar() {
            Some(Scalar::Boolean(value)) => Some(value),
            _ => context.expected(self, "true or false"),
        }
    }

    /// A whole number within a range.
    pub(super) fn number<T>(&self, range: RangeInclusive<T>, context: &mut Context<'_>) -> Option<T>
    where
        T: Display + PartialOrd + TryFrom<i64>,
    {
        let number = match self.scalar() {
            Some(Scalar::Integer(number)) => T::try_from(number).ok(),
            _ => None,
        };
        number.filter(|number| range.contains(number)).or_else(|| {
            let (least, most) = (range.start(), range.end());
            context.expected(self, format!("a number from {least} to {most}"))
        })
    }

    /// A part of all, from 0 to 1.
    pub(super) fn ratio(&self, context: &mut Context<'_>) -> Option<f64> {
        let ratio = self.decimal().filter(|number| (0.0..=1.0).contains(number));
        ratio.or_else(|| context.expected(self, "a number from 0 to 1"))
    }

    pub(super) fn double(&self, context: &mut Context<'_>) -> Option<f64> {
        self.decimal().or_else(|| context.expected(self, "a number"))
    }

    fn decimal(&self) -> Option<f64> {
        match self.scalar()? {
            Scalar::Integer(number) => Some(number as f64),
            Scalar::Float(number) => Some(number),
            _ => None,
        }
    }

    /// One of the given words.
    pub(super) fn choice<T: Clone>(
        &self,
        choices: &[(&str, T)],
        context: &mut Context<'_>,
    ) -> Option<T> {
        let Some(Scalar::Text(text)) = self.scalar() else {
            return context.expected(self, words(choices));
        };
        let found = choices.iter().find(|(word, _)| *word == text).map(|(_, value)| value.clone());
        found.or_else(|| context.expected(self, words(choices)))
    }
}

fn words<T>(choices: &[(&str, T)]) -> String {
    choices.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ")
}

/// A mapping whose keys all have to be taken.
pub(super) struct Table {
    key: String,
    line: usize,
    entries: Vec<(String, Node)>,
    /// The known keys.
    known: Vec<&'static str>,
}

impl Table {
    /// The value of a key, which may be null.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Node> {
        self.known.push(name);
        let index = self.entries.iter().position(|(known, _)| known == name)?;
        Some(self.entries.remove(index).1)
    }

    /// The value of a key for which null is the default.
    pub(super) fn optional(&mut self, name: &'static str) -> Option<Node> {
        self.take(name).filter(|node| !node.is_null())
    }

    /// The value of a required key.
    pub(super) fn required(
        &mut self,
        name: &'static str,
        context: &mut Context<'_>,
    ) -> Option<Node> {
        let found = self.take(name);
        if found.is_none() {
            let (line, key) = (self.line, self.key.clone());
            context.errors.push(ConfigFileError {
                line,
                key,
                problem: Problem::Missing { key: name },
            });
        }
        found
    }

    pub(super) fn text(
        &mut self,
        name: &'static str,
        context: &mut Context<'_>,
    ) -> Option<Sourced<String>> {
        self.optional(name)?.text(context)
    }

    pub(super) fn number<T>(
        &mut self,
        name: &'static str,
        range: RangeInclusive<T>,
        context: &mut Context<'_>,
    ) -> Option<Sourced<T>>
    where
        T: Display + PartialOrd + TryFrom<i64>,
    {
        let node = self.optional(name)?;
        let number = node.number(range, context)?;
        Some(context.sourced(&node, number))
    }

    /// A duration in milliseconds; `least` is 0 if zero is allowed.
    pub(super) fn milliseconds(
        &mut self,
        name: &'static str,
        least: u64,
        context: &mut Context<'_>,
    ) -> Option<Sourced<Duration>> {
        let found = self.number(name, least..=MAX_MILLISECONDS, context)?;
        Some(found.map(Duration::from_millis))
    }

    pub(super) fn choice<T: Clone>(
        &mut self,
        name: &'static str,
        choices: &[(&str, T)],
        context: &mut Context<'_>,
    ) -> Option<Sourced<T>> {
        let node = self.optional(name)?;
        let value = node.choice(choices, context)?;
        Some(context.sourced(&node, value))
    }

    /// Reports the keys that were not taken.
    pub(super) fn finish(self, context: &mut Context<'_>) {
        for (name, node) in &self.entries {
            if !(NULLABLE.contains(&name.as_str()) && node.is_null()) {
                context.unknown(name, node, &self.known);
            }
        }
    }

    /// Reports a problem with a key of this table, which may be missing.
    pub(super) fn refuse(&self, name: &str, problem: Problem, context: &mut Context<'_>) {
        let key = joined(&self.key, name);
        context.errors.push(ConfigFileError { line: self.line, key, problem });
    }
}
