//! OTLP/HTTP: the bytes as they are, and the specification's table of status codes.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Full;

use super::Call;
use super::framing::{Body, Framing, Refusal};
use super::retry::Again;
use crate::failure::FailureKind;
use crate::observation::contains;

#[derive(Debug)]
pub(super) struct Http;

impl Framing for Http {
    fn request(&self, call: &Call) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(call.body.clone()));
        *request.method_mut() = Method::POST;
        request.headers_mut().insert(CONTENT_TYPE, call.content_type.clone());
        if let Some(compression) = call.compression {
            let encoding = HeaderValue::from_static(compression.as_str());
            request.headers_mut().insert(CONTENT_ENCODING, encoding);
        }
        request
    }

    fn answer(&self, response: Response<Body>, call: &Call) -> Result<Bytes, Refusal> {
        let status = response.status();
        if speaks_grpc(&response) {
            return Err(Refusal::permanent(FailureKind::OnlyGrpc));
        }
        if status.is_success() && is_otlp(response.headers()) {
            return Ok(response.into_body().bytes);
        }
        if status.is_success() {
            let reason = "is neither protobuf nor JSON: is this the port of a collector?";
            return Err(Refusal::permanent(FailureKind::Answer { reason }));
        }
        let again = match status {
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => {
                retry_after(response.headers()).map_or(Again::Backoff, Again::After)
            }
            _ => Again::No,
        };
        let is_too_large = status == StatusCode::PAYLOAD_TOO_LARGE
            // The Collector's, of Go's `MaxBytesReader`.
            || status == StatusCode::BAD_REQUEST
                && contains(&response.body().bytes, b"request body too large");
        let kind = match status {
            _ if is_too_large => FailureKind::too_large(call.body.len()),
            status => FailureKind::redirect(status, response.headers())
                .unwrap_or(FailureKind::Http { status: status.as_u16() }),
        };
        Err(Refusal { kind, again })
    }
}

/// Whether it is a gRPC server that answers: by its content type, or as Go's does, by a page.
fn speaks_grpc(response: &Response<Body>) -> bool {
    let content_type = response.headers().get(CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
        || response.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE
            && contains(&response.body().bytes, b"gRPC")
}

/// Whether a successful answer may be a collector's. A login page is not, and the specification's
/// empty answer may well have no type.
fn is_otlp(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_none_or(|content_type| {
        let content_type = content_type.as_bytes();
        content_type.is_empty()
            || content_type.starts_with(b"application/x-protobuf")
            || content_type.starts_with(b"application/protobuf")
            || content_type.starts_with(b"application/json")
    })
}

/// Seconds or a date ([RFC 9110, section 10.2.3](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3)).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let in_a_minute = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(60));
        for (value, least, most) in [
            ("7", 7, 7),
            (" 7 ", 7, 7),
            (in_a_minute.as_str(), 50, 60),
            ("Fri, 31 Dec 1999 23:59:59 GMT", 0, 0),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
            let delay = retry_after(&headers).unwrap().as_secs();
            assert!((least..=most).contains(&delay), "{value}: {delay}");
        }
        let headers = HeaderMap::from_iter([(RETRY_AFTER, "soon".parse().unwrap())]);
        assert_eq!(retry_after(&headers), None);
    }
}
