//! Decides which connection a request uses and when to dial: pool and backoff as one state machine
//! without I/O. A request calls [`Link::acquire`] under a lock, does what that returns, and reports
//! the outcome.

use std::time::{Duration, Instant};

use crate::failure::Cure;

/// The first backoff window after a failed dial. Each further one is longer by [`GROWTH`], as in
/// [gRPC's connection backoff](https://github.com/grpc/grpc/blob/master/doc/connection-backoff.md).
const FIRST_WINDOW: Duration = Duration::from_secs(1);
const GROWTH: f64 = 1.6;

/// The random part of a window, so that clients that failed together do not dial together.
pub(super) const JITTER: f64 = 0.2;

/// The longest window while the server is unreachable, so that its return is noticed within the
/// default timeout of an export.
const LONGEST_UNREACHABLE: Duration = Duration::from_secs(5);

/// The longest window after a permanent failure, which a change at the server may end.
const LONGEST_PERMANENT: Duration = Duration::from_secs(30);

/// What the state machine needs to know about a connection. Clones are the same connection.
pub(super) trait Connected: Clone {
    /// The generation of the credentials that it was made with.
    fn generation(&self) -> u64;
    /// Whether another request may begin on it.
    fn is_usable(&self) -> bool;
    /// Whether it carries concurrent requests, as HTTP/2 does.
    fn is_multiplexed(&self) -> bool;
    /// Whether the server has answered a request on it.
    fn has_answered(&self) -> bool;
    fn is_same(&self, other: &Self) -> bool;
}

/// Why there is no connection, or no longer one.
#[derive(Clone, Debug)]
pub(super) struct LinkFailure<E> {
    pub(super) error: E,
    /// Whether it lasts until a configuration changes.
    pub(super) is_permanent: bool,
    /// The credentials whose change makes an immediate new dial worthwhile.
    pub(super) cure: Cure,
}

/// Which parts of the credentials are new.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Renewal {
    pub(super) trust_anchors: bool,
    pub(super) identity: bool,
}

impl Renewal {
    /// Whether it may remedy a failure with this cure.
    pub(super) fn is_cure(self, cure: Cure) -> bool {
        match cure {
            Cure::TrustAnchors => self.trust_anchors,
            Cure::Identity => self.identity,
            Cure::ProxyTrustAnchors | Cure::Nothing => false,
        }
    }
}

/// What a request does next.
#[derive(Debug)]
pub(super) enum Next<C, E> {
    Use(C),
    /// Dial with the newest credentials, and report to [`Link::dialled`].
    Dial,
    /// This connection has ended and the server never answered on it: report why to
    /// [`Link::ended`].
    Bury(C),
    /// A dial is in progress: share its result, or ask again.
    Join,
    /// Ask again at this instant, or when the state has changed.
    Wait(Instant),
    /// Give up: the window ends too late. A dial may begin at the instant.
    Fail(LinkFailure<E>, Instant),
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The server announced it, without an error: GOAWAY(NO_ERROR).
    Announced,
    Broken,
}

#[derive(Debug)]
pub(super) struct Link<C, E> {
    state: State<C, E>,
    /// HTTP/1.1 connections that wait for their next request.
    idle: Vec<C>,
    /// The generation of the newest credentials.
    generation: u64,
    /// The number of failed dials since the server last answered.
    failures: u32,
    unreachable_since: Option<Instant>,
    /// The last connection whose end the server announced.
    announced: Option<C>,
}

#[derive(Debug)]
enum State<C, E> {
    Idle,
    Dialling {
        /// The credentials that changed meanwhile.
        renewal: Renewal,
        /// Why another connection, on which the server never answered, ended meanwhile.
        ended: Option<LinkFailure<E>>,
    },
    /// The shared HTTP/2 connection.
    Up(C),
    /// A backoff window: no dial begins before its end.
    Paced {
        until: Instant,
        last: LinkFailure<E>,
    },
}

