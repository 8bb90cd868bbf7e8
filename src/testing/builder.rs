//! How a collector is configured and started.

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

/// Configures a [`Collector`]; made by [`Collector::builder`].
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

    /// Serves TLS as `identity`; the default is plaintext.
    pub fn with_tls(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Requires a certificate of the client that one of the CAs in `pem` has issued.
    ///
    /// Other than most of rustls, the collector takes clients with an X.509 version 1 certificate, of
    /// which it checks the signature and the time of validity alone: fit for tests and nothing else.
    pub fn with_client_ca(mut self, pem: &str) -> Self {
        self.client_ca = Some(pem.to_owned());
        self
    }

    /// With `true`, a client without a certificate is served too. One with a certificate that does not
    /// verify is refused still. Matters with [`with_client_ca`](Self::with_client_ca) alone.
    pub fn with_optional_client_certificate(mut self, optional: bool) -> Self {
        self.tls.client_certificate_optional = optional;
        self
    }

    /// The versions of TLS; the default is 1.2 and 1.3.
    pub fn with_tls_versions(mut self, versions: &[&'static SupportedProtocolVersion]) -> Self {
        self.tls.versions = versions.to_vec();
        self
    }

    /// The protocols to choose from by ALPN; the default is `h2` and then `http/1.1`, and none is no ALPN.
    pub fn with_alpn(mut self, protocols: Vec<Vec<u8>>) -> Self {
        self.tls.alpn = protocols;
        self
    }

    /// The address to listen on; the default is `127.0.0.1`.
    pub fn with_bind_address(mut self, address: IpAddr) -> Self {
        self.address = address;
        self
    }

    /// Starts the collector on a port that the operating system chooses.
    ///
    /// # Errors
    ///
    /// Fails if the address cannot be bound or the thread not be started, and with
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if rustls refuses the certificates or there are
    /// client CAs without TLS.
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
            // The runtime is made and dropped over there: here may be an asynchronous context, where it
            // must not be dropped.
            move || match runtime(listener) {
                Err(error) => drop(started.send(Err(error))),
                Ok((runtime, listener)) => {
                    drop(started.send(Ok(())));
                    run(runtime, listener, shared);
                }
            }
        })?;
        // The thread sends before it ends.
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

/// Everything that the collector's thread does.
fn run(runtime: tokio::runtime::Runtime, listener: tokio::net::TcpListener, shared: Arc<Shared>) {
    // hyper, h2 and rustls tell of what they do: a test that exports that would export it for ever.
    let _suppressed = Context::enter_telemetry_suppressed_scope();
    let _silent = tracing::dispatcher::set_default(&Dispatch::none());
    runtime.block_on(async {
        tokio::select! {
            () = shared.stop.notified() => {}
            () = connection::accept(listener, shared.clone()) => {}
        }
    });
    // While the guards hold: connections have something to say when they are dropped.
    drop(runtime);
}
