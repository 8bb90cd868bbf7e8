//! The connections of one transport: usually one, that all its exports share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::connection::Connection;
use super::connector::Connector;
use crate::failure::FailureKind;

#[derive(Debug)]
pub(super) struct Pool {
    connector: Connector,
    require_http2: bool,
    assume_http2: bool,
    slots: Mutex<Slots>,
    /// Held while dialling, so that exports which begin together share one connection.
    dialling: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Slots {
    /// The HTTP/2 connection.
    shared: Option<Arc<Connection>>,
    /// HTTP/1.1 connections that wait for their next export.
    idle: Vec<Arc<Connection>>,
    /// How the last dial failed, and when.
    failure: Option<(Instant, FailureKind)>,
}

impl Pool {
    pub(super) fn new(connector: Connector, require_http2: bool, assume_http2: bool) -> Self {
        Self {
            connector,
            require_http2,
            assume_http2,
            slots: Mutex::default(),
            dialling: tokio::sync::Mutex::default(),
        }
    }

    /// The generation of the credentials of this moment.
    pub(super) fn generation(&self) -> u64 {
        self.connector.credentials().map_or(0, |credentials| credentials.generation)
    }

    /// Has the credentials looked at, if it is time to.
    pub(super) async fn look(&self) {
        self.connector.look(false).await;
    }

    /// Has the credentials looked at now, and says whether they are newer than a generation.
    pub(super) async fn is_renewed(&self, since: u64) -> bool {
        if self.generation() == since {
            self.connector.look(true).await;
        }
        self.generation() != since
    }

    /// A connection with the credentials of this moment: one that is there, or a new one.
    pub(super) async fn acquire(&self) -> Result<Arc<Connection>, FailureKind> {
        if let Some(connection) = self.existing() {
            return Ok(connection);
        }
        let asked = Instant::now();
        let _turn = self.dialling.lock().await;
        if let Some(connection) = self.existing() {
            return Ok(connection);
        }
        // Whoever had the turn before dialled for us too.
        if let Some((_, failure)) = self.slots().failure.clone().filter(|(at, _)| *at > asked) {
            return Err(failure);
        }
        let opened = Connection::open(&self.connector, self.require_http2, self.assume_http2).await;
        let mut slots = self.slots();
        match opened {
            Ok(connection) => {
                let connection = Arc::new(connection);
                if connection.is_http2() {
                    slots.shared = Some(Arc::clone(&connection));
                }
                slots.failure = None;
                Ok(connection)
            }
            Err(failure) => {
                slots.failure = Some((Instant::now(), failure.clone()));
                Err(failure)
            }
        }
    }

    /// Takes an HTTP/1.1 connection back once its exchange is over.
    pub(super) fn give_back(&self, connection: Arc<Connection>) {
        if !connection.is_http2() && connection.is_usable() {
            self.slots().idle.push(connection);
        }
    }

    /// Gives a connection up: it closes with the last export that is in flight on it.
    pub(super) fn condemn(&self, connection: &Arc<Connection>) {
        connection.retire();
        self.slots().shared.take_if(|shared| Arc::ptr_eq(shared, connection));
    }

    fn existing(&self) -> Option<Arc<Connection>> {
        let generation = self.generation();
        let is_current = |connection: &Arc<Connection>| {
            connection.generation == generation && connection.is_usable()
        };
        let mut slots = self.slots();
        slots.shared.take_if(|shared| !is_current(shared));
        slots.idle.retain(is_current);
        slots.shared.clone().or_else(|| slots.idle.pop())
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        // Nothing in the slots can be half changed.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
