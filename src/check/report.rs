//! What a check found: for people as text, for machines with the feature `serde`.

use std::fmt;
use std::time::SystemTime;

use crate::config::{Protocol, Settings};
use crate::failure::Failure;
use crate::signal::Signal;
use crate::tls::CertificateFacts;

/// What [`Exporters::check`](crate::Exporters::check) found. `Display` is for people, and with `{:#}` in the colours
/// of a terminal; with the feature `serde` it can be serialised.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Report {
    /// When it was made.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::text::serialize_utc"))]
    pub at: SystemTime,
    /// What is odd about the configuration, and which signals it does not send by OTLP.
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

/// What a check found of one signal; `Display` is as that of [`Report`].
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SignalReport {
    /// The signal.
    pub signal: Signal,
    /// Its collector, as scheme, host and port.
    pub endpoint: String,
    /// How it travels.
    pub protocol: Protocol,
    /// Whether the signal would be delivered: the collector answered an empty export.
    pub delivered: bool,
    /// What was looked at, in the order of the way there.
    pub findings: Vec<Finding>,
    /// The CAs that were named. Empty for the platform's.
    pub trust_anchors: Vec<CertificateFacts>,
    /// The client's certificate and those that vouch for it, leaf first.
    pub client_chain: Vec<CertificateFacts>,
    /// What the server presented, leaf first.
    pub server_chain: Vec<CertificateFacts>,
    /// Why an empty export failed; `None` if the collector answered it.
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

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Finding {
    /// What was looked at.
    pub topic: Topic,
    /// Whether it is as it should be.
    pub outcome: Outcome,
    /// What was found, and where it comes from.
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

/// What a check looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Topic {
    /// The endpoint's form, and what named it.
    Endpoint,
    /// The protocol, and what named it.
    Protocol,
    /// Whom we trust.
    TrustAnchors,
    /// The SPIFFE ID that the server must have, where one is set.
    ServerSpiffeId,
    /// Our certificate: whose it is, and until when.
    ClientCertificate,
    /// Whether our private key belongs to it.
    ClientKey,
    /// Whether our certificate leads to a CA that we trust, and may be used by clients.
    ClientChain,
    /// The bearer token: from which file, and when it was read.
    Token,
    /// Whether newer credentials than those in use cannot be used.
    Rotation,
    /// The host's addresses.
    Dns,
    /// The proxy on the way.
    Proxy,
    /// The TCP connection.
    Tcp,
    /// The Unix domain socket.
    Socket,
    /// What the handshake agreed on.
    Tls,
    /// What the server presented.
    ServerCertificate,
    /// Whether the server asked for our certificate, and took it.
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
            Self::Proxy => "proxy",
            Self::Tcp => "TCP",
            Self::Socket => "socket",
            Self::Tls => "TLS",
            Self::ServerCertificate => "server certificate",
            Self::ClientAuthentication => "client asked",
            Self::Export => "export",
        }
    }
}

/// How a finding is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Outcome {
    /// It is as it should be.
    Good,
    /// It works, but may not for long, or not everywhere.
    Doubtful,
    /// The signal is not delivered for it.
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

/// One line of a report, in colours where they are asked for.
fn line(f: &mut fmt::Formatter<'_>, outcome: Outcome, topic: &str, words: &str) -> fmt::Result {
    match f.alternate() {
        true => write!(f, "\n  {outcome:<#5}{topic}{words}"),
        false => write!(f, "\n  {outcome:<5}{topic}{words}"),
    }
}

/// The first line of what a report says of one thing.
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
