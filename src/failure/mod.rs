//! Why an export failed: as a kind for programs, and as text for people.

mod answers;
mod certificates;
mod classify;
mod context;
mod describe;
mod evidence;
mod exchange;
mod handshake;
mod kind;
mod reach;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Settings;
use crate::signal::Signal;

use context::Context;
use describe::Group;

pub(crate) use evidence::{Evidence, Greeting, Peer, Session, Stage};
pub(crate) use kind::Cure;

pub use evidence::PeerProtocol;
pub use kind::{
    ClientCertificateProblem, FailureKind, Incompatibility, RejectedVia, ServerCertificate,
    ServerCertificateProblem, Side,
};

/// Why an export failed, and what to do about it.
///
/// `Display` is for people: at most six lines, of which the first is enough for a log. No line
/// shows a key or a header's value. The first line includes the collector's reason, if it gave one:
/// at most 200 characters, escaped, with the header values, path and query that were sent
/// masked.
#[derive(Clone, Debug)]
pub struct Failure(Arc<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    signal: Signal,
    endpoint: String,
    kind: FailureKind,
    /// The cause: the rest of the first line.
    cause: String,
    /// Facts about either side, one a line.
    facts: Vec<String>,
    remedy: String,
}

impl Failure {
    /// Words a failure from its kind, the signal's settings and what the connection saw.
    pub(crate) fn new(kind: FailureKind, settings: &Settings, evidence: Option<&Evidence>) -> Self {
        let (cause, facts, remedy) = kind.describe().words(&Context::new(settings, evidence));
        let (signal, endpoint) = (settings.signal, settings.endpoint.to_string());
        Self(Arc::new(Inner { signal, endpoint, kind, cause, facts, remedy }))
    }

    /// The same failure, for an export that was not attempted because of it.
    pub(crate) fn remembered(self, next_attempt: Duration) -> Self {
        let mut inner = Arc::unwrap_or_clone(self.0);
        // Rounded up, so that the next attempt does not come before the time shown.
        let seconds = next_attempt.as_secs() + 1;
        inner.facts.push(format!("not tried: the next attempt is in {seconds} s"));
        Self(Arc::new(inner))
    }

    /// The signal whose export it was.
    pub fn signal(&self) -> Signal {
        self.0.signal
    }

    /// The collector, as scheme, host and port.
    pub fn endpoint(&self) -> &str {
        &self.0.endpoint
    }

    /// What went wrong.
    pub fn kind(&self) -> &FailureKind {
        &self.0.kind
    }

    /// Whether a timeout ended it: of the connection, of the answer, or of the whole export.
    pub fn is_timeout(&self) -> bool {
        self.kind().describe().is_timeout
    }

    /// Whether it failed before TLS: name resolution, TCP, or the proxy.
    pub fn is_connect(&self) -> bool {
        self.kind().describe().group == Group::Connect
    }

    /// Whether TLS failed: one side does not speak it, or the handshake failed, or either side
    /// rejected a certificate.
    pub fn is_tls(&self) -> bool {
        self.kind().is_tls()
    }

    /// The first line: signal, endpoint and cause.
    pub fn summary(&self) -> String {
        let Inner { signal, endpoint, kind, cause, .. } = &*self.0;
        let failed = if kind.is_accepted() { "" } else { " failed" };
        format!("{signal} export to {endpoint}{failed}: {cause}")
    }

    /// The first line, without signal and endpoint.
    pub(crate) fn cause(&self) -> &str {
        &self.0.cause
    }

    /// Facts about either side: names, issuers, dates.
    pub fn facts(&self) -> &[String] {
        &self.0.facts
    }

    /// What to do, naming the variable or builder method and the file.
    pub fn remedy(&self) -> &str {
        &self.0.remedy
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary())?;
        self.facts().iter().try_for_each(|fact| write!(f, "\n  {fact}"))?;
        match self.remedy() {
            "" => Ok(()),
            remedy => write!(f, "\n  to do: {remedy}"),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.kind().describe().source
    }
}

/// The same content as `Display`, in fields.
#[cfg(feature = "serde")]
impl serde::Serialize for Failure {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;

        let mut failure = serializer.serialize_struct("Failure", 7)?;
        failure.serialize_field("signal", &self.signal())?;
        failure.serialize_field("endpoint", self.endpoint())?;
        failure.serialize_field("kind", self.kind().name())?;
        failure.serialize_field("refused_by", &self.kind().refused_by())?;
        failure.serialize_field("summary", &self.summary())?;
        failure.serialize_field("facts", self.facts())?;
        failure.serialize_field("remedy", self.remedy())?;
        failure.end()
    }
}
