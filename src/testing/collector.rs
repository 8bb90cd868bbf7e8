//! The collector as its users see it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{fmt, io};

use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;

use super::builder::CollectorBuilder;
use super::decode;
use super::state::{Shared, State};
use super::tls::Options;
use super::{ClientCertificate, Identity, Reply, Request};
use crate::{Compression, Signal};

/// How long [`Collector::close_connections`] waits at most.
const CLOSING: Duration = Duration::from_secs(10);

/// What becomes of a new connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Accept {
    /// It is served.
    #[default]
    Serve,
    /// It is accepted, and then nothing is read or written. It counts as open until it is closed from
    /// this side.
    Silence,
    /// It is closed at once.
    Refuse,
}

/// An OTLP collector in this process.
///
/// It serves OTLP/gRPC and OTLP/HTTP (protobuf and JSON) on one loopback port, from a thread of its own,
/// and keeps what it receives. Dropping it closes everything and ends the thread.
pub struct Collector {
    shared: Arc<Shared>,
    addr: SocketAddr,
    tls: Options,
    thread: Option<JoinHandle<()>>,
}

impl Collector {
    /// Configures a collector.
    pub fn builder() -> CollectorBuilder {
        CollectorBuilder::new()
    }

    pub(super) fn new(
        shared: Arc<Shared>,
        addr: SocketAddr,
        tls: Options,
        thread: JoinHandle<()>,
    ) -> Self {
        Self { shared, addr, tls, thread: Some(thread) }
    }

    fn state<R>(&self, read: impl FnOnce(&State) -> R) -> R {
        read(&self.shared.lock())
    }

    /// The address it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URL to export to: over TLS with the host `localhost`, and otherwise with the address.
    pub fn endpoint(&self) -> String {
        let tls = self.state(|state| state.tls.is_some());
        match (tls, self.addr) {
            (true, SocketAddr::V4(addr)) => format!("https://localhost:{}", addr.port()),
            (true, addr) => format!("https://{addr}"),
            (false, addr) => format!("http://{addr}"),
        }
    }

    // What happened to connections

    /// How many TCP connections it has accepted so far.
    pub fn connections(&self) -> usize {
        self.state(|state| state.connections)
    }

    /// How many of them are open.
    pub fn open_connections(&self) -> usize {
        self.state(|state| state.open.len())
    }

    /// How many TLS handshakes were completed so far.
    pub fn handshakes(&self) -> usize {
        self.state(|state| state.handshakes)
    }

    /// How many TLS handshakes failed so far, also because the client closed the connection.
    ///
    /// In TLS 1.3 a client's handshake is complete before it is told that its certificate is refused.
    pub fn failed_handshakes(&self) -> usize {
        self.state(|state| state.failed_handshakes)
    }

    /// How many of the completed handshakes resumed a session.
    pub fn resumptions(&self) -> usize {
        self.state(|state| state.resumptions)
    }

    /// How many requests ended unanswered because the client reset the stream or went away.
    pub fn resets(&self) -> usize {
        self.state(|state| state.resets)
    }

    /// The client certificates that were presented, one for each completed handshake that had one. A
    /// resumed session presents none; see [`Request::client_certificate`] for whose it is.
    pub fn client_certificates(&self) -> Vec<ClientCertificate> {
        self.state(|state| state.client_certificates.clone())
    }

    // What was received

    /// The requests that were acknowledged so far, in the order in which they came in.
    pub fn requests(&self) -> Vec<Request> {
        self.state(|state| state.acknowledged().cloned().collect())
    }

    /// All requests so far: acknowledged, refused and held ones.
    pub fn received(&self) -> Vec<Request> {
        self.state(|state| state.received.iter().map(|received| received.request.clone()).collect())
    }

    /// The spans of all [`requests`](Self::requests).
    pub fn spans(&self) -> Vec<Span> {
        self.state(|state| {
            state.acknowledged().flat_map(|request| request.export.spans()).cloned().collect()
        })
    }

    /// The log records of all [`requests`](Self::requests).
    pub fn log_records(&self) -> Vec<LogRecord> {
        self.state(|state| {
            state.acknowledged().flat_map(|request| request.export.log_records()).cloned().collect()
        })
    }

    /// The metrics of all [`requests`](Self::requests).
    pub fn metrics(&self) -> Vec<Metric> {
        self.state(|state| {
            state.acknowledged().flat_map(|request| request.export.metrics()).cloned().collect()
        })
    }

