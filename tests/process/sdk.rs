//! Settings of the SDK: the variables that it would read itself, and the builder's settings.

use std::time::Duration;

use opentelemetry::propagation::TextMapCompositePropagator;
use opentelemetry::trace::{Span, Tracer};
use opentelemetry::{KeyValue, global};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::BaggagePropagator;
use opentelemetry_sdk::trace::{Sampler, SpanLimits};
use otlp_mtls::testing::{Collector, Reply};
use otlp_mtls::{Batch, Exporters, ExportersBuilder, FailureKind, Signal, Telemetry};

use crate::init::work;
use crate::{SOON, in_a_process, output_of_a_process};

/// A plaintext collector, and the result of `init` with these variables, by the builder.
fn started(
    vars: &'static [(&str, &str)],
    set: impl FnOnce(ExportersBuilder) -> ExportersBuilder,
) -> (Collector, Telemetry) {
    let collector = Collector::builder().start().unwrap();
    let builder = Exporters::builder()
        .with_endpoint(collector.endpoint())
        .with_env(|name| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()));
    let telemetry = set(builder).build().unwrap().install().unwrap();
    (collector, telemetry)
}

/// The number of items in each request of a signal.
fn batches(collector: &Collector, signal: Signal) -> Vec<usize> {
    let requests = collector.requests().into_iter();
    requests.filter(|request| request.signal == signal).map(|request| request.items()).collect()
}

/// Asserts that four spans went in batches of no more than two.
///
/// Not that there were two: told of a full batch, the SDK's thread may find three spans, and sends 2 and 1.
fn assert_batches_of_two(collector: &Collector) {
    let batches = batches(collector, Signal::Traces);
    assert_eq!(batches.iter().sum::<usize>(), 4, "{batches:?}");
    assert_eq!(batches.iter().max(), Some(&2), "{batches:?}");
}

