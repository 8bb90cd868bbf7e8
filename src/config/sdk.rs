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

use opentelemetry::KeyValue;
#[cfg(feature = "trace")]
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry_sdk::Resource;
#[cfg(feature = "trace")]
use opentelemetry_sdk::trace::{Sampler, ShouldSample, SpanLimits};

use super::env::Env;
use super::layer::Layers;
use super::resource::{self, ResourceSettings};
use super::variables::{self, BatchVariables};
use super::warning::Warning;
use crate::origin::Sourced;
use crate::signal::Signal;

/// The longest queue. The SDK allocates all of it at once, about 400 bytes per span.
pub(super) const MAX_QUEUE_SIZE: usize = 131_072;

/// The longest delay or interval, in milliseconds, that [the specification] requires to be
/// supported.
///
/// [the specification]: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#numeric
pub(super) const MAX_MILLISECONDS: u64 = i32::MAX as u64;

/// How the SDK batches spans or log records. What is not set comes from the environment
/// (`OTEL_BSP_*`, `OTEL_BLRP_*`), then from the specification's defaults.
///
/// ```
/// use otlp_mtls::Batch;
/// use std::time::Duration;
///
/// let batch = Batch::default().with_schedule_delay(Duration::from_secs(1)).with_max_queue_size(8_192);
/// # assert_ne!(batch, Batch::default());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    schedule_delay: Option<Duration>,
    max_queue_size: Option<usize>,
    max_export_batch_size: Option<usize>,
}

impl Batch {
    /// Sets the time between two exports: by default 5 s for spans and 1 s for log records. Must
    /// not be zero.
    #[must_use]
    pub fn with_schedule_delay(mut self, delay: Duration) -> Self {
        self.schedule_delay = Some(delay);
        self
    }

    /// Sets how many items may wait for an export, 1 to 131,072: by default 2,048. Items beyond
    /// that are dropped, and counted in [`Exporters::status`](crate::Exporters::status).
    #[must_use]
    pub fn with_max_queue_size(mut self, items: usize) -> Self {
        self.max_queue_size = Some(items);
        self
    }

    /// Sets the largest number of items in one export, at most the size of the queue: by default
    /// 512.
    #[must_use]
    pub fn with_max_export_batch_size(mut self, items: usize) -> Self {
        self.max_export_batch_size = Some(items);
        self
    }

    /// Settings of this layer, or else of the one below.
    pub(super) fn or(self, below: Self) -> Self {
        Self {
            schedule_delay: self.schedule_delay.or(below.schedule_delay),
            max_queue_size: self.max_queue_size.or(below.max_queue_size),
            max_export_batch_size: self.max_export_batch_size.or(below.max_export_batch_size),
        }
    }

    /// Settings that are set here but not there.
    #[cfg(feature = "config-file")]
    pub(super) fn without(self, other: &Self) -> Self {
        Self {
            schedule_delay: self.schedule_delay.filter(|_| other.schedule_delay.is_none()),
            max_queue_size: self.max_queue_size.filter(|_| other.max_queue_size.is_none()),
            max_export_batch_size: self
                .max_export_batch_size
                .filter(|_| other.max_export_batch_size.is_none()),
        }
    }
}

/// The settings of the SDK's providers from one source.
#[derive(Clone, Default)]
pub(crate) struct SdkLayer {
    pub(crate) batch: Batch,
    pub(crate) metric_interval: Option<Duration>,
    #[cfg(feature = "trace")]
    pub(crate) sampler: Option<Box<dyn ShouldSample>>,
    #[cfg(feature = "trace")]
    pub(crate) span_limits: Option<SpanLimits>,
    #[cfg(feature = "trace")]
    pub(crate) propagator: Option<Arc<dyn TextMapPropagator + Send + Sync>>,
    /// Replaces detected attributes.
    pub(crate) resource: Option<Resource>,
    pub(crate) attributes: Vec<KeyValue>,
}

