//! The values that a setting can take.

use std::time::Duration;

use crate::protocol::{Compression, Protocol};

use opentelemetry_sdk::metrics::Temporality;
use tracing::level_filters::LevelFilter;

/// A value that a variable can have.
pub(super) trait Value: Sized {
    /// The expected values, for the warning about an invalid one.
    const EXPECTED: &'static str;

    fn parse(text: &str) -> Option<Self>;
}

impl Value for bool {
    const EXPECTED: &'static str = "true or false";

    fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }
}

impl Value for Duration {
    const EXPECTED: &'static str = "a number of milliseconds";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(Self::from_millis)
    }
}

impl Value for LevelFilter {
    const EXPECTED: &'static str = "none, error, warn, info, debug or trace";

    /// Parses the spelling of the other languages.
    fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "none" | "off" => Self::OFF,
            "error" => Self::ERROR,
            "warn" | "warning" => Self::WARN,
            "info" => Self::INFO,
            "debug" => Self::DEBUG,
            "trace" | "all" => Self::TRACE,
            _ => return None,
        })
    }
}

impl Value for Temporality {
    const EXPECTED: &'static str = "cumulative, delta or lowmemory";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Value for Protocol {
    const EXPECTED: &'static str = "grpc, http/protobuf or http/json";

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| text.eq_ignore_ascii_case(protocol.as_str()))
    }
}

impl Value for Option<Compression> {
    const EXPECTED: &'static str = "none, gzip or zstd";

    fn parse(text: &str) -> Option<Self> {
        if text.eq_ignore_ascii_case("none") {
            return Some(None);
        }
        [Compression::Gzip, Compression::Zstd]
            .into_iter()
            .find(|compression| text.eq_ignore_ascii_case(compression.as_str()))
            .map(Some)
    }
}

/// The aggregation of histograms: `OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HistogramAggregation {
    /// `explicit_bucket_histogram`, the default.
    ExplicitBucket,
    /// `base2_exponential_bucket_histogram`.
    Base2ExponentialBucket,
}

impl Value for HistogramAggregation {
    const EXPECTED: &'static str =
        "explicit_bucket_histogram or base2_exponential_bucket_histogram";

    fn parse(value: &str) -> Option<Self> {
        if value.eq_ignore_ascii_case("explicit_bucket_histogram") {
            Some(Self::ExplicitBucket)
        } else if value.eq_ignore_ascii_case("base2_exponential_bucket_histogram") {
            Some(Self::Base2ExponentialBucket)
        } else {
            None
        }
    }
}

/// A version of TLS, for [`with_min_tls_version`](crate::ExportersBuilder::with_min_tls_version).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2, the default minimum.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// How failed exports are retried: exponential backoff with jitter.
///
/// The [OTLP specification] defines which failures are retried; this policy defines how often and
/// how soon. A server's `RetryInfo` or `Retry-After` can only lengthen a delay, and no delay
/// exceeds the export's timeout.
///
/// ```
/// use otlp_mtls::RetryPolicy;
/// use std::time::Duration;
///
/// let patient = RetryPolicy::default().with_max_attempts(10);
/// let eager = RetryPolicy::default().with_initial_backoff(Duration::from_millis(50));
/// # assert_ne!(patient, eager);
/// ```
///
/// [OTLP specification]: https://opentelemetry.io/docs/specs/otlp/#failures-1
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    pub(crate) max_attempts: u32,
    pub(crate) initial_backoff: Duration,
    pub(crate) max_backoff: Duration,
}

impl RetryPolicy {
    /// Only one attempt.
    pub fn disabled() -> Self {
        Self { max_attempts: 1, ..Self::default() }
    }

    /// Sets the number of attempts, including the first. Zero counts as one.
    #[must_use]
    pub fn with_max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// Sets the delay before the second attempt; each further delay is 1.5 times as long. The
    /// shortest is 10 ms.
    #[must_use]
    pub fn with_initial_backoff(mut self, backoff: Duration) -> Self {
        self.initial_backoff = backoff;
        self
    }

    /// Sets the longest delay between two attempts, with a jitter of 20 %. A delay that the
    /// collector requests may be longer: up to five minutes, if the timeout is unlimited.
    #[must_use]
    pub fn with_max_backoff(mut self, backoff: Duration) -> Self {
        self.max_backoff = backoff;
        self
    }
}

/// Five attempts, one second before the second, at most five seconds between two, as in the Java
/// SDK.
impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 5,
            initial_backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(5),
        }
    }
}
