//! When credentials are looked at: with requests, at intervals, and after a failure that newer ones may
//! be the remedy for.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, timeout};

use super::runtime::blocking;
use crate::lock::lock;
use crate::tls::{Snapshot, Store};

/// How long a request waits for a look: a file system may hang.
const LOOKING: Duration = Duration::from_secs(1);

/// How often a failure may force a look, which is less than once a second: a source may issue new
/// credentials whenever it is asked.
const FORCED: Duration = Duration::from_millis(1_250);

/// The credentials of a server's connections.
#[derive(Debug)]
pub(super) struct Credentials {
    store: Arc<Store>,
    /// Held while the store looks: a file system that hangs is to hang one thread.
    turn: Arc<tokio::sync::Mutex<()>>,
    forced: Mutex<Option<Instant>>,
}

impl Credentials {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { store, turn: Arc::default(), forced: Mutex::default() }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn current(&self) -> Snapshot {
        self.store.current()
    }

    /// Has the store look, if it is time to and nobody is at it, and waits until that is done or takes
    /// too long: then it goes on in the background.
    pub(super) async fn look(&self) {
        if self.store.is_due()
            && let Ok(turn) = Arc::clone(&self.turn).try_lock_owned()
        {
            let _ = timeout(LOOKING, self.have_looked(turn, false)).await;
        }
    }

    /// Has the store look now, unless a failure had it look a moment ago, and waits for whatever look
    /// goes on as `look` does.
    pub(super) async fn look_after_a_failure(&self) {
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
        let may_force = forced.is_none_or(|last| now.duration_since(last) >= FORCED);
        if may_force {
            *forced = Some(now);
        }
        may_force
    }

    async fn have_looked(&self, turn: OwnedMutexGuard<()>, force: bool) {
        let store = Arc::clone(&self.store);
        let look = blocking(move || {
            let _turn = turn;
            store.look(force)
        });
        // What it finds is the store's to report.
        let _ = look.await;
    }
}
