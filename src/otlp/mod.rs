//! The OpenTelemetry protocol: encodes the SDK's data as messages, builds requests, and judges responses.

mod answer;
mod common;
mod compression;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
#[cfg(feature = "grpc")]
mod grpc;
#[cfg(feature = "http")]
mod http;
mod http_body;
#[cfg(feature = "http-json")]
mod json;
mod json_reader;
#[cfg(feature = "logs")]
mod logs;
mod mask;
#[cfg(feature = "metrics")]
mod metrics;
mod payload;
mod schema;
#[cfg(test)]
#[cfg(all(feature = "logs", feature = "metrics", feature = "trace"))]
mod tests;
#[cfg(feature = "trace")]
mod traces;
#[cfg(all(any(test, fuzzing), feature = "logs", feature = "metrics", feature = "trace"))]
pub(crate) mod whole;
mod wire;

pub(crate) use answer::{Again, Answer, End, Refusal, RequestFacts, StatusName, Verdict, judge};
pub(crate) use common::Items;
#[cfg(feature = "logs")]
pub(crate) use logs::Logs;
#[cfg(feature = "metrics")]
pub(crate) use metrics::Metrics;
pub(crate) use payload::{Empty, Encoding, Payload};
#[cfg(feature = "trace")]
pub(crate) use traces::Spans;

#[cfg(feature = "http-json")]
use crate::signal::Signal;

/// Transcodes a request to JSON.
#[cfg(feature = "http-json")]
pub(crate) fn to_json(signal: Signal, request: &[u8]) -> String {
    let fields = match signal {
        Signal::Logs => &schema::export_logs_service_request::FIELDS,
        Signal::Metrics => &schema::export_metrics_service_request::FIELDS,
        Signal::Traces => &schema::export_trace_service_request::FIELDS,
    };
    json::transcode(request, fields)
}
