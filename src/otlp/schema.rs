//! The fields of OTLP's messages that the SDK has data for: their numbers and JSON names, from
//! [opentelemetry-proto](https://github.com/open-telemetry/opentelemetry-proto/tree/v1.10.0/opentelemetry/proto).
//!
//! A new field of OTLP takes one line here, and one where it is written.

/// Defines a module for each message: a constant with the number of each field and, for JSON, a table of the
/// fields.
macro_rules! messages {
    ($(
        $(#[$doc:meta])*
        $message:ident { $($field:ident = $number:literal, $json:literal: $kind:expr;)* }
    )*) => {$(
        $(#[$doc])*
        pub(super) mod $message {
            $(pub(in crate::otlp) const $field: u32 = $number;)*

            #[cfg(feature = "http-json")]
            #[allow(unused_imports)]
            use super::{Kind::*, *};

            #[cfg(feature = "http-json")]
            pub(in crate::otlp) static FIELDS: Fields =
                Fields(&[$(Field { number: $number, name: $json, kind: $kind }),*]);
        }
    )*};
}

/// The fields of one message.
#[cfg(feature = "http-json")]
pub(super) struct Fields(pub(super) &'static [Field]);

#[cfg(feature = "http-json")]
pub(super) struct Field {
    pub(super) number: u32,
    pub(super) name: &'static str,
    pub(super) kind: Kind,
}

/// A field's type in the `.proto` file.
#[cfg(feature = "http-json")]
pub(super) enum Kind {
    String,
    Bytes,
    /// Bytes that OTLP's JSON writes in hexadecimal.
    Id,
    Bool,
    /// Also enums, which OTLP's JSON writes as numbers.
    Uint32,
    Sint32,
    Uint64,
    Int64,
    Fixed32,
    Fixed64,
    Sfixed64,
    Double,
    Message(&'static Fields),
    Repeated(&'static Self),
}

messages! {
    // common/v1/common.proto

    any_value {
        STRING_VALUE = 1, "stringValue": String;
        BOOL_VALUE = 2, "boolValue": Bool;
        INT_VALUE = 3, "intValue": Int64;
        DOUBLE_VALUE = 4, "doubleValue": Double;
        ARRAY_VALUE = 5, "arrayValue": Message(&array_value::FIELDS);
        KVLIST_VALUE = 6, "kvlistValue": Message(&key_value_list::FIELDS);
        BYTES_VALUE = 7, "bytesValue": Bytes;
    }
    array_value {
        VALUES = 1, "values": Repeated(&Message(&any_value::FIELDS));
    }
    key_value_list {
        VALUES = 1, "values": Repeated(&Message(&key_value::FIELDS));
    }
    key_value {
        KEY = 1, "key": String;
        VALUE = 2, "value": Message(&any_value::FIELDS);
    }
    instrumentation_scope {
        NAME = 1, "name": String;
        VERSION = 2, "version": String;
        ATTRIBUTES = 3, "attributes": Repeated(&Message(&key_value::FIELDS));
    }

    // resource/v1/resource.proto

    resource {
        ATTRIBUTES = 1, "attributes": Repeated(&Message(&key_value::FIELDS));
    }

    // collector/trace/v1/trace_service.proto and trace/v1/trace.proto

    export_trace_service_request {
        RESOURCE_SPANS = 1, "resourceSpans": Repeated(&Message(&resource_spans::FIELDS));
    }
    resource_spans {
        RESOURCE = 1, "resource": Message(&resource::FIELDS);
        SCOPE_SPANS = 2, "scopeSpans": Repeated(&Message(&scope_spans::FIELDS));
        SCHEMA_URL = 3, "schemaUrl": String;
    }
    scope_spans {
        SCOPE = 1, "scope": Message(&instrumentation_scope::FIELDS);
        SPANS = 2, "spans": Repeated(&Message(&span::FIELDS));
        SCHEMA_URL = 3, "schemaUrl": String;
    }
    span {
        TRACE_ID = 1, "traceId": Id;
        SPAN_ID = 2, "spanId": Id;
        TRACE_STATE = 3, "traceState": String;
        PARENT_SPAN_ID = 4, "parentSpanId": Id;
        NAME = 5, "name": String;
        KIND = 6, "kind": Uint32;
        START_TIME_UNIX_NANO = 7, "startTimeUnixNano": Fixed64;
        END_TIME_UNIX_NANO = 8, "endTimeUnixNano": Fixed64;
        ATTRIBUTES = 9, "attributes": Repeated(&Message(&key_value::FIELDS));
        DROPPED_ATTRIBUTES_COUNT = 10, "droppedAttributesCount": Uint32;
        EVENTS = 11, "events": Repeated(&Message(&event::FIELDS));
        DROPPED_EVENTS_COUNT = 12, "droppedEventsCount": Uint32;
        LINKS = 13, "links": Repeated(&Message(&link::FIELDS));
        DROPPED_LINKS_COUNT = 14, "droppedLinksCount": Uint32;
        STATUS = 15, "status": Message(&status::FIELDS);
        FLAGS = 16, "flags": Fixed32;
    }
    event {
        TIME_UNIX_NANO = 1, "timeUnixNano": Fixed64;
        NAME = 2, "name": String;
        ATTRIBUTES = 3, "attributes": Repeated(&Message(&key_value::FIELDS));
        DROPPED_ATTRIBUTES_COUNT = 4, "droppedAttributesCount": Uint32;
    }
    link {
        TRACE_ID = 1, "traceId": Id;
        SPAN_ID = 2, "spanId": Id;
        TRACE_STATE = 3, "traceState": String;
        ATTRIBUTES = 4, "attributes": Repeated(&Message(&key_value::FIELDS));
        DROPPED_ATTRIBUTES_COUNT = 5, "droppedAttributesCount": Uint32;
        FLAGS = 6, "flags": Fixed32;
    }
    status {
        MESSAGE_TEXT = 2, "message": String;
        CODE = 3, "code": Uint32;
    }

    // collector/logs/v1/logs_service.proto and logs/v1/logs.proto

    export_logs_service_request {
        RESOURCE_LOGS = 1, "resourceLogs": Repeated(&Message(&resource_logs::FIELDS));
    }
    resource_logs {
        RESOURCE = 1, "resource": Message(&resource::FIELDS);
        SCOPE_LOGS = 2, "scopeLogs": Repeated(&Message(&scope_logs::FIELDS));
        SCHEMA_URL = 3, "schemaUrl": String;
    }
    scope_logs {
        SCOPE = 1, "scope": Message(&instrumentation_scope::FIELDS);
        LOG_RECORDS = 2, "logRecords": Repeated(&Message(&log_record::FIELDS));
        SCHEMA_URL = 3, "schemaUrl": String;
    }
    log_record {
        TIME_UNIX_NANO = 1, "timeUnixNano": Fixed64;
        SEVERITY_NUMBER = 2, "severityNumber": Uint32;
        SEVERITY_TEXT = 3, "severityText": String;
        BODY = 5, "body": Message(&any_value::FIELDS);
        ATTRIBUTES = 6, "attributes": Repeated(&Message(&key_value::FIELDS));
        FLAGS = 8, "flags": Fixed32;
        TRACE_ID = 9, "traceId": Id;
        SPAN_ID = 10, "spanId": Id;
        OBSERVED_TIME_UNIX_NANO = 11, "observedTimeUnixNano": Fixed64;
        EVENT_NAME = 12, "eventName": String;
    }

    // collector/metrics/v1/metrics_service.proto and metrics/v1/metrics.proto

    export_metrics_service_request {
        RESOURCE_METRICS = 1, "resourceMetrics": Repeated(&Message(&resource_metrics::FIELDS));
    }
    resource_metrics {
        RESOURCE = 1, "resource": Message(&resource::FIELDS);
        SCOPE_METRICS = 2, "scopeMetrics": Repeated(&Message(&scope_metrics::FIELDS));
        SCHEMA_URL = 3, "schemaUrl": String;
    }
    scope_metrics {
        SCOPE = 1, "scope": Message(&instrumentation_scope::FIELDS);
        METRICS = 2, "metrics": Repeated(&Message(&metric::FIELDS));
        SCHEMA_URL = 3, "schemaUrl": String;
    }
    metric {
        NAME = 1, "name": String;
        DESCRIPTION = 2, "description": String;
        UNIT = 3, "unit": String;
        GAUGE = 5, "gauge": Message(&gauge::FIELDS);
        SUM = 7, "sum": Message(&sum::FIELDS);
        HISTOGRAM = 9, "histogram": Message(&histogram::FIELDS);
        EXPONENTIAL_HISTOGRAM = 10, "exponentialHistogram": Message(&exponential_histogram::FIELDS);
    }
    gauge {
        DATA_POINTS = 1, "dataPoints": Repeated(&Message(&number_data_point::FIELDS));
    }
    sum {
        DATA_POINTS = 1, "dataPoints": Repeated(&Message(&number_data_point::FIELDS));
        AGGREGATION_TEMPORALITY = 2, "aggregationTemporality": Uint32;
        IS_MONOTONIC = 3, "isMonotonic": Bool;
    }
    histogram {
        DATA_POINTS = 1, "dataPoints": Repeated(&Message(&histogram_data_point::FIELDS));
        AGGREGATION_TEMPORALITY = 2, "aggregationTemporality": Uint32;
    }
    exponential_histogram {
        DATA_POINTS = 1, "dataPoints": Repeated(&Message(&exponential_histogram_data_point::FIELDS));
        AGGREGATION_TEMPORALITY = 2, "aggregationTemporality": Uint32;
    }
    number_data_point {
        START_TIME_UNIX_NANO = 2, "startTimeUnixNano": Fixed64;
        TIME_UNIX_NANO = 3, "timeUnixNano": Fixed64;
        AS_DOUBLE = 4, "asDouble": Double;
        AS_INT = 6, "asInt": Sfixed64;
        ATTRIBUTES = 7, "attributes": Repeated(&Message(&key_value::FIELDS));
    }
    histogram_data_point {
        START_TIME_UNIX_NANO = 2, "startTimeUnixNano": Fixed64;
        TIME_UNIX_NANO = 3, "timeUnixNano": Fixed64;
        COUNT = 4, "count": Fixed64;
        SUM = 5, "sum": Double;
        BUCKET_COUNTS = 6, "bucketCounts": Repeated(&Fixed64);
        EXPLICIT_BOUNDS = 7, "explicitBounds": Repeated(&Double);
        ATTRIBUTES = 9, "attributes": Repeated(&Message(&key_value::FIELDS));
        MIN = 11, "min": Double;
        MAX = 12, "max": Double;
    }
    exponential_histogram_data_point {
        ATTRIBUTES = 1, "attributes": Repeated(&Message(&key_value::FIELDS));
        START_TIME_UNIX_NANO = 2, "startTimeUnixNano": Fixed64;
        TIME_UNIX_NANO = 3, "timeUnixNano": Fixed64;
        COUNT = 4, "count": Fixed64;
        SUM = 5, "sum": Double;
        SCALE = 6, "scale": Sint32;
        ZERO_COUNT = 7, "zeroCount": Fixed64;
        POSITIVE = 8, "positive": Message(&buckets::FIELDS);
        NEGATIVE = 9, "negative": Message(&buckets::FIELDS);
        MIN = 12, "min": Double;
        MAX = 13, "max": Double;
        ZERO_THRESHOLD = 14, "zeroThreshold": Double;
    }
    buckets {
        OFFSET = 1, "offset": Sint32;
        BUCKET_COUNTS = 2, "bucketCounts": Repeated(&Uint64);
    }
}
