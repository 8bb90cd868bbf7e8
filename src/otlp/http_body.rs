//! Judges HTTP error responses, to OTLP/HTTP and to gRPC through a proxy.

use std::borrow::Cow;

use http::StatusCode;
use http::header::CONTENT_ENCODING;

use super::answer::{Again, Answer, End, Media, RequestFacts, RpcStatus, retry_after, shown};
use super::compression::{Problem, decompress};
use crate::failure::FailureKind;

/// The most codings that are undone: the size limit holds for each, so work and memory grow with their number.
/// Two occur where a proxy compresses what the collector has compressed.
const MAX_CODINGS: usize = 2;

/// The body with its content encodings removed.
pub(super) fn decoded<'a>(
    answer: &'a Answer,
    request: &RequestFacts<'_>,
) -> Result<Cow<'a, [u8]>, Problem> {
    if answer.end == End::TooLong {
        return Err(Problem::TooLong);
    }
    let mut body = Cow::Borrowed(&*answer.body);
    if body.is_empty() {
        return Ok(body);
    }
    let values = answer.headers.get_all(CONTENT_ENCODING);
    let values: Vec<_> =
        values.iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    let codings = values.iter().flat_map(|value| value.split(',')).map(str::trim);
    let codings: Vec<_> = codings
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"))
        .collect();
    if codings.len() > MAX_CODINGS {
        return Err(Problem::Unknown(codings.join(", ")));
    }
    // They are listed in the order in which they were applied.
    for coding in codings.into_iter().rev() {
        body = decompress(coding, &body, request.max_response_size)?.into();
    }
    Ok(body)
}

/// Whether and when the request may be retried, by the [specification's
/// table](https://opentelemetry.io/docs/specs/otlp/#retryable-response-codes).
///
/// A response that is too long is [not retried](https://opentelemetry.io/docs/specs/otlp/#otlphttp-response),
/// regardless of its status.
pub(super) fn again(answer: &Answer) -> Again {
    match answer.status {
        _ if answer.end == End::TooLong => Again::No,
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => retry_after(&answer.headers),
        _ => Again::No,
    }
}

/// The failure for a status other than success.
pub(super) fn refusal(answer: &Answer, request: &RequestFacts<'_>) -> FailureKind {
    FailureKind::redirect(answer.status, &answer.headers).unwrap_or_else(|| FailureKind::Http {
        status: answer.status.as_u16(),
        message: reason(answer, request),
    })
}

/// The collector's reason for a refusal: its `google.rpc.Status`, or plain text. HTML is not shown.
fn reason(answer: &Answer, request: &RequestFacts<'_>) -> String {
    let Ok(body) = decoded(answer, request) else {
        return String::new();
    };
    let text = match Media::of(&answer.headers) {
        Media::Protobuf => RpcStatus::from_protobuf(&body).message,
        Media::Json => RpcStatus::from_json(&body).unwrap_or_default().message,
        Media::Text | Media::Unnamed => match std::str::from_utf8(&body) {
            Ok(text) if !text.trim_start().starts_with('<') => text.to_owned(),
            _ => String::new(),
        },
        Media::Page | Media::Other => String::new(),
    };
    shown(&text, request)
}
