//! A batch as the body of a request: encoded, compressed and framed once, even if it is sent several times.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::HeaderValue;

use super::common::Items;
use super::compression::compress;
use super::wire::Writer;
use crate::config::{Compression, Protocol};
use crate::signal::Signal;

/// How a signal's batches are encoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoding {
    pub(crate) signal: Signal,
    pub(crate) protocol: Protocol,
    pub(crate) compression: Option<Compression>,
}

/// The body of a request.
pub(crate) struct Payload {
    pub(super) protocol: Protocol,
    pub(super) compression: Option<Compression>,
    /// Over gRPC, includes the prefix of the message.
    pub(super) body: Bytes,
    size: usize,
}

/// An empty batch of any signal: a protobuf message without fields has no bytes.
pub(crate) struct Empty;

impl Items for Empty {
    fn len(&self) -> usize {
        0
    }

    fn write(&self, _items: Range<usize>, _writer: &mut Writer) {}
}

impl Encoding {
    /// Encodes a range of a batch's items into a buffer with this capacity.
    pub(crate) fn encode(
        self,
        batch: &impl Items,
        items: Range<usize>,
        capacity: usize,
    ) -> Payload {
        let prefix = prefix(self.protocol);
        let mut buffer = Vec::with_capacity(prefix + capacity);
        buffer.resize(prefix, 0);
        let mut body = self.in_format(batch.encode(items, buffer));
        let size = body.len() - prefix;
        let compressed =
            self.compression.and_then(|compression| compress(compression, &body, prefix));
        let compression = self.compression.filter(|_| compressed.is_some());
        if let Some(compressed) = compressed {
            body = compressed;
        }
        #[cfg(feature = "grpc")]
        if self.protocol == Protocol::Grpc {
            super::grpc::write_prefix(&mut body, compression.is_some());
        }
        Payload { protocol: self.protocol, compression, body: body.into(), size }
    }

    #[cfg(feature = "http-json")]
    fn in_format(self, request: Vec<u8>) -> Vec<u8> {
        match self.protocol {
            Protocol::HttpJson => super::to_json(self.signal, &request).into_bytes(),
            Protocol::HttpProtobuf | Protocol::Grpc => request,
        }
    }

    #[cfg(not(feature = "http-json"))]
    fn in_format(self, request: Vec<u8>) -> Vec<u8> {
        // Only JSON depends on the signal, for the names of its fields.
        let _ = self.signal;
        request
    }
}

impl Payload {
    /// The size before compression and without framing, in bytes: collectors limit this size.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// The size before compression, if the body is compressed.
    pub(crate) fn uncompressed_size(&self) -> Option<usize> {
        self.compression.map(|_| self.size)
    }

    /// The size as sent, without framing, in bytes.
    pub(crate) fn sent_size(&self) -> usize {
        self.body.len() - prefix(self.protocol)
    }

    /// A request with the protocol's own headers, but without path and authority. `timeout` is the time until
    /// the export's deadline.
    pub(crate) fn request(&self, timeout: Option<Duration>) -> Request<Bytes> {
        let _ = timeout;
        match self.protocol {
            #[cfg(feature = "grpc")]
            Protocol::Grpc => super::grpc::request(self, timeout),
            #[cfg(feature = "http")]
            Protocol::HttpProtobuf | Protocol::HttpJson => super::http::request(self),
            // Settings never resolve to a protocol that is not compiled in.
            #[allow(unreachable_patterns)]
            _ => Request::new(self.body.clone()),
        }
    }
}

/// The size of the prefix before a message, in bytes.
fn prefix(protocol: Protocol) -> usize {
    match protocol {
        #[cfg(feature = "grpc")]
        Protocol::Grpc => super::grpc::PREFIX,
        _ => 0,
    }
}

pub(super) fn encoding_header(compression: Compression) -> HeaderValue {
    HeaderValue::from_static(compression.as_str())
}
