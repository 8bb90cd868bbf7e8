//! OTLP/gRPC: one unary call, its message framed by hand because it is encoded already.

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, TE};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Full;
use tonic::{Code, Status};

use super::Call;
use super::framing::{Body, Framing, Refusal};
use super::retry::Again;
use super::retry_info::retry_delay;
use crate::failure::FailureKind;
use crate::observation::contains;

const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

/// The flag and the length before every message ([Length-Prefixed-Message][spec]).
///
/// [spec]: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
const PREFIX: usize = 5;

#[derive(Debug)]
pub(super) struct Grpc;

impl Framing for Grpc {
    fn request(&self, call: &Call) -> Request<Full<Bytes>> {
        let mut message = BytesMut::with_capacity(PREFIX + call.body.len());
        message.put_u8(call.compression.is_some().into());
        // Upstream's exporters make no body of more than 64 MiB.
        message.put_u32(call.body.len() as u32);
        message.put_slice(&call.body);

        let mut request = Request::new(Full::new(message.freeze()));
        *request.method_mut() = Method::POST;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        if let Some(compression) = call.compression {
            headers.insert(GRPC_ENCODING, HeaderValue::from_static(compression.as_str()));
        }
        request
    }

    fn answer(&self, response: Response<Body>, call: &Call) -> Result<Bytes, Refusal> {
        let (head, body) = response.into_parts();
        // Where there is no message, the trailers are the headers.
        let status = body
            .trailers
            .as_ref()
            .and_then(Status::from_header_map)
            .or_else(|| Status::from_header_map(&head.headers));
        match status {
            Some(status) if status.code() == Code::Ok => message(&body.bytes),
            Some(status) => Err(refusal(&status, call)),
            None if head.status.is_success() && is_grpc(&head.headers) => {
                Err(Refusal::permanent(FailureKind::Answer { reason: "has no gRPC status" }))
            }
            None => Err(http_refusal(head.status, &head.headers, call)),
        }
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

fn message(body: &Bytes) -> Result<Bytes, Refusal> {
    let unreadable = |reason| Err(Refusal::permanent(FailureKind::Answer { reason }));
    let Some((prefix, message)) = body.split_first_chunk::<PREFIX>() else {
        return unreadable("has no message");
    };
    let [flag, length @ ..] = *prefix;
    if flag != 0 {
        return unreadable("is compressed, which was not asked for");
    }
    if message.len() != u32::from_be_bytes(length) as usize {
        return unreadable("is cut off");
    }
    Ok(body.slice(PREFIX..))
}

/// The [OTLP specification's table](https://opentelemetry.io/docs/specs/otlp/#failures).
fn refusal(status: &Status, call: &Call) -> Refusal {
    // gRPC's libraries have no code for it, but words: Go and C, .NET and Java, then tonic.
    let says = |words: &str| contains(status.message().as_bytes(), words.as_bytes());
    let is_too_large = match status.code() {
        Code::ResourceExhausted => {
            says("larger than max") || says("message exceeds") && says("maximum")
        }
        Code::OutOfRange => says("message length too large"),
        _ => false,
    };
    if is_too_large {
        return Refusal::permanent(FailureKind::too_large(call.body.len()));
    }
    let delay = || retry_delay(status).map(Again::After);
    let again = match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => delay().unwrap_or(Again::Backoff),
        // The collector may recover, if it says when.
        Code::ResourceExhausted => delay().unwrap_or(Again::No),
        _ => Again::No,
    };
    Refusal {
        kind: FailureKind::Grpc { code: name(status.code()), number: status.code().into() },
        again,
    }
}

/// What a proxy answered that knows no gRPC, [mapped](https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md)
/// as gRPC clients do: four of them become UNAVAILABLE, which is worth another attempt.
///
/// What is no proxy's answer, but a server's that has no such page, is OTLP/HTTP's port.
fn http_refusal(status: StatusCode, headers: &HeaderMap, call: &Call) -> Refusal {
    let kind = match status {
        StatusCode::NOT_FOUND
        | StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::UNSUPPORTED_MEDIA_TYPE => FailureKind::NotGrpc { status: status.as_u16() },
        status if status.is_success() => FailureKind::NotGrpc { status: status.as_u16() },
        StatusCode::PAYLOAD_TOO_LARGE => FailureKind::too_large(call.body.len()),
        status => FailureKind::redirect(status, headers)
            .unwrap_or(FailureKind::Http { status: status.as_u16() }),
    };
    let again = match status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Again::Backoff,
        _ => Again::No,
    };
    Refusal { kind, again }
}

/// The code as the gRPC specification writes it.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
