//! Requests of other clients, on the shared connection.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::client::{Client, Turn};
use super::error::NetError;
use super::message::{Deadline, Request, Response, Stop};

impl Client {
    /// Sends one request, on any thread.
    pub(crate) async fn send(
        self: &Arc<Self>,
        request: Request,
        turn: Arc<Turn>,
        timeout: Option<Duration>,
    ) -> Result<Response, NetError> {
        let client = Arc::clone(self);
        self.on_io_thread(async move {
            // Only the timeout ends it: the senders are dropped, so these never change.
            let stop = Stop { drain: watch::channel(None).1, closed: watch::channel(false).1 };
            let deadline = Deadline::new(Instant::now(), timeout, stop);
            client.exchange(&request, &turn, &deadline, &|_| {}).await
        })
        .await
    }
}
