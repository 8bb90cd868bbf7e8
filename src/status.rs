//! What can be seen of exporters from outside.

use std::time::SystemTime;

use crate::failure::Failure;
use crate::signal::Signal;
use crate::tls::CertificateFacts;

/// What [`Exporters::status`](crate::Exporters::status) shows.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Status {
    /// The credentials in use: one entry per connection that the signals share, none over plaintext.
    pub credentials: Vec<CredentialStatus>,
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
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialise::maybe_utc"))]
    pub last_success: Option<SystemTime>,
    /// When an export last failed, or was accepted in part.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialise::maybe_utc"))]
    pub last_failed: Option<SystemTime>,
    /// Why, of the last that was not just given up; or what the collector remarked since on an export that it
    /// accepted.
    pub last_failure: Option<Failure>,
}

/// The credentials in use on one connection.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct CredentialStatus {
    /// The signals that use them.
    pub signals: Vec<Signal>,
    /// Counts the replacements since the exporters were built.
    pub generation: u64,
    /// When they were loaded.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialise::utc"))]
    pub loaded: SystemTime,
    /// The client's certificate and those that vouch for it, leaf first. Empty without a client
    /// certificate, and with [`with_rustls_config`](crate::ExportersBuilder::with_rustls_config).
    pub chain: Vec<CertificateFacts>,
    /// The certificate authorities that were named. Empty for the platform's, and with
    /// [`with_rustls_config`](crate::ExportersBuilder::with_rustls_config).
    pub trust_anchors: Vec<CertificateFacts>,
    /// The server's certificate, as it was last presented.
    pub server: Option<CertificateFacts>,
    /// The one of `trust_anchors` to which the server's chain led.
    pub anchor: Option<CertificateFacts>,
    /// Whether TLS is in FIPS mode.
    pub fips: bool,
    /// Why the newest credentials there are do not replace these; `None` if there are no newer ones.
    pub refusal: Option<Refusal>,
    /// How many different replacements were refused since the exporters were built.
    pub refusals: u64,
}

/// A replacement that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Refusal {
    /// When it was first seen.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialise::utc"))]
    pub at: SystemTime,
    /// What is wrong with it, in the words of [`Error`](crate::Error)'s `Debug`.
    pub reason: String,
}
