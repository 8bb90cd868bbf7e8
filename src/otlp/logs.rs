//! Encodes log records.

use std::ops::Range;

use opentelemetry::InstrumentationScope;
use opentelemetry::logs::AnyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{LogBatch, SdkLogRecord};

use super::common::{Groups, Items, Scope, elements, key_value, resource, unix_nanos};
use super::schema::{
    any_value, export_logs_service_request, key_value_list, log_record, resource_logs, scope_logs,
};
use super::wire::{LONG, MEDIUM, SHORT, Writer};

/// The maximum depth of lists and maps. Deeper values are sent empty.
///
/// Protobuf libraries reject a whole batch if its messages are nested more than 100 deep. A map within a map
/// adds three messages, and the body of a record is the fifth.
const MAX_DEPTH: usize = 31;

#[derive(Debug)]
pub(crate) struct Logs<'a> {
    resource: &'a Resource,
    records: Vec<(&'a SdkLogRecord, &'a InstrumentationScope)>,
}

impl<'a> Logs<'a> {
    pub(crate) fn new(resource: &'a Resource, batch: &'a LogBatch<'_>) -> Self {
        Self { resource, records: batch.iter().collect() }
    }
}

impl Items for Logs<'_> {
    fn len(&self) -> usize {
        self.records.len()
    }

    fn write(&self, items: Range<usize>, writer: &mut Writer) {
        let records = &self.records[items];
        let groups = Groups::new(records.iter().map(|(record, scope)| match record.target() {
            // A record's target is the name of the scope that a logging bridge stands for.
            Some(target) => Scope::named(target, scope),
            None => Scope::new(scope),
        }));
        writer.message(export_logs_service_request::RESOURCE_LOGS, LONG, |writer| {
            resource(writer, resource_logs::RESOURCE, self.resource);
            for (scope, items) in groups.iter() {
                writer.message(resource_logs::SCOPE_LOGS, LONG, |writer| {
                    scope.write(writer, scope_logs::SCOPE);
                    for item in items {
                        let (record, _) = records[item];
                        writer.message(scope_logs::LOG_RECORDS, MEDIUM, |writer| {
                            self::record(writer, record);
                        });
                    }
                    writer.string(scope_logs::SCHEMA_URL, scope.schema_url());
                });
            }
            let schema_url = self.resource.schema_url().unwrap_or_default();
            writer.string(resource_logs::SCHEMA_URL, schema_url);
        });
    }
}

fn record(writer: &mut Writer, record: &SdkLogRecord) {
    let time = record.timestamp().map_or(0, unix_nanos);
    writer.fixed64(log_record::TIME_UNIX_NANO, time);
    // The API's severity numbers are those of OTLP.
    let severity = record.severity_number().map_or(0, |severity| severity as u64);
    writer.uint(log_record::SEVERITY_NUMBER, severity);
    writer.string(log_record::SEVERITY_TEXT, record.severity_text().unwrap_or_default());
    if let Some(body) = record.body() {
        writer.message(log_record::BODY, SHORT, |writer| value(writer, body, 0));
    }
    for (key, value) in record.attributes_iter() {
        key_value(writer, log_record::ATTRIBUTES, key.as_str(), |writer| {
            self::value(writer, value, 0);
        });
    }
    if let Some(context) = record.trace_context() {
        let flags = context.trace_flags.map_or(0, |flags| flags.to_u8());
        writer.fixed32(log_record::FLAGS, flags.into());
        writer.bytes(log_record::TRACE_ID, &context.trace_id.to_bytes());
        writer.bytes(log_record::SPAN_ID, &context.span_id.to_bytes());
    }
    let observed = record.observed_timestamp().map_or(0, unix_nanos);
    writer.fixed64(log_record::OBSERVED_TIME_UNIX_NANO, observed);
    writer.string(log_record::EVENT_NAME, record.event_name().unwrap_or_default());
}

fn value(writer: &mut Writer, value: &AnyValue, depth: usize) {
    match value {
        AnyValue::Boolean(value) => writer.varint(any_value::BOOL_VALUE, (*value).into()),
        AnyValue::Int(value) => writer.varint(any_value::INT_VALUE, *value as u64),
        AnyValue::Double(value) => writer.double(any_value::DOUBLE_VALUE, *value),
        AnyValue::String(value) => writer.bytes(any_value::STRING_VALUE, value.as_str().as_bytes()),
        AnyValue::Bytes(value) => writer.bytes(any_value::BYTES_VALUE, value),
        AnyValue::ListAny(values) if depth < MAX_DEPTH => {
            writer.message(any_value::ARRAY_VALUE, SHORT, |writer| {
                elements(writer, values, |writer, value| self::value(writer, value, depth + 1));
            });
        }
        AnyValue::Map(entries) if depth < MAX_DEPTH => {
            writer.message(any_value::KVLIST_VALUE, SHORT, |writer| {
                for (key, value) in &**entries {
                    key_value(writer, key_value_list::VALUES, key.as_str(), |writer| {
                        self::value(writer, value, depth + 1);
                    });
                }
            });
        }
        // Nested too deep, or a kind added by a later version of the API.
        _ => {}
    }
}
