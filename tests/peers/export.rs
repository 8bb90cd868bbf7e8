//! Builds exporters, exports once, and observes the crate's side.

use std::time::Instant;

use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::SpanExporter as _;
use otlp_mtls::Exporters;
use serde_json::{Value, json};

use crate::exporter::{Exporter, span};
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
    let (result, warnings) = warnings_of(|| {
        futures_executor::block_on(async {
            match &exporter {
                Exporter::Traces(exporter) => {
                    exporter.export(vec![span("a span"); input.items]).await
                }
                other => other.export().await,
            }
        })
    });
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
