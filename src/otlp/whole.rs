//! Whole requests, for the tests and for `fuzz/`, which has no access to private items.
#![cfg_attr(not(fuzzing), allow(unreachable_pub))]

use opentelemetry::InstrumentationScope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{LogBatch, SdkLogRecord};
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::trace::SpanData;

use super::{Items, Logs, Metrics, Spans};

/// The export request for these spans.
pub fn traces(resource: &Resource, spans: &[SpanData]) -> Vec<u8> {
    whole(&Spans { resource, spans })
}

/// The export request for these log records.
pub fn logs(resource: &Resource, records: &[(SdkLogRecord, InstrumentationScope)]) -> Vec<u8> {
    let records: Vec<_> = records.iter().map(|(record, scope)| (record, scope)).collect();
    whole(&Logs::new(resource, &LogBatch::new(&records)))
}

/// The export request for these metrics.
pub fn metrics(metrics: &ResourceMetrics) -> Vec<u8> {
    whole(&Metrics(metrics))
}

fn whole(batch: &impl Items) -> Vec<u8> {
    batch.encode(0..batch.len(), Vec::new())
}
