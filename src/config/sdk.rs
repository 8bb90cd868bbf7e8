//! The settings of the SDK's providers: batches, the interval of metrics, sampling, limits.
//!
//! By default the SDK reads these variables itself, but only from the process, and it silently
//! ignores invalid values. The specification requires a warning that names variable and value
//! ([numbers], [enums]).
//!
//! [numbers]: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#numeric
//! [enums]: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#enum

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
#[cfg(feature = "trace")]
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "trace")]
use opentelemetry::propagation::TextMapPropagator;
#[cfg(feature = "trace")]
use opentelemetry_sdk::trace::{Sampler, ShouldSample, SpanLimits};

use super::env::Env;
use super::layer::Layers;
use super::resource::{self, ResourceSettings};
use super::sdk_layer::{Batch, BatchSettings, MAX_MILLISECONDS, MAX_QUEUE_SIZE};
use super::switches::Switches;
use super::variables::{self, BatchVariables};
use super::warning::Warning;
use crate::origin::Sourced;
use crate::signal::Signal;

/// The resolved settings of the SDK's providers.
#[derive(Clone)]
pub(crate) struct Sdk {
    pub(crate) batch_spans: BatchSettings,
    pub(crate) batch_logs: BatchSettings,
    /// `None` for the default of the reader: one minute, or ten seconds to the console.
    pub(crate) metric_interval: Option<Duration>,
    #[cfg(feature = "trace")]
    pub(crate) sampler: Box<dyn ShouldSample>,
    #[cfg(feature = "trace")]
    pub(crate) span_limits: SpanLimits,
    /// `None` for those that `OTEL_PROPAGATORS` names.
    #[cfg(feature = "trace")]
    pub(crate) propagator: Option<Arc<dyn TextMapPropagator + Send + Sync>>,
    pub(crate) resource: ResourceSettings,
}

impl Sdk {
    /// Invalid values cause warnings, and so do variables that have no effect with these outputs.
    pub(crate) fn resolve(
        layers: &Layers,
        switches: &Switches,
        warnings: &mut Vec<Warning>,
    ) -> Self {
        let Layers { code, env, defaults, .. } = layers;
        let mut read = SdkReader { env, warnings };
        let mut batch = |signal, names, delay| {
            read.batch(&code.of(signal).sdk.batch, &defaults.of(signal).sdk.batch, names, delay)
        };
        let batch_spans = batch(Signal::Traces, &variables::BATCH_SPANS, Duration::from_secs(5));
        let batch_logs = batch(Signal::Logs, &variables::BATCH_LOGS, Duration::from_secs(1));
        let (code, defaults) = (&code.all.sdk, &defaults.all.sdk);
        let sdk = Self {
            batch_spans,
            batch_logs,
            metric_interval: read.metric_interval([code.metric_interval, defaults.metric_interval]),
            #[cfg(feature = "trace")]
            sampler: code
                .sampler
                .clone()
                .or_else(|| Some(Box::new(read.sampler()?)))
                .or_else(|| defaults.sampler.clone())
                .unwrap_or_else(|| Box::new(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))),
            #[cfg(feature = "trace")]
            span_limits: match code.span_limits {
                Some(limits) => limits,
                None => read.span_limits(defaults.span_limits.unwrap_or_default()),
            },
            #[cfg(feature = "trace")]
            propagator: match (&code.propagator, env.is_set(variables::PROPAGATORS)) {
                (None, false) => defaults.propagator.clone(),
                (given, _) => given.clone(),
            },
            resource: ResourceSettings {
                defaults: defaults.clone(),
                environment: resource::environment(env, read.warnings),
                code: code.clone(),
            },
        };
        let ignored: Vec<_> =
            variables::WITHOUT_EFFECT.iter().copied().filter(|name| env.is_set(name)).collect();
        if !ignored.is_empty() {
            let reason = ": not supported by this crate or the Rust SDK";
            warnings.push(Warning::WithoutEffect { variables: ignored, reason });
        }
        let is_on = |name: &&str| {
            env.raw(name)
                .is_some_and(|value| !value.is_empty() && !value.eq_ignore_ascii_case("none"))
        };
        let absent = Signal::ALL.into_iter().filter(|signal| !signal.is_compiled());
        let absent: Vec<_> = absent.map(variables::exporter_variable).filter(is_on).collect();
        if !absent.is_empty() {
            let reason = ": this build of otlp-mtls does not have the signal's feature";
            warnings.push(Warning::WithoutEffect { variables: absent, reason });
        }
        let has_logs = !switches.outputs(Signal::Logs).is_empty();
        if has_logs && env.is_set(variables::ATTRIBUTE_COUNT_LIMIT) {
            let reason = " on log records: not supported by the Rust SDK";
            let variables = vec![variables::ATTRIBUTE_COUNT_LIMIT];
            warnings.push(Warning::WithoutEffect { variables, reason });
        }
        for signal in switches.only_printed() {
            let (batch, reason) = match signal {
                Signal::Logs => (
                    Some(variables::BATCH_LOGS),
                    ": log records are only written to the console, one by one",
                ),
                Signal::Metrics => (None, ": metrics are only written to the console"),
                Signal::Traces => (
                    Some(variables::BATCH_SPANS),
                    ": spans are only written to the console, one by one",
                ),
            };
            let names = batch.map(BatchVariables::names).into_iter().flatten();
            let names = names.chain([variables::export_timeout(signal)]);
            let variables: Vec<_> = names.filter(|name| env.is_set(name)).collect();
            if !variables.is_empty() {
                warnings.push(Warning::WithoutEffect { variables, reason });
            }
        }
        sdk
    }
}

