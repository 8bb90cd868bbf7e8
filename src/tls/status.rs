//! The status of credentials and tokens.

use std::path::PathBuf;
use std::time::SystemTime;

use super::certificate::CertificateFacts;
use crate::error::Error;
use crate::signal::Signal;

/// The credentials in use on one connection.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct CredentialStatus {
    /// The signals that use them.
    pub signals: Vec<Signal>,
    /// The proxy that is verified with them, as host and port; `None` for the collector. Only proxies with an
    /// `https://` URL have credentials: see
    /// [`with_proxy_ca_certificate`](crate::ExportersBuilder::with_proxy_ca_certificate).
    pub proxy: Option<String>,
    /// The number of replacements since the exporters were built.
    pub generation: u64,
    /// When they were loaded.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::text::serialize_utc"))]
    pub loaded: SystemTime,
    /// The client's certificate chain, leaf first. Empty without a client certificate, and with
    /// [`with_rustls_config`](crate::ExportersBuilder::with_rustls_config).
    pub chain: Vec<CertificateFacts>,
    /// The configured certificate authorities. Empty for the platform's, and with
    /// [`with_rustls_config`](crate::ExportersBuilder::with_rustls_config).
    pub trust_anchors: Vec<CertificateFacts>,
    /// The certificate of the server, or of the proxy, as it was last presented.
    pub server: Option<CertificateFacts>,
    /// The one of `trust_anchors` to which the server's chain led.
    pub anchor: Option<CertificateFacts>,
    /// Whether TLS is in FIPS mode.
    pub fips: bool,
    /// Why the newest credentials do not replace these; `None` if there are no newer ones.
    pub refusal: Option<RejectedCredentials>,
    /// How many different replacements were rejected since the exporters were built.
    pub refusals: u64,
}

/// A bearer token in use.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct TokenStatus {
    /// The signals that use it.
    pub signals: Vec<Signal>,
    /// The file that it is read from.
    pub file: PathBuf,
    /// The number of replacements since the exporters were built.
    pub generation: u64,
    /// When it was first read.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::text::serialize_utc"))]
    pub loaded: SystemTime,
    /// When it was last read.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::text::serialize_utc"))]
    pub read: SystemTime,
    /// Why the file's current content does not replace it; `None` if it is the file's content.
    pub refusal: Option<RejectedCredentials>,
    /// How many different replacements were rejected since the exporters were built.
    pub refusals: u64,
}

/// A replacement that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RejectedCredentials {
    /// When it was first seen.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::text::serialize_utc"))]
    pub at: SystemTime,
    /// What is wrong with it: the text of [`Error`](crate::Error)'s `Debug`.
    pub reason: String,
}

/// Replacements that could not be used.
#[derive(Debug, Default)]
pub(super) struct Rejections {
    /// Why the newest credentials do not replace the current ones.
    pub(super) last: Option<RejectedCredentials>,
    /// How many different ones there were.
    pub(super) count: u64,
}

impl Rejections {
    /// Records the result of a check. Returns the error's text if it is a new one.
    pub(super) fn settle(&mut self, error: Option<&Error>) -> Option<String> {
        let reason = error.map(|error| format!("{error:?}"));
        let is_known = reason.as_ref() == self.last.as_ref().map(|last| &last.reason);
        if is_known {
            return None;
        }
        self.count += u64::from(reason.is_some());
        self.last =
            reason.clone().map(|reason| RejectedCredentials { at: SystemTime::now(), reason });
        reason
    }
}
