//! The SDK's exporters: upstream's encode, and a transport is their HTTP client.

mod client;
mod delivery;
mod ledger;
#[cfg(feature = "logs")]
mod logs;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "trace")]
mod trace;

pub(crate) use client::Client;
pub(crate) use delivery::Delivery;
#[cfg(feature = "metrics")]
pub(crate) use ledger::Counts;
pub(crate) use ledger::{Handler, Herald, Ledger};
#[cfg(feature = "logs")]
pub use logs::LogExporter;
#[cfg(feature = "metrics")]
pub use metrics::MetricExporter;
#[cfg(feature = "trace")]
pub use trace::SpanExporter;
