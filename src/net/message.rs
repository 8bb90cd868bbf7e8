//! Requests, responses and deadlines.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant as StdInstant};

use bytes::{Bytes, BytesMut};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode};
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use super::error::NetError;
use crate::failure::{Evidence, FailureKind};

/// One request, which can be sent more than once.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) path: PathAndQuery,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The largest size of a response's body that is read, in bytes.
    pub(crate) max_response: usize,
}

/// A response, as far as it arrived.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) end: End,
    /// The evidence of the connection on which it arrived.
    pub(crate) evidence: Arc<Evidence>,
}

/// How a response's body ended.
#[derive(Debug)]
pub(crate) enum End {
    Complete,
    /// The connection or the stream ended first, or the deadline passed.
    BrokenOff(Box<NetError>),
    /// It was longer than the limit.
    TooLong,
}

/// A body that arrives in pieces.
pub(super) trait Pieces {
    type Error;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, Self::Error>>>;
}

/// A piece of a body.
pub(super) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
}

/// A body as far as it was read.
pub(super) struct Body<E> {
    pub(super) bytes: Bytes,
    pub(super) trailers: Option<HeaderMap>,
    pub(super) end: BodyEnd<E>,
}

pub(super) enum BodyEnd<E> {
    Complete,
    Failed(E),
    OutOfTime(Over),
    TooLong,
}

/// Reads a body into one buffer, in however many pieces it comes: at most `max` bytes, and until the
/// deadline.
pub(super) async fn collect<P: Pieces>(
    mut pieces: P,
    max: usize,
    deadline: &Deadline,
) -> Body<P::Error> {
    let (mut bytes, mut trailers) = (BytesMut::new(), None);
    let read = async {
        loop {
            match poll_fn(|cx| pieces.poll_next(cx)).await {
                None => return BodyEnd::Complete,
                Some(Ok(Piece::Data(data))) if data.len() > max - bytes.len() => {
                    bytes.clear();
                    return BodyEnd::TooLong;
                }
                Some(Ok(Piece::Data(data))) => bytes.extend_from_slice(&data),
                Some(Ok(Piece::Trailers(found))) => trailers = Some(found),
                Some(Err(error)) => return BodyEnd::Failed(error),
            }
        }
    };
    let end = deadline.bound(read).await.unwrap_or_else(BodyEnd::OutOfTime);
    Body { bytes: bytes.freeze(), trailers, end }
}

/// How long a shutdown still waits for a server that was unreachable before it began.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// The deadline of a request: its timeout, or an earlier one that a shutdown sets later.
#[derive(Clone, Debug)]
pub(crate) struct Deadline {
    timeout: Option<Duration>,
    ends: Option<Instant>,
    stop: Stop,
}

/// Ends requests early.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    /// The deadline of all requests, once a shutdown sets it.
    pub(crate) drain: watch::Receiver<Option<Drained>>,
    /// Set to end all waits between attempts. Running attempts continue.
    pub(crate) closed: watch::Receiver<bool>,
}

/// A shutdown in progress.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drained {
    pub(crate) since: StdInstant,
    pub(crate) ends: StdInstant,
}

/// Why a deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    TimedOut(Duration),
    ShuttingDown,
}

impl From<Over> for FailureKind {
    fn from(over: Over) -> Self {
        match over {
            Over::TimedOut(after) => Self::Deadline { after },
            Over::ShuttingDown => Self::Shutdown,
        }
    }
}

/// Polls a future again after other tasks have run, for a caller whose timer has fired.
///
/// After a process was suspended, a timer fires before the data in a socket has passed through the
/// connection's task: without this, an answer that arrived in time would be lost.
pub(super) async fn poll_again<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    for _ in 0..3 {
        tokio::select! {
            biased;
            done = future.as_mut() => return Some(done),
            () = yield_now() => {}
        }
    }
    None
}

impl Deadline {
    /// `None` means no limit, and so does a timeout beyond the range of the clock.
    pub(crate) fn new(begun: Instant, timeout: Option<Duration>, stop: Stop) -> Self {
        let ends = timeout.and_then(|timeout| begun.checked_add(timeout));
        Self { timeout, ends, stop }
    }

    /// The timeout of the request from its beginning.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// The current deadline.
    pub(crate) fn ends(&self) -> Option<Instant> {
        let drained = self.stop.drain.borrow().map(|drained| drained.ends.into());
        self.ends.into_iter().chain(drained).min()
    }

    /// Why it has passed, if it has.
    pub(crate) fn over(&self) -> Option<Over> {
        let now = Instant::now();
        match self.ends {
            Some(ends) if ends <= now => Some(self.timed_out()),
            _ => self.ends().filter(|ends| *ends <= now).map(|_| Over::ShuttingDown),
        }
    }

    /// Runs a future until it is done or the deadline passes.
    pub(crate) async fn bound<T>(&self, future: impl Future<Output = T>) -> Result<T, Over> {
        let mut future = pin!(future);
        let over = tokio::select! {
            biased;
            done = future.as_mut() => return Ok(done),
            over = self.passed(|drained| drained.ends) => over,
        };
        poll_again(future).await.ok_or(over)
    }

