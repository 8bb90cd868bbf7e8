//! Requests around data that is encoded already.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::HeaderValue;

use crate::config::{Compression, Protocol};

/// One encoded batch.
pub(crate) struct Payload {
    pub(crate) protocol: Protocol,
    /// How the body is compressed already.
    pub(crate) compression: Option<Compression>,
    pub(crate) body: Bytes,
}

impl Payload {
    /// A request with the headers that belong to the protocol, without path and server. `timeout` is what is left
    /// of the export's time.
    pub(crate) fn request(&self, timeout: Option<Duration>) -> Request<Bytes> {
        let _ = timeout;
        match self.protocol {
            #[cfg(feature = "grpc")]
            Protocol::Grpc => super::grpc::request(self, timeout),
            #[cfg(feature = "http")]
            Protocol::HttpProtobuf | Protocol::HttpJson => super::http::request(self),
            // Settings of a protocol that is not compiled in do not resolve.
            #[allow(unreachable_patterns)]
            _ => Request::new(self.body.clone()),
        }
    }
}

pub(super) fn encoding_header(compression: Compression) -> HeaderValue {
    HeaderValue::from_static(compression.as_str())
}
