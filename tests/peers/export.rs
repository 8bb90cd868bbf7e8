//! Builds exporters, exports once, and observes the crate's side.

use std::time::{Duration, Instant, SystemTime};

use opentelemetry::InstrumentationScope;
use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter as _, SdkLoggerProvider};
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use otlp_mtls::{Exporters, Signal};
use serde_json::{Value, json};

use crate::input::Input;
use crate::table::{Case, Observed};
use crate::warnings::warnings_of;

pub(crate) fn observed(value: Value) -> Observed {
    match value {
        Value::Object(observed) => observed,
        other => panic!("no object: {other}"),
    }
}

pub(crate) fn temporality(case: &Case) -> Observed {
    let input = Input::new(case.input(), &Vec::new());
    let (exporters, mut observed) = build(&input);
    if let Some(exporters) = exporters {
        let temporality = match exporters.metric_exporter().unwrap().temporality() {
            Temporality::Cumulative => "cumulative",
            Temporality::Delta => "delta",
            Temporality::LowMemory => "lowmemory",
            other => panic!("{other:?}"),
        };
        observed.insert("temporality".to_owned(), json!(temporality));
    }
    observed
}

pub(crate) fn build(input: &Input) -> (Option<Exporters>, Observed) {
    let (built, warnings) = warnings_of(|| input.builder().build());
    let error = built.as_ref().err().map(ToString::to_string);
    let observed = observed(json!({
        "built": built.is_ok(),
        "error": error,
        "warnings": warnings.len(),
    }));
    (built.ok(), observed)
}

pub(crate) fn export(input: &Input) -> Observed {
    let (exporters, mut observed) = build(input);
    let Some(exporters) = exporters else { return observed };
    let signal = input.signal();
    let exporter = Exporter::new(&exporters, signal);
    let start = Instant::now();
    let (result, warnings) =
        warnings_of(|| futures_executor::block_on(exporter.export(input.items)));
    let elapsed = start.elapsed();
    let status = exporters.status();
    let status = status.exports.iter().find(|export| export.signal == signal).unwrap();
    let failure = status.last_failure.as_ref();
    observed.extend(self::observed(json!({
        "ok": result.is_ok(),
        "error": result.err().map(|error| error.to_string()),
        "log": warnings.join("\n"),
        "elapsed_ms": elapsed.as_millis() as u64,
        "delivered": status.delivered,
        "rejected": status.rejected,
        "failure": failure.map(|failure| failure.kind().name().to_string()),
        "words": failure.map(ToString::to_string),
    })));
    observed
}

enum Exporter {
    Traces(otlp_mtls::SpanExporter),
    /// The reader exports when flushed.
    Metrics(SdkMeterProvider),
    Logs(otlp_mtls::LogExporter),
}

impl Exporter {
    fn new(exporters: &Exporters, signal: Signal) -> Self {
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
            Signal::Logs => Self::Logs(exporters.log_exporter().unwrap()),
        }
    }

    /// Exports that many spans, or one item of another signal.
    async fn export(&self, items: usize) -> OTelSdkResult {
        match self {
            Self::Traces(exporter) => exporter.export(vec![span(); items]).await,
            Self::Metrics(provider) => provider.force_flush(),
            Self::Logs(exporter) => {
                let mut record =
                    SdkLoggerProvider::builder().build().logger("test").create_log_record();
                record.set_observed_timestamp(SystemTime::now());
                record.set_severity_number(Severity::Info);
                record.set_body(AnyValue::from("a log record"));
                let scope = InstrumentationScope::builder("test").build();
                exporter.export(LogBatch::new(&[(&record, &scope)])).await
            }
        }
    }
}

pub(crate) fn span() -> SpanData {
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
        name: "a span".into(),
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
