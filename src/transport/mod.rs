//! Encoded bytes to one collector: connections, retries and deadlines, shared by the signals whose
//! settings allow it.

mod connection;
mod connector;
mod outgoing;
mod pool;
mod proxy;
mod retry;
mod wire;

use std::error::Error as StdError;
use std::fmt;
use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Request, StatusCode, Uri};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use self::connection::{Connection, Exchanged, Lost};
use self::connector::Connector;
use self::pool::Pool;
use self::retry::Backoff;
use crate::config::{Protocol, Retry, Settings, is_reserved};
use crate::failure::FailureKind;
use crate::lock::lock;
use crate::net::{Runtime, blocking};
use crate::observation::Observation;
use crate::otlp::{Again, Answer, Payload, Refusal, RequestFacts, Verdict, judge};
use crate::signal::Signal;
use crate::tls::{Snapshot, Store};

/// How many connections one attempt may lose that never answered anything: a server that closes all
/// of them at once is not worth more. One that has answered others may end at any time.
const FRUITLESS: usize = 8;

/// How often one attempt is repeated with newer credentials: a source may issue new ones whenever it
/// is asked, and a server refuse all of them.
const RENEWALS: usize = 3;

/// Headers for one attempt, made when it begins.
pub(crate) type HeaderProvider =
    dyn Fn(Signal) -> Result<HeaderMap, Box<dyn StdError + Send + Sync>> + Send + Sync;

/// What every transport of one builder has in common.
#[derive(Clone)]
pub(crate) struct Policy {
    pub(crate) connect_timeout: Duration,
    pub(crate) retry: Retry,
    pub(crate) assume_http2: bool,
    pub(crate) header_provider: Option<Arc<HeaderProvider>>,
}

/// Sends to one collector.
pub(crate) struct Transport {
    runtime: Arc<Runtime>,
    /// For messages.
    endpoint: String,
    scheme: Scheme,
    authority: Authority,
    policy: Policy,
    pool: Arc<Pool>,
    /// Held while the header provider is asked: one that hangs is to hang one thread.
    asking: Arc<tokio::sync::Mutex<()>>,
}

/// One encoded batch.
pub(crate) struct Call {
    pub(crate) signal: Signal,
    pub(crate) path: PathAndQuery,
    pub(crate) headers: Arc<HeaderMap>,
    pub(crate) protocol: Protocol,
    pub(crate) payload: Payload,
    /// The most that is read of an answer, in bytes.
    pub(crate) max_response_size: usize,
    /// When the export began, of which this may be one request of several.
    pub(crate) begun: Instant,
    /// How long the export may take from then; `None` for no limit.
    pub(crate) timeout: Option<Duration>,
    /// An instant by which the export must end, once there is one.
    pub(crate) drain: watch::Receiver<Option<std::time::Instant>>,
}

/// How far an export has come.
#[derive(Default)]
struct Progress {
    /// Whether the header provider has yet to answer.
    awaits_headers: bool,
    /// The connection in use, and what it had received when the export began on it.
    connection: Option<(Arc<Connection>, u64)>,
    /// How the last attempt failed.
    failure: Option<FailureKind>,
}

impl Progress {
    /// Notes a connection, if the export was not on it before: what it received since then counts.
    fn begin(&mut self, connection: &Arc<Connection>) {
        if !self.connection.as_ref().is_some_and(|(known, _)| Arc::ptr_eq(known, connection)) {
            self.connection = Some((Arc::clone(connection), connection.received()));
        }
    }
}

impl Transport {
    pub(crate) fn new(
        runtime: Arc<Runtime>,
        settings: &Settings,
        store: Option<Arc<Store>>,
        policy: Policy,
    ) -> Self {
        let endpoint = &settings.endpoint;
        let tls = settings
            .tls
            .as_ref()
            .zip(store)
            .map(|(tls, store)| connector::Tls { store, server_name: tls.server_name.clone() });
        let is_grpc = settings.protocol.is_grpc();
        // Over plaintext there is no ALPN, and gRPC is HTTP/2 by prior knowledge.
        let assume_http2 = is_grpc && (policy.assume_http2 || tls.is_none());
        let (scheme, authority) = (endpoint.scheme(), endpoint.authority.clone());
        let address = uri(Some((scheme.clone(), authority.clone())), endpoint.path.clone());
        let proxy = settings.proxy.clone();
        let connector = Connector::new(address, proxy, tls, policy.connect_timeout);
        Self {
            runtime,
            endpoint: endpoint.to_string(),
            scheme,
            authority,
            policy,
            pool: Pool::new(connector, is_grpc, assume_http2),
            asking: Arc::default(),
        }
    }

    /// Sends one batch, with as many attempts as it takes. Dropping the future ends the export:
    /// the server sees its stream reset.
    ///
    /// What the collector has taken it may have remarked on: see [`Verdict::Accepted`].
    pub(crate) async fn send(
        self: &Arc<Self>,
        call: Call,
    ) -> Result<Option<FailureKind>, FailureKind> {
        if !self.runtime.is_of_this_process() {
            return Err(FailureKind::Forked);
        }
        let transport = Arc::clone(self);
        let export = self.runtime.run(async move { transport.export(&call).await });
        export.await.unwrap_or_else(|lost| Err(FailureKind::lost(&lost)))
    }

