//! One connection to a server, HTTP/1.1 or HTTP/2: it is opened, carries requests, and ends.

mod loss;

use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::header::{CONTENT_LENGTH, HOST, HeaderValue};
use http::uri::{Authority, Parts, Scheme};
use http::{Request as HttpRequest, Uri};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

use self::loss::{silent, unsent};
use super::client::jitter;
use super::dial::{Dialled, Target};
use super::error::{NetError, Sent};
use super::http1::{self, Http1};
use super::http2::{self, Http2};
use super::link::Connected;
use super::message::{Body, BodyEnd, Deadline, End, Request, Response, poll_again};
use super::progress::Progress;
use super::runtime::{Alive, spawn};
use super::stream::{Tap, Tapped};
use crate::failure::{Evidence, FailureKind, Stage};
use crate::tls::Generation;

pub(super) use self::loss::{How, Lost};

/// How long an unused connection may take to close gracefully.
const CLOSING: Duration = Duration::from_secs(5);

/// The number of unanswered requests in a row after which new requests use another connection, even
/// if PINGs are answered: a proxy may answer those.
const UNANSWERED: usize = 3;

/// The timeout assumed for a request without one: after half of it without data, the path is
/// probed.
const UNLIMITED: Duration = Duration::from_secs(10);

/// The shortest time in which a PING must be answered. A request with little time left would take a
/// slow path, or one that has to send a packet again, for a dead one, and end the connection for
/// requests with more time.
const SHORTEST_PING: Duration = Duration::from_secs(1);

/// The random part of a connection's maximum age, so that clients that dialled together do not do
/// so again and again. It is that of grpc-go's servers.
const AGE_JITTER: f64 = 0.1;

/// A connection that is ready for requests.
#[derive(Debug)]
pub(super) struct Connection {
    generation: u64,
    pub(super) evidence: Arc<Evidence>,
    scheme: Scheme,
    authority: Authority,
    sender: Sender,
    tap: Arc<Tap>,
    /// Set once no further request may begin on it.
    is_retired: AtomicBool,
    /// Set once the path was probed and found dead, to the time without data.
    silent: OnceLock<Duration>,
    /// The kernel's timeout for a dead path.
    user_timeout: Duration,
    has_answered: AtomicBool,
    /// When it reaches its maximum age, if there is one.
    aged: Option<Instant>,
    /// The number of unanswered requests in a row.
    unanswered: AtomicUsize,
    driver: AbortHandle,
    /// Dropped with the last reference, which makes the driver close the connection.
    _open: oneshot::Sender<()>,
}

#[derive(Debug)]
enum Sender {
    Http2(Http2),
    Http1(Http1),
}

impl Connection {
    /// Dials until requests can be sent. `alive` keeps the runtime alive until the connection is
    /// closed.
    pub(super) async fn open(
        target: &Target,
        credentials: Option<&Generation>,
        only_http1: bool,
        progress: &Arc<Progress>,
        alive: Alive,
    ) -> Result<Self, FailureKind> {
        let after = target.connect_timeout;
        let opening = Self::begin(target, credentials, only_http1, progress, alive);
        timeout(after, opening).await.unwrap_or_else(|_elapsed| Err(progress.late(target, after)))
    }

    async fn begin(
        target: &Target,
        credentials: Option<&Generation>,
        only_http1: bool,
        progress: &Arc<Progress>,
        alive: Alive,
    ) -> Result<Self, FailureKind> {
        let dialled = target.dial(credentials, only_http1, progress).await?;
        let is_http2 = dialled.is_http2(target.family)?;
        let Dialled { stream, awaits_verdict, .. } = dialled;
        let awaits_verdict = awaits_verdict && is_http2;
        progress.reach(if awaits_verdict { Stage::AwaitingSettings } else { Stage::Ready });

        let tap = Arc::<Tap>::default();
        let stream = Tapped::new(stream, Arc::clone(&tap));
        let (open, closing) = oneshot::channel();
        let (sender, driver) = if is_http2 {
            let (http2, connection) = Http2::begin(stream).await.map_err(|error| {
                progress.read(|evidence| evidence.classify(&error, true, is_http2))
            })?;
            let driver = spawn(drive(connection, closing, Arc::clone(&tap), alive));
            (Sender::Http2(http2), driver)
        } else {
            let (http1, connection) = Http1::begin(stream).await.map_err(|error| {
                progress.read(|evidence| evidence.classify(&error, true, is_http2))
            })?;
            let driver = spawn(drive(connection, closing, Arc::clone(&tap), alive));
            (Sender::Http1(http1), driver)
        };
        let mut connection = Self {
            generation: credentials.map_or(0, |credentials| credentials.number),
            evidence: progress.evidence(),
            scheme: target.scheme.clone(),
            authority: target.authority.clone(),
            sender,
            tap,
            is_retired: AtomicBool::new(false),
            silent: OnceLock::new(),
            user_timeout: target.user_timeout,
            has_answered: AtomicBool::new(false),
            aged: target.max_age.and_then(|age| {
                let age = Duration::try_from_secs_f64(age.as_secs_f64() * jitter(AGE_JITTER));
                Instant::now().checked_add(age.unwrap_or(Duration::MAX))
            }),
            unanswered: AtomicUsize::new(0),
            driver: driver.abort_handle(),
            _open: open,
        };
        if awaits_verdict {
            connection.verdict().await?;
            progress.reach(Stage::Ready);
            connection.evidence = progress.evidence();
        }
        Ok(connection)
    }

