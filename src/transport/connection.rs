//! One connection to a collector: HTTP/1.1 or HTTP/2 on what the connector dialled.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, BufWriter, ReadBuf};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::Dispatch;
use tracing::instrument::WithSubscriber;

use super::connector::{Alpn, Connector, Dialled, Stream};
use super::runtime::{self, Executor};
use crate::failure::{FailureKind, tls_error};

/// A collector's answer is a few bytes; more than this is not read.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// What is written goes out at least this often.
const WRITE_BUFFER: usize = 64 * 1024;

/// How long a connection that nobody uses any more may take to say goodbye. A dead one never gets it
/// out.
const CLOSING: Duration = Duration::from_secs(5);

/// A connection that is ready for requests.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) generation: u64,
    sender: Sender,
    wire: Arc<Wire>,
    /// Set once an exchange was completed on it.
    answered: AtomicBool,
    /// Set once no further export shall begin on it.
    retired: AtomicBool,
    /// Dropped with the last exchange, which ends the connection.
    _open: oneshot::Sender<()>,
}

#[derive(Debug)]
enum Sender {
    /// Takes any number of requests at once.
    Http2(http2::SendRequest<Full<Bytes>>),
    /// Takes one at a time.
    Http1(tokio::sync::Mutex<http1::SendRequest<Full<Bytes>>>),
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
    /// where it says nothing if `assume_http2`.
    pub(super) async fn open(
        connector: &Connector,
        require_http2: bool,
        assume_http2: bool,
    ) -> Result<Self, FailureKind> {
        let deadline = connector.deadline();
        let credentials = connector.credentials();
        let generation = credentials.as_ref().map_or(0, |credentials| credentials.generation);
        let Dialled { stream, alpn, awaits_verdict } =
            connector.dial(credentials.as_ref(), deadline).await?;

        let is_http2 = match alpn {
            Alpn::H2 => true,
            Alpn::Http1 => false,
            Alpn::Nothing => assume_http2,
        };
        if require_http2 && !is_http2 {
            return Err(FailureKind::NoHttp2);
        }

        let wire = Arc::new(Wire::default());
        let io = TokioIo::new(Tapped {
            stream: BufWriter::with_capacity(WRITE_BUFFER, stream),
            wire: Arc::clone(&wire),
            unflushed: false,
            write_error: None,
        });
        let (open, closing) = oneshot::channel();
        let broken = |error: hyper::Error| wire.failure(error);
        let sender = if is_http2 {
            // h2 opens a root span per connection, which no suppression by context reaches; seen by
            // no subscriber it stays closed, and what happens within it is in our context.
            let handshake = http2::Builder::new(Executor).handshake(io);
            let handshake = handshake.with_subscriber(Dispatch::none());
            let (sender, driver) = handshake.await.map_err(broken)?;
            runtime::spawn(drive(driver, closing, Arc::clone(&wire)));
            Sender::Http2(sender)
        } else {
            let (sender, driver) = http1::Builder::new().handshake(io).await.map_err(broken)?;
            runtime::spawn(drive(driver, closing, Arc::clone(&wire)));
            Sender::Http1(tokio::sync::Mutex::new(sender))
        };
        let connection = Self {
            generation,
            sender,
            wire,
            answered: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            _open: open,
        };
        if is_http2 && awaits_verdict {
            connection.verdict(deadline, connector.timeout()).await?;
        }
        Ok(connection)
    }

