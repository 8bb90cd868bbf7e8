//! What `init` sets up: whether telemetry is enabled, the outputs of each signal, and the
//! propagators.

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use super::env::Env;
#[cfg(feature = "config-file")]
use super::layer::Layer;
use super::layer::{Layers, Rank};
use super::sdk_layer::Batch;
use super::variables::{LOG_LEVEL, PROPAGATORS, SDK_DISABLED, exporter_variable};
use super::warning::{Warning, accept};
use crate::error::Error;
use crate::origin::{Origin, Sourced};
use crate::signal::Signal;

/// An output of a signal: its target, and how items are passed to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) target: OutputTarget,
    pub(crate) processor: Processor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutputTarget {
    /// Its collector.
    Otlp,
    /// Standard output.
    Console,
}

/// How items are passed to an exporter. Values that are not set are common to all outputs of a
/// signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Processor {
    /// Spans and log records, one by one.
    Simple,
    /// Spans and log records, in batches.
    Batch(Batch),
    /// Metrics, at this interval.
    Periodic(Option<Duration>),
}

impl Output {
    /// The default pipeline for a target: [one by one][spec] to the console.
    ///
    /// [spec]: https://opentelemetry.io/docs/specs/otel/trace/sdk_exporters/stdout/
    fn new(signal: Signal, target: OutputTarget) -> Self {
        let processor = match (signal, target) {
            (Signal::Metrics, _) => Processor::Periodic(None),
            (_, OutputTarget::Console) => Processor::Simple,
            (_, OutputTarget::Otlp) => Processor::Batch(Batch::default()),
        };
        Self { target, processor }
    }
}

/// A propagator of trace context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Propagator {
    TraceContext,
    Baggage,
    #[cfg(feature = "b3")]
    B3,
    #[cfg(feature = "b3")]
    B3Multi,
}

impl Propagator {
    pub(super) const EXPECTED: &str = match cfg!(feature = "b3") {
        true => "tracecontext, baggage, b3, b3multi or none",
        false => "tracecontext, baggage or none (b3 and b3multi with the feature `b3`)",
    };

    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "tracecontext" => Some(Self::TraceContext),
            "baggage" => Some(Self::Baggage),
            #[cfg(feature = "b3")]
            "b3" => Some(Self::B3),
            #[cfg(feature = "b3")]
            "b3multi" => Some(Self::B3Multi),
            _ => None,
        }
    }
}

/// The [general variables of the specification][spec] that the SDK does not read itself, and their
/// settings in code.
///
/// [spec]: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#general-sdk-configuration
#[derive(Clone, Debug)]
pub(crate) struct Switches {
    pub(super) disabled: bool,
    /// The outputs of every signal; empty if it is off.
    pub(super) outputs: BTreeMap<Signal, Sourced<Vec<Output>>>,
    pub(super) propagators: Vec<Propagator>,
    pub(super) log_level: Option<LevelFilter>,
}

impl Switches {
    pub(crate) fn resolve(layers: &Layers, warnings: &mut Vec<Warning>) -> Result<Self, Error> {
        let disabled: Option<Sourced<bool>> =
            layers.env.text(SDK_DISABLED)?.and_then(|found| accept(found, warnings));
        let enabled = disabled.map(|disabled| disabled.map(|disabled| !disabled));
        let log_level = layers.env.lenient(LOG_LEVEL, warnings);
        let log_level = log_level.and_then(|found| accept(found, warnings));
        let mut outputs = BTreeMap::<Signal, Sourced<Vec<Output>>>::new();
        for signal in Signal::ALL {
            let targets = targets(signal, layers, enabled.as_ref(), warnings)?;
            let output = |target| Output::new(signal, target);
            outputs.insert(signal, targets.map(|found| found.into_iter().map(output).collect()));
        }
        let says = |rank: &Rank| rank.all.enabled.as_ref().map(|enabled| **enabled);
        let enabled =
            says(&layers.code).or(enabled.map(|set| set.value)).or(says(&layers.defaults));
        let nothing = outputs.values().all(|outputs| outputs.is_empty());
        let disabled = enabled == Some(false) && nothing;

        let default = vec![Propagator::TraceContext, Propagator::Baggage];
        let default = ("tracecontext,baggage", Sourced::default(default));
        let expected = Propagator::EXPECTED;
        let propagators = list(&layers.env, PROPAGATORS, default, expected, warnings, |name| {
            Propagator::parse(&name.to_ascii_lowercase())
        })?;
        Ok(Self {
            disabled,
            outputs,
            propagators: propagators.value,
            log_level: log_level.map(|found| found.value),
        })
    }