    /// Waits for the server's first byte. In TLS 1.3 our side of the handshake is complete before
    /// the server has verified our certificate: without this wait, the first request would fail
    /// instead of the dial, and it would not be known whether the server had acted on it.
    async fn verdict(&self) -> Result<(), FailureKind> {
        self.tap.first_news().await;
        match self.last_word() {
            Some(failure) => Err(failure),
            None if self.tap.received() > 0 => Ok(()),
            None => {
                let end = io::Error::from(ErrorKind::UnexpectedEof);
                Err(self.evidence.classify(&end, true, true))
            }
        }
    }

    pub(super) fn is_multiplexed(&self) -> bool {
        matches!(self.sender, Sender::Http2(_))
    }

    fn has_answered(&self) -> bool {
        self.has_answered.load(Ordering::Relaxed)
    }

    /// Whether it is over its maximum age. Not before it has carried a request: otherwise a very
    /// short age would cause dial after dial, and a connection on which the server never answers
    /// would not count as a failure.
    fn is_aged(&self) -> bool {
        self.has_answered() && self.aged.is_some_and(|aged| aged <= Instant::now())
    }

    /// Prevents further requests on it.
    pub(super) fn retire(&self) {
        self.is_retired.store(true, Ordering::Relaxed);
    }

    /// Records that a request timed out without an answer. True if new requests should use another
    /// connection.
    pub(super) fn note_unanswered(&self) -> bool {
        let unanswered = self.unanswered.fetch_add(1, Ordering::Relaxed) + 1;
        // Over HTTP/1.1 a late answer would be read as the answer to the next request.
        let is_over = !self.is_multiplexed() || unanswered >= UNANSWERED;
        if is_over {
            self.retire();
        }
        is_over
    }

    /// Records that the server has answered.
    fn note_answer(&self) {
        self.unanswered.store(0, Ordering::Relaxed);
    }

    /// Records that the server has answered other than by rejecting our certificate.
    pub(super) fn note_success(&self) {
        if !self.has_answered.swap(true, Ordering::Relaxed)
            && let Some(credentials) = &self.evidence.credentials
        {
            credentials.accept();
        }
    }

    /// Sends one request, and reads as much of the response as arrives in time. A dead path is
    /// detected before the deadline.
    pub(super) async fn exchange(
        &self,
        request: &Request,
        deadline: &Deadline,
    ) -> Result<Response, Lost> {
        let mut exchange = pin!(self.send(request, deadline));
        let left = deadline
            .ends()
            .map_or(UNLIMITED, |ends| ends.saturating_duration_since(Instant::now()));
        let pause = left / 2;
        let within = (pause / 2).max(SHORTEST_PING);
        loop {
            let heard = self.tap.received();
            tokio::select! {
                biased;
                done = exchange.as_mut() => return done,
                () = sleep(pause) => {}
            }
            if self.tap.received() != heard {
                continue;
            }
            tokio::select! {
                biased;
                done = exchange.as_mut() => return done,
                is_alive = self.is_alive(within) => if is_alive {
                    continue;
                }
            }
            if let Some(done) = poll_again(exchange.as_mut()).await {
                return done;
            }
            if self.tap.received() == heard {
                // All other requests on it would wait in vain too.
                let after = *self.silent.get_or_init(|| pause + within);
                self.retire();
                self.driver.abort();
                return Err(silent(after));
            }
        }
    }

    /// Whether a PING is answered. HTTP/1.1 has no PING, so there only the deadline detects a dead
    /// path.
    async fn is_alive(&self, within: Duration) -> bool {
        match &self.sender {
            Sender::Http2(http2) => http2.is_alive(within).await,
            Sender::Http1(_) => true,
        }
    }

