//! The export path of one signal, from the SDK's data to its collector.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::HeaderMap;
use http::header::{HeaderValue, USER_AGENT};
use opentelemetry::Context;
use opentelemetry::context::FutureExt;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use tokio::sync::watch;

use super::pace::Pace;
use super::queue::Queue;
use super::stats::{ExportStats, Share};
use super::transport::{Answered, Call, Transport, worded};
use crate::config::Settings;
use crate::failure::{Failure, FailureKind};
use crate::lock::lock;
use crate::net::{Drained, Stop, Watcher};
use crate::otlp::{Empty, Encoding, Items, Payload};
use crate::process::Process;
use crate::tls::TokenFile;

/// The [format of the
/// specification](https://opentelemetry.io/docs/specs/otel/protocol/exporter/#user-agent).
const AGENT: &str = concat!("OTel-OTLP-Exporter-Rust/", env!("CARGO_PKG_VERSION"));

/// How many exports in a row may fail at once, and how long a batch that fails then takes at least, within its timeout. The
/// SDK logs each failure: without this, a busy service would log dozens of them a second while its certificate is refused.
const FAST_FAILURES: u32 = 8;
const SLOW_FAILURE: Duration = Duration::from_secs(1);

/// A deadline for all exports of a signal, once it is set.
#[derive(Debug)]
pub(crate) struct Drain(watch::Sender<Option<Drained>>);

impl Drain {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(None)))
    }

    /// Sets the deadline, also for exports that have not begun.
    pub(crate) fn by(&self, ends: Instant) {
        self.0.send_replace(Some(Drained { since: Instant::now(), ends }));
    }
}

/// The export path of one signal: it encodes, sends, and counts the outcome of each item.
pub(crate) struct Lane {
    settings: Arc<Settings>,
    headers: Arc<HeaderMap>,
    token: Option<Arc<Watcher<TokenFile>>>,
    /// `None` after the shutdown: OpenTelemetry's globals keep an exporter for ever, and it must
    /// not keep its connection.
    transport: Mutex<Option<Arc<Transport>>>,
    stats: Arc<ExportStats>,
    drain: Arc<Drain>,
    /// The queue of the processor that feeds it, if [`install`](crate::Exporters::install) created
    /// that.
    queue: Option<Arc<Queue>>,
    /// Set by the shutdown, to end waits for another attempt.
    closed: watch::Sender<bool>,
    pace: Arc<Pace>,
    process: Process,
    /// The size of the last request, in bytes, as the initial capacity for the next one.
    last_size: AtomicUsize,
    refused: Mutex<Option<RefusedSize>>,
    /// How many exports have failed since the last success.
    failures: AtomicU32,
}

/// The size, in bytes, of a request that the collector refused as too large.
///
/// It holds for one connection: another may lead to a collector with another limit.
#[derive(Clone, Copy)]
struct RefusedSize {
    connection: u64,
    bytes: usize,
}

/// The sizes, in bytes, of an item that was refused alone.
#[derive(Clone, Copy)]
struct RefusedItem {
    uncompressed: usize,
    sent: usize,
}

/// The outcome of a request.
enum PartResult {
    /// Accepted, perhaps with a remark such as a partial success.
    Accepted(Option<Failure>),
    /// The request has to be split.
    TooLarge,
    Failed(Failure),
}

