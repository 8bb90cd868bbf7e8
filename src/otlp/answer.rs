//! Judges a response by what was received of it. Pure functions: no connection is needed.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};

use super::json_reader::JsonReader;
use super::mask::masked;
use super::wire::{Malformed, Reader, Value};
use crate::config::Protocol;
use crate::failure::FailureKind;
use crate::text::printable;

/// What was received of a response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) end: End,
}

/// The outcome of a request by the server's status: a number or a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StatusName {
    Http(u16),
    Grpc(&'static str),
}

impl Answer {
    /// The response's status: gRPC's code over gRPC, or the HTTP status if the response is not gRPC's. `None`
    /// if the response was cut off before its status.
    pub(crate) fn status_name(&self, protocol: Protocol) -> Option<StatusName> {
        let http = StatusName::Http(self.status.as_u16());
        match protocol {
            #[cfg(feature = "grpc")]
            Protocol::Grpc => match super::grpc::code(self) {
                Some(code) => Some(StatusName::Grpc(code)),
                None => (!is_grpc(&self.headers)).then_some(http),
            },
            _ => Some(http),
        }
    }
}

/// How a response's body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Complete,
    /// The connection or stream ended early, or the export's deadline passed.
    BrokenOff,
    /// Longer than the most that is read.
    TooLong,
}

/// The properties of the request that a verdict depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestFacts<'a> {
    pub(crate) protocol: Protocol,
    /// The size of the request's body as sent, in bytes.
    pub(crate) bytes: usize,
    /// The size before compression, in bytes, if the body was compressed.
    pub(crate) uncompressed: Option<usize>,
    /// The headers that were sent, except the protocol's own. Messages mask their values.
    pub(crate) headers: [&'a HeaderMap; 2],
    /// The path and query that were sent. Messages mask what OTLP does not append itself.
    pub(crate) path: &'a str,
    /// The maximum size of a response message, in bytes, both compressed and decompressed.
    pub(crate) max_response_size: usize,
}

impl RequestFacts<'_> {
    /// Names both sizes: collectors limit one or the other.
    pub(super) fn too_large(&self) -> FailureKind {
        FailureKind::TooLarge { bytes: self.bytes, uncompressed: self.uncompressed }
    }

    /// The maximum size of a response body.
    pub(crate) fn max_body_size(&self) -> usize {
        match self.protocol {
            #[cfg(feature = "grpc")]
            Protocol::Grpc => self.max_response_size.saturating_add(super::grpc::PREFIX),
            _ => self.max_response_size,
        }
    }
}

/// The meaning of a response.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The collector accepted the batch. The failure, if any, is a partial success, the collector's warning, or
    /// a response that cannot be read.
    Accepted(Option<FailureKind>),
    Refused(Refusal),
    /// The response was cut off before its status, which gRPC sends last.
    Unanswered,
}

/// A response other than success.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) kind: FailureKind,
    pub(crate) again: Again,
}

impl Refusal {
    /// A refusal that every attempt would get.
    pub(crate) fn permanent(kind: FailureKind) -> Self {
        Self { kind, again: Again::No }
    }
}

/// Whether and when a failed attempt may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// The next attempt would fail too.
    No,
    /// The next attempt may succeed, after a backoff of our choice.
    Backoff,
    /// The next attempt may succeed, but not before this delay has passed.
    After(Duration),
}

/// Judges a response. Never fails.
pub(crate) fn judge(answer: &Answer, request: &RequestFacts<'_>) -> Verdict {
    match request.protocol {
        #[cfg(feature = "grpc")]
        Protocol::Grpc => super::grpc::judge(answer, request),
        #[cfg(feature = "http")]
        Protocol::HttpProtobuf | Protocol::HttpJson => super::http::judge(answer, request),
        // Settings never resolve to a protocol that is not compiled in.
        #[allow(unreachable_patterns)]
        _ => {
            let _ = answer;
            unreadable("is in a protocol that is not compiled in")
        }
    }
}

/// A response that says neither that the batch was accepted nor that it was refused. It is permanent: another
/// attempt would get the same response, and could deliver the batch twice.
pub(super) fn unreadable(reason: impl Into<String>) -> Verdict {
    Verdict::Refused(Refusal::permanent(FailureKind::InvalidResponse { reason: reason.into() }))
}

pub(super) fn too_long(request: &RequestFacts<'_>) -> Verdict {
    unreadable(format!("is longer than {} bytes", request.max_response_size))
}

/// The kind of a body, by its content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    Protobuf,
    Json,
    /// HTML, for browsers.
    Page,
    Text,
    /// No content type.
    Unnamed,
    Other,
}

impl Media {
    /// Media types are compared [without case and
    /// parameters](https://www.rfc-editor.org/rfc/rfc9110#section-8.3.1).
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let value = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
        let essence = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        match essence.to_ascii_lowercase().as_slice() {
            b"application/x-protobuf" | b"application/protobuf" => Self::Protobuf,
            b"application/json" => Self::Json,
            b"text/html" | b"application/xhtml+xml" => Self::Page,
            b"text/plain" => Self::Text,
            b"" => Self::Unnamed,
            _ => Self::Other,
        }
    }
}

/// Whether the content type is gRPC's.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    let content_type = headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
    let beginning = content_type.and_then(|value| value.get(..GRPC.len()));
    beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(GRPC))
}

/// Parses seconds or a date ([RFC 9110, section
/// 10.2.3](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3)).
pub(super) fn retry_after(headers: &HeaderMap) -> Again {
    let value = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Again::After(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    match httpdate::parse_http_date(value) {
        Ok(date) => Again::After(date.duration_since(SystemTime::now()).unwrap_or_default()),
        Err(_neither) => Again::Backoff,
    }
}

/// `Export*PartialSuccess`, which has the same fields [for all
/// signals](https://opentelemetry.io/docs/specs/otlp/#partial-success).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PartialSuccess {
    rejected: i64,
    message: String,
}