impl SdkLayer {
    /// Settings of this layer, or else of the one below.
    pub(super) fn or(self, below: Self) -> Self {
        Self {
            batch: self.batch.or(below.batch),
            metric_interval: self.metric_interval.or(below.metric_interval),
            #[cfg(feature = "trace")]
            sampler: self.sampler.or(below.sampler),
            #[cfg(feature = "trace")]
            span_limits: self.span_limits.or(below.span_limits),
            #[cfg(feature = "trace")]
            propagator: self.propagator.or(below.propagator),
            resource: self.resource.or(below.resource),
            attributes: below.attributes.into_iter().chain(self.attributes).collect(),
        }
    }
}

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

/// A [`Batch`] with every value set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchSettings {
    pub(crate) schedule_delay: Duration,
    pub(crate) max_queue_size: usize,
    pub(crate) max_export_batch_size: usize,
}

impl BatchSettings {
    /// The batch settings of one output, or else these.
    pub(crate) fn or(self, own: &Batch) -> Self {
        let max_queue_size = own.max_queue_size.unwrap_or(self.max_queue_size);
        let max_export_batch_size =
            own.max_export_batch_size.unwrap_or(self.max_export_batch_size).min(max_queue_size);
        let schedule_delay = own.schedule_delay.unwrap_or(self.schedule_delay);
        Self { schedule_delay, max_queue_size, max_export_batch_size }
    }
}

impl Sdk {
    /// Invalid values cause warnings, and so do variables that have no effect. `has_logs` is whether log records are
    /// exported.
    pub(crate) fn resolve(layers: &Layers, has_logs: bool, warnings: &mut Vec<Warning>) -> Self {
        let Layers { code, env, defaults, .. } = layers;
        let mut read = Reader { env, warnings };
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
        if has_logs && env.is_set(variables::ATTRIBUTE_COUNT_LIMIT) {
            let reason = " on log records: not supported by the Rust SDK";
            let variables = vec![variables::ATTRIBUTE_COUNT_LIMIT];
            warnings.push(Warning::WithoutEffect { variables, reason });
        }
        sdk
    }
}

/// Reads the SDK's variables, by one rule: an invalid value causes a warning, and the default is
/// used.
struct Reader<'a> {
    env: &'a Env,
    warnings: &'a mut Vec<Warning>,
}

impl Reader<'_> {
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
mod tests {
    use super::*;
    use crate::config::layer::{Layer, Rank};

    fn env(vars: &[(&str, &str)]) -> Env {
        let vars: Vec<(String, String)> =
            vars.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Env::new(move |name| {
            vars.iter().find(|(key, _)| key == name).map(|(_, value)| value.into())
        })
    }

    fn resolve(code: SdkLayer, vars: &[(&str, &str)], defaults: SdkLayer) -> (Sdk, Vec<String>) {
        let rank = |sdk| Rank { all: Layer { sdk, ..Layer::default() }, ..Rank::default() };
        let layers =
            Layers { code: rank(code), env: env(vars), defaults: rank(defaults), file: None };
        let mut warnings = Vec::new();
        let sdk = Sdk::resolve(&layers, true, &mut warnings);
        (sdk, warnings.iter().map(ToString::to_string).collect())
    }

    fn from_env(vars: &[(&str, &str)]) -> (Sdk, Vec<String>) {
        resolve(SdkLayer::default(), vars, SdkLayer::default())
    }

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn defaults_are_the_specification_s() {
        let (sdk, warnings) = from_env(&[]);
        let batch = |delay| BatchSettings {
            schedule_delay: delay,
            max_queue_size: 2_048,
            max_export_batch_size: 512,
        };
        assert_eq!(sdk.batch_spans, batch(ms(5_000)));
        assert_eq!(sdk.batch_logs, batch(ms(1_000)));
        assert_eq!(sdk.metric_interval, None);
        assert!(warnings.is_empty(), "{warnings:?}");
    }

