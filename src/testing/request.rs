//! What clients sent.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::pki_types::CertificateDer;
use x509_parser::parse_x509_certificate;

use super::decode::Export;
use crate::Signal;

/// An export request that the [`Collector`](super::Collector) received.
#[derive(Clone)]
#[non_exhaustive]
pub struct Request {
    /// The signal it exports.
    pub signal: Signal,
    /// Whether it came by OTLP/gRPC rather than OTLP/HTTP.
    pub grpc: bool,
    /// The path and query of its URI.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its message, decompressed and, of a gRPC request, without the prefix.
    pub body: Bytes,
    /// The compression of the message: `content-encoding`, or `grpc-encoding` if the message itself was
    /// flagged as compressed.
    pub encoding: Option<String>,
    /// Which connection it came by, in the order in which they were accepted and from zero.
    pub connection: usize,
    /// The client certificate of that connection, also of one that resumed a session.
    pub client_certificate: Option<ClientCertificate>,
    pub(super) export: Arc<Export>,
}

impl Request {
    /// How many spans, log records or metric points it has.
    pub fn items(&self) -> usize {
        self.export.items()
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Header values may be credentials.
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
    subject: String,
    common_name: Option<String>,
}

impl ClientCertificate {
    /// Parses `der`; the verifier has done so before.
    pub(super) fn parse(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = parse_x509_certificate(der).ok()?;
        let subject = certificate.subject();
        let common_name = subject.iter_common_name().next().and_then(|name| name.as_str().ok());
        Some(Self {
            subject: subject.to_string(),
            common_name: common_name.map(str::to_owned),
            der: der.clone().into_owned(),
        })
    }

    /// Its subject, such as `CN=test-client`.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The first common name of its subject.
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    /// The certificate itself.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The SHA-256 digest of [`der`](Self::der) in lower-case hexadecimal.
    pub fn fingerprint(&self) -> String {
        // invariant: the suite is one of TLS 1.3 by its name
        let suite = TLS13_AES_128_GCM_SHA256.tls13().expect("a suite of tls 1.3");
        let digest = suite.common.hash_provider.hash(&self.der);
        digest.as_ref().iter().fold(String::new(), |mut text, byte| {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").field("subject", &self.subject).finish_non_exhaustive()
    }
}
