//! The state shared by the collector's thread and its users.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use tokio::sync::{Notify, watch};

use super::{Accept, ClientCertificate, Reply, Request};
use crate::Compression;

pub(super) type ReplyFn = Arc<dyn Fn(&Request) -> Reply + Send + Sync>;

pub(super) struct State {
    /// Incremented by every change, so that none is missed between checking and waiting.
    generation: u64,
    pub(super) connections: usize,
    pub(super) open: BTreeSet<usize>,
    pub(super) handshakes: usize,
    pub(super) failed_handshakes: usize,
    pub(super) resumptions: usize,
    pub(super) resets: usize,
    pub(super) client_certificates: Vec<ClientCertificate>,
    pub(super) received: Vec<Received>,
    pub(super) accept: Accept,
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) goaway_after: Option<usize>,
    pub(super) reply: ReplyFn,
    pub(super) compression: Option<Compression>,
}

pub(super) struct Received {
    pub(super) request: Request,
    pub(super) acknowledged: bool,
}

impl State {
    pub(super) fn acknowledged(&self) -> impl DoubleEndedIterator<Item = &Request> {
        self.received
            .iter()
            .filter(|received| received.acknowledged)
            .map(|received| &received.request)
    }
}

pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Releases the held requests.
    pub(super) release: watch::Sender<()>,
    /// Closes the open connections.
    pub(super) close: watch::Sender<()>,
    /// Ends the thread.
    pub(super) stop: Notify,
}

impl Shared {
    pub(super) fn new(tls: Option<Arc<ServerConfig>>) -> Self {
        Self {
            state: Mutex::new(State {
                generation: 0,
                connections: 0,
                open: BTreeSet::new(),
                handshakes: 0,
                failed_handshakes: 0,
                resumptions: 0,
                resets: 0,
                client_certificates: Vec::new(),
                received: Vec::new(),
                accept: Accept::Serve,
                tls,
                goaway_after: None,
                reply: Arc::new(|_| Reply::Accept),
                compression: None,
            }),
            changed: Condvar::new(),
            release: watch::Sender::new(()),
            close: watch::Sender::new(()),
            stop: Notify::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Poisoning is harmless: no user code runs under the lock, and no change is ever left half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and wakes all waiting threads.
    pub(super) fn update<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let result = change(&mut state);
        state.generation += 1;
        drop(state);
        self.changed.notify_all();
        result
    }

    /// Waits until `holds` returns true. It is evaluated after every change, never under the lock.
    pub(super) fn wait_until(&self, timeout: Duration, mut holds: impl FnMut() -> bool) -> bool {
        // `None` if the timeout is beyond the clock's range.
        let deadline = Instant::now().checked_add(timeout);
        loop {
            let seen = self.lock().generation;
            if holds() {
                return true;
            }
            let mut state = self.lock();
            while state.generation == seen {
                let left = deadline.map_or(Duration::MAX, |deadline| {
                    deadline.saturating_duration_since(Instant::now())
                });
                if left.is_zero() {
                    return false;
                }
                (state, _) =
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}