    /// Waits for the server's first byte, its SETTINGS, or for its refusal of our certificate.
    async fn verdict(&self, deadline: Instant, after: Duration) -> Result<(), FailureKind> {
        timeout_at(deadline, self.wire.first_news.notified())
            .await
            .map_err(|_elapsed| FailureKind::HandshakeTimeout { after })?;
        match self.wire.last_word() {
            Some(failure) => Err(failure),
            None if self.received() > 0 => Ok(()),
            None => {
                let source = io::Error::from(io::ErrorKind::UnexpectedEof);
                Err(FailureKind::Connection { source: Arc::new(source) })
            }
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
        self.answered.load(Ordering::Relaxed)
    }

    /// Lets no further export begin on it.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// How many bytes have arrived on it.
    pub(super) fn received(&self) -> u64 {
        self.wire.received.load(Ordering::Relaxed)
    }

    /// Sends one request, and reads the whole answer.
    pub(super) async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Collected<Bytes>>, Lost> {
        let sent = match &self.sender {
            Sender::Http2(sender) => sender.clone().try_send_request(request).await,
            Sender::Http1(sender) => sender.lock().await.try_send_request(request).await,
        };
        let response = sent.map_err(|mut error| match error.take_message() {
            Some(_unsent) => Lost::Unsent,
            None => self.lost(error.into_error()),
        })?;
        let (head, body) = response.into_parts();
        let body = self.read(body).await?;
        self.answered.store(true, Ordering::Relaxed);
        Ok(Response::from_parts(head, body))
    }

    async fn read(&self, body: Incoming) -> Result<Collected<Bytes>, Lost> {
        Limited::new(body, MAX_ANSWER).collect().await.map_err(|error| {
            match error.downcast::<hyper::Error>() {
                Ok(error) => self.lost(*error),
                Err(_limit) => Lost::Broken(FailureKind::Answer { reason: "is too long" }),
            }
        })
    }

    fn lost(&self, error: hyper::Error) -> Lost {
        if is_unprocessed(&error) { Lost::Unsent } else { Lost::Broken(self.wire.failure(error)) }
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

/// Runs a connection until it ends, or nobody uses it and it has had time to say goodbye.
async fn drive<E>(
    driver: impl Future<Output = Result<(), E>>,
    mut closing: oneshot::Receiver<()>,
    wire: Arc<Wire>,
) {
    let mut driver = pin!(driver);
    let is_over = poll_fn(|cx| {
        if driver.as_mut().poll(cx).is_ready() {
            return Poll::Ready(true);
        }
        Pin::new(&mut closing).poll(cx).map(|_| false)
    })
    .await;
    if !is_over {
        // What it says on its way out concerns nobody.
        let _ = timeout(CLOSING, driver).await;
    }
    wire.first_news.notify_one();
}

/// What was seen on a connection's stream. HTTP's implementations keep neither.
#[derive(Debug, Default)]
struct Wire {
    received: AtomicU64,
    /// The first failure to read or write.
    failure: Mutex<Option<FailureKind>>,
    /// Told of the first bytes, and of the end.
    first_news: Notify,
}

impl Wire {
    fn note(&self, error: &io::Error) {
        let failure = match tls_error(error) {
            Some(source) => FailureKind::Tls { source },
            None => {
                let source = io::Error::new(error.kind(), error.to_string());
                FailureKind::Connection { source: Arc::new(source) }
            }
        };
        let mut noted = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        // What follows a failure is its consequence.
        noted.get_or_insert(failure);
    }

    fn last_word(&self) -> Option<FailureKind> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The failure of the stream, if that is what HTTP failed of.
    fn failure(&self, error: hyper::Error) -> FailureKind {
        self.last_word().unwrap_or_else(|| FailureKind::Connection { source: Arc::new(error) })
    }
}

/// A stream that tells its [`Wire`] what passes.
struct Tapped {
    stream: BufWriter<Box<dyn Stream>>,
    wire: Arc<Wire>,
    /// Whether anything was written since the last flush.
    unflushed: bool,
    /// Kept while the read side has not ended.
    write_error: Option<io::Error>,
}

impl Tapped {
    fn noted<T>(&self, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &poll {
            self.wire.note(error);
        }
        poll
    }

    /// A write that fails tells that the server is gone; what it said before it went, its alert, is
    /// still to be read. So a failed write waits for the read side's end.
    fn written<T>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        write: impl FnOnce(
            Pin<&mut BufWriter<Box<dyn Stream>>>,
            &mut Context<'_>,
        ) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let error = match self.write_error.take() {
            Some(error) => error,
            None => match write(Pin::new(&mut self.stream), cx) {
                Poll::Ready(Err(error)) => error,
                poll => return poll,
            },
        };
        let mut rest = [0; 512];
        loop {
            let mut rest = ReadBuf::new(&mut rest);
            match self.as_mut().poll_read(cx, &mut rest) {
                Poll::Ready(Ok(())) if !rest.filled().is_empty() => {}
                Poll::Ready(_) => return self.noted(Poll::Ready(Err(error))),
                Poll::Pending => {
                    self.write_error = Some(error);
                    return Poll::Pending;
                }
            }
        }
    }
}

impl AsyncRead for Tapped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buf);
        let read = (buf.filled().len() - before) as u64;
        if read > 0 && self.wire.received.fetch_add(read, Ordering::Relaxed) == 0 {
            self.wire.first_news.notify_one();
        }
        self.noted(poll)
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.unflushed = true;
        self.written(cx, |stream, cx| stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.unflushed = true;
        self.written(cx, |stream, cx| stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// h2 flushes after every frame, which is at most 16 KiB. A flush after a write is put off until
    /// the task is polled again, which is at once, and by then most of a batch is in the buffer.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.unflushed) {
            cx.waker().wake_by_ref();
            return Poll::Ready(Ok(()));
        }
        self.written(cx, |stream, cx| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
