//! One connection to a collector: HTTP/1.1 or HTTP/2 on what the connector dialled.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::Dispatch;
use tracing::instrument::WithSubscriber;

use super::connector::{Alpn, Connector, Dialled};
use super::outgoing::{Outgoing, Sending};
use super::wire::{Tapped, Wire};
use crate::failure::{FailureKind, Scene, Side};
use crate::net::{Alive, Executor, spawn};
use crate::observation::Observation;
use crate::otlp::{Answer, End};

/// How long a connection that nobody uses any more may take to say goodbye.
const CLOSING: Duration = Duration::from_secs(5);

/// How long after an early answer a connection of HTTP/1.1 may take to be ready for the next request.
const SETTLING: Duration = Duration::from_millis(100);

/// A connection that is ready for requests.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) generation: u64,
    sender: Sender,
    wire: Arc<Wire>,
    /// Set once no further export shall begin on it.
    retired: AtomicBool,
    /// Dropped with the last exchange, which ends the connection.
    _open: oneshot::Sender<()>,
}

#[derive(Debug)]
enum Sender {
    /// Takes any number of requests at once.
    Http2(http2::SendRequest<Outgoing>),
    /// Takes one at a time.
    Http1(tokio::sync::Mutex<http1::SendRequest<Outgoing>>),
}

/// An answer, and why there is no more of it if it broke off.
#[derive(Debug)]
pub(super) struct Exchanged {
    pub(super) answer: Answer,
    pub(super) broken: Option<FailureKind>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Lost {
    /// The collector has not seen the request, so it can be sent again at once.
    Unsent,
    /// The collector may have seen it.
    Broken(FailureKind),
}

impl Connection {
    /// Dials, and gets as far as requests can be sent. HTTP/2 is spoken where ALPN says so, and
    /// where it says nothing if `assume_http2`. The runtime is kept `alive` until it is closed.
    pub(super) async fn open(
        connector: &Connector,
        require_http2: bool,
        assume_http2: bool,
        alive: Alive,
        seen: &Mutex<Observation>,
    ) -> Result<Self, FailureKind> {
        let deadline = connector.deadline();
        let credentials = connector.credentials();
        let generation = credentials.as_ref().map_or(0, |credentials| credentials.generation);
        let Dialled { stream, seen: dialled, alpn, awaits_verdict } =
            connector.dial(credentials.as_ref(), deadline, seen).await?;

        let is_http2 = match alpn {
            Alpn::H2 => true,
            Alpn::Http1 => false,
            Alpn::Nothing => assume_http2,
        };
        if require_http2 && !is_http2 {
            return Err(FailureKind::NoHttp2 { refused_by: Side::Us, by_alpn: true });
        }

        let wire = Arc::new(Wire::new(dialled, credentials, is_http2));
        let (cut, is_cut) = oneshot::channel();
        let io = TokioIo::new(Tapped::new(stream, Arc::clone(&wire), is_cut));
        let (open, closing) = oneshot::channel();
        let ends = Ends { closing, cut, wire: Arc::clone(&wire), _alive: alive };
        let broken = |error: hyper::Error| wire.failure(&error);
        let sender = if is_http2 {
            // h2 opens a root span per connection, which no suppression by context reaches; seen by
            // no subscriber it stays closed, and what happens within it is in our context.
            let handshake = http2::Builder::new(Executor).handshake(io);
            let handshake = handshake.with_subscriber(Dispatch::none());
            let (sender, driver) = handshake.await.map_err(broken)?;
            spawn(drive(driver, ends));
            Sender::Http2(sender)
        } else {
            let (sender, driver) = http1::Builder::new().handshake(io).await.map_err(broken)?;
            spawn(drive(driver, ends));
            Sender::Http1(tokio::sync::Mutex::new(sender))
        };
        let connection =
            Self { generation, sender, wire, retired: AtomicBool::new(false), _open: open };
        if is_http2 && awaits_verdict {
            connection.verdict(deadline, connector.timeout()).await?;
        }
        Ok(connection)
    }

    /// Waits for the server's first byte, its SETTINGS, or for its refusal of our certificate.
    async fn verdict(&self, deadline: Instant, after: Duration) -> Result<(), FailureKind> {
        timeout_at(deadline, self.wire.news())
            .await
            .map_err(|_elapsed| FailureKind::Http2Timeout { after })?;
        match self.wire.last_word() {
            Some(failure) => Err(failure),
            None if self.received() > 0 => Ok(()),
            None => Err(self.wire.failure(&io::Error::from(io::ErrorKind::UnexpectedEof))),
        }
    }

    pub(super) fn is_http2(&self) -> bool {
        matches!(self.sender, Sender::Http2(_))
    }

    /// Whether another export may begin on it.
    pub(super) fn is_usable(&self) -> bool {
        let is_closed = match &self.sender {
            Sender::Http2(sender) => sender.is_closed(),
            Sender::Http1(sender) => sender.try_lock().is_ok_and(|sender| sender.is_closed()),
        };
        !is_closed && !self.retired.load(Ordering::Relaxed)
    }

    pub(super) fn has_answered(&self) -> bool {
        self.wire.has_answered()
    }

    /// What its failures are judged by.
    pub(super) fn scene(&self) -> Scene<'_> {
        self.wire.scene()
    }

