//! What passes on a connection's stream, seen from below HTTP: its implementations keep neither how
//! much came nor how it failed.

use std::error::Error as StdError;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, BufWriter, ReadBuf};
use tokio::sync::{Notify, oneshot};

use super::connector::Stream;
use crate::failure::{FailureKind, Scene};
use crate::lock::lock;
use crate::observation::Observation;
use crate::tls::Snapshot;

/// What is written goes out at least this often.
const WRITE_BUFFER: usize = 64 * 1024;

/// What was seen on a stream.
#[derive(Debug)]
pub(super) struct Wire {
    /// What was seen when it was made, and by which credentials.
    seen: Observation,
    credentials: Option<Snapshot>,
    over_http2: bool,
    received: AtomicU64,
    /// Set once an exchange was completed.
    answered: AtomicBool,
    /// Whether a request is not sent, or not answered, over HTTP/1.1.
    busy: AtomicBool,
    /// The first failure to read or write.
    failure: Mutex<Option<FailureKind>>,
    /// Told of the first bytes, and of the end.
    first_news: Notify,
}

impl Wire {
    pub(super) fn new(seen: Observation, credentials: Option<Snapshot>, over_http2: bool) -> Self {
        Self {
            seen,
            credentials,
            over_http2,
            received: AtomicU64::new(0),
            answered: AtomicBool::new(false),
            busy: AtomicBool::new(false),
            failure: Mutex::default(),
            first_news: Notify::new(),
        }
    }

    /// How many bytes have arrived.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Resolves with the first bytes, or with the end.
    pub(super) async fn news(&self) {
        self.first_news.notified().await;
    }

    pub(super) fn tell_of_the_end(&self) {
        self.first_news.notify_one();
    }

    /// What the failures on this wire are judged by.
    pub(super) fn scene(&self) -> Scene<'_> {
        Scene { seen: &self.seen, credentials: self.credentials.as_ref() }
    }

    fn note(&self, error: &io::Error) {
        let failure = self.scene().exchange(error, self.received() == 0, self.over_http2);
        // What follows a failure is its consequence.
        lock(&self.failure).get_or_insert(failure);
    }

    pub(super) fn tell_of_an_answer(&self) {
        self.answered.store(true, Ordering::Relaxed);
        if let Some(credentials) = &self.credentials {
            credentials.accept();
        }
    }

    pub(super) fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    pub(super) fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::Relaxed);
    }

    pub(super) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed)
    }

    /// The failure of the stream, or what it shows of why HTTP failed.
    pub(super) fn last_word(&self) -> Option<FailureKind> {
        // Who has answered speaks what we do.
        let misunderstood = match self.has_answered() {
            true => None,
            false => self.scene().misunderstood(self.over_http2),
        };
        misunderstood.or_else(|| lock(&self.failure).clone())
    }

    /// Why HTTP failed: the stream's reason, if it has one.
    pub(super) fn failure(&self, error: &(dyn StdError + 'static)) -> FailureKind {
        let closed = || self.scene().closed(error, self.received() == 0, self.over_http2);
        self.last_word().unwrap_or_else(closed)
    }
}

/// A stream that tells its [`Wire`] what passes, and that can be cut from outside.
pub(super) struct Tapped {
    stream: BufWriter<Box<dyn Stream>>,
    wire: Arc<Wire>,
    /// Whether anything was written since the last flush.
    unflushed: bool,
    /// Kept while the read side has not ended.
    write_error: Option<io::Error>,
    /// Resolves when the stream is to end, whatever state HTTP is in.
    cut: oneshot::Receiver<()>,
    is_cut: bool,
}

impl Tapped {
    pub(super) fn new(
        stream: Box<dyn Stream>,
        wire: Arc<Wire>,
        cut: oneshot::Receiver<()>,
    ) -> Self {
        Self {
            stream: BufWriter::with_capacity(WRITE_BUFFER, stream),
            wire,
            unflushed: false,
            write_error: None,
            cut,
            is_cut: false,
        }
    }

    fn ensure_uncut(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.is_cut = self.is_cut || Pin::new(&mut self.cut).poll(cx).is_ready();
        if self.is_cut { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }

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
        self.ensure_uncut(cx)?;
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
        self.ensure_uncut(cx)?;
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
        self.ensure_uncut(cx)?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