    /// Whether all telemetry is disabled. That does not affect propagators.
    pub(crate) fn is_disabled(&self) -> bool {
        self.disabled
    }

    /// The outputs of a signal; empty if it is off.
    pub(crate) fn outputs(&self, signal: Signal) -> &[Output] {
        &self.outputs[&signal].value
    }

    /// The setting that decides the outputs of a signal.
    pub(crate) fn origin(&self, signal: Signal) -> &Origin {
        &self.outputs[&signal].origin
    }

    /// Whether a signal goes to a collector.
    pub(crate) fn is_exported(&self, signal: Signal) -> bool {
        self.outputs(signal).iter().any(|output| output.target == OutputTarget::Otlp)
    }

    /// The signals that only go to the console.
    pub(super) fn only_printed(&self) -> impl Iterator<Item = Signal> {
        let is_printed = |signal: &Signal| !self.outputs(*signal).is_empty();
        Signal::ALL.into_iter().filter(is_printed).filter(|signal| !self.is_exported(*signal))
    }

    /// The signals that do not go to a collector, each with the setting that decides so.
    pub(crate) fn elsewhere(&self) -> impl Iterator<Item = (Signal, &Origin)> {
        let compiled = Signal::ALL.into_iter().filter(|signal| signal.is_compiled());
        let elsewhere = compiled.filter(|signal| !self.is_exported(*signal));
        elsewhere.map(|signal| (signal, self.origin(signal)))
    }

    /// Applies settings from code over those of a configuration file. `disabled` is the file's key,
    /// if it is true.
    #[cfg(feature = "config-file")]
    pub(super) fn below(mut self, code: &Rank, disabled: Option<&Origin>) -> Self {
        for (signal, outputs) in &mut self.outputs {
            let Layer { enabled, sdk, .. } = code.of(*signal);
            let off = |origin: &Origin| Sourced { value: Vec::new(), origin: origin.clone() };
            match (enabled, disabled) {
                (Some(enabled), _) if !*enabled => *outputs = off(&enabled.origin),
                (Some(_), _) if outputs.is_empty() => {
                    *outputs = Sourced::default(vec![Output::new(*signal, OutputTarget::Otlp)]);
                }
                (None, Some(disabled)) => *outputs = off(disabled),
                _ => {}
            }
            for output in &mut outputs.value {
                match &mut output.processor {
                    Processor::Simple => {}
                    Processor::Batch(batch) => *batch = batch.clone().without(&sdk.batch),
                    Processor::Periodic(interval) => {
                        *interval = interval.filter(|_| sdk.metric_interval.is_none());
                    }
                }
            }
        }
        let enabled = code.all.enabled.as_ref().map_or(disabled.is_none(), |enabled| **enabled);
        self.disabled = !enabled && self.outputs.values().all(|outputs| outputs.is_empty());
        self
    }

    /// The level of the SDK's and this crate's own log.
    pub(crate) fn log_level(&self) -> Option<LevelFilter> {
        self.log_level
    }

    pub(crate) fn propagators(&self) -> &[Propagator] {
        &self.propagators
    }

    /// Fails if an output needs the feature `console` and it is not compiled in.
    pub(crate) fn check_console(&self, is_compiled: bool) -> Result<(), Error> {
        let wanting = self.outputs.iter().find(|(signal, outputs)| {
            let is_console = |output: &Output| output.target == OutputTarget::Console;
            signal.is_compiled() && !is_compiled && outputs.value.iter().any(is_console)
        });
        match wanting {
            Some((_, outputs)) => Err(Error::ConsoleNotCompiled { origin: outputs.origin.clone() }),
            None => Ok(()),
        }
    }
}