/// Reads the SDK's variables, by one rule: an invalid value causes a warning, and the default is
/// used.
struct SdkReader<'a> {
    env: &'a Env,
    warnings: &'a mut Vec<Warning>,
}

impl SdkReader<'_> {
    fn batch(
        &mut self,
        given: &Batch,
        below: &Batch,
        names: &BatchVariables,
        default_delay: Duration,
    ) -> BatchSettings {
        const SETTER: &str = "with_batch";
        let schedule_delay = self
            .duration(
                SETTER,
                [given.schedule_delay, below.schedule_delay],
                names.schedule_delay,
                Some(default_delay),
            )
            .unwrap_or(default_delay);
        let max_queue_size = self.number(
            SETTER,
            [given.max_queue_size, below.max_queue_size],
            names.max_queue_size,
            MAX_QUEUE_SIZE,
            2_048,
        );
        // By the specification, at most the size of the queue.
        let max_export_batch_size = self.number(
            SETTER,
            [given.max_export_batch_size, below.max_export_batch_size],
            names.max_export_batch_size,
            max_queue_size,
            512,
        );
        BatchSettings { schedule_delay, max_queue_size, max_export_batch_size }
    }

    /// `None` for the default, also if the given value is invalid.
    fn metric_interval(&mut self, given: [Option<Duration>; 2]) -> Option<Duration> {
        self.duration("with_metric_interval", given, variables::METRIC_EXPORT_INTERVAL, None)
    }

    /// A number of items: from code, a variable, the default in code, or the specification's default.
    fn number(
        &mut self,
        setter: &'static str,
        [given, below]: [Option<usize>; 2],
        name: &str,
        most: usize,
        default: usize,
    ) -> usize {
        let below = below.map(|items| Sourced::builder(setter, items));
        let below = below.and_then(|below| self.checked(below, 1..=MAX_QUEUE_SIZE, &default));
        let default = below.unwrap_or(default).min(most);
        let given = given.map(|items| Sourced::builder(setter, items));
        self.usable(given, name, 1..=most, &default).unwrap_or(default)
    }

    /// A duration that is not zero, from the same places; variables are in milliseconds.
    fn duration(
        &mut self,
        setter: &'static str,
        given: [Option<Duration>; 2],
        name: &str,
        default: Option<Duration>,
    ) -> Option<Duration> {
        let milliseconds = |duration: Duration| {
            let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
            // A duration below a millisecond must not become zero.
            milliseconds.max(u64::from(!duration.is_zero()))
        };
        let [given, below] =
            given.map(|given| Some(Sourced::builder(setter, milliseconds(given?))));
        let used = |default: Option<u64>| {
            default.map_or_else(|| "the default".to_owned(), |default| default.to_string())
        };
        let (range, default) = (1..=MAX_MILLISECONDS, default.map(milliseconds));
        let below = below.and_then(|below| self.checked(below, range.clone(), &used(default)));
        let default = below.or(default);
        let found = self.usable(given, name, range, &used(default));
        found.or(default).map(Duration::from_millis)
    }

    /// A number from code or a variable; `None` if there is no valid one. One that is too large
    /// becomes the largest allowed one.
    fn usable<T>(
        &mut self,
        given: Option<Sourced<T>>,
        name: &str,
        range: RangeInclusive<T>,
        default: &dyn Display,
    ) -> Option<T>
    where
        T: Copy + Display + FromStr + Ord,
    {
        match given {
            Some(given) => self.checked(given, range, default),
            None => {
                let found = self.env.lenient(name, self.warnings)?;
                let value = found.value.parse().ok();
                self.in_range(value, found, range, default)
            }
        }
    }

    /// The same for a number from code.
    fn checked<T>(
        &mut self,
        given: Sourced<T>,
        range: RangeInclusive<T>,
        default: &dyn Display,
    ) -> Option<T>
    where
        T: Copy + Display + Ord,
    {
        let value = given.value;
        self.in_range(Some(value), given.map(|value| value.to_string()), range, default)
    }

    /// The same for a parsed number; `value` is `None` if `text` is not a number.
    fn in_range<T>(
        &mut self,
        value: Option<T>,
        text: Sourced<String>,
        range: RangeInclusive<T>,
        default: &dyn Display,
    ) -> Option<T>
    where
        T: Copy + Display + Ord,
    {
        let Sourced { value: text, origin } = text;
        let (least, most) = (*range.start(), *range.end());
        let is_too_large = match value {
            Some(value) if range.contains(&value) => return Some(value),
            Some(value) => value > most,
            // The number is larger than its type can hold.
            None => text.bytes().all(|byte| byte.is_ascii_digit()),
        };
        let expected = format!("a number from {least} to {most}");
        let (used, instead) = match is_too_large {
            true => (most.to_string(), Some(most)),
            false => (default.to_string(), None),
        };
        self.warnings.push(Warning::replaced(origin, text, expected, used));
        instead
    }

    /// The SDK's samplers, [by name][spec].
    ///
    /// [spec]: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#general-sdk-configuration
    #[cfg(feature = "trace")]
    fn sampler(&mut self) -> Option<Sampler> {
        let parent_based = |root| Sampler::ParentBased(Box::new(root));
        let found = self.env.lenient(variables::SAMPLER, self.warnings);
        let name = found.as_ref().map(|found| found.value.to_ascii_lowercase());
        let sampler = match name.as_deref() {
            Some("always_on") => Some(Sampler::AlwaysOn),
            Some("always_off") => Some(Sampler::AlwaysOff),
            Some("parentbased_always_on") => Some(parent_based(Sampler::AlwaysOn)),
            Some("parentbased_always_off") => Some(parent_based(Sampler::AlwaysOff)),
            Some("traceidratio") => return Some(Sampler::TraceIdRatioBased(self.ratio())),
            Some("parentbased_traceidratio") => {
                return Some(parent_based(Sampler::TraceIdRatioBased(self.ratio())));
            }
            _ => None,
        };
        if let (Some(Sourced { value, origin }), None) = (found, &sampler) {
            let expected = "always_on, always_off, traceidratio, parentbased_always_on, \
                            parentbased_always_off or parentbased_traceidratio";
            self.warnings.push(Warning::replaced(origin, value, expected, "the default"));
        }
        if self.env.is_set(variables::SAMPLER_ARGUMENT) {
            self.warnings.push(Warning::WithoutEffect {
                variables: vec![variables::SAMPLER_ARGUMENT],
                reason: ": only traceidratio and parentbased_traceidratio have an argument",
            });
        }
        sampler
    }

    /// The ratio of traces to sample: all of them, if the variable is not set.
    #[cfg(feature = "trace")]
    fn ratio(&mut self) -> f64 {
        let Some(found) = self.env.lenient(variables::SAMPLER_ARGUMENT, self.warnings) else {
            return 1.0;
        };
        // NaN is not in the range.
        match found.value.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio)) {
            Some(ratio) => ratio,
            None => {
                let expected = "a number from 0 to 1";
                let Sourced { value, origin } = found;
                self.warnings.push(Warning::replaced(origin, value, expected, "1"));
                1.0
            }
        }
    }

    /// The SDK's [limits]. The general attribute limit applies to spans unless they have their own.
    ///
    /// [limits]: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#attribute-limits
    #[cfg(feature = "trace")]
    fn span_limits(&mut self, default: SpanLimits) -> SpanLimits {
        let mut limit = |name, default| self.usable(None, name, 0..=i32::MAX as u32, &default);
        let general = limit(variables::ATTRIBUTE_COUNT_LIMIT, default.max_attributes_per_span);
        let mut of_attributes =
            |name, default| limit(name, general.unwrap_or(default)).or(general).unwrap_or(default);
        let max_attributes_per_span =
            of_attributes(variables::SPAN_ATTRIBUTE_COUNT_LIMIT, default.max_attributes_per_span);
        let max_attributes_per_event =
            of_attributes(variables::EVENT_ATTRIBUTE_COUNT_LIMIT, default.max_attributes_per_event);
        let max_attributes_per_link =
            of_attributes(variables::LINK_ATTRIBUTE_COUNT_LIMIT, default.max_attributes_per_link);
        let max_events_per_span =
            limit(variables::SPAN_EVENT_COUNT_LIMIT, default.max_events_per_span);
        let max_links_per_span =
            limit(variables::SPAN_LINK_COUNT_LIMIT, default.max_links_per_span);
        SpanLimits {
            max_attributes_per_span,
            max_attributes_per_event,
            max_attributes_per_link,
            max_events_per_span: max_events_per_span.unwrap_or(default.max_events_per_span),
            max_links_per_span: max_links_per_span.unwrap_or(default.max_links_per_span),
        }
    }
}

#[cfg(test)]
mod tests;
