//! What a transport puts around the bytes: one way per protocol family.

use std::fmt::Debug;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Collected, Full};

use super::Call;
use super::retry::Again;
use crate::config::Protocol;
use crate::failure::FailureKind;

/// How requests are framed, and answers read.
pub(super) trait Framing: Debug + Send + Sync {
    /// The request for one attempt, but for the headers that all protocols share.
    fn request(&self, call: &Call) -> Request<Full<Bytes>>;

    /// The response message, or why there is none.
    fn answer(&self, response: Response<Collected<Bytes>>) -> Result<Bytes, Refusal>;
}

/// The collector's answer, where it is not success.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) kind: FailureKind,
    pub(super) again: Again,
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

    fn answer(&self, _response: Response<Collected<Bytes>>) -> Result<Bytes, Refusal> {
        let kind = FailureKind::Answer { reason: "is in a protocol that is not compiled in" };
        Err(Refusal { kind, again: Again::No })
    }
}
