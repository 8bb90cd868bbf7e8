//! OTLP/gRPC: one unary call. Its message is framed here because it is already encoded.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, TE};
use http::{HeaderMap, Method, Request, StatusCode};
use percent_encoding::percent_decode;

use super::answer::{
    Again, Answer, End, PartialSuccess, Refusal, RequestFacts, RpcStatus, Verdict, is_grpc, shown,
    too_long, unreadable,
};
use super::compression::{Problem, decompress, named};
use super::payload::{Payload, encoding_header};
use crate::config::Compression;
use crate::failure::FailureKind;
use crate::text::contains;

const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const GRPC_STATUS_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// The compression flag and the length before every message ([Length-Prefixed-Message][spec]).
///
/// [spec]: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
pub(super) const PREFIX: usize = 5;

/// The status codes by number ([statuscodes.md](https://github.com/grpc/grpc/blob/master/doc/statuscodes.md)).
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The code for a number without a name.
const UNKNOWN: usize = 2;

/// Writes the prefix of a message into the space reserved for it.
pub(super) fn write_prefix(message: &mut [u8], is_compressed: bool) {
    // A longer message exceeds the request size limit and is not sent.
    let length = u32::try_from(message.len().saturating_sub(PREFIX)).unwrap_or(u32::MAX);
    if let Some(([flag, bytes @ ..], _)) = message.split_first_chunk_mut::<PREFIX>() {
        *flag = is_compressed.into();
        *bytes = length.to_be_bytes();
    }
}

pub(super) fn request(payload: &Payload, timeout: Option<Duration>) -> Request<Bytes> {
    let mut request = Request::new(payload.body.clone());
    *request.method_mut() = Method::POST;
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    if let Some(compression) = payload.compression {
        headers.insert(GRPC_ENCODING, encoding_header(compression));
    }
    if let Some(accepted) = accepted_encodings() {
        headers.insert(GRPC_ACCEPT_ENCODING, HeaderValue::from_static(accepted));
    }
    if let Some(timeout) = timeout {
        headers.insert(GRPC_TIMEOUT, timeout_header(timeout));
    }
    request
}

/// At most [eight digits](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests) and a unit.
/// An expired timeout is sent as 1 ms: servers answer a call with a zero timeout without reading it.
fn timeout_header(timeout: Duration) -> HeaderValue {
    const LARGEST: u128 = 99_999_999;
    let (milliseconds, seconds) = (timeout.as_millis(), u128::from(timeout.as_secs()));
    let text = match () {
        () if milliseconds <= LARGEST => format!("{}m", milliseconds.max(1)),
        () if seconds <= LARGEST => format!("{seconds}S"),
        () => format!("{}H", (seconds / 3600).min(LARGEST)),
    };
    // Digits and a letter are always a valid header value.
    HeaderValue::try_from(text).unwrap_or_else(|_never| HeaderValue::from_static("1m"))
}

/// The `grpc-accept-encoding` of a request.
fn accepted_encodings() -> Option<&'static str> {
    match (Compression::Gzip.is_compiled(), Compression::Zstd.is_compiled()) {
        (true, true) => Some("gzip,zstd"),
        (true, false) => Some("gzip"),
        (false, true) => Some("zstd"),
        (false, false) => None,
    }
}

/// The name of a response's status code.
pub(super) fn code(answer: &Answer) -> Option<&'static str> {
    Status::of(answer).map(|status| status.name())
}

pub(super) fn judge(answer: &Answer, request: &RequestFacts<'_>) -> Verdict {
    match Status::of(answer) {
        Some(status) if status.code == 0 => accepted(answer, request),
        Some(status) => Verdict::Refused(refusal(&status, request)),
        None if answer.status.is_success() && is_grpc(&answer.headers) => match answer.end {
            End::Complete => unreadable("has no gRPC status"),
            End::BrokenOff => Verdict::Unanswered,
            End::TooLong => too_long(request),
        },
        None => Verdict::Refused(http_refusal(answer, request)),
    }
}