/// The targets of one signal: from code, then from variables, then from defaults in code. `enabled`
/// comes from `OTEL_SDK_DISABLED`, which takes precedence over the variable of one signal.
fn targets(
    signal: Signal,
    layers: &Layers,
    enabled: Option<&Sourced<bool>>,
    warnings: &mut Vec<Warning>,
) -> Result<Sourced<Vec<OutputTarget>>, Error> {
    let on = || Sourced::default(vec![OutputTarget::Otlp]);
    let off =
        |enabled: &Sourced<bool>| Sourced { value: Vec::new(), origin: enabled.origin.clone() };
    let code = layers.code.of(signal).enabled;
    let enabled = code.as_ref().or(enabled);
    if let Some(enabled) = enabled.filter(|enabled| !***enabled) {
        return Ok(off(enabled));
    }
    let default = match layers.defaults.of(signal).enabled {
        Some(default) if !*default && enabled.is_none() => ("none", off(&default)),
        _ => ("otlp", on()),
    };
    let (variable, expected) = (exporter_variable(signal), "otlp, console or none");
    let targets = list(&layers.env, variable, default, expected, warnings, |name| {
        match name.to_ascii_lowercase().as_str() {
            "otlp" => Some(OutputTarget::Otlp),
            "console" => Some(OutputTarget::Console),
            _ => None,
        }
    })?;
    // Code takes precedence over `none`.
    Ok(if targets.is_empty() && code.is_some() { on() } else { targets })
}