/// In the SDK, each of these loses spans, loops without a pause, or ends the process.
#[test]
fn invalid_values_are_replaced_and_named() {
    let name = "sdk::invalid_values_are_replaced_and_named";
    const VARS: &[(&str, &str)] = &[
        ("OTEL_BSP_MAX_QUEUE_SIZE", "2147483647"),
        ("OTEL_BLRP_MAX_QUEUE_SIZE", "2147483647"),
        ("OTEL_BSP_SCHEDULE_DELAY", "0"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "0"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0"),
        ("OTEL_TRACES_SAMPLER", "traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "-1"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "abc"),
        ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "12"),
    ];
    // Also in the process's environment, where the SDK would read them.
    let output = output_of_a_process(name, VARS, || {
        let (collector, telemetry) = started(VARS, |builder| builder);
        for _ in 0..20 {
            work();
        }
        telemetry.shutdown(SOON).unwrap();
        assert_eq!(batches(&collector, Signal::Traces), [20]);
        assert_eq!(batches(&collector, Signal::Metrics).len(), 1);
    });
    let Some([_, stderr]) = output else { return };
    let understood = "OTEL_TRACES_SAMPLER";
    let (last, replaced) = VARS.split_last().unwrap();
    for (name, value) in replaced.iter().filter(|(name, _)| *name != understood) {
        let begins = format!("otlp-mtls: {name}: `{value}` is ignored, expected ");
        let line = stderr.lines().find(|line| line.starts_with(&begins));
        assert!(line.is_some_and(|line| line.contains("; using ")), "{name}: {stderr}");
    }
    let (without_effect, _) = last;
    let begins = format!("otlp-mtls: {without_effect}: no effect");
    assert_eq!(stderr.matches(&begins).count(), 1, "{stderr}");
    assert_eq!(stderr.matches("the service has no name").count(), 1, "{stderr}");
}

#[test]
fn what_with_env_has_beats_the_process() {
    let process = [("OTEL_TRACES_SAMPLER", "always_off"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")];
    in_a_process("sdk::what_with_env_has_beats_the_process", &process, || {
        let (collector, telemetry) =
            started(&[("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")], |builder| builder);
        for _ in 0..4 {
            work();
        }
        telemetry.shutdown(SOON).unwrap();
        assert_batches_of_two(&collector);
    });
}

#[test]
fn sampler_names_ignore_case() {
    in_a_process("sdk::sampler_names_ignore_case", &[], || {
        let (collector, telemetry) =
            started(&[("OTEL_TRACES_SAMPLER", "ALWAYS_OFF")], |builder| builder);
        work();
        telemetry.shutdown(SOON).unwrap();
        assert_eq!(collector.spans().len(), 0);
    });
}

/// The SDK's processors leave the timeout to the exporter.
#[test]
fn an_export_timeout_ends_exports() {
    in_a_process("sdk::an_export_timeout_ends_exports", &[], || {
        let vars = &[("OTEL_BSP_EXPORT_TIMEOUT", "200"), ("OTEL_METRICS_EXPORTER", "none")];
        let (collector, telemetry) = started(vars, |builder| builder);
        collector.set_reply(|_| Reply::Hold);
        work();
        telemetry.tracer_provider().unwrap().force_flush().unwrap_err();
        let status = telemetry.exporters().unwrap().status();
        let of_traces = status.exports.iter().find(|exports| exports.signal == Signal::Traces);
        let failure = of_traces.unwrap().last_failure.clone().unwrap();
        let FailureKind::Deadline { after, .. } = failure.kind() else { panic!("{failure}") };
        assert_eq!(*after, Duration::from_millis(200));
        assert!(failure.remedy().contains("OTEL_BSP_EXPORT_TIMEOUT"), "{failure}");
        collector.release();
    });
}

/// It also limits what is written to standard error without a subscriber.
#[test]
fn the_log_level_limits_what_is_written() {
    for (level, is_written) in [("warn", true), ("ERROR", false), ("none", false), ("loud", true)] {
        let vars = [("OTEL_LOG_LEVEL", level), ("OTEL_BSP_SCHEDULE_DELAY", "soon")];
        let name = "sdk::the_log_level_limits_what_is_written";
        let output = output_of_a_process(name, &vars, || {
            drop(started(&[], |builder| builder.with_env(|name| std::env::var_os(name))));
        });
        let Some([_, stderr]) = output else { return };
        assert_eq!(stderr.contains("OTEL_BSP_SCHEDULE_DELAY"), is_written, "{level}: {stderr}");
    }
}

#[test]
fn the_builder_has_all_of_it() {
    let vars = &[
        ("OTEL_TRACES_SAMPLER", "always_off"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "3600000"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "3"),
        ("OTEL_PROPAGATORS", "none"),
        ("OTEL_SERVICE_NAME", "env"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team=env"),
    ];
    in_a_process("sdk::the_builder_has_all_of_it", &[], || {
        let given = Resource::builder().with_attribute(KeyValue::new("mine", "1")).build();
        let propagators = vec![Box::new(BaggagePropagator::new()) as _];
        let (collector, telemetry) = started(vars, |builder| {
            builder
                .with_batch(Batch::default().with_max_export_batch_size(2))
                .with_metric_interval(Duration::from_millis(10))
                .with_sampler(Sampler::AlwaysOn)
                .with_span_limits(SpanLimits { max_attributes_per_span: 1, ..Default::default() })
                .with_propagator(TextMapCompositePropagator::new(propagators))
                .with_resource(given)
                .with_service_version("1.2.3")
        });
        for _ in 0..4 {
            let mut span = global::tracer("test").start("a span");
            span.set_attribute(KeyValue::new("a", 1));
            span.set_attribute(KeyValue::new("b", 2));
            span.end();
        }
        global::meter("test").u64_counter("work").build().add(1, &[]);
        assert!(collector.wait_for(Signal::Metrics, 1, SOON));
        let fields = global::get_text_map_propagator(|propagator| {
            propagator.fields().map(str::to_owned).collect::<Vec<_>>()
        });
        assert_eq!(fields, ["baggage"]);
        telemetry.shutdown(SOON).unwrap();
        assert_batches_of_two(&collector);
        assert!(collector.spans().iter().all(|span| span.attributes.len() == 1));
        let resource = ["service.name", "service.version", "team", "mine"]
            .map(|key| collector.resource_attribute(key));
        let expected = ["env", "1.2.3", "env", "1"].map(|value| Some(value.to_owned()));
        assert_eq!(resource, expected);
    });
}

/// The SDK's detectors read the process's environment, too: they do not decode values, and skip invalid ones. Their
/// attributes must not be in our resource, nor in a given one.
#[test]
fn the_environment_s_resource_is_read_only_by_us() {
    let name = "sdk::the_environment_s_resource_is_read_only_by_us";
    const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
    for (vars, is_injected, service, team) in [
        (
            [(ATTRIBUTES, "service.name=weaker,team=light%20blue"), ("OTEL_SERVICE_NAME", "x")],
            false,
            "x",
            "light blue",
        ),
        (
            [(ATTRIBUTES, "service.name=x,team=%zz"), ("OTEL_SERVICE_NAME", "")],
            false,
            "unknown_service:",
            "",
        ),
        (
            [(ATTRIBUTES, "service.name=x,team=a"), ("OTEL_SERVICE_NAME", "y")],
            true,
            "unknown_service:",
            "",
        ),
    ] {
        for given in ["", "code", "default"] {
            let expected = [("GIVEN", given), ("IS_INJECTED", if is_injected { "1" } else { "" })];
            let output = output_of_a_process(name, &[&vars[..], &expected].concat(), || {
                let var = |name| std::env::var(name).unwrap();
                let resource =
                    || Resource::builder().with_attribute(KeyValue::new("mine", "1")).build();
                let (collector, telemetry) = started(&[], |builder| {
                    let builder = match var("IS_INJECTED").as_str() {
                        "" => builder.with_env(|name| std::env::var_os(name)),
                        _ => builder,
                    };
                    match var("GIVEN").as_str() {
                        "" => builder,
                        "code" => builder.with_resource(resource()),
                        _ => builder.with_defaults(|defaults| defaults.with_resource(resource())),
                    }
                });
                work();
                telemetry.shutdown(SOON).unwrap();
                let found = ["service.name", "team", "mine"]
                    .map(|key| collector.resource_attribute(key).unwrap_or_default());
                println!("found: {}", found.join("|"));
            });
            let Some([stdout, stderr]) = output else { return };
            let mine = if given.is_empty() { "" } else { "1" };
            let found = stdout.lines().find_map(|line| line.strip_prefix("found: ")).unwrap();
            let is_expected =
                found.starts_with(service) && found.ends_with(&format!("|{team}|{mine}"));
            assert!(is_expected, "{vars:?} {given}: {found}");
            let is_unnamed = stderr.contains("the service has no name");
            assert_eq!(is_unnamed, service.starts_with("unknown"), "{vars:?} {given}: {stderr}");
        }
    }
}