    /// False in a child that was forked since.
    pub(crate) fn is_of_this_process(&self) -> bool {
        self.runtime.is_of_this_process()
    }

    /// The credentials of this moment; `None` over plaintext.
    pub(crate) fn credentials(&self) -> Option<Snapshot> {
        self.pool.credentials()
    }

    /// Counts the connections that were made.
    pub(crate) fn connections(&self) -> u64 {
        self.pool.connections()
    }

    /// What the last dial saw.
    pub(crate) fn observed(&self) -> Observation {
        self.pool.observed()
    }

    async fn export(&self, call: &Call) -> Result<Option<FailureKind>, FailureKind> {
        let progress = Mutex::new(Progress::default());
        let deadline = Deadline::new(call);
        let end = tokio::select! {
            biased;
            result = self.attempts(call, &deadline, &progress) => return result,
            end = deadline.passed() => end,
        };
        let mut progress = lock(&progress);
        if let (true, &FailureKind::Deadline { after }) = (progress.awaits_headers, &end) {
            return Err(progress.failure.take().unwrap_or_else(|| {
                let words = format!("no headers within {after:?}");
                let source = io::Error::new(io::ErrorKind::TimedOut, words);
                FailureKind::HeaderProvider { source: Arc::new(source) }
            }));
        }
        match &progress.connection {
            Some((connection, received)) if connection.received() == *received => {
                self.pool.condemn(connection);
            }
            Some(_) => {}
            None => {
                if let FailureKind::Deadline { after } = end {
                    let late = self.pool.late(after);
                    return Err(progress.failure.take().or(late).unwrap_or(end));
                }
            }
        }
        Err(progress.failure.take().unwrap_or(end))
    }

    async fn attempts(
        &self,
        call: &Call,
        deadline: &Deadline,
        progress: &Mutex<Progress>,
    ) -> Result<Option<FailureKind>, FailureKind> {
        let mut backoff = Backoff::new(&self.policy.retry);
        loop {
            let Refusal { kind, again } = match self.attempt(call, deadline, progress).await {
                Ok(remark) => return Ok(remark),
                Err(refusal) => refusal,
            };
            let Some(wait) = backoff.wait(again) else {
                return Err(kind);
            };
            if deadline.remaining().is_some_and(|remaining| remaining <= wait) {
                return Err(kind);
            }
            lock(progress).failure = Some(kind);
            sleep(wait).await;
        }
    }

    async fn attempt(
        &self,
        call: &Call,
        deadline: &Deadline,
        progress: &Mutex<Progress>,
    ) -> Result<Option<FailureKind>, Refusal> {
        lock(progress).awaits_headers = true;
        let extra = self.extra_headers(call.signal).await?;
        lock(progress).awaits_headers = false;
        self.pool.look().await;
        let (mut fruitless, mut renewals) = (0, 0);
        while fruitless < FRUITLESS {
            let generation = self.pool.generation();
            let connection = match self.pool.acquire(&self.runtime.alive()).await {
                Ok(connection) => connection,
                // The one of us who refuses the other may do so because we are not up to date.
                Err(kind) if self.is_outdated(&kind, generation, &mut renewals).await => continue,
                Err(kind) => return Err(broken(kind)),
            };
            lock(progress).begin(&connection);
            let facts = RequestFacts {
                protocol: call.protocol,
                bytes: call.payload.sent_size(),
                uncompressed: call.payload.uncompressed_size(),
                headers: [&call.headers, &extra],
                max_response_size: call.max_response_size,
            };
            let request = self.request(call, deadline.remaining(), &extra, connection.is_http2());
            let exchange = connection.exchange(request, facts.max_body_size(), deadline.passed());
            let lost = match exchange.await {
                Ok(Exchanged { answer, broken }) => {
                    if let Some(kind) = refused_by_page(&answer, &connection) {
                        self.pool.condemn(&connection);
                        if self.is_outdated(&kind, generation, &mut renewals).await {
                            continue;
                        }
                        return Err(Refusal::permanent(kind));
                    }
                    let verdict = judge(&answer, &facts);
                    match (verdict, broken) {
                        (Verdict::Accepted(remark), _) => {
                            self.pool.give_back(connection);
                            return Ok(remark);
                        }
                        (Verdict::Refused(refusal), _) => {
                            self.pool.give_back(connection);
                            return Err(refusal);
                        }
                        (Verdict::Unanswered, Some(kind)) => Lost::Broken(kind),
                        // Nothing but what broke off is unanswered.
                        (Verdict::Unanswered, None) => Lost::Unsent,
                    }
                }
                Err(lost) => lost,
            };
            match lost {
                Lost::Unsent => {
                    connection.retire();
                    fruitless += usize::from(!connection.has_answered());
                }
                // What broke a connection that was good is not what the next one would be refused for.
                Lost::Broken(kind) if connection.has_answered() && kind.is_tls() => {
                    return Err(Refusal { kind, again: Again::Backoff });
                }
                Lost::Broken(kind) if connection.has_answered() => return Err(broken(kind)),
                Lost::Broken(kind) => {
                    let is_outdated = self.is_outdated(&kind, generation, &mut renewals).await;
                    // Whoever refuses us by an alert has taken nothing. Of others that is not known.
                    if !(is_outdated && kind.is_alert()) {
                        return Err(broken(kind));
                    }
                }
            }
        }
        let source = "the server closed every connection before it took the request";
        Err(broken(FailureKind::Connection {
            source: Arc::from(Box::<dyn StdError + Send + Sync>::from(source)),
            was_silent: true,
        }))
    }

