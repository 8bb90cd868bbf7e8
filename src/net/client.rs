//! Sends requests to one server, over a shared connection and shared dials.

use std::future::pending;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use rustls::crypto::SecureRandom;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};

use super::connection::{Connection, How, Lost};
use super::credentials::{FORCED, Watcher};
use super::dial::{Family, Target};
use super::error::{NetError, Sent};
use super::link::{Ending, JITTER, Link, LinkFailure, Next, Renewal};
use super::message::{Deadline, Over, Request, Response};
use super::progress::Progress;
use super::runtime::{Runtime, blocking, spawn};
use super::tunnel::Via;
use crate::failure::{Cure, Evidence, FailureKind};
use crate::lock::lock;
use crate::tls::{Generation, Store};

/// One server, shared by all callers that send to it.
#[derive(Debug)]
pub(crate) struct Client {
    pub(super) runtime: Arc<Runtime>,
    pub(super) target: Target,
    /// `None` over plaintext.
    pub(super) credentials: Option<Watcher<Store>>,
    hub: Mutex<Hub>,
    /// Notified when a backoff window ends early.
    window_ended: Notify,
    /// Set once the server has required HTTP/1.1.
    only_http1: AtomicBool,
    /// Set once the server has answered a request.
    has_answered: AtomicBool,
    /// The number of connections that were made.
    connections: AtomicU64,
}

/// Serialises one caller's requests over HTTP/1.1, which carries one request at a time: without it,
/// a caller with several requests would open several connections.
#[derive(Debug, Default)]
pub(crate) struct Turn(tokio::sync::Mutex<()>);

#[derive(Debug)]
struct Hub {
    link: Link<Arc<Connection>, Arc<NetError>>,
    /// The newest credentials that the link knows.
    credentials: Option<Arc<Generation>>,
    /// The dial in progress.
    dial: Option<Dial>,
    /// The evidence of the last dial.
    last: Arc<Evidence>,
}

/// A dial in progress. All waiting requests share its result.
#[derive(Clone, Debug)]
struct Dial {
    progress: Arc<Progress>,
    /// The generation of the credentials that it uses.
    generation: u64,
    end: watch::Receiver<Option<DialEnd>>,
}

/// How a dial ended, for the requests that waited for it.
#[derive(Clone, Debug)]
enum DialEnd {
    /// Ask again: there is a connection, or another dial is worthwhile.
    AskAgain,
    Failed(Arc<NetError>),
}

/// What a request does next.
enum Step {
    Use(Arc<Connection>),
    /// With the generation of the newest credentials.
    Join(Dial, u64),
    Bury(NetError),
    AskAgain,
    Wait(std::time::Instant),
    Fail(Arc<NetError>, std::time::Instant),
}

/// How far a request has come, to explain a timeout.
#[derive(Default)]
struct Trail {
    /// The connection that it was last sent on.
    connection: Option<Arc<Connection>>,
    /// The failure of an earlier attempt that was repeated at once.
    failure: Option<NetError>,
}

impl Client {
    pub(crate) fn new(
        runtime: Arc<Runtime>,
        target: Target,
        store: Option<Arc<Store>>,
    ) -> Arc<Self> {
        let credentials = store.map(Watcher::new);
        let current = credentials.as_ref().map(|credentials| credentials.current());
        if let Some(current) = &current {
            gather_entropy(&runtime, current);
        }
        let generation = current.as_ref().map_or(0, |current| current.number);
        let hub = Hub {
            link: Link::new(generation),
            credentials: current,
            dial: None,
            last: Arc::default(),
        };
        Arc::new(Self {
            runtime,
            target,
            credentials,
            hub: Mutex::new(hub),
            window_ended: Notify::new(),
            only_http1: AtomicBool::new(false),
            has_answered: AtomicBool::new(false),
            connections: AtomicU64::new(0),
        })
    }

