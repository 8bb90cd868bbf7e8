//! The result of a check: text for people and, with the feature `serde`, data for programs.

use std::fmt;
use std::time::SystemTime;

use crate::config::{Protocol, Settings};
use crate::failure::Failure;
use crate::signal::Signal;
use crate::tls::CertificateFacts;

/// The result of [`Exporters::check`](crate::Exporters::check). `Display` writes text, and `{:#}` adds a
/// terminal's colours. With the feature `serde` it can be serialised.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Report {
    /// When the check ended.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::text::serialize_utc"))]
    pub at: SystemTime,
    /// Configuration warnings, and the signals that are not exported by OTLP.
    pub warnings: Vec<String>,
    /// One entry per signal.
    pub signals: Vec<SignalReport>,
}

impl Report {
    /// Whether all signals would be delivered.
    pub fn is_delivered(&self) -> bool {
        self.signals.iter().all(|signal| signal.delivered)
    }
}

/// The result of one signal's check. `Display` writes text as for [`Report`].
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SignalReport {
    /// The signal.
    pub signal: Signal,
    /// The collector's scheme, host and port.
    pub endpoint: String,
    /// The protocol of the export.
    pub protocol: Protocol,
    /// Whether the signal would be delivered: the collector answered an empty export.
    pub delivered: bool,
    /// The individual results, in the order of the path to the collector.
    pub findings: Vec<Finding>,
    /// The configured CAs, without the platform's roots.
    pub trust_anchors: Vec<CertificateFacts>,
    /// The client's certificate chain, leaf first.
    pub client_chain: Vec<CertificateFacts>,
    /// The certificate chain that the server presented, leaf first.
    pub server_chain: Vec<CertificateFacts>,
    /// Why the empty export failed. `None` if the collector answered it.
    pub failure: Option<Failure>,
}

impl SignalReport {
    pub(super) fn new(settings: &Settings, findings: Vec<Finding>) -> Self {
        Self {
            signal: settings.signal,
            endpoint: settings.endpoint.to_string(),
            protocol: *settings.protocol,
            delivered: false,
            findings,
            trust_anchors: Vec::new(),
            client_chain: Vec::new(),
            server_chain: Vec::new(),
            failure: None,
        }
    }
}

/// The result of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Finding {
    /// What was checked.
    pub topic: Topic,
    /// The severity of the result.
    pub outcome: Outcome,
    /// What was found and where it comes from, for people.
    pub words: String,
}

impl Finding {
    pub(super) fn good(topic: Topic, words: String) -> Self {
        Self { topic, outcome: Outcome::Good, words }
    }

    pub(super) fn doubtful(topic: Topic, words: String) -> Self {
        Self { topic, outcome: Outcome::Doubtful, words }
    }

    pub(super) fn failed(topic: Topic, words: String) -> Self {
        Self { topic, outcome: Outcome::Failed, words }
    }
}

/// A step of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Topic {
    /// The endpoint and where it is configured.
    Endpoint,
    /// The protocol and where it is configured.
    Protocol,
    /// The trusted CAs.
    TrustAnchors,
    /// The SPIFFE ID that the server must have, if one is configured.
    ServerSpiffeId,
    /// Our certificate: its subject and validity.
    ClientCertificate,
    /// Whether our private key matches our certificate.
    ClientKey,
    /// Whether our certificate chains to a trusted CA and may be used by clients.
    ClientChain,
    /// The bearer token: its file and when it was read.
    Token,
    /// Whether newer credentials were rejected and older ones are still in use.
    Rotation,
    /// The host's addresses.
    Dns,
    /// The CAs that are trusted for the proxy, if its URL is `https://`.
    ProxyTrustAnchors,
    /// The proxy.
    Proxy,
    /// The certificate that the proxy presented.
    ProxyCertificate,
    /// The TCP connection.
    Tcp,
    /// The Unix domain socket.
    Socket,
    /// The parameters that the TLS handshake agreed on.
    Tls,
    /// The certificate that the server presented.
    ServerCertificate,
    /// Whether the server requested a client certificate and accepted it.
    ClientAuthentication,
    /// Whether an empty export was answered.
    Export,
}

impl Topic {
    fn words(self) -> &'static str {
        match self {
            Self::Endpoint => "endpoint",
            Self::Protocol => "protocol",
            Self::TrustAnchors => "trusted CAs",
            Self::ServerSpiffeId => "SPIFFE ID",
            Self::ClientCertificate => "client certificate",
            Self::ClientKey => "client key",
            Self::ClientChain => "client chain",
            Self::Token => "bearer token",
            Self::Rotation => "rotation",
            Self::Dns => "DNS",
            Self::ProxyTrustAnchors => "proxy CAs",
            Self::Proxy => "proxy",
            Self::ProxyCertificate => "proxy certificate",
            Self::Tcp => "TCP",
            Self::Socket => "socket",
            Self::Tls => "TLS",
            Self::ServerCertificate => "server certificate",
            Self::ClientAuthentication => "client asked",
            Self::Export => "export",
        }
    }
}

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Outcome {
    /// As it should be.
    Good,
    /// Works now, but may fail soon or elsewhere.
    Doubtful,
    /// Prevents the signal's delivery.
    Failed,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, color) = match self {
            Self::Good => ("ok", "32"),
            Self::Doubtful => ("warn", "33"),
            Self::Failed => ("FAIL", "31"),
        };
        if !f.alternate() {
            return f.pad(word);
        }
        write!(f, "\x1b[{color}m")?;
        f.pad(word)?;
        f.write_str("\x1b[0m")
    }
}

/// Writes one line of a report, coloured with `{:#}`.
fn line(f: &mut fmt::Formatter<'_>, outcome: Outcome, topic: &str, words: &str) -> fmt::Result {
    match f.alternate() {
        true => write!(f, "\n  {outcome:<#5}{topic}{words}"),
        false => write!(f, "\n  {outcome:<5}{topic}{words}"),
    }
}

/// Writes the heading of a section, bold with `{:#}`.
fn heading(f: &mut fmt::Formatter<'_>, words: fmt::Arguments<'_>) -> fmt::Result {
    match f.alternate() {
        true => write!(f, "\x1b[1m{words}\x1b[0m"),
        false => f.write_fmt(words),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.warnings.is_empty() {
            heading(f, format_args!("configuration"))?;
            self.warnings.iter().try_for_each(|words| line(f, Outcome::Doubtful, "", words))?;
            f.write_str("\n\n")?;
        }
        if self.signals.is_empty() {
            return f.write_str("no signal is exported by OTLP");
        }
        for (index, signal) in self.signals.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            signal.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for SignalReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { signal, endpoint, protocol, findings, failure, .. } = self;
        let verdict = if self.delivered { "would be" } else { "would NOT be" };
        heading(f, format_args!("{signal} {verdict} delivered to {endpoint} by {protocol}"))?;
        for Finding { topic, outcome, words } in findings {
            line(f, *outcome, &format!("{:<20}", topic.words()), words)?;
        }
        let Some(failure) = failure else {
            return Ok(());
        };
        failure.facts().iter().try_for_each(|fact| write!(f, "\n{:27}{fact}", ""))?;
        match failure.remedy() {
            "" => Ok(()),
            remedy => write!(f, "\n{:27}to do: {remedy}", ""),
        }
    }
}
