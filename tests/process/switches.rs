//! What `init` sets up, and what it does not.

#[cfg(target_os = "linux")]
mod off;

use std::collections::BTreeMap;

use opentelemetry::baggage::BaggageExt;
use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, KeyValue, global};
use otlp_mtls::testing::Collector;
use otlp_mtls::{Error, Exporters, Signal, Telemetry};

use crate::init::work;
use crate::{SOON, in_a_process, is_child, print_in_a_process};

const DISABLED: (&str, &str) = ("OTEL_SDK_DISABLED", "true");

/// The variables for the exporter of each signal.
const EXPORTERS: [&str; 3] =
    ["OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"];

/// The same for every signal.
fn all(value: &str) -> [(&str, &str); 3] {
    EXPORTERS.map(|name| (name, value))
}

/// The three signals, by the providers of the guard.
fn on(telemetry: &Telemetry) -> [bool; 3] {
    [
        telemetry.tracer_provider().is_some(),
        telemetry.meter_provider().is_some(),
        telemetry.logger_provider().is_some(),
    ]
}

/// Emits a span, a metric and, if there is a logger provider, a log record.
pub(crate) fn work_and_log(telemetry: &Telemetry) {
    work();
    if let Some(provider) = telemetry.logger_provider() {
        let logger = provider.logger("test");
        let mut record = logger.create_log_record();
        record.set_body(AnyValue::from("said"));
        logger.emit(record);
    }
}

/// Runs a service with a collector in its own process, and returns how many items of each signal arrive.
fn delivered(telemetry: &Telemetry, collector: &Collector) -> [usize; 3] {
    work_and_log(telemetry);
    if let Some(provider) = telemetry.tracer_provider() {
        provider.force_flush().unwrap();
    }
    if let Some(provider) = telemetry.meter_provider() {
        provider.force_flush().unwrap();
    }
    if let Some(provider) = telemetry.logger_provider() {
        provider.force_flush().unwrap();
    }
    [collector.spans().len(), metrics(collector), collector.log_records().len()]
}

#[test]
fn a_signal_that_is_off_leaves_the_others() {
    let name = "switches::a_signal_that_is_off_leaves_the_others";
    let variables = [
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE"),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE"),
    ];
    for (off, (endpoint, certificate)) in variables.into_iter().enumerate() {
        let vars = [
            (EXPORTERS[off], "none"),
            // Variables of that signal are not read.
            (endpoint, "https://localhost:4317"),
            (certificate, "/nowhere/ca.crt"),
        ];
        in_a_process(name, &vars, || {
            let collector = Collector::builder().start().unwrap();
            let endpoint = collector.endpoint();
            let exporters = Exporters::builder().with_env(move |name| match name {
                "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(endpoint.clone().into()),
                name => std::env::var_os(name),
            });
            let telemetry = exporters.build().unwrap().install().unwrap();
            let on = on(&telemetry);
            assert_eq!(on.iter().filter(|on| **on).count(), 2);
            assert_eq!(delivered(&telemetry, &collector), on.map(usize::from));
        });
        if is_child() {
            break;
        }
    }
}

#[test]
fn a_list_goes_to_both() {
    let name = "switches::a_list_goes_to_both";
    let printed = print_in_a_process(name, &all("console, otlp"), || {
        let collector = Collector::builder().start().unwrap();
        let exporters = Exporters::builder().with_endpoint(collector.endpoint()).build().unwrap();
        let telemetry = exporters.install().unwrap();
        assert_eq!(delivered(&telemetry, &collector), [1; 3]);
    });
    if let Some(printed) = printed {
        for expected in ["Spans\n", "Metrics\n", "Logs\n"] {
            assert!(printed.contains(expected), "{expected}: {printed}");
        }
    }
}

#[test]
fn unknown_values_are_ignored() {
    let name = "switches::unknown_values_are_ignored";
    let vars = [all("zipkin").as_slice(), &[("OTEL_SDK_DISABLED", "1")]].concat();
    in_a_process(name, &vars, || {
        let collector = Collector::builder().start().unwrap();
        let exporters = Exporters::builder().with_endpoint(collector.endpoint()).build().unwrap();
        let telemetry = exporters.install().unwrap();
        assert_eq!(delivered(&telemetry, &collector), [1; 3]);
    });
}

#[test]
fn an_injected_environment_has_the_switches_too() {
    // The process's environment has the opposite.
    let vars = [("OTEL_TRACES_EXPORTER", "otlp"), ("OTEL_PROPAGATORS", "baggage")];
    in_a_process("switches::an_injected_environment_has_the_switches_too", &vars, || {
        let collector = Collector::builder().start().unwrap();
        let vars = [("OTEL_TRACES_EXPORTER", "none"), ("OTEL_PROPAGATORS", "tracecontext")];
        let vars = BTreeMap::from(vars);
        let exporters = Exporters::builder()
            .with_endpoint(collector.endpoint())
            .with_env(move |name| vars.get(name).map(Into::into))
            .build()
            .unwrap();
        let telemetry = exporters.install().unwrap();
        assert_eq!(on(&telemetry), [false, true, true]);
        assert_eq!(injected(), ["traceparent", "tracestate"]);
    });
}

#[test]
fn a_signal_that_is_off_has_no_exporter() {
    for (variable, value) in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
        // None of the signal's variables is read.
        let exporters = Exporters::builder().with_env(move |name| match name {
            "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY" => Some("/nowhere".into()),
            name => (name == variable).then(|| value.into()),
        });
        let exporters = exporters.build().unwrap();
        let error = exporters.span_exporter().unwrap_err();
        assert!(matches!(error, Error::NotExported { signal: Signal::Traces, .. }), "{error}");
        assert_eq!(error.to_string(), format!("{variable}: traces are not exported by OTLP"));
        assert!(exporters.client_config(Signal::Traces).is_none());
        let exported = exporters.status().exports.iter().any(|of| of.signal == Signal::Traces);
        assert!(!exported, "{variable}");
    }
}