/// The distinct values of a comma-separated list. An unknown value is [ignored with a
/// warning][enum], and so is the variable if it has no known value.
///
/// The specification does not define `none` together with others: Java rejects it, and JavaScript
/// uses its default. Here `none` wins, because it was set to reduce output.
///
/// [enum]: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#enum
fn list<T: Copy + PartialEq>(
    env: &Env,
    variable: &str,
    default: (&str, Sourced<Vec<T>>),
    expected: &'static str,
    warnings: &mut Vec<Warning>,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Sourced<Vec<T>>, Error> {
    let Some(Sourced { value, origin }) = env.text(variable)? else {
        return Ok(default.1);
    };
    let names = value.split(',').map(str::trim).filter(|name| !name.is_empty());
    let (none, names): (Vec<_>, Vec<_>) = names.partition(|name| name.eq_ignore_ascii_case("none"));
    let (mut values, mut known, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    for name in names {
        match parse(name) {
            Some(value) if values.contains(&value) => {}
            Some(value) => {
                values.push(value);
                known.push(name);
            }
            None => unknown.push(name),
        }
    }
    let used = match (none.is_empty(), known.as_slice()) {
        (false, _) => "none".to_owned(),
        (true, []) => default.0.to_owned(),
        (true, known) => known.join(","),
    };
    warnings.extend(
        unknown
            .into_iter()
            .map(|name| Warning::replaced(origin.clone(), name.to_owned(), expected, used.clone())),
    );
    if !none.is_empty() {
        if !values.is_empty() {
            warnings.push(Warning::NoneBesideOthers { origin: origin.clone(), value });
        }
        return Ok(Sourced { value: Vec::new(), origin });
    }
    if values.is_empty() {
        return Ok(default.1);
    }
    Ok(Sourced { value: values, origin })
}

#[cfg(test)]
mod tests {
    use super::super::layer::Layer;
    use super::*;

    const TRACES: &str = "OTEL_TRACES_EXPORTER";

    fn resolve(vars: &[(&str, &str)]) -> (Switches, Vec<String>) {
        let vars: Vec<(String, String)> =
            vars.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let env = Env::new(move |name| {
            vars.iter().find(|(key, _)| key == name).map(|(_, value)| value.into())
        });
        resolve_layers(&Layers {
            code: Rank::default(),
            env,
            defaults: Rank::default(),
            file: None,
        })
    }

    fn resolve_layers(layers: &Layers) -> (Switches, Vec<String>) {
        let mut warnings = Vec::new();
        let switches = Switches::resolve(layers, &mut warnings).unwrap();
        (switches, warnings.iter().map(ToString::to_string).collect())
    }

    fn targets(switches: &Switches, signal: Signal) -> Vec<OutputTarget> {
        switches.outputs(signal).iter().map(|output| output.target).collect()
    }

    #[test]
    fn code_then_variables_then_defaults_of_code() {
        const OFF: &str = "OTEL_SDK_DISABLED";
        let rank = |all: Option<bool>, traces: Option<bool>| {
            let layer = |enabled: Option<bool>| Layer {
                enabled: enabled.map(|enabled| Sourced::builder("with_enabled", enabled)),
                ..Layer::default()
            };
            Rank { all: layer(all), own: [(Signal::Traces, layer(traces))].into() }
        };
        let unset = (None, None);
        type Signals = (Option<bool>, Option<bool>);
        /// Code for all signals and for traces, variables, defaults from code; expected targets of
        /// traces and logs, whether everything is off, and the setting that decided for traces.
        type Row<'a> =
            (Signals, &'a [(&'a str, &'a str)], Signals, [&'a [OutputTarget]; 2], bool, &'a str);
        let otlp: &[OutputTarget] = &[OutputTarget::Otlp];
        let rows: &[Row<'_>] = &[
            (unset, &[], unset, [otlp, otlp], false, "the default"),
            ((None, Some(false)), &[], unset, [&[], otlp], false, "with_enabled()"),
            ((Some(false), None), &[], unset, [&[], &[]], true, "with_enabled()"),
            ((Some(false), Some(true)), &[], unset, [otlp, &[]], false, "the default"),
            ((None, Some(false)), &[(TRACES, "otlp")], unset, [&[], otlp], false, "with_enabled()"),
            ((None, Some(true)), &[(TRACES, "none")], unset, [otlp, otlp], false, "the default"),
            (
                (None, Some(true)),
                &[(TRACES, "console")],
                unset,
                [&[OutputTarget::Console], otlp],
                false,
                TRACES,
            ),
            ((None, Some(true)), &[(OFF, "true")], unset, [otlp, &[]], false, "the default"),
            ((Some(true), None), &[(OFF, "true")], unset, [otlp, otlp], false, "the default"),
            (unset, &[(OFF, "true"), (TRACES, "otlp")], unset, [&[], &[]], true, OFF),
            (unset, &[], (None, Some(false)), [&[], otlp], false, "with_enabled()"),
            (unset, &[], (Some(false), None), [&[], &[]], true, "with_enabled()"),
            (unset, &[(TRACES, "otlp")], (Some(false), None), [otlp, &[]], false, TRACES),
            (unset, &[(TRACES, "zipkin")], (Some(false), None), [&[], &[]], true, "with_enabled()"),
            (unset, &[(OFF, "false")], (Some(false), None), [otlp, otlp], false, "the default"),
            (unset, &[(OFF, "true")], (Some(true), None), [&[], &[]], true, OFF),
        ];
        for (code, vars, defaults, [traces, logs], disabled, origin) in rows {
            let case = format!("{code:?} {vars:?} {defaults:?}");
            let vars: Vec<_> =
                vars.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            let env = Env::new(move |name| {
                vars.iter().find(|(key, _)| key == name).map(|(_, value)| value.into())
            });
            let (code, defaults) = (rank(code.0, code.1), rank(defaults.0, defaults.1));
            let (switches, _) = resolve_layers(&Layers { code, env, defaults, file: None });
            assert_eq!(targets(&switches, Signal::Traces), *traces, "{case}");
            assert_eq!(targets(&switches, Signal::Logs), *logs, "{case}");
            assert_eq!(switches.is_disabled(), *disabled, "{case}");
            assert_eq!(switches.origin(Signal::Traces).to_string(), *origin, "{case}");
        }
    }

    #[test]
    fn exporters() {
        use OutputTarget::{Console, Otlp};
        let rows: &[(&str, &str, &[OutputTarget], &[&str])] = &[
            ("empty is unset", " ", &[Otlp], &[]),
            ("otlp", "otlp", &[Otlp], &[]),
            ("in any case", "OTLP", &[Otlp], &[]),
            ("none", "none", &[], &[]),
            ("console", "console", &[Console], &[]),
            ("a list", " otlp , console,", &[Otlp, Console], &[]),
            ("each once", "otlp,otlp", &[Otlp], &[]),
            ("commas alone are empty", ",", &[Otlp], &[]),
            (
                "what is not known is ignored",
                "zipkin",
                &[Otlp],
                &[
                    "OTEL_TRACES_EXPORTER: `zipkin` is ignored, expected otlp, console or none; using otlp",
                ],
            ),
            (
                "and the rest of the list is not",
                "zipkin,console",
                &[Console],
                &[
                    "OTEL_TRACES_EXPORTER: `zipkin` is ignored, expected otlp, console or none; using console",
                ],
            ),
            (
                "none wins over others",
                "otlp,none",
                &[],
                &["OTEL_TRACES_EXPORTER: `otlp,none` has `none` together with other values, and \
                   `none` wins"],
            ),
        ];
        for (rule, value, expected, said) in rows {
            let (switches, warnings) = resolve(&[(TRACES, value)]);
            assert_eq!(targets(&switches, Signal::Traces), *expected, "{rule}");
            assert_eq!(targets(&switches, Signal::Logs), [Otlp], "{rule}: of one signal alone");
            assert_eq!(warnings, *said, "{rule}");
        }
    }

    #[test]
    fn propagators() {
        use Propagator::{Baggage, TraceContext};
        let rows: &[(&str, &str, &[Propagator], usize)] = &[
            ("empty is unset", "", &[TraceContext, Baggage], 0),
            ("one", "baggage", &[Baggage], 0),
            ("each once", "baggage,tracecontext,Baggage", &[Baggage, TraceContext], 0),
            ("none", "none", &[], 0),
            ("none wins over others", "none,baggage", &[], 1),
            ("what is not known is ignored", "xray,baggage", &[Baggage], 1),
            ("and as if unset if all is", "xray,jaeger", &[TraceContext, Baggage], 2),
        ];
        for (rule, value, expected, said) in rows {
            let (switches, warnings) = resolve(&[("OTEL_PROPAGATORS", value)]);
            assert_eq!(switches.propagators(), *expected, "{rule}");
            assert_eq!(warnings.len(), *said, "{rule}: {warnings:?}");
        }
    }

    #[test]
    fn disabled() {
        for (value, disabled, said) in
            [("true", true, 0), ("TRUE", true, 0), ("false", false, 0), ("1", false, 1)]
        {
            let vars = [("OTEL_SDK_DISABLED", value), ("OTEL_PROPAGATORS", "baggage")];
            let (switches, warnings) = resolve(&vars);
            assert_eq!(switches.is_disabled(), disabled, "{value}");
            for signal in Signal::ALL {
                assert_eq!(switches.outputs(signal).is_empty(), disabled, "{value}: {signal}");
            }
            assert_eq!(switches.propagators(), [Propagator::Baggage], "{value}");
            assert_eq!(warnings.len(), said, "{value}: {warnings:?}");
        }
    }

    #[test]
    fn console_needs_a_feature() {
        let (switches, _) = resolve(&[(TRACES, "otlp,console")]);
        switches.check_console(true).unwrap();
        let refusal = switches.check_console(false).map_err(|error| error.to_string());
        let expected = "OTEL_TRACES_EXPORTER: `console` needs the feature `console` of otlp-mtls, \
                        which this build does not have";
        // A signal that is not compiled in has no outputs.
        match Signal::Traces.is_compiled() {
            true => assert_eq!(refusal.unwrap_err(), expected),
            false => refusal.unwrap(),
        }
        resolve(&[]).0.check_console(false).unwrap();
    }
}