    async fn send(&self, request: &Request, deadline: &Deadline) -> Result<Response, Lost> {
        let (head, body) = (self.head(request), request.body.clone());
        let answered = || self.note_answer();
        match &self.sender {
            Sender::Http2(http2) => {
                let exchange = http2.exchange(head, body, request.max_response, deadline, answered);
                let http2::Answered { status, headers, body } =
                    exchange.await.map_err(|unanswered| match unanswered {
                        http2::Unanswered::Before(error) => self.unsent(&error),
                        http2::Unanswered::After(error) => self.lost(&error),
                    })?;
                let (bytes, trailers, end) = self.body(body, |error| self.lost(error).kind);
                let evidence = Arc::clone(&self.evidence);
                Ok(Response { status, headers, body: bytes, trailers, end, evidence })
            }
            Sender::Http1(http1) => {
                // If the exchange ends early, so does the connection.
                let mut unfinished = Unfinished { connection: self, is_over: true };
                let exchange = http1.exchange(head, body, request.max_response, deadline, answered);
                let http1::Answered { status, headers, body, is_reusable } =
                    exchange.await.map_err(|unanswered| match unanswered {
                        http1::Unanswered::Before(error) => unsent(self.failure(&error)),
                        http1::Unanswered::After(error) => {
                            Lost { kind: self.failure(&error), how: How::Broken }
                        }
                    })?;
                unfinished.is_over = !is_reusable;
                let (bytes, trailers, end) = self.body(body, |error| self.failure(error));
                let evidence = Arc::clone(&self.evidence);
                Ok(Response { status, headers, body: bytes, trailers, end, evidence })
            }
        }
    }

    /// The request's head for this version of HTTP.
    fn head(&self, request: &Request) -> HttpRequest<()> {
        let is_http2 = self.is_multiplexed();
        let mut uri = Parts::default();
        if is_http2 {
            (uri.scheme, uri.authority) = (Some(self.scheme.clone()), Some(self.authority.clone()));
        }
        uri.path_and_query = Some(request.path.clone());
        let mut head = HttpRequest::new(());
        *head.method_mut() = request.method.clone();
        // It cannot fail: both forms are complete.
        *head.uri_mut() = Uri::from_parts(uri).unwrap_or_default();
        let headers = head.headers_mut();
        headers.clone_from(&request.headers);
        if is_http2 {
            *head.version_mut() = http::Version::HTTP_2;
            let length = HeaderValue::from(request.body.len());
            head.headers_mut().entry(CONTENT_LENGTH).or_insert(length);
        } else if let Ok(host) = HeaderValue::from_str(self.authority.as_str()) {
            headers.insert(HOST, host);
        }
        head
    }

    fn body<E>(
        &self,
        body: Body<E>,
        failure: impl FnOnce(&E) -> FailureKind,
    ) -> (bytes::Bytes, Option<http::HeaderMap>, End) {
        let broken = |kind| End::BrokenOff(Box::new(self.error(kind, Sent::Maybe)));
        let end = match body.end {
            BodyEnd::Complete => End::Complete,
            BodyEnd::TooLong => End::TooLong,
            BodyEnd::Failed(error) => broken(failure(&error)),
            BodyEnd::OutOfTime(over) => broken(over.into()),
        };
        (body.bytes, body.trailers, end)
    }

    pub(super) fn error(&self, kind: FailureKind, sent: Sent) -> NetError {
        let evidence = Arc::clone(&self.evidence);
        NetError { kind, evidence, sent, next_attempt: None }
    }
}

impl Connected for Arc<Connection> {
    fn generation(&self) -> u64 {
        self.generation
    }

    fn is_usable(&self) -> bool {
        let is_open = match &self.sender {
            Sender::Http2(http2) => http2.end().is_none(),
            Sender::Http1(http1) => http1.is_open(),
        };
        let is_retired = self.is_retired.load(Ordering::Relaxed) || self.is_aged();
        is_open && !self.driver.is_finished() && !is_retired
    }

    fn is_multiplexed(&self) -> bool {
        Connection::is_multiplexed(self)
    }

    fn has_answered(&self) -> bool {
        Connection::has_answered(self)
    }

    fn is_same(&self, other: &Self) -> bool {
        Self::ptr_eq(self, other)
    }
}

/// An exchange over HTTP/1.1. If it does not finish, the connection cannot be reused and is closed,
/// which also tells the server that its answer is not needed.
struct Unfinished<'a> {
    connection: &'a Connection,
    is_over: bool,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if self.is_over {
            self.connection.retire();
            self.connection.driver.abort();
        }
    }
}

/// Runs a connection until it is closed. Once it is unused that takes at most [`CLOSING`];
/// otherwise one whose dead peer never reads would never end.
async fn drive<E>(
    connection: impl Future<Output = Result<(), E>>,
    closing: oneshot::Receiver<()>,
    tap: Arc<Tap>,
    _alive: Alive,
) {
    let mut connection = pin!(connection);
    let is_over = tokio::select! {
        // The reason is known to the tap and to the requests on it.
        _ = connection.as_mut() => true,
        _ = closing => false,
    };
    tap.tell_of_the_end();
    if !is_over {
        // An error at this point concerns no request.
        let _ = timeout(CLOSING, connection).await;
    }
}