impl<C: Connected, E: Clone> Link<C, E> {
    pub(super) fn new(generation: u64) -> Self {
        Self {
            state: State::Idle,
            idle: Vec::new(),
            generation,
            failures: 0,
            unreachable_since: None,
            announced: None,
        }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// The end of the current window, and why the last dial failed.
    pub(super) fn paced(&self, now: Instant) -> Option<(Instant, &LinkFailure<E>)> {
        match &self.state {
            State::Paced { until, last } if now < *until => Some((*until, last)),
            _ => None,
        }
    }

    /// Since when no dial has succeeded, if the last failure was not permanent.
    pub(super) fn unreachable_since(&self) -> Option<Instant> {
        self.unreachable_since
    }

    /// The next step of a request; without a deadline, it waits for any window.
    pub(super) fn acquire(&mut self, now: Instant, deadline: Option<Instant>) -> Next<C, E> {
        if let State::Up(connection) = &self.state {
            let connection = connection.clone();
            if self.is_current(&connection) {
                return self.take(connection);
            }
            // Requests in flight hold their own references to it.
            self.state = State::Idle;
            if self.is_failure(&connection) {
                return Next::Bury(connection);
            }
        }
        while let Some(connection) = self.idle.pop() {
            if self.is_current(&connection) {
                return self.take(connection);
            }
            if self.is_failure(&connection) {
                return Next::Bury(connection);
            }
        }
        match &self.state {
            // Also if the dial uses older credentials: only one dial runs at a time.
            State::Dialling { .. } => Next::Join,
            State::Paced { until, last } if now < *until => {
                let is_late = deadline.is_some_and(|deadline| deadline < *until);
                if last.is_permanent || is_late {
                    Next::Fail(last.clone(), *until)
                } else {
                    Next::Wait(*until)
                }
            }
            State::Idle | State::Up(_) | State::Paced { .. } => {
                self.state = State::Dialling { renewal: Renewal::default(), ended: None };
                Next::Dial
            }
        }
    }

    fn is_current(&self, connection: &C) -> bool {
        connection.generation() == self.generation && connection.is_usable()
    }

    /// Whether a connection that is no longer usable counts as a failed dial.
    fn is_failure(&self, connection: &C) -> bool {
        connection.generation() == self.generation && !connection.has_answered()
    }

    fn take(&mut self, connection: C) -> Next<C, E> {
        self.note_answers(&connection);
        Next::Use(connection)
    }

    /// If the server has answered, resets the backoff.
    fn note_answers(&mut self, connection: &C) {
        if connection.has_answered() {
            self.failures = 0;
            self.announced = None;
        }
    }

    /// Reports the result of the dial that [`Next::Dial`] began. `jitter` is within [`JITTER`] of
    /// 1.
    pub(super) fn dialled(&mut self, now: Instant, jitter: f64, result: Result<C, LinkFailure<E>>) {
        let (renewal, ended) = match std::mem::replace(&mut self.state, State::Idle) {
            State::Dialling { renewal, ended } => (renewal, ended),
            _ => (Renewal::default(), None),
        };
        match result {
            Ok(connection) => {
                self.unreachable_since = None;
                if connection.is_multiplexed() {
                    self.state = State::Up(connection);
                    return;
                }
                self.idle.push(connection);
                // This connection may end like the other one, so no further dial begins at once.
                if let Some(failure) = ended.filter(|ended| !renewal.is_cure(ended.cure)) {
                    self.pace(now, jitter, failure);
                }
            }
            // The failure of replaced credentials says nothing about the new ones.
            Err(failure) if renewal.is_cure(failure.cure) => {}
            Err(failure) => self.pace(now, jitter, failure),
        }
    }

    fn pace(&mut self, now: Instant, jitter: f64, last: LinkFailure<E>) {
        if last.is_permanent {
            self.unreachable_since = None;
        } else {
            self.unreachable_since.get_or_insert(now);
        }
        let longest = if last.is_permanent { LONGEST_PERMANENT } else { LONGEST_UNREACHABLE };
        // More failures do not lengthen the window, and `mul_f64` would panic on an infinite
        // factor.
        let growth = GROWTH.powi(self.failures.min(16).cast_signed());
        let window = FIRST_WINDOW.mul_f64(growth).min(longest.div_f64(1.0 + JITTER));
        self.failures = self.failures.saturating_add(1);
        self.state = State::Paced { until: now + window.mul_f64(jitter), last };
    }

    /// There are new credentials: new requests use a new connection. A window ends if they may
    /// remedy its failure.
    pub(super) fn renewed(&mut self, generation: u64, renewal: Renewal) {
        self.generation = generation;
        match &mut self.state {
            State::Dialling { renewal: since, .. } => {
                since.trust_anchors |= renewal.trust_anchors;
                since.identity |= renewal.identity;
            }
            State::Paced { last, .. } if renewal.is_cure(last.cure) => self.end_window(),
            _ => {}
        }
    }

    /// Lets the next request dial at once.
    pub(super) fn end_window(&mut self) {
        if matches!(self.state, State::Paced { .. }) {
            self.state = State::Idle;
            (self.failures, self.unreachable_since) = (0, None);
        }
    }

    /// Returns an HTTP/1.1 connection to the pool.
    pub(super) fn give_back(&mut self, connection: C) {
        self.note_answers(&connection);
        if !connection.is_multiplexed() && self.is_current(&connection) {
            self.idle.push(connection);
        }
    }

    /// Stops new requests from using this connection.
    pub(super) fn condemn(&mut self, condemned: &C) {
        if matches!(&self.state, State::Up(connection) if connection.is_same(condemned)) {
            self.state = State::Idle;
        }
    }

    /// Reports that a connection has ended. If the server never answered on it, that counts as a
    /// failed dial and returns `true`: otherwise a server that accepts connections and closes them
    /// would be dialled in a tight loop. The first announced end, as of a server that restarts,
    /// does not count.
    pub(super) fn ended(
        &mut self,
        now: Instant,
        jitter: f64,
        connection: &C,
        ending: Ending,
        failure: LinkFailure<E>,
    ) -> bool {
        self.condemn(connection);
        self.note_answers(connection);
        // The end of a connection with replaced credentials says nothing about the next one.
        if !self.is_failure(connection) {
            return false;
        }
        let is_known = self.announced.as_ref().is_some_and(|known| known.is_same(connection));
        // If the previous announced connection has answered since, this end is a first one again.
        let is_first = self.announced.as_ref().is_none_or(Connected::has_answered);
        if ending == Ending::Announced && (is_first || is_known) {
            self.announced = Some(connection.clone());
            return false;
        }
        match &mut self.state {
            State::Idle => self.pace(now, jitter, failure),
            State::Dialling { ended, .. } => *ended = Some(failure),
            // Other requests on it have already reported it.
            State::Paced { .. } => {}
            // There is a newer connection.
            State::Up(_) => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests;
