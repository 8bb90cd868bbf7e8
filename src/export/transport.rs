//! Sends encoded batches to one collector: headers, retries and deadlines.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::uri::PathAndQuery;
use tokio::time::Instant;

use super::pace::Pace;
use super::retry::{self, Backoff};
use crate::config::{Protocol, RetryPolicy, Settings, is_reserved};
use crate::failure::{Evidence, Failure, FailureKind};
use crate::lock::lock;
use crate::net::{
    self, Client, Deadline, End, Family, NetError, Over, Runtime, Stop, Target, Via, Watcher,
    blocking,
};
use crate::otlp::{
    self, Again, Answer, Payload, Refusal, RequestFacts, StatusName, Verdict, judge,
};
use crate::signal::Signal;
use crate::tls::{Store, TokenFile};

/// The kernel's timeout for dead connections is half of an export's timeout; these are the timeout
/// assumed if exports have none, and the lower limit.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const LEAST_USER_TIMEOUT: Duration = Duration::from_secs(1);

type BoxError = Box<dyn StdError + Send + Sync>;

/// Provides the headers for one attempt when it begins.
pub(crate) type HeaderProvider = dyn Fn(Signal) -> Result<HeaderMap, BoxError> + Send + Sync;

/// Called with headers that the collector refused.
pub(crate) type RefusedHeadersHandler = dyn Fn(Signal, &HeaderMap) + Send + Sync;

/// The status of the answer to the last attempt, if it had one.
pub(crate) type Answered = Arc<Mutex<Option<StatusName>>>;

/// What all transports of one builder share.
#[derive(Clone)]
pub(crate) struct Policy {
    pub(crate) connect_timeout: Duration,
    pub(crate) max_connection_age: Option<Duration>,
    pub(crate) retry: RetryPolicy,
    pub(crate) assume_http2: bool,
    pub(crate) header_provider: Option<Arc<HeaderProvider>>,
    pub(crate) refused_headers: Option<Arc<RefusedHeadersHandler>>,
}

/// Sends batches to one collector.
pub(crate) struct Transport {
    /// For messages.
    endpoint: String,
    policy: Policy,
    client: Arc<Client>,
    /// Held while the header provider runs, so that one that hangs blocks only one thread.
    asking: Arc<tokio::sync::Mutex<()>>,
}

/// One encoded batch.
pub(crate) struct Call {
    pub(crate) signal: Signal,
    pub(crate) path: PathAndQuery,
    pub(crate) headers: Arc<HeaderMap>,
    pub(crate) token: Option<Arc<Watcher<TokenFile>>>,
    pub(crate) protocol: Protocol,
    pub(crate) payload: Payload,
    /// The largest answer that is read, in bytes.
    pub(crate) max_response_size: usize,
    /// When the export began; this may be one of its several requests.
    pub(crate) begun: Instant,
    /// How long the export may take from then; `None` for no limit.
    pub(crate) timeout: Option<Duration>,
    pub(crate) answered: Answered,
    /// Ends the export early.
    pub(crate) stop: Stop,
    /// The pace of the signal.
    pub(crate) pace: Arc<Pace>,
}

/// The headers of one attempt in addition to those of the settings.
struct Extra {
    headers: HeaderMap,
    /// When the bearer token among them was read, if there is one.
    token_read: Option<SystemTime>,
}

impl Transport {
    /// `shortest` is the shortest timeout of all signals that share it.
    pub(crate) fn new(
        runtime: Arc<Runtime>,
        settings: &Settings,
        shortest: Option<Duration>,
        store: Option<Arc<Store>>,
        proxy_store: Option<Arc<Store>>,
        policy: Policy,
    ) -> Self {
        let endpoint = &settings.endpoint;
        let is_grpc = settings.protocol.is_grpc();
        let target = Target {
            address: endpoint.address.clone(),
            scheme: endpoint.scheme(),
            authority: endpoint.authority.clone(),
            server_name: settings.tls.as_ref().map(|tls| tls.server_name.clone()),
            proxy: settings.proxy.clone().map(|proxy| Via::new(proxy, proxy_store)),
            family: match is_grpc {
                true => Family::Http2 {
                    // Over plaintext there is no ALPN, and gRPC is HTTP/2 by prior knowledge.
                    is_assumed: policy.assume_http2 || settings.tls.is_none(),
                },
                false => Family::Any,
            },
            connect_timeout: policy.connect_timeout,
            max_age: policy.max_connection_age,
            user_timeout: (shortest.unwrap_or(DEFAULT_TIMEOUT) / 2).max(LEAST_USER_TIMEOUT),
        };
        Self {
            endpoint: endpoint.to_string(),
            policy,
            client: Client::new(runtime, target, store),
            asking: Arc::default(),
        }
    }