    pub(crate) fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }

    /// The evidence of the dial in progress, or else of the last one.
    pub(crate) fn observed(&self) -> Arc<Evidence> {
        let hub = lock(&self.hub);
        hub.dial.as_ref().map_or_else(|| Arc::clone(&hub.last), |dial| dial.progress.evidence())
    }

    /// The number of connections that were made.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// When the next dial may begin, if not now.
    pub(crate) fn next_dial(&self) -> Option<std::time::Instant> {
        lock(&self.hub).link.paced(now()).map(|(until, _)| until)
    }

    /// Since when the server is unreachable, if it is.
    pub(crate) fn unreachable_since(&self) -> Option<std::time::Instant> {
        lock(&self.hub).link.unreachable_since()
    }

    /// Lets the next request dial at once despite earlier failures.
    pub(crate) fn end_window(&self) {
        lock(&self.hub).link.end_window();
        self.window_ended.notify_waiters();
    }

    /// Sends one request, and reads as much of the response as arrives in time.
    ///
    /// It is sent again only if the server cannot have acted on it, or if the network path turned
    /// out to be dead, which is reported to `note_retry`. Must be called on the I/O thread.
    pub(crate) async fn exchange(
        self: &Arc<Self>,
        request: &Request,
        turn: &Turn,
        deadline: &Deadline,
        note_retry: &(dyn Fn(&NetError) + Sync),
    ) -> Result<Response, NetError> {
        let trail = Mutex::new(Trail::default());
        match deadline.bound(self.attempts(request, turn, deadline, note_retry, &trail)).await {
            Ok(result) => result,
            Err(over) => Err(self.given_up(std::mem::take(&mut *lock(&trail)), over)),
        }
    }

    /// Why a request timed out, from what it was waiting for.
    fn given_up(&self, mut trail: Trail, over: Over) -> NetError {
        let kind = over.into();
        if let Some(connection) = trail.connection.take() {
            if connection.note_unanswered() {
                lock(&self.hub).link.condemn(&connection);
            }
            return trail.failure.take().unwrap_or_else(|| connection.error(kind, Sent::Maybe));
        }
        if let Some(failure) = trail.failure.take() {
            return failure;
        }
        let hub = lock(&self.hub);
        match (over, &hub.dial, hub.link.paced(now())) {
            (Over::TimedOut(after), Some(dial), _) => {
                let kind = dial.progress.late(&self.target, after);
                NetError::unsent(kind, dial.progress.evidence())
            }
            (_, None, Some((_, last))) => NetError::clone(&last.error),
            _ => NetError::unsent(kind, Arc::clone(&hub.last)),
        }
    }

    async fn attempts(
        self: &Arc<Self>,
        request: &Request,
        turn: &Turn,
        deadline: &Deadline,
        note_retry: &(dyn Fn(&NetError) + Sync),
        trail: &Mutex<Trail>,
    ) -> Result<Response, NetError> {
        self.look_if_due().await;
        loop {
            let mut turn = Some(turn.0.lock().await);
            let connection = self.acquire(deadline).await?;
            if connection.is_multiplexed() {
                turn = None;
            }
            lock(trail).connection = Some(Arc::clone(&connection));
            let exchanged = connection.exchange(request, deadline).await;
            lock(trail).connection = None;
            drop(turn);
            let lost = match exchanged {
                Ok(response) => match connection.refused_by_page(&response) {
                    None => {
                        connection.note_success();
                        self.has_answered.store(true, Ordering::Relaxed);
                        lock(&self.hub).link.give_back(connection);
                        return Ok(response);
                    }
                    // The server has read the request but not acted on it.
                    Some(kind) => {
                        connection.retire();
                        Lost { kind, how: How::Unsent(Ending::Broken) }
                    }
                },
                Err(lost) => lost,
            };
            let is_second = lock(trail).failure.is_some();
            let error = self.lost(&connection, lost, is_second).await?;
            error.iter().for_each(note_retry);
            lock(trail).failure = error;
        }
    }

    /// Decides about a request that was lost. `Ok` means to send it again at once, with the failure
    /// to report if that fails too.
    async fn lost(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        lost: Lost,
        is_second: bool,
    ) -> Result<Option<NetError>, NetError> {
        let Lost { kind, how } = lost;
        let sent = match how {
            How::Broken | How::Reset | How::Silent => Sent::Maybe,
            How::Unsent(_) | How::Refused | How::WantsHttp1 => Sent::Unsent,
        };
        // A server that rejects us by an alert has not acted on the request. Others may have.
        let is_untaken = sent == Sent::Unsent || kind.is_alert();
        let error = connection.error(kind, sent);
        let ending = match how {
            How::Silent => {
                connection.retire();
                lock(&self.hub).link.condemn(connection);
                return if is_second { Err(error) } else { Ok(Some(error)) };
            }
            How::WantsHttp1 if self.target.family == Family::Any => {
                self.only_http1.store(true, Ordering::Relaxed);
                connection.retire();
                lock(&self.hub).link.condemn(connection);
                return Ok(None);
            }
            How::WantsHttp1 | How::Refused | How::Reset => return Err(error),
            How::Unsent(ending) => ending,
            How::Broken => Ending::Broken,
        };
        connection.retire();
        let counts = {
            let mut hub = lock(&self.hub);
            hub.link.ended(now(), jitter(JITTER), connection, ending, failure(&error))
        };
        let is_worth_another = !counts || self.is_cured(&error).await;
        // After a second announced end in a row there is a backoff window, for which the request
        // can wait.
        match is_untaken && (is_worth_another || ending == Ending::Announced) {
            true => Ok(None),
            false => Err(error),
        }
    }

    /// A connection with the current credentials: an existing one, or the result of the shared
    /// dial.
    async fn acquire(self: &Arc<Self>, deadline: &Deadline) -> Result<Arc<Connection>, NetError> {
        loop {
            // Before the state is read, so that a window that ends in between is noticed.
            let window_ended = self.window_ended.notified();
            match self.next(deadline) {
                Step::Use(connection) => return Ok(connection),
                Step::Join(mut dial, generation) => {
                    let end = dial.end.wait_for(Option::is_some).await;
                    match end.ok().and_then(|end| end.clone()) {
                        Some(DialEnd::AskAgain) => {}
                        // It failed with older credentials than the current ones.
                        Some(DialEnd::Failed(_)) if dial.generation != generation => {}
                        Some(DialEnd::Failed(error)) => return Err(NetError::clone(&error)),
                        // Its task has ended because the runtime has.
                        None => {
                            let evidence = dial.progress.evidence();
                            return Err(NetError::unsent(FailureKind::Runtime, evidence));
                        }
                    }
                }
                Step::AskAgain => {}
                // The dead connection counts as a failed dial.
                Step::Bury(error) => {
                    if !self.is_cured(&error).await {
                        return Err(error);
                    }
                }
                Step::Wait(until) => {
                    let waited = self.wait_in_window(window_ended, deadline, until.into()).await;
                    waited.map_err(|over| self.given_up(Trail::default(), over))?;
                }
                Step::Fail(error, until) => {
                    if self.is_cured(&error).await {
                        continue;
                    }
                    return Err(NetError { next_attempt: Some(until), ..NetError::clone(&error) });
                }
            }
        }
    }

    /// Waits before another attempt. After a failed dial, the wait ends with the window.
    pub(crate) async fn wait(&self, deadline: &Deadline, until: Instant) -> Result<(), Over> {
        let window_ended = self.window_ended.notified();
        match self.next_dial() {
            Some(_) => self.wait_in_window(window_ended, deadline, until).await,
            None => deadline.wait(until, self.unreachable_since()).await,
        }
    }

    async fn wait_in_window(
        &self,
        window_ended: Notified<'_>,
        deadline: &Deadline,
        until: Instant,
    ) -> Result<(), Over> {
        tokio::select! {
            waited = deadline.wait(until, self.unreachable_since()) => waited,
            () = window_ended => Ok(()),
            () = self.cured() => Ok(()),
        }
    }

    /// Checks the credentials until there are new ones that may remedy the failure of the last dial. Without
    /// this, a rotation would be noticed only when the window ends.
    async fn cured(&self) {
        let last = lock(&self.hub).link.paced(now()).map(|(_, last)| Arc::clone(&last.error));
        match last.filter(|error| self.credentials_for(error.kind.cure()).is_some()) {
            Some(error) => {
                while !self.is_cured(&error).await {
                    sleep(FORCED).await;
                }
            }
            None => pending().await,
        }
    }

    fn next(self: &Arc<Self>, deadline: &Deadline) -> Step {
        let mut hub = lock(&self.hub);
        self.follow(&mut hub);
        match hub.link.acquire(now(), deadline.ends().map(Instant::into_std)) {
            Next::Use(connection) => Step::Use(connection),
            Next::Dial => {
                let dial = self.begin_dial(&mut hub);
                Step::Join(dial, hub.link.generation())
            }
            Next::Bury(connection) => {
                let Lost { kind, how } = connection.end();
                let error = connection.error(kind, Sent::Unsent);
                let ending = match how {
                    How::Unsent(ending) => ending,
                    _ => Ending::Broken,
                };
                match hub.link.ended(now(), jitter(JITTER), &connection, ending, failure(&error)) {
                    true => Step::Bury(error),
                    false => Step::AskAgain,
                }
            }
            Next::Join => match &hub.dial {
                Some(dial) => Step::Join(dial.clone(), hub.link.generation()),
                // The link returns `Join` only while there is a dial.
                None => Step::Wait(now()),
            },
            Next::Wait(until) => Step::Wait(until),
            Next::Fail(failure, until) => Step::Fail(failure.error, until),
        }
    }

    /// Passes newer credentials to the link.
    fn follow(&self, hub: &mut Hub) {
        let Some(current) = self.credentials.as_ref().map(|credentials| credentials.current())
        else {
            return;
        };
        if current.number == hub.link.generation() {
            return;
        }
        let renewed = hub.credentials.as_ref().map(|known| renewal(&current, known));
        hub.link.renewed(current.number, renewed.unwrap_or_default());
        hub.credentials = Some(current);
        self.window_ended.notify_waiters();
    }

    /// Checks the credentials for the server and for a proxy, where that is due.
    pub(super) async fn look_if_due(&self) {
        let proxy = self.target.proxy.as_ref().and_then(Via::credentials);
        for credentials in self.credentials.iter().chain(proxy) {
            credentials.look_if_due().await;
        }
    }

    /// The credentials whose renewal may remedy a failure.
    fn credentials_for(&self, cure: Cure) -> Option<&Watcher<Store>> {
        match cure {
            Cure::TrustAnchors | Cure::Identity => self.credentials.as_ref(),
            Cure::ProxyTrustAnchors => self.target.proxy.as_ref()?.credentials(),
            Cure::Nothing => None,
        }
    }

    /// Checks the credentials because of a failure. True if there are new ones that may remedy it.
    async fn is_cured(&self, error: &NetError) -> bool {
        let Some(credentials) = self.credentials_for(error.kind.cure()) else {
            return false;
        };
        credentials.look_after_a_failure().await;
        let mut hub = lock(&self.hub);
        self.follow(&mut hub);
        let is_cured = self.is_remedied(error);
        if is_cured && error.kind.cure() == Cure::ProxyTrustAnchors {
            // The link knows nothing of these credentials.
            hub.link.end_window();
        }
        is_cured
    }

    /// Whether there are newer credentials than those of a failure, which may remedy it.
    fn is_remedied(&self, error: &NetError) -> bool {
        let (cure, evidence) = (error.kind.cure(), &error.evidence);
        let Some(current) = self.credentials_for(cure).map(|credentials| credentials.current())
        else {
            return false;
        };
        match cure {
            Cure::ProxyTrustAnchors => {
                let used = evidence.proxy_credentials.as_ref();
                used.is_some_and(|used| current.has_other_trust_anchors(used))
            }
            _ => {
                let used = evidence.credentials.as_ref();
                used.is_some_and(|used| renewal(&current, used).is_cure(cure))
            }
        }
    }

    /// Dials in a task of its own, because the request that begins a dial may end before it.
    fn begin_dial(self: &Arc<Self>, hub: &mut Hub) -> Dial {
        let progress = Arc::new(Progress::new(hub.credentials.clone()));
        progress.note(|seen| seen.has_answered = self.has_answered.load(Ordering::Relaxed));
        let (tell, end) = watch::channel(None);
        let generation = hub.link.generation();
        let dial = Dial { progress: Arc::clone(&progress), generation, end };
        hub.dial = Some(dial.clone());
        let (client, alive) = (Arc::downgrade(self), self.runtime.alive());
        let (target, credentials) = (self.target.clone(), hub.credentials.clone());
        let only_http1 = self.only_http1.load(Ordering::Relaxed);
        spawn(async move {
            let seen = Arc::clone(&progress);
            let opening = spawn(async move {
                Connection::open(&target, credentials.as_deref(), only_http1, &seen, alive).await
            });
            // A caller's own verifier or signing key may panic.
            let opened = opening.await.unwrap_or_else(|lost| Err(FailureKind::lost(&lost)));
            if let Some(client) = Weak::upgrade(&client) {
                let end = client.end_dial(opened, &progress).await;
                tell.send_replace(Some(end));
            }
        });
        dial
    }

    /// Reports to the credentials how a dial with them ended.
    pub(super) async fn note_dial(&self, failure: Option<&FailureKind>, evidence: &Evidence) {
        if let (Some(credentials), Some(handshake)) = (&self.credentials, &evidence.handshake) {
            let is_done = evidence.session.is_some();
            credentials.note_handshake(handshake, is_done, failure.map(FailureKind::name));
        }
        // Either side may have rejected the other because our credentials are stale.
        let cure = failure.map_or(Cure::Nothing, FailureKind::cure);
        if let Some(credentials) = self.credentials_for(cure) {
            credentials.look_after_a_failure().await;
        }
    }

    async fn end_dial(
        &self,
        opened: Result<Connection, FailureKind>,
        progress: &Progress,
    ) -> DialEnd {
        let evidence = progress.evidence();
        // All requests that wait for the dial wait for this check too.
        self.note_dial(opened.as_ref().err(), &evidence).await;
        let mut hub = lock(&self.hub);
        self.follow(&mut hub);
        hub.dial = None;
        hub.last = Arc::clone(&evidence);
        match opened {
            Ok(connection) => {
                self.connections.fetch_add(1, Ordering::Relaxed);
                hub.link.dialled(now(), jitter(JITTER), Ok(Arc::new(connection)));
                DialEnd::AskAgain
            }
            Err(kind) => {
                let error = NetError::unsent(kind, evidence);
                let failure = failure(&error);
                let error = Arc::clone(&failure.error);
                hub.link.dialled(now(), jitter(JITTER), Err(failure));
                if error.kind.cure() == Cure::ProxyTrustAnchors && self.is_remedied(&error) {
                    hub.link.end_window();
                }
                match hub.link.paced(now()) {
                    Some(_) => DialEnd::Failed(error),
                    None => DialEnd::AskAgain,
                }
            }
        }
    }
}

