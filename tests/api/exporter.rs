//! One signal's exporter, and items to export. `tests/peers` uses this file as well.

use std::time::{Duration, SystemTime};

use opentelemetry::InstrumentationScope;
use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter as _, SdkLoggerProvider};
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use otlp_mtls::{Exporters, LogExporter, Signal, SpanExporter};

/// One signal's exporter, with one item to export: the same for all three.
pub(crate) enum Exporter {
    Traces(SpanExporter),
    /// The reader exports when it is flushed.
    Metrics(SdkMeterProvider),
    Logs(LogExporter, SdkLoggerProvider),
}

impl Exporter {
    pub(crate) fn new(exporters: &Exporters, signal: Signal) -> Self {
        match signal {
            Signal::Traces => Self::Traces(exporters.span_exporter().unwrap()),
            Signal::Metrics => {
                let reader = PeriodicReader::builder(exporters.metric_exporter().unwrap())
                    .with_interval(Duration::from_secs(3600))
                    .build();
                let provider = SdkMeterProvider::builder().with_reader(reader).build();
                provider.meter("test").u64_counter("a_counter").build().add(1, &[]);
                Self::Metrics(provider)
            }
            Signal::Logs => {
                Self::Logs(exporters.log_exporter().unwrap(), SdkLoggerProvider::builder().build())
            }
        }
    }

    /// Exports one item and returns the exporter's own result, on any executor.
    pub(crate) async fn export(&self) -> OTelSdkResult {
        match self {
            Self::Traces(exporter) => exporter.export(vec![span("a span")]).await,
            Self::Metrics(provider) => provider.force_flush(),
            Self::Logs(exporter, provider) => {
                let logger = provider.logger("test");
                let mut record = logger.create_log_record();
                record.set_observed_timestamp(SystemTime::now());
                record.set_severity_number(Severity::Info);
                record.set_body(AnyValue::from("a log record"));
                let scope = InstrumentationScope::builder("test").build();
                exporter.export(LogBatch::new(&[(&record, &scope)])).await
            }
        }
    }
}

pub(crate) fn span(name: &'static str) -> SpanData {
    SpanData {
        span_context: SpanContext::new(
            TraceId::from(1),
            SpanId::from(1),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        ),
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: name.into(),
        start_time: SystemTime::UNIX_EPOCH,
        end_time: SystemTime::UNIX_EPOCH,
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::builder("test").build(),
    }
}
