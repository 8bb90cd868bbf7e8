//! When credentials and tokens are looked at: with requests and with the handshakes of other clients, at intervals, and
//! after a failure that newer ones may be the remedy for.

use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use rustls::ClientConfig;
use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, timeout};

use super::runtime::{Runtime, blocking};
use crate::lock::lock;
use crate::tls::{Store, TokenFile};

/// How long a request or a handshake waits for a look: a file system may hang.
const LOOKING: Duration = Duration::from_secs(1);

/// How often a failure may force a look at certificates, which is less than once a second: a source may issue new
/// credentials whenever it is asked.
const FORCED: Duration = Duration::from_millis(1_250);

/// What changes in the course of time, and is looked at by blocking work.
pub(crate) trait Watched: Send + Sync + 'static {
    /// How often a failure may force a look.
    const FORCED: Duration;

    /// Whether it is time to look again; the look is the caller's to make.
    fn is_due(&self) -> bool;

    /// Takes what is new. What it finds is its own to report.
    fn look(&self, force: bool);
}

impl Watched for Store {
    const FORCED: Duration = FORCED;

    fn is_due(&self) -> bool {
        Self::is_due(self)
    }

    fn look(&self, force: bool) {
        let _ = Self::look(self, force);
    }
}

/// Every refusal of a token has cost a request, and a look costs less.
impl Watched for TokenFile {
    const FORCED: Duration = Duration::ZERO;

    fn is_due(&self) -> bool {
        Self::is_due(self)
    }

    fn look(&self, _force: bool) {
        let _ = Self::look(self);
    }
}

/// Has something looked at when it is time to.
#[derive(Debug)]
pub(crate) struct Watcher<W> {
    watched: Arc<W>,
    /// Held during a look: a file system that hangs is to hang one thread.
    turn: Arc<tokio::sync::Mutex<()>>,
    forced: Mutex<Option<Instant>>,
}

impl<W> Deref for Watcher<W> {
    type Target = W;

    fn deref(&self) -> &W {
        &self.watched
    }
}

impl<W: Watched> Watcher<W> {
    pub(crate) fn new(watched: Arc<W>) -> Self {
        Self { watched, turn: Arc::default(), forced: Mutex::default() }
    }

    /// Has it looked at, if it is time to and nobody is at it, and waits until that is done or takes
    /// too long: then it goes on in the background.
    pub(crate) async fn look_if_due(&self) {
        if self.watched.is_due()
            && let Ok(turn) = Arc::clone(&self.turn).try_lock_owned()
        {
            let _ = timeout(LOOKING, self.have_looked(turn, false)).await;
        }
    }

    /// Has it looked at now, unless a failure had it looked at a moment ago, and waits for whatever look
    /// goes on as `look_if_due` does.
    pub(crate) async fn look_after_a_failure(&self) {
        let look = async {
            let turn = Arc::clone(&self.turn).lock_owned().await;
            if self.may_force() {
                self.have_looked(turn, true).await;
            }
        };
        let _ = timeout(LOOKING, look).await;
    }

    fn may_force(&self) -> bool {
        let (mut forced, now) = (lock(&self.forced), Instant::now());
        let may_force = forced.is_none_or(|last| now.duration_since(last) >= W::FORCED);
        if may_force {
            *forced = Some(now);
        }
        may_force
    }

    async fn have_looked(&self, turn: OwnedMutexGuard<()>, force: bool) {
        let watched = Arc::clone(&self.watched);
        let look = blocking(move || {
            let _turn = turn;
            watched.look(force);
        });
        let _ = look.await;
    }
}

/// The configuration for other clients, which follows the store: a handshake has the store look if it is time to.
pub(crate) fn rotating_config(store: &Arc<Store>) -> Arc<ClientConfig> {
    let handshakes = Handshakes { store: Arc::clone(store), look: Arc::default() };
    Arc::new(store.rotating_config(move || {
        handshakes.look();
        handshakes.store.current()
    }))
}

/// The handshakes of other clients, which may be the only ones: then there is an I/O thread for a look alone.
struct Handshakes {
    store: Arc<Store>,
    look: Arc<Look>,
}

/// A look that handshakes wait for together: a file system that hangs is to hang one thread, and to hold up only
/// the handshakes of one moment.
#[derive(Default)]
struct Look {
    since: Mutex<Option<std::time::Instant>>,
    over: Condvar,
}

/// Ends a look when it is dropped, which is also where the work panics or never begins.
struct Looking(Arc<Look>);

impl Handshakes {
    /// Has the store look, if it is time to, and waits until that is done or takes too long: then it goes on in the
    /// background.
    fn look(&self) {
        let mut since = lock(&self.look.since);
        let is_first = since.is_none() && self.store.is_due();
        if is_first {
            *since = Some(std::time::Instant::now());
        }
        drop(since);
        // What is dropped on the way locks that again. The runtime lives for as long as we wait.
        let _runtime = is_first.then(|| self.begin());
        // A source may need the I/O thread.
        if Runtime::is_current() {
            return;
        }
        let since = lock(&self.look.since);
        let left = since.map(|since| LOOKING.saturating_sub(since.elapsed()));
        // Nothing is taken from the guard: whoever panicked with it has left nothing half done.
        let _ = self
            .look
            .over
            .wait_timeout_while(since, left.unwrap_or_default(), |since| since.is_some());
    }

    /// `None` if no thread can be started: the next look is due an interval later.
    fn begin(&self) -> Option<Arc<Runtime>> {
        let looking = Looking(Arc::clone(&self.look));
        let runtime = Runtime::shared().ok()?;
        let store = Arc::clone(&self.store);
        runtime.begin_blocking(move || {
            let _looking = looking;
            // What it finds is the store's to report.
            let _ = store.look(false);
        });
        Some(runtime)
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        *lock(&self.0.since) = None;
        self.0.over.notify_all();
    }
}
