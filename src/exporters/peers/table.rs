//! The tables: their cases, and the comparison with the observations.
//!
//! `tests/peers` uses this file as well.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fmt, fs};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

const TABLES: [&str; 9] =
    ["peers", "files", "tls", "proxy", "http2", "early", "life", "more", "differs"];

/// Observations by name, as in README.md.
pub(crate) type Observed = Map<String, Value>;

/// How a case is run, as in README.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Resolve,
    Temporality,
    Files,
    Http,
    Http2,
    Tls,
    Proxy,
    Life,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Right,
    Taste,
    Decided,
}

/// A case in its table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: String,
    project: String,
    test: String,
    kind: Kind,
    input: Value,
    #[serde(default)]
    server: Value,
    expect: Map<String, Value>,
    // `differs.json` has these in addition.
    #[serde(default, rename = "table")]
    _table: String,
    verdict: Option<Verdict>,
    #[serde(default)]
    reason: String,
    #[serde(rename = "crate")]
    ours: Option<Map<String, Value>>,
}

pub(crate) struct Case(Row);

/// The cases of these kinds.
pub(crate) fn load(kinds: &[Kind]) -> Vec<Case> {
    let rows = TABLES.into_iter().flat_map(read::<Vec<Row>>);
    rows.filter(|row| kinds.contains(&row.kind)).map(Case).collect()
}

fn read<T: DeserializeOwned>(table: &str) -> T {
    let directory = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers"));
    let path = directory.join(table).with_extension("json");
    let text = fs::read_to_string(&path).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

impl Case {
    pub(crate) fn input(&self) -> &Value {
        &self.0.input
    }

    #[allow(dead_code, reason = "the unit tests start no server")]
    pub(crate) fn server(&self) -> &Value {
        &self.0.server
    }

    /// The expected observations.
    pub(crate) fn wanted(&self) -> &Map<String, Value> {
        self.0.ours.as_ref().unwrap_or(&self.0.expect)
    }

    /// Whether they must not hold: the opposite was decided, and the table does not say what replaces them.
    fn is_unwanted(&self) -> bool {
        matches!(self.0.verdict, Some(Verdict::Decided)) && self.0.ours.is_none()
    }

    /// Compares.
    pub(crate) fn check(&self, observed: &Observed) -> Result<(), String> {
        let mismatches: Vec<_> = self
            .wanted()
            .iter()
            .filter_map(|(name, wanted)| mismatch(name, wanted, observed))
            .collect();
        let complaint = match (mismatches.is_empty(), self.is_unwanted()) {
            (true, false) | (false, true) => return Ok(()),
            (true, true) => "it behaves as the other project does".to_owned(),
            (false, false) => mismatches.join("; "),
        };
        let observed = Value::Object(observed.clone());
        Err(format!("{self}\n  {complaint}\n  observed: {observed}"))
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { id, project, test, input, server, reason, .. } = &self.0;
        write!(f, "{id}: {project}: {test}\n  input: {input}")?;
        if !server.is_null() {
            write!(f, "\n  server: {server}")?;
        }
        if !reason.is_empty() {
            write!(f, "\n  differs: {reason}")?;
        }
        Ok(())
    }
}

/// How an observation differs from what is expected; the suffix of its name selects the comparison.
fn mismatch(name: &str, wanted: &Value, observed: &Observed) -> Option<String> {
    type Comparison = fn(&Value, &Value) -> Option<bool>;
    const SUFFIXES: [(&str, Comparison); 5] = [
        ("_min", |observed, wanted| Some(observed.as_f64()? >= wanted.as_f64()?)),
        ("_max", |observed, wanted| Some(observed.as_f64()? <= wanted.as_f64()?)),
        ("_has", |observed, wanted| Some(observed.as_str()?.contains(wanted.as_str()?))),
        ("_hasnot", |observed, wanted| Some(!observed.as_str()?.contains(wanted.as_str()?))),
        ("_in", |observed, wanted| Some(wanted.as_array()?.contains(observed))),
    ];
    let suffixed = SUFFIXES
        .into_iter()
        .find_map(|(suffix, compare)| Some((name.strip_suffix(suffix)?, compare)));
    let (observation, compare) =
        suffixed.unwrap_or((name, |observed, wanted| Some(observed == wanted)));
    let observed = observed.get(observation).unwrap_or(&Value::Null);
    // Values that cannot be compared do not match.
    let holds = compare(observed, wanted).unwrap_or(false);
    (!holds).then(|| format!("expected {name} {wanted}, observed {observed}"))
}

/// The signal that an input is about.
pub(crate) fn signal(input: &Value) -> &str {
    input.get("signal").and_then(Value::as_str).unwrap_or("traces")
}

/// The environment of an input: the two other signals are off.
pub(crate) fn environment(input: &Value) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for other in ["traces", "metrics", "logs"] {
        if other != signal(input) {
            let name = format!("OTEL_{}_EXPORTER", other.to_uppercase());
            variables.insert(name, "none".to_owned());
        }
    }
    let given = input.get("env").and_then(Value::as_object).into_iter().flatten();
    variables.extend(given.map(|(name, value)| {
        (name.clone(), value.as_str().expect("a variable is text").to_owned())
    }));
    variables
}