    /// Lets no further export begin on it.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// How many bytes have arrived on it.
    pub(super) fn received(&self) -> u64 {
        self.wire.received()
    }

    /// Whether a connection of HTTP/1.1 is ready for another request.
    pub(super) fn is_settled(&self) -> bool {
        let settled = match &self.sender {
            Sender::Http2(_) => true,
            Sender::Http1(sender) => sender.try_lock().is_ok_and(|sender| sender.is_ready()),
        };
        self.wire.set_busy(!settled);
        settled
    }

    /// Whether it becomes so within [`SETTLING`].
    pub(super) async fn settles(&self) -> bool {
        if let Sender::Http1(sender) = &self.sender {
            // What it says is asked again.
            let _ = timeout(SETTLING, async { sender.lock().await.ready().await }).await;
        }
        self.is_settled()
    }

    /// Sends one request, and reads as much of the answer as arrives: at most `max_body` bytes of its body,
    /// and until `end` resolves.
    pub(super) async fn exchange(
        &self,
        request: Request<Bytes>,
        max_body: usize,
        end: impl Future<Output = FailureKind>,
    ) -> Result<Exchanged, Lost> {
        let (head, body) = request.into_parts();
        let (body, _sending) = Sending::begin(body);
        let request = Request::from_parts(head, body);
        let sent = match &self.sender {
            Sender::Http2(sender) => sender.clone().try_send_request(request).await,
            Sender::Http1(sender) => {
                self.wire.set_busy(true);
                sender.lock().await.try_send_request(request).await
            }
        };
        let response = sent.map_err(|mut error| match error.take_message() {
            // Another connection would end like this one.
            Some(_unsent) => match self.wire.failure(error.error()) {
                failure if failure.is_permanent() => Lost::Broken(failure),
                _ => Lost::Unsent,
            },
            None => self.lost(error.into_error()),
        })?;
        let (head, body) = response.into_parts();
        let (body, trailers, end, broken) = self.read(body, max_body, end).await;
        if broken.is_none() {
            self.wire.tell_of_an_answer();
        }
        let (status, headers) = (head.status, head.headers);
        Ok(Exchanged { answer: Answer { status, headers, body, trailers, end }, broken })
    }

    /// Reads a body into one buffer, in however many pieces it comes.
    async fn read(
        &self,
        mut body: Incoming,
        max: usize,
        end: impl Future<Output = FailureKind>,
    ) -> (Bytes, Option<HeaderMap>, End, Option<FailureKind>) {
        let mut end = pin!(end);
        let (mut bytes, mut trailers) = (BytesMut::new(), None);
        loop {
            let frame = tokio::select! {
                biased;
                frame = body.frame() => frame,
                kind = end.as_mut() => return (bytes.freeze(), None, End::BrokenOff, Some(kind)),
            };
            match frame.map(|frame| frame.map(Frame::into_data)) {
                None => return (bytes.freeze(), trailers, End::Complete, None),
                Some(Ok(Ok(data))) if data.len() > max - bytes.len() => {
                    return (Bytes::new(), None, End::TooLong, None);
                }
                Some(Ok(Ok(data))) => bytes.extend_from_slice(&data),
                Some(Ok(Err(frame))) => trailers = frame.into_trailers().ok(),
                Some(Err(error)) => {
                    let kind = self.wire.failure(&error);
                    return (bytes.freeze(), None, End::BrokenOff, Some(kind));
                }
            }
        }
    }

    fn lost(&self, error: hyper::Error) -> Lost {
        if is_unprocessed(&error) { Lost::Unsent } else { Lost::Broken(self.wire.failure(&error)) }
    }
}

/// Whether HTTP/2 guarantees that the server did nothing with the request ([RFC 9113, section
/// 8.7](https://www.rfc-editor.org/rfc/rfc9113#section-8.7)): nginx ends each connection that way
/// after `keepalive_requests`.
fn is_unprocessed(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error);
    source.and_then(|source| source.downcast_ref::<h2::Error>()).is_some_and(|error| {
        error.is_remote()
            && (error.reason() == Some(h2::Reason::REFUSED_STREAM)
                || error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR))
    })
}

/// What ends a connection, and what its end matters to.
struct Ends {
    /// Resolves once nobody uses it.
    closing: oneshot::Receiver<()>,
    /// Closes the socket when dropped; resolves once it is closed.
    cut: oneshot::Sender<()>,
    wire: Arc<Wire>,
    _alive: Alive,
}

/// Runs a connection until it is closed, which takes at most [`CLOSING`] once nobody uses it. One of HTTP/1.1
/// whose request is not sent by then has no goodbye to say, and a body to hold on to.
///
/// The driver's end is not the socket's: over HTTP/2 a task of hyper's has it, and may wait to flush
/// what a dead peer will never take.
async fn drive<E>(driver: impl Future<Output = Result<(), E>>, ends: Ends) {
    let Ends { closing, mut cut, wire, _alive } = ends;
    let mut driver = Box::pin(driver);
    let is_over = tokio::select! {
        _ = &mut driver => true,
        _ = closing => false,
    };
    wire.tell_of_the_end();
    if wire.is_busy() {
        return;
    }
    let goodbye = async move {
        if !is_over {
            // What it says on its way out concerns nobody.
            let _ = driver.as_mut().await;
        }
        drop(driver);
        cut.closed().await;
    };
    let _ = timeout(CLOSING, goodbye).await;
}
