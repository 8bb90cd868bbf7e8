//! The collector's public interface.

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

/// The most that [`Collector::close_connections`] waits.
const CLOSING: Duration = Duration::from_secs(10);

/// What happens to a new connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Accept {
    /// Serve it.
    #[default]
    Serve,
    /// Accept it, but never read or write. It counts as open until the collector closes it.
    Silence,
    /// Close it at once.
    Refuse,
}

/// An in-process OTLP collector.
///
/// It serves OTLP/gRPC and OTLP/HTTP (protobuf and JSON) on one loopback port, from its own thread, and records
/// what it receives. Dropping it closes all connections and ends the thread.
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

    /// The address that the collector listens on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URL to export to. With TLS its host is `localhost`, otherwise the address.
    pub fn endpoint(&self) -> String {
        let tls = self.state(|state| state.tls.is_some());
        match (tls, self.addr) {
            (true, SocketAddr::V4(addr)) => format!("https://localhost:{}", addr.port()),
            (true, addr) => format!("https://{addr}"),
            (false, addr) => format!("http://{addr}"),
        }
    }

    // Connections

    /// The number of TCP connections accepted so far.
    pub fn connections(&self) -> usize {
        self.state(|state| state.connections)
    }

    /// The number of open connections.
    pub fn open_connections(&self) -> usize {
        self.state(|state| state.open.len())
    }

    /// The number of completed TLS handshakes so far.
    pub fn handshakes(&self) -> usize {
        self.state(|state| state.handshakes)
    }

    /// The number of failed TLS handshakes so far, including those where the client closed the connection.
    ///
    /// In TLS 1.3, a client completes its handshake before it learns that its certificate was rejected.
    pub fn failed_handshakes(&self) -> usize {
        self.state(|state| state.failed_handshakes)
    }

    /// The number of completed handshakes that resumed a session.
    pub fn resumptions(&self) -> usize {
        self.state(|state| state.resumptions)
    }

    /// The number of requests left unanswered because the client reset the stream or disconnected.
    pub fn resets(&self) -> usize {
        self.state(|state| state.resets)
    }

    /// The client certificates presented, one for each completed handshake with one. A resumed session presents
    /// none; see [`Request::client_certificate`] for its certificate.
    pub fn client_certificates(&self) -> Vec<ClientCertificate> {
        self.state(|state| state.client_certificates.clone())
    }

    // Requests

    /// The acknowledged requests so far, in order of arrival.
    pub fn requests(&self) -> Vec<Request> {
        self.state(|state| state.acknowledged().cloned().collect())
    }

    /// All requests so far: acknowledged, rejected and held ones.
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

    /// The resource attribute `key` of the latest of the [`requests`](Self::requests), as text.
    pub fn resource_attribute(&self, key: &str) -> Option<String> {
        self.state(|state| state.acknowledged().next_back()?.export.resource_attribute(key))
    }

    // Waiting

    /// Blocks until `holds` returns true, or until `timeout`. Returns whether it became true.
    ///
    /// `holds` is evaluated again after every change: a connection, a handshake, a request, an acknowledgement.
    /// In an asynchronous test, use a multi-threaded runtime: this call blocks its thread.
    pub fn wait_until(&self, timeout: Duration, mut holds: impl FnMut(&Self) -> bool) -> bool {
        self.shared.wait_until(timeout, || holds(self))
    }

    /// Blocks until at least `items` spans, log records or metric points are acknowledged, or until `timeout`.
    /// Returns whether they were.
    pub fn wait_for(&self, signal: Signal, items: usize, timeout: Duration) -> bool {
        self.wait_until(timeout, |collector| {
            let acknowledged: usize = collector.state(|state| {
                let requests = state.acknowledged().filter(|request| request.signal == signal);
                requests.map(Request::items).sum()
            });
            acknowledged >= items
        })
    }

    // Behaviour

    /// Sets the reply to each later request. The default is [`Reply::Accept`].
    ///
    /// `reply` runs on the collector's thread: while it blocks, nothing is served, and dropping the collector
    /// waits for it. A `reply` that owns the collector keeps it from ever being dropped, so let it hold a
    /// [`Weak`](std::sync::Weak).
    pub fn set_reply(&self, reply: impl Fn(&Request) -> Reply + Send + Sync + 'static) {
        // The previous closure is dropped outside the lock: its destructor may need the lock.
        let reply = Arc::new(reply);
        let _old = self.shared.update(|state| std::mem::replace(&mut state.reply, reply));
    }

    /// Compresses later responses, whether or not the client accepts that. Over gRPC each message is
    /// compressed, as grpc-go does if the request was; over HTTP the body.
    pub fn set_compression(&self, compression: Option<Compression>) {
        self.shared.update(|state| state.compression = compression);
    }

    /// Accepts the requests held by [`Reply::Hold`]. Later ones are held again.
    pub fn release(&self) {
        self.shared.release.send_replace(());
    }

    /// Sets what happens to later connections.
    pub fn set_accept(&self, accept: Accept) {
        self.shared.update(|state| state.accept = accept);
    }

    /// Serves later connections with TLS and `identity`, and requires a client certificate if `client_ca` has
    /// CAs in PEM. The settings for TLS versions, ALPN and optional client certificates stay. No earlier
    /// session can be resumed.
    ///
    /// # Errors
    ///
    /// Fails with [`InvalidInput`](io::ErrorKind::InvalidInput) if rustls rejects the certificates.
    pub fn set_tls(&self, identity: Identity, client_ca: Option<&str>) -> io::Result<()> {
        let config = self.tls.config(&identity, client_ca)?;
        self.shared.update(|state| state.tls = Some(config));
        Ok(())
    }

    /// Closes all open connections and waits until their sockets are closed.
    ///
    /// When called by a [`reply`](Self::set_reply), it cannot wait and returns at once.
    pub fn close_connections(&self) {
        let open = self.state(|state| state.open.clone());
        self.shared.close.send_replace(());
        if !self.is_own_thread() {
            self.wait_until(CLOSING, |collector| {
                collector.state(|state| state.open.is_disjoint(&open))
            });
        }
    }

    /// With `Some(n)`, each connection takes `n` requests and then shuts down gracefully, over HTTP/2 with
    /// `GOAWAY`, like nginx's `keepalive_requests`. Requests are counted from the start of each connection.
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
        // The collector may be dropped by its own reply, and a thread cannot join itself.
        if !self.is_own_thread()
            && let Some(thread) = self.thread.take()
        {
            // A panic has already been reported on that thread.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").field("addr", &self.addr).finish_non_exhaustive()
    }
}
