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
    /// Invalid values cause warnings, and so do variables that have no effect.
    pub(crate) fn resolve(layers: &Layers, warnings: &mut Vec<Warning>) -> Self {
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
            metric_interval: read
                .metric_interval(code.metric_interval)
                .or(defaults.metric_interval.filter(|interval| !interval.is_zero())),
            #[cfg(feature = "trace")]
            sampler: match (&code.sampler, read.sampler()) {
                (Some(sampler), _) => sampler.clone(),
                (None, Some(sampler)) => Box::new(sampler),
                (None, None) => defaults
                    .sampler
                    .clone()
                    .unwrap_or_else(|| Box::new(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))),
            },
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
            warnings.push(Warning::WithoutEffect { variables: ignored });
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
        let delay = given.schedule_delay.map(|delay| Sourced::builder("with_batch", delay));
        let default_delay = below.schedule_delay.unwrap_or(default_delay);
        let schedule_delay = self.duration(delay, names.schedule_delay, Some(default_delay));
        let size = |given: Option<usize>| given.map(|size| Sourced::builder("with_batch", size));
        let max_queue_size = self.number(
            size(given.max_queue_size),
            names.max_queue_size,
            1..=MAX_QUEUE_SIZE,
            below.max_queue_size.unwrap_or(2_048),
        );
        // By the specification, at most the size of the queue.
        let max_export_batch_size = self.number(
            size(given.max_export_batch_size),
            names.max_export_batch_size,
            1..=max_queue_size,
            below.max_export_batch_size.unwrap_or(512),
        );
        let schedule_delay = schedule_delay.unwrap_or(default_delay);
        BatchSettings { schedule_delay, max_queue_size, max_export_batch_size }
    }

    /// `None` for the default, also if the given value is invalid.
    fn metric_interval(&mut self, given: Option<Duration>) -> Option<Duration> {
        let given = given.map(|interval| Sourced::builder("with_metric_interval", interval));
        self.duration(given, variables::METRIC_EXPORT_INTERVAL, None)
    }

    fn number<T>(
        &mut self,
        given: Option<Sourced<T>>,
        name: &str,
        range: RangeInclusive<T>,
        default: T,
    ) -> T
    where
        T: Copy + Display + FromStr + Ord,
    {
        let default = default.clamp(*range.start(), *range.end());
        self.usable(given, name, range, &default).unwrap_or(default)
    }

    /// A duration that is not zero; variables are in milliseconds.
    fn duration(
        &mut self,
        given: Option<Sourced<Duration>>,
        name: &str,
        default: Option<Duration>,
    ) -> Option<Duration> {
        let milliseconds = |duration: Duration| {
            let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
            // A duration below a millisecond must not become zero.
            milliseconds.max(u64::from(!duration.is_zero()))
        };
        let given = given.map(|given| given.map(milliseconds));
        let used = default
            .map_or_else(|| "the default".to_owned(), |default| milliseconds(default).to_string());
        let found = self.usable(given, name, 1..=MAX_MILLISECONDS, &used);
        found.map(Duration::from_millis).or(default)
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
        let (value, text, origin) = match given {
            Some(given) => (Some(given.value), given.value.to_string(), given.origin),
            None => {
                let found = self.env.lenient(name, self.warnings)?;
                (found.value.parse().ok(), found.value, found.origin)
            }
        };
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
        let found = self.env.lenient(variables::SAMPLER, self.warnings)?;
        Some(match found.value.to_ascii_lowercase().as_str() {
            "always_on" => Sampler::AlwaysOn,
            "always_off" => Sampler::AlwaysOff,
            "traceidratio" => Sampler::TraceIdRatioBased(self.ratio()),
            "parentbased_always_on" => parent_based(Sampler::AlwaysOn),
            "parentbased_always_off" => parent_based(Sampler::AlwaysOff),
            "parentbased_traceidratio" => parent_based(Sampler::TraceIdRatioBased(self.ratio())),
            _ => {
                let expected = "always_on, always_off, traceidratio, parentbased_always_on, \
                                parentbased_always_off or parentbased_traceidratio";
                let Sourced { value, origin } = found;
                self.warnings.push(Warning::replaced(origin, value, expected, "the default"));
                return None;
            }
        })
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
        let sdk = Sdk::resolve(&layers, &mut warnings);
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
        ] {
            let vars = [("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", argument)];
            let (sdk, warnings) = from_env(&vars);
            assert_eq!(format!("{:?}", sdk.sampler), expected, "{sampler} {argument}");
            assert_eq!(warnings.len(), said, "{sampler} {argument}: {warnings:?}");
        }
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
        assert_eq!(warnings.len(), 1, "{warnings:?}");
    }

    #[test]
    fn what_has_no_effect_is_named_once() {
        let (_, warnings) = from_env(&[
            ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "10"),
            ("OTEL_METRICS_EXEMPLAR_FILTER", "always_on"),
            ("OTEL_ENTITIES", " "),
        ]);
        let expected = "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT, OTEL_METRICS_EXEMPLAR_FILTER: no effect, \
                        because the SDK for Rust has no such settings";
        assert_eq!(warnings, [expected]);
    }
}
