//! The description of a kind of failure. Each kind has one, in the file of its phase.

use std::error::Error as StdError;

use super::context::Context;
use super::kind::{Cure, Side};

/// Text that may depend on the context.
pub(super) type Say<'a> = Box<dyn Fn(&Context<'_>) -> String + 'a>;

pub(super) struct Description<'a> {
    /// A name for machines, which does not change.
    pub(super) name: &'static str,
    pub(super) is_permanent: bool,
    pub(super) group: Group,
    pub(super) is_timeout: bool,
    pub(super) refused_by: Option<Side>,
    pub(super) cure: Cure,
    pub(super) source: Option<&'a (dyn StdError + 'static)>,
    pub(super) cause: Say<'a>,
    /// Empty facts and remedies are left out.
    pub(super) facts: Vec<Say<'a>>,
    pub(super) remedies: Vec<Say<'a>>,
}

/// Nothing but a change of configuration can help.
pub(super) const PERMANENT: bool = true;

/// Another attempt within the export may succeed.
pub(super) const TRANSIENT: bool = false;

/// The phase in which a failure occurred.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    /// No connection could be made.
    Connect,
    /// One side does not speak TLS, or the handshake or a certificate failed.
    Tls,
    /// The collector accepted the export nonetheless.
    Accepted,
    Other,
}

impl<'a> Description<'a> {
    pub(super) fn new(
        name: &'static str,
        group: Group,
        is_permanent: bool,
        cause: impl Fn(&Context<'_>) -> String + 'a,
    ) -> Self {
        Self {
            name,
            is_permanent,
            group,
            is_timeout: false,
            refused_by: None,
            cure: Cure::Nothing,
            source: None,
            cause: Box::new(cause),
            facts: Vec::new(),
            remedies: Vec::new(),
        }
    }

    pub(super) fn timeout(self) -> Self {
        Self { is_timeout: true, ..self }
    }

    pub(super) fn refused_by(self, side: impl Into<Option<Side>>) -> Self {
        Self { refused_by: side.into(), ..self }
    }

    pub(super) fn cure(self, cure: Cure) -> Self {
        Self { cure, ..self }
    }

    pub(super) fn source(self, source: &'a (dyn StdError + 'static)) -> Self {
        Self { source: Some(source), ..self }
    }

    pub(super) fn fact(mut self, fact: impl Fn(&Context<'_>) -> String + 'a) -> Self {
        self.facts.push(Box::new(fact));
        self
    }

    pub(super) fn remedy(mut self, remedy: impl Fn(&Context<'_>) -> String + 'a) -> Self {
        self.remedies.push(Box::new(remedy));
        self
    }

    /// Cause, facts and remedies.
    pub(super) fn words(&self, context: &Context<'_>) -> (String, Vec<String>, String) {
        let said = |all: &[Say<'a>]| {
            let said = all.iter().map(|say| say(context));
            said.filter(|words| !words.is_empty()).collect::<Vec<_>>()
        };
        ((self.cause)(context), said(&self.facts), said(&self.remedies).join("; "))
    }
}
