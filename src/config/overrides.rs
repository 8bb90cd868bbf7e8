//! What the builder was given, for all signals or for one.

use std::time::Duration;

use super::pem::Pem;
use super::sdk::Batch;
use super::values::{Compression, Protocol};

/// Settings of one signal that beat those of the whole, for
/// [`with_signal`](crate::ExportersBuilder::with_signal).
///
/// Whatever is not set here is what the builder has for all signals, then what the environment
/// has for this signal, then for all of them, then the specification's default.
#[derive(Clone, Default)]
pub struct Overrides {
    pub(super) endpoint: Option<String>,
    pub(super) protocol: Option<Protocol>,
    pub(super) ca: Option<Pem>,
    pub(super) identity: Option<(Pem, Pem)>,
    pub(super) headers: Option<Vec<(String, String)>>,
    pub(super) compression: Option<Option<Compression>>,
    pub(super) timeout: Option<Duration>,
    pub(super) batch: Option<Batch>,
    pub(super) insecure: Option<bool>,
    pub(super) server_name: Option<String>,
}

impl Overrides {
    pub(crate) fn batch(&self) -> Option<&Batch> {
        self.batch.as_ref()
    }

    /// Sets the endpoint, for OTLP/HTTP with its whole path.
    #[must_use]
    pub fn with_endpoint(mut self, endpoint: impl Into<String>) -> Self {
        // As in the environment: white space around it does not count, and empty is unset.
        let endpoint = endpoint.into().trim().to_owned();
        self.endpoint = Some(endpoint).filter(|endpoint| !endpoint.is_empty());
        self
    }

    /// Sets the protocol.
    #[must_use]
    pub fn with_protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = Some(protocol);
        self
    }

    /// Sets the certificate authorities to trust, in place of the platform's.
    #[must_use]
    pub fn with_ca_certificate(mut self, pem: Pem) -> Self {
        self.ca = Some(pem);
        self
    }

    /// Sets the client's certificate chain, leaf first, and its private key.
    #[must_use]
    pub fn with_client_identity(mut self, certificate: Pem, key: Pem) -> Self {
        self.identity = Some((certificate, key));
        self
    }

    /// Sets the headers of every request, in place of all that the environment names.
    ///
    /// A name or value that no header can have is an error of `build()`.
    #[must_use]
    pub fn with_headers<N, V>(mut self, headers: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        let owned = |(name, value): (N, V)| (name.as_ref().to_owned(), value.as_ref().to_owned());
        self.headers = Some(headers.into_iter().map(owned).collect());
        self
    }

    /// Sets the compression of request bodies; `None` switches it off.
    #[must_use]
    pub fn with_compression(mut self, compression: impl Into<Option<Compression>>) -> Self {
        self.compression = Some(compression.into());
        self
    }

    /// Sets how long one export may take, retries included; zero is no limit.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets how [`install`](crate::Exporters::install) batches items. Metrics are not batched.
    #[must_use]
    pub fn with_batch(mut self, batch: Batch) -> Self {
        self.batch = Some(batch);
        self
    }

    /// Sets whether a gRPC endpoint *without a scheme* is dialled in plaintext.
    #[must_use]
    pub fn with_insecure(mut self, insecure: bool) -> Self {
        self.insecure = Some(insecure);
        self
    }

    /// Sets the name that the server's certificate must have, if not the endpoint's host.
    #[must_use]
    pub fn with_server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }
}
