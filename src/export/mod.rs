//! The SDK's exporters.

mod lane;
#[cfg(feature = "logs")]
mod logs;
#[cfg(feature = "metrics")]
mod metrics;
mod notify;
#[cfg(feature = "trace")]
mod spans;
mod stats;

pub(crate) use lane::{Drain, Lane};
#[cfg(feature = "logs")]
pub use logs::LogExporter;
#[cfg(feature = "metrics")]
pub use metrics::MetricExporter;
pub(crate) use notify::{FailureHandler, FailureNotifier};
#[cfg(feature = "trace")]
pub use spans::SpanExporter;
pub(crate) use stats::{Counts, ExportStats};
