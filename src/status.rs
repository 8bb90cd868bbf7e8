//! The status of exporters.

use std::time::SystemTime;

use crate::failure::Failure;
use crate::signal::Signal;
use crate::tls::{CredentialStatus, TokenStatus};

/// The result of [`Exporters::status`](crate::Exporters::status).
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Status {
    /// The credentials in use: one entry per connection that signals share; empty over plaintext.
    pub credentials: Vec<CredentialStatus>,
    /// The bearer tokens in use, one entry per file.
    pub tokens: Vec<TokenStatus>,
    /// The outcome of the exports, one entry per signal.
    pub exports: Vec<ExportStatus>,
}

/// The outcome of one signal's exports since the exporters were built.
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
    /// Exports that failed after all retries.
    pub failed: u64,
    /// Spans, metric points or log records that the collector accepted.
    pub delivered: u64,
    /// Items that the collector rejected in exports that it accepted (partial success).
    pub rejected: u64,
    /// Items of failed exports: they are lost.
    pub dropped: u64,
    /// Items that wait in the SDK's queue, and items that it had no room for: those that remain
    /// after a flush are lost. Only spans and log records of a [`Telemetry`](crate::Telemetry) are
    /// counted.
    pub queued: u64,
    /// When an export last succeeded.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::text::serialize_maybe_utc"))]
    pub last_success: Option<SystemTime>,
    /// When an export last failed, or was accepted in part.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::text::serialize_maybe_utc"))]
    pub last_failed: Option<SystemTime>,
    /// The last failure, except for abandoned exports; or a later remark of the collector on an
    /// export that it accepted.
    pub last_failure: Option<Failure>,
    /// Attempts that failed and were retried; their exports may have succeeded.
    pub retried: u64,
    /// When the next attempt is made, while exports wait or fail without an attempt: after a
    /// failure to connect, or because the collector has requested a delay.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::text::serialize_maybe_utc"))]
    pub next_attempt: Option<SystemTime>,
}
