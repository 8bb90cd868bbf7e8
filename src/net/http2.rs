//! HTTP/2, by the crate h2 itself: hyper's client cannot send a single PING, and hides the reasons for
//! which a server resets a stream.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use h2::{Ping, PingPong, RecvStream, SendStream};
use http::{HeaderMap, Request, StatusCode};
use tokio::time::timeout;
use tracing::Dispatch;
use tracing::instrument::WithSubscriber;

use super::message::{Body, Deadline, Piece, Pieces, collect};
use super::stream::Tapped;

/// How much a server may send that we have not read: of one response, and of all.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 2 << 20;

/// How much of the requests may wait in h2 for the stream to take it.
const SEND_BUFFER: usize = 1 << 20;

/// The most that the headers of a response may take.
const MAX_HEADERS: u32 = 64 << 10;

/// How many PINGs are sent between two answers. gRPC's servers take more for an attack, and close the
/// connection with `too_many_pings`.
const PINGS: usize = 2;

/// The sending half of a connection.
#[derive(Debug)]
pub(super) struct Http2 {
    send: SendRequest<Bytes>,
    pings: tokio::sync::Mutex<Option<PingPong>>,
    /// How many PINGs were sent since the last answer.
    pinged: AtomicUsize,
}

pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Body<h2::Error>,
}

/// Why there is no answer.
pub(super) enum Unanswered {
    /// The connection had ended before anything was sent.
    Before(h2::Error),
    After(h2::Error),
}

impl Http2 {
    /// Says hello, without waiting for the server's SETTINGS. The connection is to be polled.
    pub(super) async fn begin(
        stream: Tapped,
    ) -> Result<(Self, Connection<Tapped, Bytes>), h2::Error> {
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEADERS)
            .max_send_buffer_size(SEND_BUFFER);
        // h2 opens a root span per connection, which no suppression by context reaches; seen by no
        // subscriber it stays closed, and what happens within it is in our context.
        let handshake = builder.handshake(stream).with_subscriber(Dispatch::none());
        let (send, mut connection) = handshake.await?;
        let pings = tokio::sync::Mutex::new(connection.ping_pong());
        Ok((Self { send, pings, pinged: AtomicUsize::new(0) }, connection))
    }

    /// Why no further request may begin on it; `None` while one may.
    pub(super) fn end(&self) -> Option<h2::Error> {
        let mut cx = Context::from_waker(Waker::noop());
        match self.send.clone().poll_ready(&mut cx) {
            Poll::Ready(Err(error)) => Some(error),
            Poll::Ready(Ok(())) | Poll::Pending => None,
        }
    }

    /// Sends one request, and reads as much of the response as arrives in time. `answered` is called
    /// when it begins.
    pub(super) async fn exchange(
        &self,
        head: Request<()>,
        body: Bytes,
        max_response: usize,
        deadline: &Deadline,
        answered: impl FnOnce(),
    ) -> Result<Answered, Unanswered> {
        let mut send = self.send.clone().ready().await.map_err(Unanswered::Before)?;
        let (response, stream) =
            send.send_request(head, body.is_empty()).map_err(Unanswered::Before)?;
        let mut answer = pin!(async {
            let (head, body) = response.await.map_err(Unanswered::After)?.into_parts();
            self.pinged.store(0, Ordering::Relaxed);
            answered();
            let body = collect(body, max_response, deadline).await;
            Ok(Answered { status: head.status, headers: head.headers, body })
        });
        // A server may answer before it has read the request, and need not read the rest of it.
        tokio::select! {
            biased;
            answer = answer.as_mut() => return answer,
            () = write(stream, body) => {}
        }
        answer.await
    }

    /// Asks by one PING whether the path still carries anything; `true` where that was asked often
    /// enough.
    pub(super) async fn is_alive(&self, within: Duration) -> bool {
        if self.pinged.fetch_add(1, Ordering::Relaxed) >= PINGS {
            return true;
        }
        let pong = async {
            let mut pings = self.pings.lock().await;
            let Some(pings) = pings.as_mut() else {
                return true;
            };
            loop {
                match pings.ping(Ping::opaque()).await {
                    Ok(_pong) => return true,
                    // One is under way that somebody has given up, and whose answer may be old.
                    Err(_) if poll_fn(|cx| pings.poll_pong(cx)).await.is_ok() => {}
                    Err(_closed) => return false,
                }
            }
        };
        timeout(within, pong).await.unwrap_or(false)
    }
}

/// Writes a request's body as the server takes it. Why a server takes no more, its answer says.
async fn write(mut stream: SendStream<Bytes>, mut body: Bytes) {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let Some(Ok(capacity)) = poll_fn(|cx| stream.poll_capacity(cx)).await else {
            return;
        };
        // Capacity that another stream was faster to take.
        if capacity == 0 {
            continue;
        }
        let piece = body.split_to(capacity.min(body.len()));
        if stream.send_data(piece, body.is_empty()).is_err() {
            return;
        }
    }
}

impl Pieces for RecvStream {
    type Error = h2::Error;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, h2::Error>>> {
        if let Some(data) = ready!(self.poll_data(cx)) {
            return Poll::Ready(Some(data.and_then(|data| {
                self.flow_control().release_capacity(data.len())?;
                Ok(Piece::Data(data))
            })));
        }
        let trailers = ready!(self.poll_trailers(cx));
        Poll::Ready(trailers.transpose().map(|trailers| trailers.map(Piece::Trailers)))
    }
}
