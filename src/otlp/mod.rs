//! The OpenTelemetry protocol: the SDK's data as messages, requests around them, and what a collector's answers mean.

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
#[cfg(feature = "metrics")]
mod metrics;
mod request;
mod schema;
#[cfg(test)]
#[cfg(all(feature = "logs", feature = "metrics", feature = "trace"))]
mod tests;
#[cfg(feature = "trace")]
mod traces;
#[cfg(all(any(test, fuzzing), feature = "logs", feature = "metrics", feature = "trace"))]
pub(crate) mod whole;
mod wire;

use std::ops::Range;

pub(crate) use answer::{Again, Answer, End, Refusal, RequestFacts, Verdict, judge};
#[cfg(feature = "logs")]
pub(crate) use logs::Logs;
#[cfg(feature = "metrics")]
pub(crate) use metrics::Metrics;
pub(crate) use request::Payload;
#[cfg(feature = "trace")]
pub(crate) use traces::Spans;
use wire::Writer;

#[cfg(feature = "http-json")]
use crate::signal::Signal;

/// What the SDK gives an exporter at once: items of one signal, which go into one request, or into several where one
/// would be too large.
pub(crate) trait Batch {
    /// The number of items: spans, log records or data points.
    fn len(&self) -> usize;

    /// Writes the request that exports some of the items.
    fn write(&self, items: Range<usize>, writer: &mut Writer);

    /// The request that exports some of the items, behind what is in a buffer already.
    fn encode(&self, items: Range<usize>, buffer: Vec<u8>) -> Vec<u8> {
        let mut writer = Writer::new(buffer);
        self.write(items, &mut writer);
        writer.into_buffer()
    }
}

/// A request in JSON.
#[cfg(feature = "http-json")]
pub(crate) fn to_json(signal: Signal, request: &[u8]) -> String {
    let fields = match signal {
        Signal::Logs => &schema::export_logs_service_request::FIELDS,
        Signal::Metrics => &schema::export_metrics_service_request::FIELDS,
        Signal::Traces => &schema::export_trace_service_request::FIELDS,
    };
    json::transcode(request, fields)
}
