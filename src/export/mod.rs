//! The SDK's exporters: from its data to the collector, with headers, retries and counts.

mod lane;
#[cfg(feature = "logs")]
mod logs;
#[cfg(feature = "metrics")]
mod metrics;
mod notify;
mod pace;
mod queue;
mod retry;
#[cfg(feature = "trace")]
mod spans;
mod stats;
mod transport;

pub(crate) use lane::{Drain, Lane};
#[cfg(feature = "logs")]
pub use logs::LogExporter;
#[cfg(feature = "metrics")]
pub use metrics::MetricExporter;
pub(crate) use notify::{FailureHandler, FailureNotifier};
pub(crate) use pace::Pace;
pub(crate) use queue::Queue;
#[cfg(feature = "trace")]
pub use spans::SpanExporter;
pub(crate) use stats::{Counts, ExportStats};
#[cfg(feature = "metrics")]
pub(crate) use stats::{ExportEnd, Observer};
pub(crate) use transport::{HeaderProvider, Policy, RefusedHeadersHandler, Transport, worded};