/// Requests random bytes in the background, once for each provider. At the first request of a process AWS-LC gathers
/// entropy, for tens of milliseconds. Without this, the first export would wait for it, and the I/O thread with all
/// that it does.
fn gather_entropy(runtime: &Runtime, credentials: &Generation) {
    static REQUESTED: Mutex<Vec<&'static dyn SecureRandom>> = Mutex::new(Vec::new());
    let random = credentials.config.crypto_provider().secure_random;
    let mut requested = lock(&REQUESTED);
    if requested.iter().any(|known| std::ptr::addr_eq(*known, random)) {
        return;
    }
    requested.push(random);
    // A handshake reports the error.
    drop(runtime.handle.spawn(blocking(|| random.fill(&mut [0]))));
}

/// Which parts of the credentials are new.
fn renewal(current: &Generation, known: &Generation) -> Renewal {
    Renewal {
        trust_anchors: current.has_other_trust_anchors(known),
        identity: current.has_other_identity(known),
    }
}

/// A failure in the form that the link needs.
fn failure(error: &NetError) -> LinkFailure<Arc<NetError>> {
    LinkFailure {
        // A panic need not happen again.
        is_permanent: error.is_permanent() && !matches!(error.kind, FailureKind::Panicked),
        cure: error.kind.cure(),
        error: Arc::new(error.clone()),
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// A factor within `part` of 1.
pub(super) fn jitter(part: f64) -> f64 {
    // Each `RandomState` has different keys.
    let random = RandomState::new().hash_one(()) >> 11;
    1.0 - part + 2.0 * part * (random as f64 / (1u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_spreads_over_its_part() {
        let factors: Vec<_> = (0..1000).map(|_| jitter(0.1)).collect();
        assert!(factors.iter().all(|factor| (0.9..=1.1).contains(factor)), "{factors:?}");
        for is_reached in [|factor: &f64| *factor < 0.95, |factor: &f64| *factor > 1.05] {
            assert!(factors.iter().any(is_reached), "{factors:?}");
        }
    }
}
