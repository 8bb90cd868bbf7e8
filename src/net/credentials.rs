//! Decides when credentials and tokens are checked for changes: at intervals, by requests and by
//! other clients' handshakes, and after a failure that newer ones may remedy.

use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use rustls::ClientConfig;
use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, timeout};

use super::runtime::{Runtime, blocking};
use crate::lock::lock;
use crate::tls::{Store, TokenFile};

/// How long a request or handshake waits for a check: a file system may hang.
const LOOKING: Duration = Duration::from_secs(1);

/// The shortest interval between checks of certificates that failures force. A source may issue new
/// credentials at every call, so it is longer than a second.
pub(super) const FORCED: Duration = Duration::from_millis(1_250);

/// Something that changes over time and is checked by blocking work.
pub(crate) trait Watched: Send + Sync + 'static {
    /// The shortest interval between checks that failures force.
    const FORCED: Duration;

    /// Whether a check is due. If it is, the caller must call `look`.
    fn is_due(&self) -> bool;

    /// Loads changes and reports errors itself.
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

/// Every rejection of a token has cost a request, and a check costs less, so there is no interval.
impl Watched for TokenFile {
    const FORCED: Duration = Duration::ZERO;

    fn is_due(&self) -> bool {
        Self::is_due(self)
    }

    fn look(&self, _force: bool) {
        let _ = Self::look(self);
    }
}

/// Checks something when that is due.
#[derive(Debug)]
pub(crate) struct Watcher<W> {
    watched: Arc<W>,
    /// Held during a check, so that a file system that hangs blocks only one thread.
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

    /// Checks if that is due and no check is running. Waits until it is done or takes too long;
    /// then it continues in the background.
    pub(crate) async fn look_if_due(&self) {
        if self.watched.is_due()
            && let Ok(turn) = Arc::clone(&self.turn).try_lock_owned()
        {
            let _ = timeout(LOOKING, self.have_looked(turn, false)).await;
        }
    }

    /// Checks now, unless another failure did so within the interval. Waits for a running check, as
    /// `look_if_due` does.
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

/// The configuration for other clients. It follows the store: a handshake checks the store if that
/// is due.
pub(crate) fn rotating_config(store: &Arc<Store>) -> Arc<ClientConfig> {
    let handshakes = Handshakes { store: Arc::clone(store), look: Arc::default() };
    Arc::new(store.rotating_config(move || {
        handshakes.look();
        handshakes.store.current()
    }))
}

/// Checks the store for handshakes of other clients. If nothing is exported, the I/O thread is
/// started just for a check.
struct Handshakes {
    store: Arc<Store>,
    look: Arc<Look>,
}

/// A check that handshakes wait for together, so that a file system that hangs blocks only one
/// thread and delays only the handshakes that begin during the wait.
#[derive(Default)]
struct Look {
    since: Mutex<Option<std::time::Instant>>,
    over: Condvar,
}

/// Ends a check when it is dropped, also if the work panics or never begins.
struct Looking(Arc<Look>);

impl Handshakes {
    /// Checks the store if that is due. Waits until it is done or takes too long; then it continues
    /// in the background.
    fn look(&self) {
        let mut since = lock(&self.look.since);
        let is_first = since.is_none() && self.store.is_due();
        if is_first {
            *since = Some(std::time::Instant::now());
        }
        drop(since);
        // Not under the lock, which `Looking` takes when it is dropped. The runtime must live as
        // long as the wait.
        let _runtime = is_first.then(|| self.begin());
        // The I/O thread must not wait: a source may need it.
        if Runtime::is_current() {
            return;
        }
        let since = lock(&self.look.since);
        let left = since.map(|since| LOOKING.saturating_sub(since.elapsed()));
        // A poisoned lock does not matter: no state is left half changed.
        let _ = self
            .look
            .over
            .wait_timeout_while(since, left.unwrap_or_default(), |since| since.is_some());
    }

    /// `None` if no thread can be started; the next check is due an interval later.
    fn begin(&self) -> Option<Arc<Runtime>> {
        let looking = Looking(Arc::clone(&self.look));
        let runtime = Runtime::shared().ok()?;
        let store = Arc::clone(&self.store);
        runtime.begin_blocking(move || {
            let _looking = looking;
            // The store reports errors itself.
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