/// Judges the response of a collector that has accepted the batch.
fn accepted(answer: &Answer, request: &RequestFacts<'_>) -> Verdict {
    let read = message(answer, request).and_then(|message| {
        PartialSuccess::from_protobuf(&message).map_err(|_malformed| Unreadable::Malformed)
    });
    match read {
        Ok(partial_success) => partial_success.verdict(request),
        Err(Unreadable::TooLong) => too_long(request),
        // A truncated message is not an invalid one.
        Err(_) if answer.end == End::BrokenOff => Verdict::Accepted(None),
        Err(Unreadable::Missing) => unreadable("has no message"),
        Err(Unreadable::Malformed) => unreadable("is not an OTLP message"),
        Err(Unreadable::Encoding(encoding)) => match named(&encoding) {
            Some(_not_compiled) => {
                let reason = format!("is compressed, and the feature `{encoding}` is off");
                Verdict::Accepted(Some(FailureKind::UnreadAnswer { reason }))
            }
            None => unreadable(format!("is compressed with `{encoding}`, which was not offered")),
        },
    }
}

/// Why a response message cannot be read.
enum Unreadable {
    Missing,
    Malformed,
    TooLong,
    /// Compressed with this encoding, which is not supported.
    Encoding(String),
}

/// The message of a unary response, decompressed. Servers on grpc-go compress it like the request, whether or
/// not the client accepts that.
fn message<'a>(
    answer: &'a Answer,
    request: &RequestFacts<'_>,
) -> Result<Cow<'a, [u8]>, Unreadable> {
    if answer.end == End::TooLong {
        return Err(Unreadable::TooLong);
    }
    let prefix = answer.body.split_first_chunk::<PREFIX>();
    let ([flag, length @ ..], message) = prefix.ok_or(match answer.body.is_empty() {
        true => Unreadable::Missing,
        false => Unreadable::Malformed,
    })?;
    if message.len() != u32::from_be_bytes(*length) as usize {
        return Err(Unreadable::Malformed);
    }
    let encoding = answer.headers.get(GRPC_ENCODING).map(|value| value.as_bytes());
    match (flag, encoding) {
        (0, _) => Ok(Cow::Borrowed(message)),
        (1, Some(encoding)) if !encoding.eq_ignore_ascii_case(b"identity") => {
            let encoding = String::from_utf8_lossy(encoding);
            decompress(encoding.trim(), message, request.max_response_size).map(Cow::Owned).map_err(
                |problem| match problem {
                    Problem::Unknown(encoding) => Unreadable::Encoding(shown(&encoding, request)),
                    Problem::Malformed => Unreadable::Malformed,
                    Problem::TooLong => Unreadable::TooLong,
                },
            )
        }
        _ => Err(Unreadable::Malformed),
    }
}

/// Applies the [OTLP specification's table](https://opentelemetry.io/docs/specs/otlp/#failures).
fn refusal(status: &Status, request: &RequestFacts<'_>) -> Refusal {
    // gRPC has no code for a message that is too large. Its libraries say so in the status message: first Go
    // and C, then .NET and Java, then tonic.
    let says = |words: &str| contains(status.message.as_bytes(), words.as_bytes());
    let is_too_large = match status.name() {
        "RESOURCE_EXHAUSTED" => {
            says("larger than max") || says("message exceeds") && says("maximum")
        }
        "OUT_OF_RANGE" => says("message length too large"),
        _ => false,
    };
    if is_too_large {
        return Refusal::permanent(request.too_large());
    }
    let details = RpcStatus::from_protobuf(&status.details);
    // A RetryInfo without a delay permits a retry and leaves the delay to the client.
    let asked = details.retry_info.map(|info| info.delay.map_or(Again::Backoff, Again::After));
    let again = match status.name() {
        "CANCELLED" | "DEADLINE_EXCEEDED" | "ABORTED" | "OUT_OF_RANGE" | "UNAVAILABLE"
        | "DATA_LOSS" => asked.unwrap_or(Again::Backoff),
        // The collector may recover if it sends a RetryInfo.
        "RESOURCE_EXHAUSTED" => asked.unwrap_or(Again::No),
        _ => Again::No,
    };
    let message = if status.message.is_empty() { &details.message } else { &status.message };
    let message = shown(message, request);
    Refusal {
        kind: FailureKind::Grpc { code: status.name(), number: status.code as i32, message },
        again,
    }
}