impl PartialSuccess {
    /// Reads an `Export*ServiceResponse` in protobuf.
    pub(super) fn from_protobuf(response: &[u8]) -> Result<Self, Malformed> {
        let mut partial_success = Self::default();
        if response.iter().all(|byte| *byte == 0) {
            // Zero padding without any field.
            return Ok(partial_success);
        }
        for field in Reader::new(response) {
            match field? {
                (1, Value::Bytes(nested)) => {
                    for field in Reader::new(nested) {
                        match field? {
                            // An int64 is encoded as the varint of its two's complement.
                            (1, Value::Varint(rejected)) => {
                                partial_success.rejected = rejected as i64;
                            }
                            (2, Value::Bytes(text)) => {
                                partial_success.message =
                                    String::from_utf8_lossy(text).into_owned();
                            }
                            (1 | 2, _) => return Err(Malformed),
                            _ => {}
                        }
                    }
                }
                (1, _) => return Err(Malformed),
                _ => {}
            }
        }
        Ok(partial_success)
    }

    /// Reads an `Export*ServiceResponse` in JSON.
    pub(super) fn from_json(response: &[u8]) -> Result<Self, Malformed> {
        let mut partial_success = Self::default();
        JsonReader::read(response, |name, value| match name {
            "partialSuccess" | "partial_success" => value.object(|name, value| match name {
                "errorMessage" | "error_message" => value.string(&mut partial_success.message),
                // `rejectedSpans`, `rejectedDataPoints` or `rejectedLogRecords`.
                name if name.starts_with("rejected") => {
                    value.integer(&mut partial_success.rejected)
                }
                _ => value.skip(),
            }),
            _ => value.skip(),
        })?;
        Ok(partial_success)
    }

    pub(super) fn verdict(&self, request: &RequestFacts<'_>) -> Verdict {
        let message = shown(&self.message, request);
        Verdict::Accepted(match u64::try_from(self.rejected) {
            Ok(0) | Err(_) if message.is_empty() => None,
            Ok(0) | Err(_) => Some(FailureKind::Warning { message }),
            Ok(items) => Some(FailureKind::Rejected { items, message }),
        })
    }
}

/// The fields that are read of a
/// [`google.rpc.Status`](https://github.com/googleapis/googleapis/blob/master/google/rpc/status.proto).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RpcStatus {
    pub(super) message: String,
    pub(super) retry_info: Option<RetryInfo>,
}

/// `google.rpc.RetryInfo`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RetryInfo {
    pub(super) delay: Option<Duration>,
}

impl RpcStatus {
    /// Reads protobuf up to the first malformed field. That is no error: the gRPC code matters most.
    pub(super) fn from_protobuf(status: &[u8]) -> Self {
        let mut read = Self::default();
        for field in Reader::new(status).map_while(Result::ok) {
            match field {
                (2, Value::Bytes(text)) => {
                    read.message = String::from_utf8_lossy(text).into_owned()
                }
                (3, Value::Bytes(any)) => {
                    read.retry_info = read.retry_info.or_else(|| RetryInfo::from_any(any));
                }
                _ => {}
            }
        }
        read
    }

    /// Reads JSON. Hosted collectors may send `{"error": "text"}` or `{"error": {"message": "text"}}` instead
    /// of a `google.rpc.Status`.
    pub(super) fn from_json(status: &[u8]) -> Result<Self, Malformed> {
        let (mut message, mut error) = (String::new(), String::new());
        JsonReader::read(status, |name, value| match name {
            "message" if value.is_string() => value.string(&mut message),
            "error" if value.is_string() => value.string(&mut error),
            "error" if value.is_object() => value.object(|name, value| match name {
                "message" if value.is_string() => value.string(&mut error),
                _ => value.skip(),
            }),
            _ => value.skip(),
        })?;
        let message = if message.is_empty() { error } else { message };
        Ok(Self { message, retry_info: None })
    }
}

impl RetryInfo {
    /// Reads a `google.protobuf.Any`. The prefix of its type URL is ignored.
    fn from_any(any: &[u8]) -> Option<Self> {
        let (mut type_url, mut value) = (&b""[..], &b""[..]);
        for field in Reader::new(any).map_while(Result::ok) {
            match field {
                (1, Value::Bytes(bytes)) => type_url = bytes,
                (2, Value::Bytes(bytes)) => value = bytes,
                _ => {}
            }
        }
        let name = type_url.rsplit(|byte| *byte == b'/').next();
        (name == Some(b"google.rpc.RetryInfo")).then(|| Self::from_protobuf(value))
    }

    fn from_protobuf(retry_info: &[u8]) -> Self {
        let mut delay = None;
        for field in Reader::new(retry_info).map_while(Result::ok) {
            if let (1, Value::Bytes(duration)) = field {
                delay = Some(read_duration(duration));
            }
        }
        Self { delay }
    }
}

/// Reads a `google.protobuf.Duration`. A negative duration counts as zero.
fn read_duration(duration: &[u8]) -> Duration {
    let (mut seconds, mut nanos) = (0, 0);
    for field in Reader::new(duration).map_while(Result::ok) {
        match field {
            (1, Value::Varint(value)) => seconds = value as i64,
            (2, Value::Varint(value)) => nanos = value as i64,
            _ => {}
        }
    }
    let seconds = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    seconds.saturating_add(Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)))
}

/// A server's text for display: truncated, escaped, and with what was sent masked.
pub(super) fn shown(text: &str, request: &RequestFacts<'_>) -> String {
    printable(masked(text, request).trim())
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;