    /// The client that sends the batches.
    pub(crate) fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// Sends one batch, retrying as the policy says. Dropping the future cancels the export: the
    /// server's stream is reset.
    ///
    /// Returns the collector's remark, if there is one: see [`Verdict::Accepted`].
    pub(crate) async fn send(
        self: &Arc<Self>,
        call: Call,
    ) -> Result<Option<FailureKind>, NetError> {
        let runtime = self.client.runtime();
        if !runtime.is_of_this_process() {
            return Err(unsent(FailureKind::Forked));
        }
        let transport = Arc::clone(self);
        let export = runtime.run(async move { transport.export(&call).await });
        export.await.unwrap_or_else(|lost| Err(unsent(FailureKind::lost(&lost))))
    }

    /// Waits until then, or until a shutdown begins.
    pub(crate) async fn rest(&self, until: std::time::Instant, mut stop: Stop) {
        let rest = async move {
            tokio::select! {
                _ = stop.drain.wait_for(Option::is_some) => {}
                _ = stop.closed.wait_for(|is_closed| *is_closed) => {}
                () = tokio::time::sleep_until(until.into()) => {}
            }
        };
        let _ = self.client.runtime().run(rest).await;
    }

    /// False in a child process that was forked since.
    pub(crate) fn is_of_this_process(&self) -> bool {
        self.client.runtime().is_of_this_process()
    }

    /// The number of connections that were made.
    pub(crate) fn connections(&self) -> u64 {
        self.client.connections()
    }

    /// The evidence of the last dial.
    pub(crate) fn observed(&self) -> Arc<Evidence> {
        self.client.observed()
    }

    /// When the next dial may begin, if not now.
    pub(crate) fn next_dial(&self) -> Option<std::time::Instant> {
        self.client.next_dial()
    }

    /// Lets the next export dial at once despite earlier failures.
    pub(crate) fn end_window(&self) {
        self.client.end_window();
    }

