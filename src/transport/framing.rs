//! What a transport puts around the bytes: one way per protocol family.

use std::fmt::Debug;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::Full;

use super::Call;
use super::retry::Again;
use crate::config::Protocol;
use crate::failure::FailureKind;

/// How requests are framed, and answers read.
pub(super) trait Framing: Debug + Send + Sync {
    /// The request for one attempt, but for the headers that all protocols share.
    fn request(&self, call: &Call) -> Request<Full<Bytes>>;

    /// The response message, or why there is none.
    fn answer(&self, response: Response<Body>, call: &Call) -> Result<Bytes, Refusal>;
}

/// What an answer carries.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    pub(super) trailers: Option<HeaderMap>,
}

/// The collector's answer, where it is not success.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) kind: FailureKind,
    pub(super) again: Again,
}

impl Refusal {
    /// One that comes again with every attempt.
    pub(super) fn permanent(kind: FailureKind) -> Self {
        Self { kind, again: Again::No }
    }
}

/// The framing of a protocol.
pub(super) fn framing(protocol: Protocol) -> &'static dyn Framing {
    match protocol {
        Protocol::Grpc => GRPC,
        Protocol::HttpProtobuf | Protocol::HttpJson => HTTP,
    }
}

#[cfg(feature = "grpc")]
const GRPC: &dyn Framing = &super::grpc::Grpc;
#[cfg(not(feature = "grpc"))]
const GRPC: &dyn Framing = &NotCompiled;

#[cfg(feature = "http")]
const HTTP: &dyn Framing = &super::http::Http;
#[cfg(not(feature = "http"))]
const HTTP: &dyn Framing = &NotCompiled;

/// Stands where a feature is off. Settings of such a protocol do not resolve, so it is never asked.
#[cfg(not(all(feature = "grpc", feature = "http")))]
#[derive(Debug)]
struct NotCompiled;

#[cfg(not(all(feature = "grpc", feature = "http")))]
impl Framing for NotCompiled {
    fn request(&self, call: &Call) -> Request<Full<Bytes>> {
        Request::new(Full::new(call.body.clone()))
    }

    fn answer(&self, _response: Response<Body>, _call: &Call) -> Result<Bytes, Refusal> {
        let reason = "is in a protocol that is not compiled in";
        Err(Refusal::permanent(FailureKind::Answer { reason }))
    }
}