    /// Whether it failed for credentials that by now there are newer ones of.
    async fn is_outdated(&self, kind: &FailureKind, since: u64, renewals: &mut usize) -> bool {
        *renewals += 1;
        *renewals <= RENEWALS && kind.may_be_credentials() && self.pool.is_renewed(since).await
    }

    async fn extra_headers(&self, signal: Signal) -> Result<HeaderMap, Refusal> {
        let Some(provider) = self.policy.header_provider.clone() else {
            return Ok(HeaderMap::new());
        };
        let turn = Arc::clone(&self.asking).lock_owned().await;
        // It may well do I/O of its own.
        let asked = blocking(move || {
            let _turn = turn;
            provider(signal)
        });
        let headers = asked.await.map_err(Into::into).and_then(|headers| headers);
        headers.map_err(|error| broken(FailureKind::HeaderProvider { source: error.into() }))
    }

    fn request(
        &self,
        call: &Call,
        remaining: Option<Duration>,
        extra: &HeaderMap,
        is_http2: bool,
    ) -> Request<Bytes> {
        let mut request = call.payload.request(remaining);
        let headers = request.headers_mut();
        for (name, value) in &*call.headers {
            if !extra.contains_key(name) {
                headers.append(name, value.clone());
            }
        }
        // Settings with a reserved name do not resolve, but a provider may give any.
        for (name, value) in extra.iter().filter(|(name, _)| !is_reserved(name)) {
            let mut value = value.clone();
            value.set_sensitive(true);
            headers.append(name, value);
        }
        let mut server = None;
        if is_http2 {
            server = Some((self.scheme.clone(), self.authority.clone()));
        } else if let Ok(host) = HeaderValue::from_str(self.authority.as_str()) {
            request.headers_mut().insert(HOST, host);
        }
        *request.uri_mut() = uri(server, call.path.clone());
        request
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// What a server says of TLS by an HTTP status of 400 and a page.
fn refused_by_page(answer: &Answer, connection: &Connection) -> Option<FailureKind> {
    let is_page = answer.status == StatusCode::BAD_REQUEST;
    is_page.then(|| connection.scene().page(&answer.body)).flatten()
}

/// When an export has to end.
struct Deadline {
    /// How long it was given, and until when that is; `None` for no limit.
    timeout: Option<(Duration, Instant)>,
    drain: watch::Receiver<Option<std::time::Instant>>,
}

impl Deadline {
    fn new(call: &Call) -> Self {
        let until = |after| Some((after, call.begun.checked_add(after)?));
        Self { timeout: call.timeout.and_then(until), drain: call.drain.clone() }
    }

    /// How long that is from now, as far as it is known.
    fn remaining(&self) -> Option<Duration> {
        let timeout = self.timeout.map(|(_, until)| until);
        let drain = self.drain.borrow().map(Instant::from);
        let end = timeout.into_iter().chain(drain).min()?;
        Some(end.saturating_duration_since(Instant::now()))
    }

    /// Resolves then, and says why.
    async fn passed(&self) -> FailureKind {
        let timed_out = async {
            match self.timeout {
                Some((after, until)) => {
                    sleep_until(until).await;
                    FailureKind::Deadline { after }
                }
                None => pending().await,
            }
        };
        let drained = async {
            let mut drain = self.drain.clone();
            let instant = match drain.wait_for(Option::is_some).await {
                Ok(instant) => *instant,
                Err(_nobody_will_say) => None,
            };
            match instant {
                Some(instant) => {
                    sleep_until(instant.into()).await;
                    FailureKind::Shutdown
                }
                None => pending().await,
            }
        };
        tokio::select! {
            end = timed_out => end,
            end = drained => end,
        }
    }
}

/// The absolute form that HTTP/2 takes, or the path alone, for HTTP/1.1.
fn uri(server: Option<(Scheme, Authority)>, path: PathAndQuery) -> Uri {
    let mut parts = ::http::uri::Parts::default();
    (parts.scheme, parts.authority) = server.unzip();
    parts.path_and_query = Some(path);
    // Both forms are whole, which is all that could be wrong with them.
    Uri::from_parts(parts).unwrap_or_default()
}

fn broken(kind: FailureKind) -> Refusal {
    let again = if kind.is_permanent() { Again::No } else { Again::Backoff };
    Refusal { kind, again }
}
