//! HTTP/1.1, by hyper: one request at a time.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::Full;
use hyper::body::{Body as _, Frame, Incoming};
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::message::{Body, BodyEnd, Deadline, Piece, Pieces, collect};
use super::stream::Tapped;

/// How long a connection may take to become ready for the next request after an early answer.
const SETTLING: Duration = Duration::from_millis(100);

/// The sending half of a connection.
#[derive(Debug)]
pub(super) struct Http1(Mutex<SendRequest<Full<Bytes>>>);

pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Body<hyper::Error>,
    /// Whether the connection is ready for another request.
    pub(super) is_reusable: bool,
}

/// Why there is no answer.
pub(super) enum Unanswered {
    /// The connection had ended before anything was sent.
    Before(hyper::Error),
    After(hyper::Error),
}

impl Http1 {
    /// The caller must poll the connection.
    pub(super) async fn begin(
        stream: Tapped,
    ) -> Result<(Self, Connection<TokioIo<Tapped>, Full<Bytes>>), hyper::Error> {
        let (send, connection) = http1::Builder::new().handshake(TokioIo::new(stream)).await?;
        Ok((Self(Mutex::new(send)), connection))
    }

    /// Whether another request may begin on it.
    pub(super) fn is_open(&self) -> bool {
        self.0.try_lock().is_ok_and(|send| !send.is_closed())
    }

    /// Sends one request, and reads as much of the response as arrives in time. `answered` is
    /// called when the response begins.
    pub(super) async fn exchange(
        &self,
        head: Request<()>,
        body: Bytes,
        max_response: usize,
        deadline: &Deadline,
        answered: impl FnOnce(),
    ) -> Result<Answered, Unanswered> {
        let request = head.map(|()| Full::new(body));
        let mut send = self.0.lock().await;
        let response = send.try_send_request(request).await.map_err(|mut error| {
            match error.take_message() {
                Some(_unsent) => Unanswered::Before(error.into_error()),
                None => Unanswered::After(error.into_error()),
            }
        })?;
        answered();
        let (head, body) = response.into_parts();
        let body = collect(body, max_response, deadline).await;
        // A server may answer before it has read the whole request, and never read the rest.
        let is_reusable = matches!(body.end, BodyEnd::Complete)
            && timeout(SETTLING, send.ready()).await.is_ok_and(|ready| ready.is_ok());
        Ok(Answered { status: head.status, headers: head.headers, body, is_reusable })
    }
}

impl Pieces for Incoming {
    type Error = hyper::Error;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, hyper::Error>>> {
        let frame = ready!(Pin::new(self).poll_frame(cx));
        Poll::Ready(frame.and_then(|frame| match frame.map(Frame::into_data) {
            Ok(Ok(data)) => Some(Ok(Piece::Data(data))),
            Ok(Err(frame)) => frame.into_trailers().ok().map(Piece::Trailers).map(Ok),
            Err(error) => Some(Err(error)),
        }))
    }
}
