//! The settings of the SDK's providers from one source.

#[cfg(feature = "trace")]
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
#[cfg(feature = "trace")]
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry_sdk::Resource;
#[cfg(feature = "trace")]
use opentelemetry_sdk::trace::{ShouldSample, SpanLimits};

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
    pub(super) schedule_delay: Option<Duration>,
    pub(super) max_queue_size: Option<usize>,
    pub(super) max_export_batch_size: Option<usize>,
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
