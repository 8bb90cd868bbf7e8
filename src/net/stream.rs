//! Streams that record what passes on a connection, below TLS and below HTTP: the TLS and HTTP
//! implementations keep neither the amount received nor the original error.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, BufWriter, ReadBuf};
use tokio::sync::Notify;

use crate::failure::Greeting;
use crate::lock::lock;

/// The size of the write buffer, in bytes.
const WRITE_BUFFER: usize = 64 * 1024;

/// A stream that a connection is made on: TCP, a Unix domain socket, or TLS on one.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A stream whose first bytes are kept.
pub(super) struct Greeted {
    stream: Box<dyn Stream>,
    /// Bytes that were read beyond a proxy's answer.
    ahead: Bytes,
    /// `None` once the first bytes were recorded.
    greeting: Option<Greeting>,
}

impl Greeted {
    pub(super) fn new(stream: Box<dyn Stream>, ahead: Bytes, greeting: Greeting) -> Self {
        Self { stream, ahead, greeting: Some(greeting) }
    }
}

impl AsyncRead for Greeted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.ahead.is_empty() {
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        } else {
            let length = self.ahead.len().min(buf.remaining());
            buf.put_slice(&self.ahead.split_to(length));
        }
        let heard = &buf.filled()[before..];
        if !heard.is_empty()
            && let Some(greeting) = self.greeting.take()
        {
            greeting.hear(heard);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Greeted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// What was observed on a [`Tapped`] stream.
#[derive(Debug, Default)]
pub(super) struct Tap {
    received: AtomicU64,
    /// The first failure to read or write. Later ones are its consequences.
    failure: Mutex<Option<io::Error>>,
    /// Notified of the first bytes, and of the end.
    first_news: Notify,
}

impl Tap {
    /// The number of bytes received.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Resolves at the first bytes or at the end.
    pub(super) async fn first_news(&self) {
        self.first_news.notified().await;
    }

    pub(super) fn tell_of_the_end(&self) {
        self.first_news.notify_one();
    }

    /// Reads the first failure, if there was one.
    pub(super) fn failure<T>(&self, read: impl FnOnce(&io::Error) -> T) -> Option<T> {
        lock(&self.failure).as_ref().map(read)
    }

    /// Records a failure, and returns an error of the same kind to pass on.
    fn note(&self, error: io::Error) -> io::Error {
        let kind = error.kind();
        lock(&self.failure).get_or_insert(error);
        kind.into()
    }
}

/// A buffered stream that reports to its [`Tap`].
pub(super) struct Tapped {
    stream: BufWriter<Box<dyn Stream>>,
    tap: Arc<Tap>,
    /// Whether anything was written since the last flush.
    is_unflushed: bool,
    /// Kept while the read side has not ended.
    write_error: Option<io::Error>,
}

impl Tapped {
    pub(super) fn new(stream: Box<dyn Stream>, tap: Arc<Tap>) -> Self {
        Self {
            stream: BufWriter::with_capacity(WRITE_BUFFER, stream),
            tap,
            is_unflushed: false,
            write_error: None,
        }
    }

    /// A failed write first reads until the end of the read side, because the server may have sent
    /// an alert before it closed the connection. Without that, a server that rejects our
    /// certificate over TLS 1.3 mostly shows as `broken pipe`.
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
                Poll::Ready(_) => return Poll::Ready(Err(self.tap.note(error))),
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
        if read > 0 && self.tap.received.fetch_add(read, Ordering::Relaxed) == 0 {
            self.tap.first_news.notify_one();
        }
        poll.map_err(|error| self.tap.note(error))
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.is_unflushed = true;
        self.written(cx, |stream, cx| stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.is_unflushed = true;
        self.written(cx, |stream, cx| stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// The first flush after a write is deferred until the task is polled again. h2 flushes after
    /// every frame of at most 16 KiB, which would cost a TLS record and a system call each. By the
    /// next poll, which follows at once because the task is woken here, most of a batch is in the
    /// buffer (26 instead of 32 µs per 100 KiB).
    ///
    /// Reporting success early is safe: only the connection's own task waits for a flush, and it is
    /// polled again until a flush without a preceding write has passed on everything. Without the
    /// wake, a request that ends with this flush would stay in the buffer.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.is_unflushed) {
            cx.waker().wake_by_ref();
            return Poll::Ready(Ok(()));
        }
        self.written(cx, |stream, cx| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