    /// Each value is used, or causes a warning that names the value used instead.
    #[test]
    fn batches() {
        for (name, value, delay, queue, batch, used) in [
            ("OTEL_BSP_SCHEDULE_DELAY", "20", 20, 2_048, 512, None),
            ("OTEL_BSP_SCHEDULE_DELAY", "0", 5_000, 2_048, 512, Some("5000")),
            ("OTEL_BSP_SCHEDULE_DELAY", "-1", 5_000, 2_048, 512, Some("5000")),
            ("OTEL_BSP_SCHEDULE_DELAY", "abc", 5_000, 2_048, 512, Some("5000")),
            ("OTEL_BSP_SCHEDULE_DELAY", "", 5_000, 2_048, 512, None),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "4096", 5_000, 4_096, 512, None),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "100", 5_000, 100, 100, None),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0", 5_000, 2_048, 512, Some("2048")),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "2147483647", 5_000, 131_072, 512, Some("131072")),
            (
                "OTEL_BSP_MAX_QUEUE_SIZE",
                "99999999999999999999",
                5_000,
                131_072,
                512,
                Some("131072"),
            ),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1", 5_000, 2_048, 1, None),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "0", 5_000, 2_048, 512, Some("512")),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4096", 5_000, 2_048, 2_048, Some("2048")),
        ] {
            let (sdk, warnings) = from_env(&[(name, value)]);
            let expected = BatchSettings {
                schedule_delay: ms(delay),
                max_queue_size: queue,
                max_export_batch_size: batch,
            };
            assert_eq!(sdk.batch_spans, expected, "{name}={value}");
            match used {
                None => assert!(warnings.is_empty(), "{name}={value}: {warnings:?}"),
                Some(used) => {
                    let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
                    let begins = format!("{name}: `{value}` is ignored, expected a number from ");
                    assert!(warning.starts_with(&begins), "{warning}");
                    assert!(warning.ends_with(&format!("; using {used}")), "{warning}");
                }
            }
        }
        let (sdk, _) = from_env(&[("OTEL_BLRP_SCHEDULE_DELAY", "7")]);
        assert_eq!(
            (sdk.batch_logs.schedule_delay, sdk.batch_spans.schedule_delay),
            (ms(7), ms(5_000))
        );
    }

    #[test]
    fn code_beats_the_environment_and_keeps_to_the_same_rule() {
        let batch = Batch::default()
            .with_schedule_delay(Duration::ZERO)
            .with_max_queue_size(usize::MAX)
            .with_max_export_batch_size(7);
        let code = SdkLayer { batch, metric_interval: Some(ms(5)), ..SdkLayer::default() };
        let vars = [
            ("OTEL_BSP_SCHEDULE_DELAY", "1"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "abc"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "abc"),
        ];
        let (sdk, warnings) = resolve(code, &vars, SdkLayer::default());
        let expected = BatchSettings {
            schedule_delay: ms(5_000),
            max_queue_size: 131_072,
            max_export_batch_size: 7,
        };
        assert_eq!(sdk.batch_spans, expected);
        assert_eq!(sdk.metric_interval, Some(ms(5)));
        // Two for spans, and two for log records.
        assert_eq!(warnings.len(), 4, "{warnings:?}");
        assert!(
            warnings.iter().all(|warning| warning.starts_with("with_batch(): ")),
            "{warnings:?}"
        );
        let batch = Batch::default().with_schedule_delay(Duration::from_nanos(1));
        let code = SdkLayer { batch, ..SdkLayer::default() };
        let (sdk, warnings) = resolve(code, &[], SdkLayer::default());
        assert_eq!((sdk.batch_spans.schedule_delay, warnings.len()), (ms(1), 0));
    }

    #[test]
    fn defaults_of_code_lie_below_the_environment() {
        let defaults = || SdkLayer {
            batch: Batch::default().with_max_queue_size(100).with_schedule_delay(ms(7)),
            metric_interval: Some(ms(9)),
            #[cfg(feature = "trace")]
            sampler: Some(Box::new(Sampler::AlwaysOff)),
            ..SdkLayer::default()
        };
        let (sdk, _) = resolve(SdkLayer::default(), &[], defaults());
        let batch = BatchSettings {
            schedule_delay: ms(7),
            max_queue_size: 100,
            max_export_batch_size: 100,
        };
        assert_eq!((sdk.batch_spans, sdk.metric_interval), (batch, Some(ms(9))));
        #[cfg(feature = "trace")]
        assert_eq!(format!("{:?}", sdk.sampler), "AlwaysOff");

        let vars = [
            ("OTEL_BSP_MAX_QUEUE_SIZE", "50"),
            ("OTEL_BSP_SCHEDULE_DELAY", "abc"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "5"),
            ("OTEL_TRACES_SAMPLER", "always_on"),
        ];
        let (sdk, warnings) = resolve(SdkLayer::default(), &vars, defaults());
        assert_eq!(sdk.batch_spans.max_queue_size, 50);
        assert_eq!(sdk.batch_spans.schedule_delay, ms(7));
        assert_eq!(sdk.metric_interval, Some(ms(5)));
        #[cfg(feature = "trace")]
        assert_eq!(format!("{:?}", sdk.sampler), "AlwaysOn");
        let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
        assert!(warning.ends_with("; using 7"), "{warning}");
    }

    /// With a zero delay the SDK would spin, and with an empty queue it would drop everything.
    #[test]
    fn defaults_of_code_keep_to_the_same_rule() {
        let defaults = || SdkLayer {
            batch: Batch::default()
                .with_schedule_delay(Duration::ZERO)
                .with_max_queue_size(usize::MAX)
                .with_max_export_batch_size(0),
            metric_interval: Some(Duration::ZERO),
            ..SdkLayer::default()
        };
        let expected = |delay| BatchSettings {
            schedule_delay: ms(delay),
            max_queue_size: 131_072,
            max_export_batch_size: 512,
        };
        let (sdk, warnings) = resolve(SdkLayer::default(), &[], defaults());
        assert_eq!((sdk.batch_spans, sdk.batch_logs), (expected(5_000), expected(1_000)));
        assert_eq!(sdk.metric_interval, None);
        let of = |setter: &str| {
            warnings.iter().filter(|warning| warning.starts_with(setter)).collect::<Vec<_>>()
        };
        // Three of spans, and three of log records.
        assert_eq!(of("with_batch(): ").len(), 6, "{warnings:?}");
        assert!(warnings[0].ends_with("; using 5000"), "{warnings:?}");
        assert_eq!(of("with_metric_interval(): ").len(), 1, "{warnings:?}");
        let days = Duration::from_secs(86_400 * 365);
        let defaults = SdkLayer { metric_interval: Some(days), ..SdkLayer::default() };
        let (sdk, warnings) = resolve(SdkLayer::default(), &[], defaults);
        assert_eq!((sdk.metric_interval, warnings.len()), (Some(ms(MAX_MILLISECONDS)), 1));
    }

    #[test]
    fn intervals() {
        for (value, interval, said) in [
            ("2000", Some(ms(2_000)), 0),
            ("", None, 0),
            ("0", None, 1),
            ("abc", None, 1),
            ("-5", None, 1),
            ("99999999999999999999999", Some(ms(2_147_483_647)), 1),
        ] {
            let (sdk, warnings) = from_env(&[("OTEL_METRIC_EXPORT_INTERVAL", value)]);
            assert_eq!(sdk.metric_interval, interval, "{value}");
            assert_eq!(warnings.len(), said, "{value}: {warnings:?}");
        }
    }

    #[cfg(feature = "trace")]
    #[test]
    fn samplers() {
        let ratio = |ratio| format!("TraceIdRatioBased({ratio:?})");
        for (sampler, argument, expected, said) in [
            ("", "", "ParentBased(AlwaysOn)".to_owned(), 0),
            ("ALWAYS_OFF", "", "AlwaysOff".to_owned(), 0),
            ("always_on", "", "AlwaysOn".to_owned(), 0),
            ("ParentBased_Always_Off", "", "ParentBased(AlwaysOff)".to_owned(), 0),
            ("traceidratio", "0.25", ratio(0.25), 0),
            ("traceidratio", "", ratio(1.0), 0),
            ("traceidratio", "-1", ratio(1.0), 1),
            ("traceidratio", "nan", ratio(1.0), 1),
            ("traceidratio", "2", ratio(1.0), 1),
            ("traceidratio", "inf", ratio(1.0), 1),
            ("parentbased_traceidratio", "0", format!("ParentBased({})", ratio(0.0)), 0),
            ("jaeger_remote", "", "ParentBased(AlwaysOn)".to_owned(), 1),
            // The argument has no effect.
            ("", "0.1", "ParentBased(AlwaysOn)".to_owned(), 1),
            ("", "abc", "ParentBased(AlwaysOn)".to_owned(), 1),
            ("always_on", "abc", "AlwaysOn".to_owned(), 1),
            ("parentbased_always_off", "0.1", "ParentBased(AlwaysOff)".to_owned(), 1),
            ("jaeger_remote", "0.1", "ParentBased(AlwaysOn)".to_owned(), 2),
        ] {
            let vars = [("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", argument)];
            let (sdk, warnings) = from_env(&vars);
            assert_eq!(format!("{:?}", sdk.sampler), expected, "{sampler} {argument}");
            assert_eq!(warnings.len(), said, "{sampler} {argument}: {warnings:?}");
        }
        let (_, warnings) = from_env(&[("OTEL_TRACES_SAMPLER_ARG", "0.1")]);
        let begins = "OTEL_TRACES_SAMPLER_ARG: no effect: ";
        assert!(warnings[0].starts_with(begins), "{warnings:?}");
        // With a sampler from code, the variables are not read.
        let code = SdkLayer { sampler: Some(Box::new(Sampler::AlwaysOff)), ..SdkLayer::default() };
        let vars = [("OTEL_TRACES_SAMPLER_ARG", "0.1")];
        let (_, warnings) = resolve(code, &vars, SdkLayer::default());
        assert!(warnings.is_empty(), "{warnings:?}");
    }

    #[cfg(feature = "trace")]
    #[test]
    fn limits() {
        let (sdk, warnings) = from_env(&[
            ("OTEL_ATTRIBUTE_COUNT_LIMIT", "5"),
            ("OTEL_SPAN_EVENT_COUNT_LIMIT", "0"),
            ("OTEL_SPAN_LINK_COUNT_LIMIT", "-1"),
            ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "7"),
        ]);
        let limits = sdk.span_limits;
        assert_eq!(limits.max_attributes_per_span, 5);
        assert_eq!(limits.max_attributes_per_event, 5);
        assert_eq!(limits.max_attributes_per_link, 7);
        // Zero is a valid limit.
        assert_eq!(limits.max_events_per_span, 0);
        assert_eq!(limits.max_links_per_span, 128);
        // One of them is for log records, which have no limit.
        let expected =
            "OTEL_ATTRIBUTE_COUNT_LIMIT: no effect on log records: not supported by the Rust SDK";
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert_eq!(warnings[1], expected);

        let (sdk, warnings) = from_env(&[
            ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "1"),
            ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "2"),
            ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "3"),
            ("OTEL_SPAN_EVENT_COUNT_LIMIT", "4"),
            ("OTEL_SPAN_LINK_COUNT_LIMIT", "5"),
        ]);
        let expected = SpanLimits {
            max_attributes_per_span: 1,
            max_attributes_per_event: 2,
            max_attributes_per_link: 3,
            max_events_per_span: 4,
            max_links_per_span: 5,
        };
        assert_eq!(format!("{:?}", sdk.span_limits), format!("{expected:?}"));
        assert!(warnings.is_empty(), "{warnings:?}");
    }

    #[test]
    fn what_has_no_effect_is_named_once() {
        let names = [
            "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
            "OTEL_ENTITIES",
            "OTEL_EXPORTER_OTLP_METRIC_INSECURE",
            "OTEL_EXPORTER_OTLP_SPAN_INSECURE",
            "OTEL_EXPORTER_PROMETHEUS_HOST",
            "OTEL_EXPORTER_PROMETHEUS_PORT",
            "OTEL_EXPORTER_ZIPKIN_ENDPOINT",
            "OTEL_EXPORTER_ZIPKIN_TIMEOUT",
            "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT",
            "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT",
            "OTEL_METRICS_EXEMPLAR_FILTER",
            "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        ];
        let (_, warnings) = from_env(&names.map(|name| (name, "1")));
        let reason = "no effect: not supported by this crate or the Rust SDK";
        assert_eq!(warnings, [format!("{}: {reason}", names.join(", "))]);
        let (_, warnings) = from_env(&[("OTEL_ENTITIES", " ")]);
        assert!(warnings.is_empty(), "{warnings:?}");
    }
}
