//! Counts the items passed to the SDK's processors, which do not report what they drop.

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

use crate::export::Queue;

/// Forwards the items for which the queue has space.
#[derive(Debug)]
pub(super) struct Counting<P> {
    processor: P,
    queue: Arc<Queue>,
}

impl<P> Counting<P> {
    pub(super) fn new(processor: P, queue: Arc<Queue>) -> Self {
        Self { processor, queue }
    }
}

#[cfg(feature = "trace")]
impl<P: SpanProcessor> SpanProcessor for Counting<P> {
    fn on_start(&self, span: &mut Span, context: &opentelemetry::Context) {
        self.processor.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.queue.enter() {
            self.processor.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.processor.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        let result = self.processor.shutdown_with_timeout(timeout);
        self.queue.close();
        result
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.processor.set_resource(resource);
    }
}

#[cfg(feature = "logs")]
impl<P: LogProcessor> LogProcessor for Counting<P> {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        if self.queue.enter() {
            self.processor.emit(record, scope);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.processor.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        let result = self.processor.shutdown_with_timeout(timeout);
        self.queue.close();
        result
    }

    fn event_enabled(&self, level: Severity, target: &str, name: Option<&str>) -> bool {
        self.processor.event_enabled(level, target, name)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.processor.set_resource(resource);
    }
}
