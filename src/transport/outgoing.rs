//! A request's body, which is given up with its exchange.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::lock::lock;

/// A larger body is handed over in pieces of this size, in bytes.
const PIECE: usize = 256 * 1024;

/// The body as hyper has it: over HTTP/2 in a task of its own, until the server takes it or the connection ends.
/// A server that answers early and takes no more would keep all of it in memory for as long; so a large body is
/// copied piece by piece, and what is left of it is dropped with the exchange.
#[derive(Debug)]
pub(super) struct Outgoing {
    rest: Arc<Mutex<Option<Bytes>>>,
    length: usize,
}

/// Gives the body up when dropped.
#[derive(Debug)]
pub(super) struct Sending(Arc<Mutex<Option<Bytes>>>);

impl Sending {
    pub(super) fn begin(body: Bytes) -> (Outgoing, Self) {
        let length = body.len();
        let rest = Arc::new(Mutex::new(Some(body)));
        (Outgoing { rest: Arc::clone(&rest), length }, Self(rest))
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        lock(&self.0).take();
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let mut rest = lock(&self.rest);
        let piece = match &mut *rest {
            None => Err(io::Error::other("the exchange is over")),
            Some(rest) if rest.is_empty() => return Poll::Ready(None),
            Some(rest) if self.length <= PIECE => Ok(std::mem::take(rest)),
            Some(rest) => {
                let piece = rest.split_to(rest.len().min(PIECE));
                // A slice would keep the whole body.
                Ok(Bytes::copy_from_slice(&piece))
            }
        };
        Poll::Ready(Some(piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.rest).as_ref().is_some_and(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        let rest = lock(&self.rest).as_ref().map_or(0, Bytes::len);
        SizeHint::with_exact(rest as u64)
    }
}