impl Lane {
    pub(crate) fn new(
        settings: Arc<Settings>,
        transport: Arc<Transport>,
        stats: Arc<ExportStats>,
        drain: Arc<Drain>,
        queue: Option<Arc<Queue>>,
        pace: Arc<Pace>,
        token: Option<Arc<Watcher<TokenFile>>>,
    ) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.extend(settings.headers.value.clone());
        Self {
            headers: Arc::new(headers),
            token,
            settings,
            transport: Mutex::new(Some(transport)),
            stats,
            drain,
            queue,
            closed: watch::Sender::new(false),
            pace,
            process: Process::current(),
            last_size: AtomicUsize::new(0),
            refused: Mutex::default(),
            failures: AtomicU32::new(0),
        }
    }

    /// Implements `shutdown` of the SDK's exporters: nothing is exported after it.
    pub(super) fn shut_down(&self) -> OTelSdkResult {
        self.closed.send_replace(true);
        lock(&self.transport).take().map(drop).ok_or(OTelSdkError::AlreadyShutdown)
    }

    /// Exports a batch in one request, or in several if one would be too large. A batch without
    /// items is [not sent](https://opentelemetry.io/docs/specs/otlp/#otlpgrpc-request-response).
    pub(super) async fn export(&self, batch: &impl Items) -> OTelSdkResult {
        if let Some(queue) = &self.queue {
            queue.take(batch.len());
        }
        // Checked before any lock is taken: after a fork, a lock that another thread held is never
        // released.
        if !self.process.is_current() {
            let failure = self.failure(FailureKind::Forked);
            return Err(OTelSdkError::InternalFailure(failure.to_string()));
        }
        let transport = lock(&self.transport).clone().ok_or(OTelSdkError::AlreadyShutdown)?;
        if batch.len() == 0 {
            return Ok(());
        }
        let context = Context::current().with_telemetry_suppressed();
        let begun = Instant::now();
        let result = self.export_by(&transport, batch).with_context(context).await;
        if result.is_ok() {
            self.failures.store(0, Ordering::Relaxed);
        } else if self.failures.fetch_add(1, Ordering::Relaxed) >= FAST_FAILURES && batch.len() > 1
        {
            // A single item may be from a simple processor, which exports on the service's own threads.
            let least =
                self.settings.timeout.map_or(SLOW_FAILURE, |timeout| SLOW_FAILURE.min(timeout));
            transport.rest(begun + least, self.stop()).await;
        }
        result
    }

    fn stop(&self) -> Stop {
        Stop { drain: self.drain.0.subscribe(), closed: self.closed.subscribe() }
    }

    async fn export_by(&self, transport: &Arc<Transport>, batch: &impl Items) -> OTelSdkResult {
        let begun = Instant::now();
        let mut in_flight = self.stats.begin(share(batch, 0..batch.len()));
        // A stack of the parts still to be sent: the next one is last.
        let whole = 0..batch.len();
        let mut parts = vec![whole];
        let mut refused = None;
        while let Some(part) = parts.pop() {
            let answered = in_flight.answered();
            let sent =
                self.send_part(transport, batch, part.clone(), begun, answered, &mut refused);
            match sent.await {
                PartResult::Accepted(remark) => in_flight.accepted(share(batch, part), remark),
                PartResult::Failed(failure) => in_flight.dropped(share(batch, part), failure),
                PartResult::TooLarge => {
                    let middle = part.start + part.len() / 2;
                    parts.extend([middle..part.end, part.start..middle]);
                }
            }
        }
        in_flight.end()
    }

    /// Sends a part of a batch in one request.
    ///
    /// `refused_item` is the last item of the batch that was refused alone. An item that is no smaller
    /// is not sent: otherwise a collector that refuses any size would be asked about each item.
    async fn send_part(
        &self,
        transport: &Arc<Transport>,
        batch: &impl Items,
        part: Range<usize>,
        begun: Instant,
        answered: Answered,
        refused_item: &mut Option<RefusedItem>,
    ) -> PartResult {
        let is_single = part.len() == 1;
        let payload = self.encoding().encode(batch, part, self.last_size.load(Ordering::Relaxed));
        let bytes = payload.size();
        self.last_size.store(bytes, Ordering::Relaxed);
        let limit = self.settings.max_request_size;
        if bytes > limit && is_single {
            return PartResult::Failed(
                self.failure(FailureKind::OverRequestLimit { bytes, limit }),
            );
        }
        if bytes > limit || self.is_refused(transport, bytes) && !is_single {
            return PartResult::TooLarge;
        }
        let sent = payload.sent_size();
        // A collector limits one of the two sizes.
        let is_known = |item: &RefusedItem| bytes >= item.uncompressed && sent >= item.sent;
        if is_single && refused_item.as_ref().is_some_and(is_known) {
            let uncompressed = payload.uncompressed_size();
            let kind = FailureKind::TooLarge { bytes: sent, uncompressed };
            return PartResult::Failed(self.failure(kind));
        }
        match self.send(transport, payload, begun, answered).await {
            Ok(remark) => {
                // It was refused for another reason than its size.
                lock(&self.refused).take_if(|refused| bytes >= refused.bytes);
                PartResult::Accepted(remark)
            }
            Err(failure) if matches!(failure.kind(), FailureKind::TooLarge { .. }) => {
                self.note_refused(transport, bytes);
                if !is_single {
                    return PartResult::TooLarge;
                }
                *refused_item = Some(RefusedItem { uncompressed: bytes, sent });
                PartResult::Failed(failure)
            }
            Err(failure) => PartResult::Failed(failure),
        }
    }

    /// Remembers the smallest size that the collector has refused on the current connection.
    fn note_refused(&self, transport: &Transport, bytes: usize) {
        let connection = transport.connections();
        let mut refused = lock(&self.refused);
        let known = refused.filter(|known| known.connection == connection);
        let bytes = known.map_or(bytes, |known| known.bytes.min(bytes));
        *refused = Some(RefusedSize { connection, bytes });
    }

    /// Whether the collector has refused this size or a smaller one on the current connection.
    fn is_refused(&self, transport: &Transport, bytes: usize) -> bool {
        lock(&self.refused).is_some_and(|refused| {
            bytes >= refused.bytes && refused.connection == transport.connections()
        })
    }

    /// Sends a request without items and counts nothing: for a check.
    pub(crate) async fn probe(&self) -> Result<Option<Failure>, Failure> {
        let transport = lock(&self.transport).clone();
        let transport = transport.ok_or_else(|| self.failure(FailureKind::Shutdown))?;
        let payload = self.encoding().encode(&Empty, 0..0, 0);
        self.send(&transport, payload, Instant::now(), Arc::default()).await
    }

    /// Accepted, perhaps with a remark such as a partial success.
    async fn send(
        &self,
        transport: &Arc<Transport>,
        payload: Payload,
        begun: Instant,
        answered: Answered,
    ) -> Result<Option<Failure>, Failure> {
        let call = Call {
            signal: self.settings.signal,
            path: self.settings.endpoint.path.clone(),
            headers: Arc::clone(&self.headers),
            token: self.token.clone(),
            protocol: *self.settings.protocol,
            payload,
            max_response_size: self.settings.max_response_size,
            begun: begun.into(),
            timeout: *self.settings.timeout,
            answered,
            stop: self.stop(),
            pace: Arc::clone(&self.pace),
        };
        match transport.send(call).await {
            Ok(remark) => Ok(remark.map(|kind| self.failure(kind))),
            Err(error) => Err(worded(&error, &self.settings)),
        }
    }

    fn encoding(&self) -> Encoding {
        let Settings { signal, protocol, compression, .. } = &*self.settings;
        Encoding { signal: *signal, protocol: **protocol, compression: **compression }
    }

    /// A failure that does not involve credentials.
    fn failure(&self, kind: FailureKind) -> Failure {
        Failure::new(kind, &self.settings, None)
    }
}

fn share(batch: &impl Items, items: Range<usize>) -> Share {
    Share { all: items.len() as u64, own: batch.own(items) as u64 }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { signal, endpoint, protocol, .. } = &*self.settings;
        f.debug_struct("Lane")
            .field("signal", signal)
            .field("endpoint", &format_args!("{endpoint}{}", endpoint.shown_path()))
            .field("protocol", protocol)
            .finish_non_exhaustive()
    }
}
