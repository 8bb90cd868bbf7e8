//! What can be seen of exporters from outside.

use std::time::SystemTime;

use crate::failure::Failure;
use crate::signal::Signal;
use crate::tls::{CredentialStatus, TokenStatus};

/// What [`Exporters::status`](crate::Exporters::status) shows.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Status {
    /// The credentials in use: one entry per connection that the signals share, none over plaintext.
    pub credentials: Vec<CredentialStatus>,
    /// The bearer tokens in use, one entry per file.
    pub tokens: Vec<TokenStatus>,
    /// What became of the exports, one entry per signal.
    pub exports: Vec<ExportStatus>,
}

/// What has become of one signal's exports since the exporters were built.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ExportStatus {
    /// The signal.
    pub signal: Signal,
    /// Its collector, as scheme, host and port.
    pub endpoint: String,
    /// Exports that the collector accepted, wholly or in part.
    pub succeeded: u64,
    /// Exports that failed, retries included.
    pub failed: u64,
    /// Spans, metric points or log records that the collector accepted.
    pub delivered: u64,
    /// Those that it rejected of exports that it accepted (partial success).
    pub rejected: u64,
    /// Those of exports that failed: they are lost.
    pub dropped: u64,
    /// Those that wait in the SDK's queue, and those that it had no room for: what is left after a flush
    /// is lost. Counted of the spans and log records of a [`Telemetry`](crate::Telemetry).
    pub queued: u64,
    /// When an export last succeeded.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::text::serialize_maybe_utc"))]
    pub last_success: Option<SystemTime>,
    /// When an export last failed, or was accepted in part.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::text::serialize_maybe_utc"))]
    pub last_failed: Option<SystemTime>,
    /// Why, of the last that was not just given up; or what the collector remarked since on an export that it
    /// accepted.
    pub last_failure: Option<Failure>,
    /// Attempts that failed and were repeated, within exports that may have succeeded.
    pub retried: u64,
    /// When the collector is next dialled or asked, while exports fail without being tried or wait: after
    /// a failure to connect, or because the collector has asked to be left alone.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::text::serialize_maybe_utc"))]
    pub next_attempt: Option<SystemTime>,
}
