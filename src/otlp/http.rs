//! OTLP/HTTP: the payload is the body; the verdict follows the specification's table of status codes.

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, StatusCode};

use super::answer::{
    Answer, End, Media, PartialSuccess, Refusal, RequestFacts, Verdict, is_grpc, shown, too_long,
    unreadable,
};
use super::compression::Problem;
use super::http_body::{again, decoded, refusal};
use super::payload::{Payload, encoding_header};
use crate::config::Protocol;
use crate::failure::FailureKind;
use crate::text::contains;

pub(super) fn request(payload: &Payload) -> Request<Bytes> {
    let mut request = Request::new(payload.body.clone());
    *request.method_mut() = Method::POST;
    let headers = request.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(match payload.protocol {
            Protocol::HttpJson => "application/json",
            Protocol::HttpProtobuf | Protocol::Grpc => "application/x-protobuf",
        }),
    );
    if let Some(compression) = payload.compression {
        headers.insert(CONTENT_ENCODING, encoding_header(compression));
    }
    request
}

pub(super) fn judge(answer: &Answer, request: &RequestFacts<'_>) -> Verdict {
    let status = answer.status;
    if speaks_grpc(answer) {
        return Verdict::Refused(Refusal::permanent(FailureKind::ServerSpeaksGrpc));
    }
    if status.is_success() {
        return accepted(answer, request);
    }
    let is_too_large = status == StatusCode::PAYLOAD_TOO_LARGE
        // The Collector sends a 400 with the text of Go's `MaxBytesReader`.
        || status == StatusCode::BAD_REQUEST
            && decoded(answer, request).is_ok_and(|body| contains(&body, b"request body too large"));
    let kind = match is_too_large {
        true => request.too_large(),
        false => refusal(answer, request),
    };
    Verdict::Refused(Refusal { kind, again: again(answer) })
}

/// Whether a gRPC server sent the response: by its content type, or by the text of grpc-go's 415.
fn speaks_grpc(answer: &Answer) -> bool {
    is_grpc(&answer.headers)
        || answer.status == StatusCode::UNSUPPORTED_MEDIA_TYPE && contains(&answer.body, b"gRPC")
}

/// Judges a 200, which may also come from something other than a collector, such as a login page.
fn accepted(answer: &Answer, request: &RequestFacts<'_>) -> Verdict {
    let is_broken = answer.end == End::BrokenOff;
    let body = match decoded(answer, request) {
        Ok(body) => body,
        Err(Problem::TooLong) => return too_long(request),
        Err(Problem::Malformed) if is_broken => return Verdict::Accepted(None),
        Err(Problem::Malformed) => {
            return unreadable("is not compressed as its content encoding says");
        }
        Err(Problem::Unknown(encoding)) => {
            let encoding = shown(&encoding, request);
            return unreadable(format!(
                "has the content encoding `{encoding}`, which this build cannot read"
            ));
        }
    };
    if body.is_empty() {
        return Verdict::Accepted(None);
    }
    let media = Media::of(&answer.headers);
    let read = match (media, request.protocol) {
        (Media::Page, _) => return unreadable("is a web page: is this the port of a collector?"),
        (Media::Protobuf, _) | (Media::Unnamed, Protocol::HttpProtobuf) => {
            PartialSuccess::from_protobuf(&body)
        }
        (Media::Json, _) | (Media::Unnamed, _) => PartialSuccess::from_json(&body),
        (Media::Text | Media::Other, _) => return unread(),
    };
    match read {
        Ok(partial_success) => partial_success.verdict(request),
        // A truncated message is not an invalid one.
        Err(_malformed) if is_broken => Verdict::Accepted(None),
        Err(_malformed) if media == Media::Unnamed => unread(),
        Err(_malformed) => unreadable("is not the OTLP message that its content type says it is"),
    }
}

/// A success whose body is not an OTLP message. `OK` as plain text is common.
fn unread() -> Verdict {
    let reason = "is neither protobuf nor JSON".to_owned();
    Verdict::Accepted(Some(FailureKind::UnreadAnswer { reason }))
}
