//! Connections for clients that speak HTTP themselves.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::client::Client;
use super::error::NetError;
use super::progress::Progress;
use super::runtime::Alive;
use super::stream::Stream;
use crate::failure::FailureKind;

impl Client {
    /// Dials for a client that speaks HTTP itself, on any thread.
    pub(crate) async fn dial(self: &Arc<Self>) -> Result<ConnectorStream, NetError> {
        let client = Arc::clone(self);
        self.on_io_thread(async move { client.dial_apart().await }).await
    }

    pub(super) async fn on_io_thread<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, NetError>> + Send + 'static,
    ) -> Result<T, NetError> {
        if !self.runtime.is_of_this_process() {
            return Err(NetError::unsent(FailureKind::Forked, Arc::default()));
        }
        let done = self.runtime.run(work).await;
        done.unwrap_or_else(|lost| Err(NetError::unsent(FailureKind::lost(&lost), Arc::default())))
    }

    /// Dials with the current credentials. The connection is not shared.
    async fn dial_apart(&self) -> Result<ConnectorStream, NetError> {
        self.look_if_due().await;
        let current = self.credentials.as_ref().map(|credentials| credentials.current());
        let progress = Arc::new(Progress::new(current.clone()));
        let (target, after) = (&self.target, self.target.connect_timeout);
        let dial = async {
            let dialled = target.dial(current.as_deref(), false, &progress).await?;
            let is_http2 = dialled.is_http2(target.family)?;
            Ok((dialled.stream, is_http2))
        };
        let dialled =
            timeout(after, dial).await.unwrap_or_else(|_| Err(progress.late(target, after)));
        self.note_dial(dialled.as_ref().err(), &progress.evidence()).await;
        let (stream, is_http2) =
            dialled.map_err(|kind| NetError::unsent(kind, progress.evidence()))?;
        Ok(ConnectorStream { stream: TokioIo::new(stream), is_http2, _alive: self.runtime.alive() })
    }
}

/// A connection that a [`Connector`](crate::Connector) has made, over TLS if the endpoint is `https`.
///
/// It can be used on any runtime. The I/O thread, which lives as long as the connection, only
/// reports readiness; the caller's thread reads and writes.
pub struct ConnectorStream {
    stream: TokioIo<Box<dyn Stream>>,
    is_http2: bool,
    _alive: Alive,
}

impl fmt::Debug for ConnectorStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectorStream").field("is_http2", &self.is_http2).finish_non_exhaustive()
    }
}

impl Connection for ConnectorStream {
    fn connected(&self) -> Connected {
        match self.is_http2 {
            true => Connected::new().negotiated_h2(),
            false => Connected::new(),
        }
    }
}

impl Read for ConnectorStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl Write for ConnectorStream {
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
