//! The builder's settings for one signal.

use std::path::PathBuf;
use std::time::Duration;

use super::layer::{EndpointText, HeadersText, Layer};
use super::pem::Pem;
use super::sdk_layer::Batch;
use crate::origin::Sourced;
use crate::protocol::{Compression, Protocol};

/// Settings of one signal, which take precedence over those for all signals, for
/// [`with_signal`](crate::ExportersBuilder::with_signal).
///
/// A value that is not set here comes from the builder's settings for all signals, then from the
/// variable of this signal, then from the generic variable, then from the specification's defaults.
#[derive(Clone, Default)]
#[must_use]
pub struct SignalBuilder(pub(crate) Layer);

impl SignalBuilder {
    /// Sets whether the signal is exported. If not, it has no exporter, provider, thread or
    /// connection, and its settings are not read.
    ///
    /// `true` takes precedence over `none` in `OTEL_TRACES_EXPORTER` and its like, and over
    /// `OTEL_SDK_DISABLED`. To give the variables precedence, set it within
    /// [`with_defaults`](crate::ExportersBuilder::with_defaults).
    pub fn with_enabled(mut self, enabled: bool) -> Self {
        self.0.enabled = Some(Sourced::builder("with_enabled", enabled));
        self
    }

    /// Sets the endpoint, for OTLP/HTTP with its whole path.
    pub fn with_endpoint(mut self, endpoint: impl Into<String>) -> Self {
        // As in the environment, surrounding white space is ignored, and empty counts as unset.
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

    /// Sets the certificate authorities to trust, instead of the platform's.
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

    /// Sets the headers of every request, instead of those in the environment.
    ///
    /// `build()` fails if a name or value is not valid in a header.
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

    /// Sets the file with the token that every request sends as `authorization: Bearer …`: see
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

    /// Sets how long one export may take, including retries; zero means no limit.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.0.timeout = Some(Sourced::builder("with_timeout", timeout));
        self
    }

    /// Sets how [`install`](crate::Exporters::install) batches items. Metrics are not batched.
    pub fn with_batch(mut self, batch: Batch) -> Self {
        self.0.sdk.batch = batch.or(self.0.sdk.batch);
        self
    }

    /// Sets the largest size of a request, in bytes, before compression; 0 is no limit. A larger
    /// batch is split into several requests.
    pub fn with_max_request_size(mut self, bytes: usize) -> Self {
        self.0.max_request_size = Some(bytes);
        self
    }

    /// Sets the largest size of an answer, in bytes, both compressed and decompressed.
    pub fn with_max_response_size(mut self, bytes: usize) -> Self {
        self.0.max_response_size = Some(bytes);
        self
    }

    /// Sets whether a gRPC endpoint *without a scheme* is dialled in plaintext.
    pub fn with_insecure(mut self, insecure: bool) -> Self {
        self.0.insecure = Some(Sourced::builder("with_insecure", insecure));
        self
    }

    /// Sets the name that the server's certificate must have, instead of the endpoint's host.
    pub fn with_server_name(mut self, name: impl Into<String>) -> Self {
        self.0.server_name = Some(Sourced::builder("with_server_name", name.into()));
        self
    }

    /// Sets the authority of requests, `host` or `host:port`: see
    /// [`ExportersBuilder::with_authority`](crate::ExportersBuilder::with_authority).
    pub fn with_authority(mut self, authority: impl Into<String>) -> Self {
        self.0.authority = Some(Sourced::builder("with_authority", authority.into()));
        self
    }

    /// Sets the SPIFFE ID that the server's certificate must have instead of a name, or its trust
    /// domain.
    pub fn with_server_spiffe_id(mut self, id: impl Into<String>) -> Self {
        self.0.server_spiffe_id = Some(Sourced::builder("with_server_spiffe_id", id.into()));
        self
    }
}