    /// The number of data points of all [`metrics`](Self::metrics).
    pub fn metric_points(&self) -> usize {
        self.state(|state| {
            state
                .acknowledged()
                .flat_map(|request| request.export.metrics())
                .map(decode::points)
                .sum()
        })
    }

    /// The resource attribute `key` of the newest of the [`requests`](Self::requests), as text.
    pub fn resource_attribute(&self, key: &str) -> Option<String> {
        self.state(|state| state.acknowledged().next_back()?.export.resource_attribute(key))
    }

    // Waiting

    /// Blocks until `holds` is true of this collector, and returns whether it became so within `timeout`.
    ///
    /// It is asked again whenever something has happened: a connection, a handshake, a request, an
    /// acknowledgement. In an asynchronous test, what is waited for has to run on another thread than this
    /// call: use a multi-threaded runtime.
    pub fn wait_until(&self, timeout: Duration, mut holds: impl FnMut(&Self) -> bool) -> bool {
        self.shared.wait_until(timeout, || holds(self))
    }

    /// Blocks until at least `items` spans, log records or metric points were acknowledged, and returns
    /// whether they were within `timeout`.
    pub fn wait_for(&self, signal: Signal, items: usize, timeout: Duration) -> bool {
        self.wait_until(timeout, |collector| {
            let acknowledged: usize = collector.state(|state| {
                let requests = state.acknowledged().filter(|request| request.signal == signal);
                requests.map(Request::items).sum()
            });
            acknowledged >= items
        })
    }

    // Behaving

    /// Decides the reply to each request from now on; the default is [`Reply::Accept`].
    ///
    /// `reply` runs on the collector's thread: nothing is served while it blocks, and dropping the collector
    /// waits for it. One that owns the collector keeps it from ever being dropped; hold a
    /// [`Weak`](std::sync::Weak) instead.
    pub fn set_reply(&self, reply: impl Fn(&Request) -> Reply + Send + Sync + 'static) {
        // The old one is dropped outside the lock, for it may own what needs it.
        let reply = Arc::new(reply);
        let _old = self.shared.update(|state| std::mem::replace(&mut state.reply, reply));
    }

    /// Compresses the answers from now on, whether or not the client accepts that: over gRPC each message, as Go's
    /// servers do with what they are asked in, and over HTTP the body.
    pub fn set_compression(&self, compression: Option<Compression>) {
        self.shared.update(|state| state.compression = compression);
    }

    /// Accepts the requests that are held by [`Reply::Hold`]. Those that come later are held again.
    pub fn release(&self) {
        self.shared.release.send_replace(());
    }

    /// Decides what becomes of the connections that are accepted from now on.
    pub fn set_accept(&self, accept: Accept) {
        self.shared.update(|state| state.accept = accept);
    }

    /// Serves the connections that are accepted from now on with TLS as `identity`, and requires a client
    /// certificate if there are CAs in PEM. Versions, ALPN and whether that certificate is optional stay as
    /// they were built. No session from before can be resumed.
    ///
    /// # Errors
    ///
    /// Fails with [`InvalidInput`](io::ErrorKind::InvalidInput) if rustls refuses the certificates.
    pub fn set_tls(&self, identity: Identity, client_ca: Option<&str>) -> io::Result<()> {
        let config = self.tls.config(&identity, client_ca)?;
        self.shared.update(|state| state.tls = Some(config));
        Ok(())
    }

    /// Drops every connection that is open now, and returns once their sockets are closed.
    ///
    /// Called by a [`reply`](Self::set_reply), it cannot wait for that and returns at once.
    pub fn close_connections(&self) {
        let open = self.state(|state| state.open.clone());
        self.shared.close.send_replace(());
        if !self.is_own_thread() {
            self.wait_until(CLOSING, |collector| {
                collector.state(|state| state.open.is_disjoint(&open))
            });
        }
    }

    /// With `Some(n)`, a connection takes `n` requests and then shuts down gracefully, over HTTP/2 with
    /// `GOAWAY`, as with nginx's `keepalive_requests`. The count starts with the connection.
    pub fn goaway_after(&self, requests: Option<usize>) {
        self.shared.update(|state| state.goaway_after = requests);
    }

    fn is_own_thread(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| thread.thread().id() == thread::current().id())
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.shared.stop.notify_one();
        // A reply may own the collector, and a thread cannot join itself.
        if !self.is_own_thread()
            && let Some(thread) = self.thread.take()
        {
            // A panic of that thread has been reported where it happened.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").field("addr", &self.addr).finish_non_exhaustive()
    }
}