/// Judges a response without a gRPC status, such as one by a proxy that does not support gRPC. It is
/// [mapped](https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md) as gRPC clients do: four
/// HTTP statuses become UNAVAILABLE, which is retried.
///
/// A 404, 405, 415 or a success comes from an HTTP server, usually from OTLP/HTTP's port.
fn http_refusal(answer: &Answer, request: &RequestFacts<'_>) -> Refusal {
    let status = answer.status.as_u16();
    let kind = match answer.status {
        StatusCode::NOT_FOUND
        | StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::UNSUPPORTED_MEDIA_TYPE => FailureKind::NotGrpc { status },
        success if success.is_success() => FailureKind::NotGrpc { status },
        StatusCode::PAYLOAD_TOO_LARGE => request.too_large(),
        _ => super::http_body::refusal(answer, request),
    };
    Refusal { kind, again: super::http_body::again(answer) }
}

/// The gRPC status of a call.
#[derive(Debug, PartialEq, Eq)]
struct Status {
    /// An index into [`CODES`].
    code: usize,
    message: String,
    /// A serialized `google.rpc.Status`, or empty.
    details: Vec<u8>,
}

impl Status {
    fn of(answer: &Answer) -> Option<Self> {
        // A response without a message has its trailers in the headers (Trailers-Only).
        let trailers = answer.trailers.as_ref().and_then(Self::from_headers);
        trailers.or_else(|| Self::from_headers(&answer.headers))
    }

    /// Reads headers or trailers. `None` without a `grpc-status`. Other malformed fields are ignored: the code
    /// is what matters.
    fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let code = headers.get(GRPC_STATUS)?.to_str().ok().and_then(|code| code.parse().ok());
        let bytes = |name| headers.get(name).map_or(&b""[..], HeaderValue::as_bytes);
        Some(Self {
            code: code.filter(|code| *code < CODES.len()).unwrap_or(UNKNOWN),
            message: percent_decode(bytes(GRPC_MESSAGE)).decode_utf8_lossy().into_owned(),
            details: BASE64.decode(bytes(GRPC_STATUS_DETAILS)).unwrap_or_default(),
        })
    }

    fn name(&self) -> &'static str {
        CODES[self.code]
    }
}

/// Binary headers may come [with or without
/// padding](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests).
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

#[cfg(test)]
mod tests {
    use super::*;

    fn status(headers: &[(&'static str, &str)]) -> Option<Status> {
        let headers = headers.iter().map(|(name, value)| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        });
        Status::from_headers(&headers.collect())
    }

    #[test]
    fn timeouts_have_at_most_eight_digits() {
        for (timeout, expected) in [
            (Duration::ZERO, "1m"),
            (Duration::from_millis(9_999), "9999m"),
            (Duration::from_millis(99_999_999), "99999999m"),
            (Duration::from_millis(100_000_000), "100000S"),
            (Duration::from_secs(100_000_000), "27777H"),
            (Duration::MAX, "99999999H"),
        ] {
            assert_eq!(timeout_header(timeout), expected, "{timeout:?}");
        }
    }

    #[test]
    fn codes() {
        for (value, code) in
            [("0", 0), ("14", 14), ("16", 16), ("17", 2), ("99", 2), ("-1", 2), ("abc", 2), ("", 2)]
        {
            assert_eq!(status(&[("grpc-status", value)]).unwrap().code, code, "{value}");
        }
        assert_eq!(status(&[("grpc-message", "no status")]), None);
    }

    #[test]
    fn encodings_of_messages_and_details() {
        for (message, expected) in
            [("a%20b", "a b"), ("%C3%A9", "é"), ("100%", "100%"), ("%ff", "\u{fffd}")]
        {
            let status = status(&[("grpc-status", "14"), ("grpc-message", message)]).unwrap();
            assert_eq!(status.message, expected);
        }
        for (details, expected) in
            [("aGk=", &b"hi"[..]), ("aGk", b"hi"), ("aGl", b"hi"), ("!!! no base64 !!!", b"")]
        {
            let status =
                status(&[("grpc-status", "14"), ("grpc-status-details-bin", details)]).unwrap();
            assert_eq!(status.details, expected, "{details}");
        }
    }
}
