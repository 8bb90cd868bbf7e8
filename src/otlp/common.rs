//! Parts common to all signals: batches, resources, scopes, attributes, times.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry::{Array, InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::Resource;

use super::schema::{any_value, array_value, instrumentation_scope, key_value, resource};
use super::wire::{SHORT, Writer};

/// A batch as the SDK passes it to an exporter: items of one signal. It is sent in one request, or in several
/// if one would be too large.
pub(crate) trait Items {
    /// The number of items: spans, log records or data points.
    fn len(&self) -> usize;

    /// How many of the items in a range are this crate's own metrics.
    fn own(&self, _items: Range<usize>) -> usize {
        0
    }

    /// Writes the export request for a range of items.
    fn write(&self, items: Range<usize>, writer: &mut Writer);

    /// Appends the export request for a range of items to a buffer.
    fn encode(&self, items: Range<usize>, buffer: Vec<u8>) -> Vec<u8> {
        let mut writer = Writer::new(buffer);
        self.write(items, &mut writer);
        writer.into_buffer()
    }
}

/// Nanoseconds since 1970, clamped to 64 bits, which end in the year 2554.
pub(super) fn unix_nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_nanos().try_into().unwrap_or(u64::MAX)
}

pub(super) fn resource(writer: &mut Writer, field: u32, resource: &Resource) {
    writer.message(field, SHORT, |writer| {
        for (key, value) in resource {
            attribute(writer, resource::ATTRIBUTES, key.as_str(), value);
        }
    });
}

pub(super) fn attributes<'a>(
    writer: &mut Writer,
    field: u32,
    attributes: impl IntoIterator<Item = &'a KeyValue>,
) {
    for KeyValue { key, value, .. } in attributes {
        attribute(writer, field, key.as_str(), value);
    }
}

fn attribute(writer: &mut Writer, field: u32, key: &str, value: &Value) {
    key_value(writer, field, key, |writer| self::value(writer, value));
}

pub(super) fn key_value(
    writer: &mut Writer,
    field: u32,
    key: &str,
    value: impl FnOnce(&mut Writer),
) {
    writer.message(field, SHORT, |writer| {
        // Written even if empty: opentelemetry-proto rejects JSON without it.
        writer.bytes(key_value::KEY, key.as_bytes());
        writer.message(key_value::VALUE, SHORT, value);
    });
}

fn value(writer: &mut Writer, value: &Value) {
    match value {
        Value::Bool(value) => writer.varint(any_value::BOOL_VALUE, (*value).into()),
        Value::I64(value) => writer.varint(any_value::INT_VALUE, *value as u64),
        Value::F64(value) => writer.double(any_value::DOUBLE_VALUE, *value),
        Value::String(value) => writer.bytes(any_value::STRING_VALUE, value.as_str().as_bytes()),
        Value::Array(array) => {
            writer.message(any_value::ARRAY_VALUE, SHORT, |writer| match array {
                Array::Bool(values) => elements(writer, values, |writer, value| {
                    writer.varint(any_value::BOOL_VALUE, (*value).into());
                }),
                Array::I64(values) => elements(writer, values, |writer, value| {
                    writer.varint(any_value::INT_VALUE, *value as u64);
                }),
                Array::F64(values) => elements(writer, values, |writer, value| {
                    writer.double(any_value::DOUBLE_VALUE, *value);
                }),
                Array::String(values) => elements(writer, values, |writer, value| {
                    writer.bytes(any_value::STRING_VALUE, value.as_str().as_bytes());
                }),
                // A kind added by a later version of the API is sent without a value.
                _ => {}
            })
        }
        _ => {}
    }
}

pub(super) fn elements<T>(writer: &mut Writer, values: &[T], write: impl Fn(&mut Writer, &T)) {
    for value in values {
        writer.message(array_value::VALUES, SHORT, |writer| write(writer, value));
    }
}

/// An instrumentation scope as sent.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    name: &'a str,
    scope: &'a InstrumentationScope,
}

impl<'a> Scope<'a> {
    pub(super) fn new(scope: &'a InstrumentationScope) -> Self {
        Self { name: scope.name(), scope }
    }

    /// The same scope under another name.
    #[cfg(feature = "logs")]
    pub(super) fn named(name: &'a str, scope: &'a InstrumentationScope) -> Self {
        Self { name, scope }
    }

    pub(super) fn write(&self, writer: &mut Writer, field: u32) {
        writer.message(field, SHORT, |writer| {
            writer.string(instrumentation_scope::NAME, self.name);
            let version = self.scope.version().unwrap_or_default();
            writer.string(instrumentation_scope::VERSION, version);
            attributes(writer, instrumentation_scope::ATTRIBUTES, self.scope.attributes());
        });
    }

    pub(super) fn schema_url(&self) -> &'a str {
        self.scope.schema_url().unwrap_or_default()
    }
}

/// The SDK's own comparison sorts the attributes into a new vector each time. Here, scopes whose attributes
/// differ only in order are different, which costs some bytes.
impl PartialEq for Scope<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.scope.version() == other.scope.version()
            && self.scope.schema_url() == other.scope.schema_url()
            && self.scope.attributes().eq(other.scope.attributes())
    }
}

impl Eq for Scope<'_> {}

impl Hash for Scope<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.scope.version().hash(state);
        self.scope.schema_url().hash(state);
        for attribute in self.scope.attributes() {
            attribute.hash(state);
        }
    }
}

/// The items of a batch grouped by scope, in the order of each scope's first item.
pub(super) struct Groups<'a> {
    groups: Vec<Group<'a>>,
    /// For each item, the next item of the same group.
    next: Vec<usize>,
}

struct Group<'a> {
    scope: Scope<'a>,
    first: usize,
    last: usize,
}

impl<'a> Groups<'a> {
    pub(super) fn new(scopes: impl ExactSizeIterator<Item = Scope<'a>>) -> Self {
        let mut groups = Vec::<Group<'_>>::new();
        let mut known = HashMap::<Scope<'_>, usize>::new();
        let mut next = vec![usize::MAX; scopes.len()];
        let mut current = usize::MAX;
        for (item, scope) in scopes.enumerate() {
            // Most items have the same scope as the one before, so the map is rarely asked.
            if groups.get(current).is_none_or(|group| group.scope != scope) {
                current = *known.entry(scope).or_insert(groups.len());
            }
            match groups.get_mut(current) {
                Some(group) => {
                    next[group.last] = item;
                    group.last = item;
                }
                None => groups.push(Group { scope, first: item, last: item }),
            }
        }
        Self { groups, next }
    }

    /// Each scope with the indices of its items.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Scope<'a>, impl Iterator<Item = usize>)> {
        self.groups.iter().map(|group| {
            let next = |item: &usize| self.next.get(*item).copied();
            let items = std::iter::successors(Some(group.first), next);
            (group.scope, items.take_while(|item| *item != usize::MAX))
        })
    }
}
