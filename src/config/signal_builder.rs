//! What the builder sets for one signal.

use std::path::PathBuf;
use std::time::Duration;

use super::layer::{EndpointText, HeadersText, Layer};
use super::pem::Pem;
use super::sdk::Batch;
use crate::origin::Sourced;
use crate::protocol::{Compression, Protocol};

/// Settings of one signal that beat those of the whole, for
/// [`with_signal`](crate::ExportersBuilder::with_signal).
///
/// What is not set here is what the builder has for all signals, then what the environment has for this
/// signal, then for all of them, then the specification's default.
#[derive(Clone, Default)]
#[must_use]
pub struct SignalBuilder(pub(crate) Layer);

impl SignalBuilder {
    /// Sets whether the signal is exported. One that is off has no exporter, no provider, no thread and no connection,
    /// and its settings are not read.
    ///
    /// In code, `true` beats `none` in `OTEL_TRACES_EXPORTER` and its like, and `OTEL_SDK_DISABLED`: to leave the last
    /// word to them, set it within [`with_defaults`](crate::ExportersBuilder::with_defaults).
    pub fn with_enabled(mut self, enabled: bool) -> Self {
        self.0.enabled = Some(Sourced::builder("with_enabled", enabled));
        self
    }

    /// Sets the endpoint, for OTLP/HTTP with its whole path.
    pub fn with_endpoint(mut self, endpoint: impl Into<String>) -> Self {
        // As in the environment: white space around it does not count, and empty is unset.
        let text = endpoint.into().trim().to_owned();
        let text = Some(text).filter(|text| !text.is_empty());
        let endpoint = text.map(|text| EndpointText { text, is_whole: true });
        self.0.endpoint = endpoint.map(|endpoint| Sourced::builder("with_endpoint", endpoint));
        self
    }

    /// Sets the protocol.
    pub fn with_protocol(mut self, protocol: Protocol) -> Self {
        self.0.protocol = Some(Sourced::builder("with_protocol", protocol));
        self
    }

    /// Sets the certificate authorities to trust, in place of the platform's.
    pub fn with_ca_certificate(mut self, pem: Pem) -> Self {
        self.0.ca = Some(Sourced::builder("with_ca_certificate", pem));
        self
    }

    /// Sets the client's certificate chain, leaf first, and its private key.
    pub fn with_client_identity(mut self, certificate: Pem, key: Pem) -> Self {
        self.0.client_certificate = Some(Sourced::builder("with_client_identity", certificate));
        self.0.client_key = Some(Sourced::builder("with_client_identity", key));
        self
    }

    /// Sets the headers of every request, in place of all that the environment names.
    ///
    /// A name or value that no header can have is an error of `build()`.
    pub fn with_headers<N, V>(mut self, headers: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        let owned = |(name, value): (N, V)| (name.as_ref().to_owned(), value.as_ref().to_owned());
        let pairs = headers.into_iter().map(owned).collect();
        self.0.headers = Some(Sourced::builder("with_headers", HeadersText::Pairs(pairs)));
        self
    }

    /// Sets the file with the token that every request shows as `authorization: Bearer …`: see
    /// [`ExportersBuilder::with_bearer_token_file`](crate::ExportersBuilder::with_bearer_token_file).
    pub fn with_bearer_token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.0.bearer_token_file = Some(Sourced::builder("with_bearer_token_file", path.into()));
        self
    }

    /// Sets the compression of request bodies; `None` switches it off.
    pub fn with_compression(mut self, compression: impl Into<Option<Compression>>) -> Self {
        self.0.compression = Some(Sourced::builder("with_compression", compression.into()));
        self
    }

    /// Sets how long one export may take, retries included; zero is no limit.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.0.timeout = Some(Sourced::builder("with_timeout", timeout));
        self
    }

    /// Sets how [`install`](crate::Exporters::install) batches items. Metrics are not batched.
    pub fn with_batch(mut self, batch: Batch) -> Self {
        self.0.sdk.batch = batch.or(self.0.sdk.batch);
        self
    }

    /// Sets how large a request may be, in bytes, before compression: a larger batch goes into several.
    pub fn with_max_request_size(mut self, bytes: usize) -> Self {
        self.0.max_request_size = Some(bytes);
        self
    }

    /// Sets how many bytes of an answer are read at most, compressed and decompressed.
    pub fn with_max_response_size(mut self, bytes: usize) -> Self {
        self.0.max_response_size = Some(bytes);
        self
    }

    /// Sets whether a gRPC endpoint *without a scheme* is dialled in plaintext.
    pub fn with_insecure(mut self, insecure: bool) -> Self {
        self.0.insecure = Some(Sourced::builder("with_insecure", insecure));
        self
    }

    /// Sets the name that the server's certificate must have, if not the endpoint's host.
    pub fn with_server_name(mut self, name: impl Into<String>) -> Self {
        self.0.server_name = Some(Sourced::builder("with_server_name", name.into()));
        self
    }

    /// Sets what requests are addressed to, `host` or `host:port`: see
    /// [`ExportersBuilder::with_authority`](crate::ExportersBuilder::with_authority).
    pub fn with_authority(mut self, authority: impl Into<String>) -> Self {
        self.0.authority = Some(Sourced::builder("with_authority", authority.into()));
        self
    }

    /// Sets the SPIFFE ID that the server's certificate must have, in place of a name, or that of its trust domain.
    pub fn with_server_spiffe_id(mut self, id: impl Into<String>) -> Self {
        self.0.server_spiffe_id = Some(Sourced::builder("with_server_spiffe_id", id.into()));
        self
    }
}
