//! HTTP/2, by the crate h2 directly: hyper's client cannot send a single PING, and hides the error
//! codes with which a server resets a stream.

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

/// The flow-control window of one response and of the connection.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 2 << 20;

/// How much request data may wait in h2 for flow control.
const SEND_BUFFER: usize = 1 << 20;

/// The largest size of a response's headers.
const MAX_HEADERS: u32 = 64 << 10;

/// How many PINGs may be sent between two answers. gRPC servers treat more as an attack and close
/// the connection with `too_many_pings`.
const PINGS: usize = 2;

/// The sending half of a connection.
#[derive(Debug)]
pub(super) struct Http2 {
    send: SendRequest<Bytes>,
    pings: tokio::sync::Mutex<Option<PingPong>>,
    /// The number of PINGs sent since the last answer.
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
    /// Sends the connection preface and does not wait for the server's SETTINGS. The caller must
    /// poll the connection.
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
        // h2 creates a root span per connection. Its parent is not our context, so suppressing
        // telemetry there does not reach it: with a subscriber, the exporter would export a span
        // about itself. Without one the span stays disabled, and what is recorded within it belongs
        // to our context, which suppresses it.
        let handshake = builder.handshake(stream).with_subscriber(Dispatch::none());
        let (send, mut connection) = handshake.await?;
        let pings = tokio::sync::Mutex::new(connection.ping_pong());
        Ok((Self { send, pings, pinged: AtomicUsize::new(0) }, connection))
    }

    /// Why no further request may begin on it; `None` if one may.
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
        // A server may answer before it has read the whole request, and need not read the rest.
        tokio::select! {
            biased;
            answer = answer.as_mut() => return answer,
            () = write(stream, body) => {}
        }
        answer.await
    }

    /// Whether a PING is answered in time. `true` without a PING if the limit is reached.
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
                    // An abandoned PING is still in flight, and its answer may be old.
                    Err(_) if poll_fn(|cx| pings.poll_pong(cx)).await.is_ok() => {}
                    Err(_closed) => return false,
                }
            }
        };
        timeout(within, pong).await.unwrap_or(false)
    }
}

/// Writes a request's body as flow control permits. If the server stops reading, its answer says
/// why.
async fn write(mut stream: SendStream<Bytes>, mut body: Bytes) {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let Some(Ok(capacity)) = poll_fn(|cx| stream.poll_capacity(cx)).await else {
            return;
        };
        // Another stream took the capacity first.
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
