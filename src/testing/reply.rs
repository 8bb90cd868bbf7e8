//! The collector's responses.

use std::convert::Infallible;
use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use hyper::body::{Body, Frame, SizeHint};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use prost::Message;

use super::Request;
use super::messages::{self, Any, ExportResponse, PartialSuccess, RetryInfo, Status};
use crate::{Compression, Signal};

/// The collector's response to a request.
///
/// [`Accept`](Self::Accept) and [`PartialSuccess`](Self::PartialSuccess) acknowledge the request, and so does
/// [`Hold`](Self::Hold) once released.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Reply {
    /// Accept all items.
    Accept,
    /// Send another reply after a delay.
    After(Duration, Box<Self>),
    /// Do not respond until [`release`](super::Collector::release) is called, then accept.
    Hold,
    /// Respond with a gRPC status (Trailers-Only).
    ///
    /// An OTLP/HTTP request gets the HTTP status that `google/rpc/code.proto` maps the code to, a `Retry-After`
    /// in whole seconds, and a `google.rpc.Status` as body.
    Grpc {
        /// The status code, for instance 14 for `UNAVAILABLE`.
        code: i32,
        /// The status message. May be empty.
        message: String,
        /// With `Some`, the status includes a `google.rpc.RetryInfo` with this delay.
        retry_delay: Option<Duration>,
    },
    /// Respond with an HTTP status and an empty body. A gRPC request gets the same, without a `grpc-status`, as
    /// it would from a proxy.
    Http {
        /// The status code.
        status: u16,
        /// Headers to add. Invalid ones are left out.
        headers: Vec<(String, String)>,
    },
    /// Accept the request, but report some items as rejected. The collector still counts all of them as
    /// accepted, because it cannot know which ones were meant.
    PartialSuccess {
        /// The number of rejected items.
        rejected: i64,
        /// The reason.
        message: String,
    },
    /// Reset the stream with `INTERNAL_ERROR`, or close an HTTP/1.1 connection.
    Reset,
    /// Close the connection abruptly: no response, no `GOAWAY`, no TLS `close_notify`.
    Close,
}

/// A response body: at most one data frame, and trailers.
pub(super) struct Payload {
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Payload {
    fn new(data: impl Into<Bytes>) -> Self {
        Self { data: Some(data.into()).filter(|data| !data.is_empty()), trailers: None }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = self.data.take().map(Frame::data);
        let frame = data.or_else(|| self.trailers.take().map(Frame::trailers));
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.as_ref().map_or(0, |data| data.len() as u64))
    }
}

/// Acknowledges a request, with its rejected items if any.
pub(super) fn acknowledge(
    request: &Request,
    partial_success: Option<(i64, String)>,
) -> Response<Payload> {
    if !request.grpc && super::service::is_json(&request.headers) {
        // Proto3 JSON writes 64-bit integers as strings.
        let body = match partial_success {
            None => serde_json::json!({}),
            Some((rejected, message)) => serde_json::json!({ "partialSuccess": {
                rejected_key(request.signal): rejected.to_string(),
                "errorMessage": message,
            }}),
        };
        return response(StatusCode::OK, "application/json", Payload::new(body.to_string()));
    }

    let message = ExportResponse {
        partial_success: partial_success
            .map(|(rejected, message)| PartialSuccess { rejected, message }),
    }
    .encode_to_vec();
    if !request.grpc {
        return response(StatusCode::OK, "application/x-protobuf", Payload::new(message));
    }
    let mut body = Payload::new(frame(0, &message));
    body.trailers = Some(HeaderMap::from_iter([(GRPC_STATUS, HeaderValue::from_static("0"))]));
    response(StatusCode::OK, "application/grpc", body)
}

