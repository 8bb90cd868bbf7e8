//! Judges responses for `fuzz/`.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::answer::{self, End, RequestFacts, Verdict};
use crate::config::Protocol;
use crate::failure::FailureKind;

/// A response in parts, without those that no server can send.
#[derive(Debug)]
pub struct Answer<'a> {
    /// Whether it answers a gRPC request rather than an OTLP/HTTP request.
    pub is_grpc: bool,
    /// `cut` or `long`; any other value means complete.
    pub end: &'a str,
    /// The HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: &'a [(&'a [u8], &'a [u8])],
    /// The body.
    pub body: &'a [u8],
    /// Trailers.
    pub trailers: &'a [(&'a [u8], &'a [u8])],
}

/// The messages that would be shown to a user.
pub fn judge(
    answer: &Answer<'_>,
    authorization: &str,
    path: &str,
    max_response_size: usize,
) -> Vec<String> {
    let sent = HeaderMap::from_iter(
        HeaderValue::from_str(authorization).ok().map(|value| (http::header::AUTHORIZATION, value)),
    );
    let request = RequestFacts {
        protocol: if answer.is_grpc { Protocol::Grpc } else { Protocol::HttpProtobuf },
        bytes: 0,
        uncompressed: None,
        headers: [&sent, &HeaderMap::new()],
        path,
        max_response_size,
    };
    let trailers = fields(answer.trailers);
    let answer = answer::Answer {
        status: StatusCode::from_u16(answer.status).unwrap_or_default(),
        headers: fields(answer.headers),
        body: Bytes::copy_from_slice(answer.body),
        trailers: (!trailers.is_empty()).then_some(trailers),
        end: match answer.end {
            "cut" => End::BrokenOff,
            "long" => End::TooLong,
            _ => End::Complete,
        },
    };
    let kind = match answer::judge(&answer, &request) {
        Verdict::Accepted(remark) => remark,
        Verdict::Refused(refusal) => Some(refusal.kind),
        Verdict::Unanswered => None,
    };
    kind.into_iter().filter_map(text).collect()
}

fn text(kind: FailureKind) -> Option<String> {
    match kind {
        FailureKind::Grpc { message, .. }
        | FailureKind::Http { message, .. }
        | FailureKind::Rejected { message, .. }
        | FailureKind::Warning { message } => Some(message),
        FailureKind::UnreadAnswer { reason } | FailureKind::InvalidResponse { reason } => {
            Some(reason)
        }
        _ => None,
    }
}

fn fields(fields: &[(&[u8], &[u8])]) -> HeaderMap {
    let valid = fields.iter().filter_map(|(name, value)| {
        Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?))
    });
    valid.collect()
}