    /// Waits before another attempt. During a shutdown the wait ends after one second if the server
    /// was unreachable before, and `closed` ends it at once: longer waits would only delay the
    /// shutdown.
    pub(crate) async fn wait(
        &self,
        until: Instant,
        unreachable_since: Option<StdInstant>,
    ) -> Result<(), Over> {
        let mut closed = self.stop.closed.clone();
        let ends = move |drained: &Drained| match unreachable_since {
            Some(since) if since < drained.since => drained.ends.min(drained.since + LAST_WAIT),
            _ => drained.ends,
        };
        tokio::select! {
            biased;
            Ok(_) = closed.wait_for(|is_closed| *is_closed) => Err(Over::ShuttingDown),
            over = self.passed(ends) => Err(over),
            () = sleep_until(until) => Ok(()),
        }
    }

    async fn passed(&self, ends: impl Fn(&Drained) -> StdInstant) -> Over {
        let mut drain = self.stop.drain.clone();
        loop {
            let drained = drain.borrow_and_update().as_ref().map(|drained| ends(drained).into());
            let (ends, over) = match (self.ends, drained) {
                (Some(ends), Some(drained)) if ends <= drained => (Some(ends), self.timed_out()),
                (_, Some(drained)) => (Some(drained), Over::ShuttingDown),
                (ends, None) => (ends, self.timed_out()),
            };
            let passed = async {
                match ends {
                    Some(ends) => sleep_until(ends).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = passed => return over,
                // If the sender is gone, no shutdown can come: only the timeout remains.
                Ok(()) = drain.changed() => {}
            }
        }
    }

    fn timed_out(&self) -> Over {
        Over::TimedOut(self.timeout.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use tokio::sync::oneshot;

    use super::*;

    fn stop() -> (watch::Sender<Option<Drained>>, watch::Sender<bool>, Stop) {
        let (drain, drained) = watch::channel(None);
        let (close, closed) = watch::channel(false);
        (drain, close, Stop { drain: drained, closed })
    }

    /// A process that is suspended and resumed: its timer has fired, and its answer has arrived but
    /// still has to pass through another task.
    #[tokio::test]
    async fn a_resumed_process_reads_what_has_arrived() {
        let (send, receive) = std::sync::mpsc::channel();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        thread::spawn(move || {
            let mut stream = std::net::TcpStream::connect(addr).unwrap();
            receive.recv().unwrap();
            std::io::Write::write_all(&mut stream, b"answer").unwrap();
            // Open until the test is over.
            let _ = receive.recv();
        });
        let (stream, _) = listener.accept().await.unwrap();
        let (passed_on, answer) = oneshot::channel();
        tokio::spawn(async move {
            stream.readable().await.unwrap();
            let _ = passed_on.send(());
        });
        let (_drain, _closed, stop) = stop();
        let deadline = Deadline::new(Instant::now(), Some(Duration::from_millis(50)), stop);
        let stopped = async {
            // All other tasks have been polled once.
            yield_now().await;
            send.send(()).unwrap();
            // Blocks the runtime until long after the deadline.
            thread::sleep(Duration::from_millis(200));
            answer.await
        };
        deadline.bound(stopped).await.expect("the answer has arrived").unwrap();
    }

    #[tokio::test]
    async fn a_deadline_set_later_holds() {
        let (drain, _closed, stop) = stop();
        let deadline = Deadline::new(Instant::now(), None, stop);
        let bound = deadline.bound(std::future::pending::<()>());
        let name = async {
            yield_now().await;
            let now = StdInstant::now();
            drain.send_replace(Some(Drained { since: now, ends: now }));
        };
        let (over, ()) = tokio::join!(bound, name);
        assert_eq!(over, Err(Over::ShuttingDown));
        assert!(deadline.ends().is_some());
    }

    /// With a paused clock, which jumps to the next timer.
    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_early_at_shutdown() {
        let (drain, close, stop) = stop();
        let deadline = Deadline::new(Instant::now(), None, stop);
        let hour = Duration::from_secs(3_600);
        let begun = Instant::now();
        let wait = |since: Option<StdInstant>| deadline.wait(Instant::now() + hour, since);
        let known = Some(StdInstant::now());
        let since = StdInstant::now() + Duration::from_nanos(1);
        drain.send_replace(Some(Drained { since, ends: since + 60 * LAST_WAIT }));
        assert_eq!(wait(known).await, Err(Over::ShuttingDown));
        assert!(begun.elapsed() < 2 * LAST_WAIT, "{:?}", begun.elapsed());
        // The server may still become reachable.
        assert_eq!(wait(Some(since)).await, Err(Over::ShuttingDown));
        assert!(begun.elapsed() > 59 * LAST_WAIT, "{:?}", begun.elapsed());

        let begun = Instant::now();
        drain.send_replace(None);
        close.send_replace(true);
        assert_eq!(wait(None).await, Err(Over::ShuttingDown));
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