/// Rejects a request with a gRPC status.
pub(super) fn refuse(
    grpc: bool,
    code: i32,
    message: &str,
    retry_delay: Option<Duration>,
) -> Response<Payload> {
    let details = retry_delay.map(|delay| Any {
        type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
        value: RetryInfo {
            retry_delay: Some(messages::Duration {
                seconds: delay.as_secs() as i64,
                nanos: delay.subsec_nanos() as i32,
            }),
        }
        .encode_to_vec(),
    });
    let has_details = details.is_some();
    let status =
        Status { code, message: message.to_owned(), details: details.into_iter().collect() };
    if !grpc {
        let body = Payload::new(status.encode_to_vec());
        let mut response = response(http_status(code), "application/x-protobuf", body);
        if let Some(delay) = retry_delay {
            response.headers_mut().insert(RETRY_AFTER, delay.as_secs().into());
        }
        return response;
    }

    let mut response = response(StatusCode::OK, "application/grpc", Payload::new(Bytes::new()));
    let headers = response.headers_mut();
    headers.insert(GRPC_STATUS, code.into());
    let message = utf8_percent_encode(message, GRPC_MESSAGE_ESCAPED).to_string();
    if let Ok(message) = HeaderValue::try_from(message) {
        headers.insert(HeaderName::from_static("grpc-message"), message);
    }
    if has_details {
        let details = STANDARD_NO_PAD.encode(status.encode_to_vec());
        if let Ok(details) = HeaderValue::try_from(details) {
            headers.insert(HeaderName::from_static("grpc-status-details-bin"), details);
        }
    }
    response
}

/// Compresses the body of a response, if it has one.
pub(super) fn compress(
    mut response: Response<Payload>,
    compression: Compression,
) -> Response<Payload> {
    let Some(data) = response.body_mut().data.take() else {
        return response;
    };
    let is_grpc =
        response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == "application/grpc");
    let (header, data) = match is_grpc {
        true => (
            HeaderName::from_static("grpc-encoding"),
            frame(1, &compressed(&data[5..], compression)),
        ),
        false => (CONTENT_ENCODING, compressed(&data, compression).into()),
    };
    response.headers_mut().insert(header, HeaderValue::from_static(compression.as_str()));
    response.body_mut().data = Some(data);
    response
}

fn compressed(plain: &[u8], compression: Compression) -> Vec<u8> {
    let compressed = match compression {
        Compression::Gzip => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(plain).and_then(|()| encoder.finish())
        }
        Compression::Zstd => zstd::encode_all(plain, 0),
    };
    // invariant: writing to memory cannot fail
    compressed.expect("a vector takes all")
}

/// Frames a gRPC message with its flag and length.
fn frame(flag: u8, message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(5 + message.len());
    framed.put_u8(flag);
    // invariant: the message is far shorter than 4 GiB
    framed.put_u32(message.len() as u32);
    framed.extend_from_slice(message);
    framed.freeze()
}

/// A response with a given status and headers. An invalid status becomes `500`.
pub(super) fn plain(status: u16, headers: &[(String, String)]) -> Response<Payload> {
    let mut response = Response::new(Payload::new(Bytes::new()));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

fn response(status: StatusCode, content_type: &'static str, body: Payload) -> Response<Payload> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#responses>
const GRPC_MESSAGE_ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// <https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto>
fn http_status(code: i32) -> StatusCode {
    match code {
        0 => StatusCode::OK,
        3 | 9 | 11 => StatusCode::BAD_REQUEST,
        4 => StatusCode::GATEWAY_TIMEOUT,
        5 => StatusCode::NOT_FOUND,
        6 | 10 => StatusCode::CONFLICT,
        7 => StatusCode::FORBIDDEN,
        8 => StatusCode::TOO_MANY_REQUESTS,
        12 => StatusCode::NOT_IMPLEMENTED,
        14 => StatusCode::SERVICE_UNAVAILABLE,
        16 => StatusCode::UNAUTHORIZED,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn rejected_key(signal: Signal) -> &'static str {
    match signal {
        Signal::Logs => "rejectedLogRecords",
        Signal::Metrics => "rejectedDataPoints",
        Signal::Traces => "rejectedSpans",
    }
}
