//! Requests and client certificates that the collector received.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;

use super::decode::Export;
use crate::Signal;
use crate::tls::CertificateFacts;
use crate::tls::SignedCertificate;

/// An export request that the [`Collector`](super::Collector) received.
#[derive(Clone)]
#[non_exhaustive]
pub struct Request {
    /// The exported signal.
    pub signal: Signal,
    /// Whether it was sent over OTLP/gRPC rather than OTLP/HTTP.
    pub grpc: bool,
    /// The server it was addressed to: `:authority` over HTTP/2, `Host` over HTTP/1.1.
    pub authority: Option<String>,
    /// The path and query of the URI.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The message, decompressed and without gRPC's prefix.
    pub body: Bytes,
    /// The compression of the message: `content-encoding`, or `grpc-encoding` if the message has its compressed
    /// flag set.
    pub encoding: Option<String>,
    /// The index of its connection, counted from zero in the order of acceptance.
    pub connection: usize,
    /// The client certificate of that connection. A resumed session has that of the original one.
    pub client_certificate: Option<ClientCertificate>,
    pub(super) export: Arc<Export>,
}

impl Request {
    /// The number of spans, log records or metric points.
    pub fn items(&self) -> usize {
        self.export.items()
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without header values, which may be credentials.
        let headers: Vec<_> = self.headers.keys().collect();
        f.debug_struct("Request")
            .field("signal", &self.signal)
            .field("grpc", &self.grpc)
            .field("path", &self.path)
            .field("headers", &headers)
            .field("encoding", &self.encoding)
            .field("connection", &self.connection)
            .field("client_certificate", &self.client_certificate)
            .field("items", &self.items())
            .finish_non_exhaustive()
    }
}

/// A certificate that a client presented.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    der: CertificateDer<'static>,
    facts: CertificateFacts,
    common_name: Option<String>,
}

impl ClientCertificate {
    /// Parses `der`, which the verifier has already validated.
    pub(super) fn parse(der: &CertificateDer<'_>, provider: &CryptoProvider) -> Option<Self> {
        Some(Self {
            facts: CertificateFacts::parse(der, provider).ok()?,
            common_name: SignedCertificate::parse(der).ok()?.content.common_name(),
            der: der.clone().into_owned(),
        })
    }

    /// The subject, such as `CN=test-client`.
    pub fn subject(&self) -> &str {
        &self.facts.subject
    }

    /// The first common name of the subject.
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    /// The certificate in DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The SHA-256 digest of [`der`](Self::der) in lower-case hexadecimal.
    pub fn fingerprint(&self) -> String {
        self.facts.fingerprint.clone()
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate")
            .field("subject", &self.facts.subject)
            .finish_non_exhaustive()
    }
}
