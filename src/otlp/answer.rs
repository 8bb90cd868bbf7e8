//! What an answer means, by what has arrived of it: no connection is needed to judge it.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};

use super::json_reader::JsonReader;
use super::wire::{Malformed, Reader, Value};
use crate::config::Protocol;
use crate::failure::FailureKind;
use crate::text::printable;

/// What has arrived of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) end: End,
}

/// What a server says by a number or a name became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StatusName {
    Http(u16),
    Grpc(&'static str),
}

impl Answer {
    /// Its status: over gRPC gRPC's, or HTTP's where something else answers. `None` if it broke off before.
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

/// How an answer's body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Complete,
    /// The connection or the stream ended first, or the export's time did.
    BrokenOff,
    /// It was longer than what is read.
    TooLong,
}

/// What the judgement of an answer depends on besides the answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestFacts<'a> {
    pub(crate) protocol: Protocol,
    /// The size of the request's body, in bytes, as it was sent.
    pub(crate) bytes: usize,
    /// Its size before it was compressed, if it was.
    pub(crate) uncompressed: Option<usize>,
    /// The headers that were sent, but for the protocol's own: their values are masked in messages.
    pub(crate) headers: [&'a HeaderMap; 2],
    /// The most that is read of a message, in bytes, compressed and decompressed.
    pub(crate) max_response_size: usize,
}

impl RequestFacts<'_> {
    /// What the collector limits may be either size.
    pub(super) fn too_large(&self) -> FailureKind {
        FailureKind::TooLarge { bytes: self.bytes, uncompressed: self.uncompressed }
    }

    /// The most that is read of a body.
    pub(crate) fn max_body_size(&self) -> usize {
        match self.protocol {
            #[cfg(feature = "grpc")]
            Protocol::Grpc => self.max_response_size.saturating_add(super::grpc::PREFIX),
            _ => self.max_response_size,
        }
    }
}

/// What an answer means.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The collector has taken the batch. What there is to say of it nonetheless: items that it
    /// rejected, a warning of its own, or an answer that cannot be read.
    Accepted(Option<FailureKind>),
    Refused(Refusal),
    /// It broke off before its status: gRPC's is at the end.
    Unanswered,
}

/// The collector's answer, where it is not success.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) kind: FailureKind,
    pub(crate) again: Again,
}

impl Refusal {
    /// One that comes again with every attempt.
    pub(crate) fn permanent(kind: FailureKind) -> Self {
        Self { kind, again: Again::No }
    }
}

/// What a failed attempt says about another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// It would fail as well.
    No,
    /// It may succeed, after a wait of our choice.
    Backoff,
    /// It may succeed, and not before this long.
    After(Duration),
}

/// Judges an answer, whatever the collector put into it.
pub(crate) fn judge(answer: &Answer, request: &RequestFacts<'_>) -> Verdict {
    match request.protocol {
        #[cfg(feature = "grpc")]
        Protocol::Grpc => super::grpc::judge(answer, request),
        #[cfg(feature = "http")]
        Protocol::HttpProtobuf | Protocol::HttpJson => super::http::judge(answer, request),
        // Settings of a protocol that is not compiled in do not resolve.
        #[allow(unreachable_patterns)]
        _ => {
            let _ = answer;
            unreadable("is in a protocol that is not compiled in")
        }
    }
}

/// An answer that says of the batch neither that it was taken nor that it was refused. It would be the same
/// after another attempt, which would send twice what may have been taken.
pub(super) fn unreadable(reason: impl Into<String>) -> Verdict {
    Verdict::Refused(Refusal::permanent(FailureKind::InvalidResponse { reason: reason.into() }))
}

pub(super) fn too_long(request: &RequestFacts<'_>) -> Verdict {
    unreadable(format!("is longer than {} bytes", request.max_response_size))
}

/// What the content of a body is, by its content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    Protobuf,
    Json,
    /// For people with a browser.
    Page,
    Text,
    /// There is no content type.
    Unnamed,
    Other,
}

impl Media {
    /// Types are compared [without case and parameters](https://www.rfc-editor.org/rfc/rfc9110#section-8.3.1).
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

/// Whether the content type is one of gRPC's.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    let content_type = headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
    let beginning = content_type.and_then(|value| value.get(..GRPC.len()));
    beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(GRPC))
}

/// Seconds or a date ([RFC 9110, section 10.2.3](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3)).
pub(super) fn retry_after(headers: &HeaderMap) -> Again {
    let value = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Again::After(Duration::from_secs(seconds));
    }
    match httpdate::parse_http_date(value) {
        Ok(date) => Again::After(date.duration_since(SystemTime::now()).unwrap_or_default()),
        Err(_neither) => Again::Backoff,
    }
}

/// What a collector says of an export that it has taken: `Export*PartialSuccess`, which is alike [for all
/// signals](https://opentelemetry.io/docs/specs/otlp/#partial-success).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PartialSuccess {
    rejected: i64,
    message: String,
}

impl PartialSuccess {
    /// Of an `Export*ServiceResponse` in protobuf.
    pub(super) fn from_protobuf(response: &[u8]) -> Result<Self, Malformed> {
        let mut partial_success = Self::default();
        if response.iter().all(|byte| *byte == 0) {
            // Padding, and no field.
            return Ok(partial_success);
        }
        for field in Reader::new(response) {
            match field? {
                (1, Value::Bytes(nested)) => {
                    for field in Reader::new(nested) {
                        match field? {
                            // An int64 is a varint of its two's complement.
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

    /// Of one in JSON.
    pub(super) fn from_json(response: &[u8]) -> Result<Self, Malformed> {
        let mut partial_success = Self::default();
        JsonReader::read(response, |name, value| match name {
            "partialSuccess" | "partial_success" => value.object(|name, value| match name {
                "errorMessage" | "error_message" => value.string(&mut partial_success.message),
                // Spans, data points or log records.
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

/// [`google.rpc.Status`](https://github.com/googleapis/googleapis/blob/master/google/rpc/status.proto), as far as
/// it is read.
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
    /// Of protobuf. What cannot be decoded ends it: the code says what matters most.
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

    /// Of JSON: of what is no `google.rpc.Status`, a text that is its error, as hosted collectors send it.
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
    /// Of a `google.protobuf.Any`, whose type has any prefix.
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

/// A `google.protobuf.Duration`; a negative one is none to wait for.
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

/// A collector's text as it is shown: cut, escaped, and without the value of any header that was sent.
pub(super) fn shown(text: &str, request: &RequestFacts<'_>) -> String {
    printable(masked(text, request).trim())
}

/// Puts `***` in place of each header value that was sent, and of its part behind a scheme such as `Bearer`:
/// a collector may repeat a token that it refuses.
fn masked(text: &str, request: &RequestFacts<'_>) -> String {
    /// What is shorter is part of many words, and no secret.
    const SHORTEST: usize = 4;
    let values = request.headers.into_iter().flat_map(HeaderMap::values);
    let mut secrets = Vec::new();
    for value in values {
        let value = String::from_utf8_lossy(value.as_bytes());
        let value = value.trim();
        secrets.push(value.to_owned());
        secrets
            .extend(value.split_once(char::is_whitespace).map(|(_, rest)| rest.trim().to_owned()));
    }
    secrets.retain(|secret| secret.chars().count() >= SHORTEST);
    // Of a value that is part of another one, the rest would show.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    let mask = |text: String, secret: &String| match text.contains(secret) {
        true => text.replace(secret, "***"),
        false => text,
    };
    secrets.iter().fold(text.to_owned(), mask)
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;