/// The headers that the global propagator injects for a span and baggage.
fn injected() -> Vec<String> {
    let span = SpanContext::new(
        TraceId::from(1),
        SpanId::from(1),
        TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    );
    let context = Context::new()
        .with_remote_span_context(span)
        .with_baggage([KeyValue::new("customer", "1")]);
    let mut carrier = std::collections::HashMap::new();
    global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&context, &mut carrier);
    });
    let mut headers: Vec<_> = carrier.into_keys().collect();
    headers.sort();
    headers
}

#[test]
fn propagators() {
    let name = "switches::propagators";
    let both = "baggage traceparent tracestate";
    for (value, expected) in [
        ("", both),
        ("tracecontext", "traceparent tracestate"),
        ("baggage", "baggage"),
        ("Baggage, tracecontext, baggage", both),
        ("none", ""),
        ("none,baggage", ""),
        ("xray", both),
        ("xray,baggage", "baggage"),
    ] {
        // They are set even without telemetry.
        for rest in [&[][..], &[DISABLED], &all("none")] {
            let vars = [&[("OTEL_PROPAGATORS", value), ("EXPECTED", expected)], rest].concat();
            in_a_process(name, &vars, || {
                let _telemetry = otlp_mtls::init().unwrap();
                assert_eq!(injected().join(" "), std::env::var("EXPECTED").unwrap());
            });
            if is_child() {
                return;
            }
        }
    }
}

/// The number of metrics that are not about the exporters themselves, with one point each.
fn metrics(collector: &Collector) -> usize {
    let is_own = |name: &str| name.starts_with("otlp_mtls.") || name.starts_with("otel.sdk.");
    collector.metrics().iter().filter(|metric| !is_own(&metric.name)).count()
}

#[test]
fn there_is_one_at_a_time() {
    in_a_process("switches::there_is_one_at_a_time", &[], || {
        let collector = Collector::builder().start().unwrap();
        let exporters = Exporters::builder().with_endpoint(collector.endpoint()).build().unwrap();
        let first = exporters.install().unwrap();
        // After a refused one, the next one is refused, too.
        for _ in 0..2 {
            let error = exporters.install().unwrap_err();
            assert!(matches!(error, Error::AlreadyInstalled), "{error}");
            assert!(error.to_string().starts_with("telemetry is already installed"), "{error}");
            assert!(matches!(otlp_mtls::init(), Err(Error::AlreadyInstalled)));
        }
        work();
        first.shutdown(SOON).unwrap();
        assert_eq!((collector.spans().len(), metrics(&collector)), (1, 1));

        let second = exporters.install().unwrap();
        work();
        drop(second);
        assert_eq!((collector.spans().len(), metrics(&collector)), (2, 2));

        let third = exporters.install().unwrap();
        assert_eq!(delivered(&third, &collector), [3, 3, 1]);
    });
}

#[test]
fn the_resource_describes_the_process() {
    let vars = [("OTEL_RESOURCE_ATTRIBUTES", "os.type=mine")];
    in_a_process("switches::the_resource_describes_the_process", &vars, || {
        let collector = Collector::builder().start().unwrap();
        let exporters = Exporters::builder().with_endpoint(collector.endpoint()).build().unwrap();
        let telemetry = exporters.install().unwrap();
        delivered(&telemetry, &collector);

        let executable = std::env::current_exe().unwrap();
        let executable = executable.file_name().unwrap().to_str();
        let attribute = |key| collector.resource_attribute(key);
        assert_eq!(attribute("process.pid"), Some(std::process::id().to_string()));
        assert_eq!(attribute("process.executable.name").as_deref(), executable);
        assert_eq!(attribute("host.name").is_some(), cfg!(target_os = "linux"));
        assert_eq!(attribute("os.type").as_deref(), Some("mine"));
        assert_eq!(attribute("telemetry.sdk.language").as_deref(), Some("rust"));
        assert_eq!(attribute("telemetry.distro.name").as_deref(), Some("otlp-mtls"));
        let version = attribute("telemetry.distro.version");
        assert_eq!(version.as_deref(), Some(env!("CARGO_PKG_VERSION")));
        for signal in Signal::ALL {
            let requests = collector.requests();
            let request = requests.iter().find(|request| request.signal == signal).unwrap();
            for expected in
                ["https://opentelemetry.io/schemas/", "process.pid", "telemetry.sdk.name"]
            {
                let mut parts = request.body.windows(expected.len());
                assert!(parts.any(|part| part == expected.as_bytes()), "{signal}: {expected}");
            }
        }
    });
}

#[test]
fn b3_is_propagated_in_the_configured_form() {
    let name = "switches::b3_is_propagated_in_the_configured_form";
    for value in ["b3", "b3multi,baggage"] {
        let vars = [&all("none")[..], &[("OTEL_PROPAGATORS", value)]].concat();
        in_a_process(name, &vars, || {
            let _telemetry = otlp_mtls::init().unwrap();
            let mut fields = global::get_text_map_propagator(|propagator| {
                propagator.fields().map(str::to_owned).collect::<Vec<_>>()
            });
            fields.sort();
            let expected = match std::env::var("OTEL_PROPAGATORS").unwrap().as_str() {
                "b3" => vec!["b3"],
                _ => vec!["baggage", "x-b3-flags", "x-b3-sampled", "x-b3-spanid", "x-b3-traceid"],
            };
            assert_eq!(fields, expected);
        });
        if is_child() {
            break;
        }
    }
}