    async fn export(&self, call: &Call) -> Result<Option<FailureKind>, NetError> {
        let deadline = Deadline::new(call.begun, call.timeout, call.stop.clone());
        let mut backoff = Backoff::new(&self.policy.retry);
        let mut last = None;
        // The headers of the next attempt, if they are already known.
        let (mut renewed, mut may_renew) = (None, true);
        loop {
            if let Some(pause) = call.pace.pause() {
                let paused = NetError {
                    next_attempt: Some(pause.until.into_std()),
                    sent: net::Sent::Unsent,
                    ..pause.error
                };
                if deadline.ends().is_some_and(|ends| ends <= pause.until)
                    || deadline.wait(pause.until, None).await.is_err()
                {
                    return Err(last.unwrap_or(paused));
                }
                continue;
            }
            if let Some(over) = deadline.over() {
                return Err(last.unwrap_or_else(|| unsent(over.into())));
            }
            *lock(&call.answered) = None;
            let extra = match renewed.take() {
                Some(headers) => Ok(headers),
                None => self.extra_headers(call, None, &deadline).await,
            };
            let attempted = match &extra {
                Ok(extra) => self.attempt(call, extra, &deadline).await,
                Err(error) => Err((error.clone(), Again::Backoff)),
            };
            let (error, again) = match attempted {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            if may_renew
                && error.kind.is_unauthenticated()
                && let Ok(refused) = &extra
            {
                may_renew = false;
                renewed = self.renewed_headers(call, refused, &deadline).await;
                if renewed.is_some() {
                    note_retry(call, &error);
                    last = Some(error);
                    continue;
                }
            }
            // The failure of an earlier attempt says more than the timeout does.
            if deadline.over().is_some() {
                return Err(last.unwrap_or_else(|| out_of_time(error, deadline.timeout())));
            }
            let wait = backoff.wait(again);
            // The collector may request more than our longest delay.
            let mut least = wait.unwrap_or_default();
            if let Again::After(delay) = again {
                least = least.max(delay);
                call.pace.pause_for(wait.unwrap_or(delay).min(retry::LONGEST_NAMED), &error);
            }
            let is_too_long = deadline
                .ends()
                .is_some_and(|ends| ends.saturating_duration_since(Instant::now()) <= least);
            let Some(wait) = wait.filter(|_| !is_too_long) else {
                return Err(error);
            };
            if self.client.wait(&deadline, Instant::now() + wait).await.is_err() {
                return Err(error);
            }
            note_retry(call, &error);
            last = Some(error);
        }
    }

    async fn attempt(
        &self,
        call: &Call,
        extra: &Extra,
        deadline: &Deadline,
    ) -> Result<Option<FailureKind>, (NetError, Again)> {
        let facts = RequestFacts {
            protocol: call.protocol,
            bytes: call.payload.sent_size(),
            uncompressed: call.payload.uncompressed_size(),
            headers: [&call.headers, &extra.headers],
            path: call.path.as_str(),
            max_response_size: call.max_response_size,
        };
        let request = request(call, deadline, &extra.headers, facts.max_body_size());
        let note_retry = |error: &NetError| note_retry(call, error);
        let exchanged =
            self.client.exchange(&request, &call.pace.turn, deadline, &note_retry).await;
        let net::Response { status, headers, body, trailers, end, evidence } =
            exchanged.map_err(|error| (error.clone(), again(&error)))?;
        let (end, broken) = match end {
            End::Complete => (otlp::End::Complete, None),
            End::TooLong => (otlp::End::TooLong, None),
            End::BrokenOff(error) => (otlp::End::BrokenOff, Some(error)),
        };
        let refused = |Refusal { kind, again }| {
            let sent = net::Sent::Maybe;
            let evidence = match extra.token_read {
                None => evidence,
                token_read => Arc::new(Evidence { token_read, ..(*evidence).clone() }),
            };
            (NetError { kind, evidence, sent, next_attempt: None }, again)
        };
        let answer = Answer { status, headers, body, trailers, end };
        *lock(&call.answered) = answer.status_name(call.protocol);
        match (judge(&answer, &facts), broken) {
            (Verdict::Accepted(remark), _) => Ok(remark),
            (Verdict::Refused(refusal), _) => Err(refused(refusal)),
            (Verdict::Unanswered, Some(error)) => {
                let again = again(&error);
                Err((*error, again))
            }
            // Only a broken connection leaves a request unanswered.
            (Verdict::Unanswered, None) => {
                let reason = "is incomplete".to_owned();
                Err(refused(Refusal::permanent(FailureKind::InvalidResponse { reason })))
            }
        }
    }

    /// The headers of the next attempt, which may follow one whose headers were refused.
    async fn extra_headers(
        &self,
        call: &Call,
        refused: Option<HeaderMap>,
        deadline: &Deadline,
    ) -> Result<Extra, NetError> {
        let mut headers = self.provided_headers(call.signal, refused, deadline).await?;
        let Some(file) = &call.token else {
            return Ok(Extra { headers, token_read: None });
        };
        // If the deadline passes here, the request itself fails by it.
        let _ = deadline.bound(file.look_if_due()).await;
        let token = file.current();
        if headers.insert(AUTHORIZATION, token.header).is_some() {
            let words = "it returned an `authorization` header in addition to \
                         with_bearer_token_file()";
            return Err(unsent(FailureKind::HeaderProvider {
                source: Arc::from(BoxError::from(words)),
            }));
        }
        Ok(Extra { headers, token_read: Some(token.read) })
    }

    async fn provided_headers(
        &self,
        signal: Signal,
        refused: Option<HeaderMap>,
        deadline: &Deadline,
    ) -> Result<HeaderMap, NetError> {
        let Some(provider) = self.policy.header_provider.clone() else {
            return Ok(HeaderMap::new());
        };
        let refused = self.policy.refused_headers.clone().zip(refused);
        let headers = async {
            let turn = Arc::clone(&self.asking).lock_owned().await;
            // The provider may do blocking I/O.
            let asked = blocking(move || {
                let _turn = turn;
                if let Some((handler, refused)) = refused {
                    handler(signal, &refused);
                }
                provider(signal)
            });
            asked.await.map_err(Into::into).and_then(|headers| headers)
        };
        let headers = deadline.bound(headers).await.unwrap_or_else(|over| match over {
            Over::TimedOut(after) => {
                let words = format!("no headers within {after:?}");
                Err(io::Error::new(io::ErrorKind::TimedOut, words).into())
            }
            Over::ShuttingDown => Err("the shutdown left no time for it".into()),
        });
        headers.map_err(|error| unsent(FailureKind::HeaderProvider { source: error.into() }))
    }

    /// Other headers instead of those that the collector has refused. Errors are ignored, because
    /// the refusal says more.
    async fn renewed_headers(
        &self,
        call: &Call,
        refused: &Extra,
        deadline: &Deadline,
    ) -> Option<Extra> {
        let mut provided = refused.headers.clone();
        if let Some(file) = &call.token {
            let _ = deadline.bound(file.look_after_a_failure()).await;
            provided.remove(AUTHORIZATION);
        }
        let extra = self.extra_headers(call, Some(provided), deadline).await.ok();
        extra.filter(|extra| extra.headers != refused.headers)
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

fn request(
    call: &Call,
    deadline: &Deadline,
    extra: &HeaderMap,
    max_response: usize,
) -> net::Request {
    let now = Instant::now();
    let left = deadline.ends().map(|ends| ends.saturating_duration_since(now));
    let (head, body) = call.payload.request(left).into_parts();
    let mut headers = head.headers;
    for (name, value) in &*call.headers {
        if !extra.contains_key(name) {
            headers.append(name, value.clone());
        }
    }
    // Reserved names are rejected when settings are resolved, but a provider may return any.
    for (name, value) in extra.iter().filter(|(name, _)| !is_reserved(name)) {
        let mut value = value.clone();
        value.set_sensitive(true);
        headers.append(name, value);
    }
    net::Request { method: head.method, path: call.path.clone(), headers, body, max_response }
}

fn note_retry(call: &Call, error: &NetError) {
    call.pace.note_retry();
    let (signal, kind) = (call.signal, error.kind.name());
    tracing::debug!(name: "otlp_mtls.export.retried", %signal, kind, "an export is tried again");
}

/// Turns an error into a failure of a signal.
pub(crate) fn worded(error: &NetError, settings: &Settings) -> Failure {
    let failure = Failure::new(error.kind.clone(), settings, Some(&error.evidence));
    match error.next_attempt {
        Some(at) => failure.remembered(at.saturating_duration_since(std::time::Instant::now())),
        None => failure,
    }
}

/// A failure before any dial.
fn unsent(kind: FailureKind) -> NetError {
    NetError { kind, evidence: Arc::default(), sent: net::Sent::Unsent, next_attempt: None }
}

/// Whether to retry a request that got no answer.
fn again(error: &NetError) -> Again {
    match &error.kind {
        // It is a remembered failure: nothing was attempted.
        _ if error.next_attempt.is_some() => Again::No,
        _ if error.is_permanent() => Again::No,
        FailureKind::Http2 { code: ENHANCE_YOUR_CALM, .. } => Again::After(CALM),
        _ => Again::Backoff,
    }
}

/// gRPC servers know an export's deadline (`grpc-timeout`), and reset the stream when it passes.
fn out_of_time(error: NetError, timeout: Option<Duration>) -> NetError {
    match (&error.kind, timeout) {
        (FailureKind::Http2 { code: CANCEL, .. }, Some(after)) => {
            NetError { kind: FailureKind::Deadline { after }, ..error }
        }
        _ => error,
    }
}

/// [RFC 9113, section 7](https://www.rfc-editor.org/rfc/rfc9113#section-7).
const CANCEL: u32 = 8;

/// The HTTP/2 error of a server that receives too many requests ([RFC 9113, section
/// 7](https://www.rfc-editor.org/rfc/rfc9113#section-7)), and the delay after it.
const ENHANCE_YOUR_CALM: u32 = 11;
const CALM: Duration = Duration::from_secs(5);
