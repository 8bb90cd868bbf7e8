//! Counts what the SDK's batch processors are given: they do not tell what they drop.

use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "logs")]
use opentelemetry::InstrumentationScope;
#[cfg(feature = "logs")]
use opentelemetry::logs::Severity;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
#[cfg(feature = "logs")]
use opentelemetry_sdk::logs::{LogProcessor, SdkLogRecord};
#[cfg(feature = "trace")]
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

use crate::export::ExportStats;

/// Hands everything on.
#[derive(Debug)]
pub(super) struct Counting<P> {
    processor: P,
    stats: Arc<ExportStats>,
}

impl<P> Counting<P> {
    pub(super) fn new(processor: P, stats: Arc<ExportStats>) -> Self {
        Self { processor, stats }
    }
}

#[cfg(feature = "trace")]
impl<P: SpanProcessor> SpanProcessor for Counting<P> {
    fn on_start(&self, span: &mut Span, context: &opentelemetry::Context) {
        self.processor.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        self.stats.enqueue();
        self.processor.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.processor.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.processor.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.processor.set_resource(resource);
    }
}

#[cfg(feature = "logs")]
impl<P: LogProcessor> LogProcessor for Counting<P> {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        self.stats.enqueue();
        self.processor.emit(record, scope);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.processor.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.processor.shutdown_with_timeout(timeout)
    }

    fn event_enabled(&self, level: Severity, target: &str, name: Option<&str>) -> bool {
        self.processor.event_enabled(level, target, name)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.processor.set_resource(resource);
    }
}
