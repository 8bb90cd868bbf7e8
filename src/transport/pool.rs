//! The connections of one transport: usually one, that all its exports share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::connection::Connection;
use super::connector::Connector;
use crate::failure::FailureKind;
use crate::lock::lock;
use crate::net::{Alive, spawn};
use crate::observation::Observation;
use crate::tls::Snapshot;

#[derive(Debug)]
pub(super) struct Pool {
    connector: Connector,
    require_http2: bool,
    assume_http2: bool,
    slots: Mutex<Slots>,
    /// Whether there was ever an answer.
    has_answered: AtomicBool,
    /// What the last dial saw, or the one that goes on.
    observed: Mutex<Observation>,
    /// Held while dialling, so that exports which begin together share one connection.
    dialling: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct Slots {
    /// The HTTP/2 connection.
    shared: Option<Arc<Connection>>,
    /// HTTP/1.1 connections that wait for their next export.
    idle: Vec<Arc<Connection>>,
    /// Counts the connections that were made.
    opened: u64,
    /// How the last dial failed, when, and with which generation of credentials.
    failure: Option<(Instant, u64, FailureKind)>,
}

impl Pool {
    pub(super) fn new(connector: Connector, require_http2: bool, assume_http2: bool) -> Arc<Self> {
        Arc::new(Self {
            connector,
            require_http2,
            assume_http2,
            slots: Mutex::default(),
            has_answered: AtomicBool::new(false),
            observed: Mutex::default(),
            dialling: Arc::default(),
        })
    }

    /// The credentials of this moment; `None` over plaintext.
    pub(super) fn credentials(&self) -> Option<Snapshot> {
        self.connector.credentials()
    }

    /// Their generation.
    pub(super) fn generation(&self) -> u64 {
        self.credentials().map_or(0, |credentials| credentials.generation)
    }

    /// What the last dial saw, or the one that goes on.
    pub(super) fn observed(&self) -> Observation {
        lock(&self.observed).clone()
    }

    /// What a dial that goes on has to be said to have failed of; `None` if there is none.
    pub(super) fn late(&self, after: Duration) -> Option<FailureKind> {
        let goes_on = self.dialling.try_lock().is_err();
        goes_on.then(|| self.connector.late(&lock(&self.observed), after))
    }

    /// Counts the connections that were made.
    pub(super) fn connections(&self) -> u64 {
        lock(&self.slots).opened
    }

    /// Has the credentials looked at, if it is time to.
    pub(super) async fn look(&self) {
        self.connector.look().await;
    }

    /// Has the credentials looked at now, and says whether they are newer than a generation.
    pub(super) async fn is_renewed(&self, since: u64) -> bool {
        if self.generation() == since {
            self.connector.look_now(since).await;
        }
        self.generation() != since
    }

    /// A connection with the credentials of this moment: one that is there, or a new one.
    pub(super) async fn acquire(
        self: &Arc<Self>,
        alive: &Alive,
    ) -> Result<Arc<Connection>, FailureKind> {
        let asked = Instant::now();
        loop {
            if let Some(connection) = self.existing() {
                return Ok(connection);
            }
            let turn = Arc::clone(&self.dialling).lock_owned().await;
            if let Some(connection) = self.existing() {
                return Ok(connection);
            }
            // Whoever had the turn before dialled for us too, but for other credentials.
            let generation = self.generation();
            if let Some((_, _, failure)) = lock(&self.slots)
                .failure
                .clone()
                .filter(|(at, with, _)| *at > asked && *with == generation)
            {
                return Err(failure);
            }
            // A task of its own, for the export that begins a dial may end before the dial does.
            let (pool, alive) = (Arc::clone(self), alive.clone());
            let dial = spawn(async move {
                let dialled = pool.dial(alive).await;
                drop(turn);
                dialled
            });
            let connection = dial.await.unwrap_or_else(|lost| Err(FailureKind::lost(&lost)))?;
            // Even if it is closed by now: whoever uses it counts those that are of no use.
            if connection.is_http2() || self.take(&connection) {
                return Ok(connection);
            }
        }
    }

    async fn dial(&self, alive: Alive) -> Result<Arc<Connection>, FailureKind> {
        let (require, assume) = (self.require_http2, self.assume_http2);
        let generation = self.generation();
        *lock(&self.observed) = Observation {
            has_answered: self.has_answered.load(Ordering::Relaxed),
            ..Observation::default()
        };
        let opened =
            Connection::open(&self.connector, require, assume, alive, &self.observed).await;
        self.connector.count(opened.as_ref().err(), &self.observed());
        let mut slots = lock(&self.slots);
        match opened {
            Ok(connection) => {
                let connection = Arc::new(connection);
                slots.opened += 1;
                match connection.is_http2() {
                    true => slots.shared = Some(Arc::clone(&connection)),
                    // For whoever comes first, if the export that began the dial has ended.
                    false => slots.idle.push(Arc::clone(&connection)),
                }
                Ok(connection)
            }
            Err(failure) => {
                slots.failure = Some((Instant::now(), generation, failure.clone()));
                Err(failure)
            }
        }
    }

    /// Takes an HTTP/1.1 connection out of those that wait, if nobody else has.
    fn take(&self, connection: &Arc<Connection>) -> bool {
        let idle = &mut lock(&self.slots).idle;
        let place = idle.iter().position(|waiting| Arc::ptr_eq(waiting, connection));
        place.map(|place| idle.swap_remove(place)).is_some()
    }

    /// Takes an HTTP/1.1 connection back once its exchange is over.
    pub(super) fn give_back(self: &Arc<Self>, connection: Arc<Connection>) {
        self.has_answered.store(true, Ordering::Relaxed);
        if connection.is_http2() {
            return;
        }
        if connection.is_settled() {
            return self.keep(connection);
        }
        // The answer came before the request was sent.
        let pool = Arc::clone(self);
        spawn(async move {
            if connection.settles().await {
                pool.keep(connection);
            }
        });
    }

    fn keep(&self, connection: Arc<Connection>) {
        if connection.generation == self.generation() && connection.is_usable() {
            lock(&self.slots).idle.push(connection);
        }
    }

    /// Gives a connection up: it closes with the last export that is in flight on it.
    pub(super) fn condemn(&self, connection: &Arc<Connection>) {
        connection.retire();
        lock(&self.slots).shared.take_if(|shared| Arc::ptr_eq(shared, connection));
    }

    fn existing(&self) -> Option<Arc<Connection>> {
        let generation = self.generation();
        let is_current = |connection: &Arc<Connection>| {
            connection.generation == generation && connection.is_usable()
        };
        let mut slots = lock(&self.slots);
        slots.shared.take_if(|shared| !is_current(shared));
        slots.idle.retain(is_current);
        slots.shared.clone().or_else(|| slots.idle.pop())
    }
}
