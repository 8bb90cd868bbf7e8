//! Configures and starts a collector.

use std::io;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc;

use opentelemetry::Context;
use rustls::SupportedProtocolVersion;
use tracing::Dispatch;

use super::state::Shared;
use super::tls::Options;
use super::{Collector, Identity, connection};

/// Configures a [`Collector`]. Created by [`Collector::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct CollectorBuilder {
    address: IpAddr,
    identity: Option<Identity>,
    client_ca: Option<String>,
    tls: Options,
}

impl CollectorBuilder {
    pub(super) fn new() -> Self {
        Self {
            address: Ipv4Addr::LOCALHOST.into(),
            identity: None,
            client_ca: None,
            tls: Options::default(),
        }
    }

    /// Serves TLS with `identity`. The default is plaintext.
    pub fn with_tls(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Requires a client certificate issued by one of the CAs in `pem`.
    ///
    /// Unlike rustls, the collector also accepts X.509 version 1 client certificates, and checks only their
    /// signature and validity. This is for tests only.
    pub fn with_client_ca(mut self, pem: &str) -> Self {
        self.client_ca = Some(pem.to_owned());
        self
    }

    /// Sets whether clients without a certificate are served. A certificate that does not verify is still
    /// rejected. Only takes effect with [`with_client_ca`](Self::with_client_ca).
    pub fn with_optional_client_certificate(mut self, optional: bool) -> Self {
        self.tls.client_certificate_optional = optional;
        self
    }

    /// Sets the TLS versions. The default is 1.2 and 1.3.
    pub fn with_tls_versions(mut self, versions: &[&'static SupportedProtocolVersion]) -> Self {
        self.tls.versions = versions.to_vec();
        self
    }

    /// Sets the ALPN protocols, in order of preference. The default is `h2` and `http/1.1`; an empty list
    /// disables ALPN.
    pub fn with_alpn(mut self, protocols: Vec<Vec<u8>>) -> Self {
        self.tls.alpn = protocols;
        self
    }

    /// Sets the address to listen on. The default is `127.0.0.1`.
    pub fn with_bind_address(mut self, address: IpAddr) -> Self {
        self.address = address;
        self
    }

    /// Starts the collector on a port chosen by the operating system.
    ///
    /// # Errors
    ///
    /// Fails if the address cannot be bound or the thread cannot be started. Fails with
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if rustls rejects the certificates, or if client CAs are
    /// set without TLS.
    pub fn start(self) -> io::Result<Collector> {
        let tls = match (&self.identity, &self.client_ca) {
            (Some(identity), client_ca) => Some(self.tls.config(identity, client_ca.as_deref())?),
            (None, None) => None,
            (None, Some(_)) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "client cas need tls: call with_tls as well",
                ));
            }
        };
        let listener = TcpListener::bind((self.address, 0))?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;

        let shared = Arc::new(Shared::new(tls));
        let (started, outcome) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name("otlp-test-collector".to_owned()).spawn({
            let shared = shared.clone();
            // The runtime is created and dropped on that thread: dropping one panics in an asynchronous
            // context, which the caller may be in.
            move || match runtime(listener) {
                Err(error) => drop(started.send(Err(error))),
                Ok((runtime, listener)) => {
                    drop(started.send(Ok(())));
                    run(runtime, listener, shared);
                }
            }
        })?;
        // Fails only if the thread panicked: it sends before it ends.
        outcome.recv().map_err(io::Error::other)??;
        Ok(Collector::new(shared, addr, self.tls, thread))
    }
}

fn runtime(
    listener: TcpListener,
) -> io::Result<(tokio::runtime::Runtime, tokio::net::TcpListener)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _entered = runtime.enter();
        tokio::net::TcpListener::from_std(listener)?
    };
    Ok((runtime, listener))
}

/// The collector's thread.
fn run(runtime: tokio::runtime::Runtime, listener: tokio::net::TcpListener, shared: Arc<Shared>) {
    // hyper, h2 and rustls emit events. Without this, a test that exports events would export those too,
    // without end.
    let _suppressed = Context::enter_telemetry_suppressed_scope();
    let _silent = tracing::dispatcher::set_default(&Dispatch::none());
    runtime.block_on(async {
        tokio::select! {
            () = shared.stop.notified() => {}
            () = connection::accept(listener, shared.clone()) => {}
        }
    });
    // Dropped before the guards, because connections emit events when dropped.
    drop(runtime);
}
