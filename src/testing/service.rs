//! Reads and answers one request.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST};
use http::request::Parts;
use http::{HeaderMap, Method, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::connection::Connection;
use super::decode::{self, Encoding, Export, Undecodable};
use super::reply::{self, Payload};
use super::state::Received;
use super::{Reply, Request};
use crate::Signal;

const INVALID_ARGUMENT: i32 = 3;
const UNIMPLEMENTED: i32 = 12;

/// Why a request has no response.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswerable {
    #[error("the client did not send all of the request")]
    Incomplete(#[source] hyper::Error),
    /// hyper resets the stream, or closes an HTTP/1.1 connection, if the service fails.
    #[error("the stream is to be reset")]
    Reset,
}

/// Counts a request whose client disconnects before the response.
struct Unanswered {
    connection: Arc<Connection>,
    answered: bool,
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        // Requests on connections that the collector closed do not count.
        if !self.answered && !self.connection.closed.load(Ordering::Relaxed) {
            self.connection.shared.update(|state| state.resets += 1);
        }
    }
}

/// Answers one request.
pub(super) async fn answer(
    connection: Arc<Connection>,
    request: http::Request<Incoming>,
) -> Result<Response<Payload>, Unanswerable> {
    let mut unanswered = Unanswered { connection: connection.clone(), answered: false };
    connection.count_request();
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(Unanswerable::Incomplete)?.to_bytes();
    let response = match read(&connection, head, body) {
        Ok(request) => reply(&connection, request).await,
        Err(refusal) => Ok(*refusal),
    };
    unanswered.answered = true;
    let compression = connection.shared.lock().compression;
    response.map(|response| match compression {
        Some(compression) => reply::compress(response, compression),
        None => response,
    })
}

/// Determines and sends the reply to `request`.
async fn reply(
    connection: &Connection,
    request: Request,
) -> Result<Response<Payload>, Unanswerable> {
    let shared = &connection.shared;
    // Subscribes before the request becomes visible, so that no release of it is missed.
    let mut release = shared.release.subscribe();
    let (index, decide) = shared.update(|state| {
        state.received.push(Received { request: request.clone(), acknowledged: false });
        (state.received.len() - 1, state.reply.clone())
    });
    let acknowledge = |partial_success| {
        shared.update(|state| state.received[index].acknowledged = true);
        Ok(reply::acknowledge(&request, partial_success))
    };

    let mut reply = decide(&request);
    loop {
        match reply {
            Reply::Accept => return acknowledge(None),
            Reply::PartialSuccess { rejected, message } => {
                return acknowledge(Some((rejected, message)));
            }
            Reply::After(time, then) => {
                tokio::time::sleep(time).await;
                reply = *then;
            }
            Reply::Hold => {
                // Cannot fail: the connection keeps the sender alive.
                let _ = release.changed().await;
                reply = Reply::Accept;
            }
            Reply::Grpc { code, message, retry_delay } => {
                return Ok(reply::refuse(request.grpc, code, &message, retry_delay));
            }
            Reply::Http { status, headers } => return Ok(reply::plain(status, &headers)),
            Reply::Reset => return Err(Unanswerable::Reset),
            Reply::Close => {
                connection.close.notify_one();
                // The connection ends and drops this request.
                return pending().await;
            }
        }
    }
}

/// Parses a request, or builds the response that rejects an invalid one.
fn read(
    connection: &Connection,
    head: Parts,
    body: Bytes,
) -> Result<Request, Box<Response<Payload>>> {
    let content_type = text(&head.headers, CONTENT_TYPE.as_str()).unwrap_or_default();
    let grpc = content_type.starts_with("application/grpc");
    if head.method != Method::POST {
        return Err(reply::plain(405, &[]).into());
    }
    let encoding = if is_json(&head.headers) {
        Encoding::Json
    } else if grpc || content_type.starts_with("application/x-protobuf") {
        Encoding::Protobuf
    } else {
        return Err(reply::plain(415, &[]).into());
    };
    let path = head.uri.path();
    let signal = Signal::ALL.into_iter().find(|signal| match grpc {
        true => path == signal.grpc_path(),
        false => path.strip_suffix(signal.http_path()).is_some_and(|prefix| prefix.ends_with('/')),
    });
    let Some(signal) = signal else {
        return Err(match grpc {
            true => reply::refuse(grpc, UNIMPLEMENTED, &format!("no method {path}"), None),
            false => reply::plain(404, &[]),
        }
        .into());
    };
    let undecodable = |error: Undecodable| {
        Box::new(reply::refuse(grpc, INVALID_ARGUMENT, &describe(&error), None))
    };

    let (compressed_by, body) = match grpc {
        true => {
            let (compressed, body) = decode::unframe(body).map_err(undecodable)?;
            (text(&head.headers, "grpc-encoding").filter(|_| compressed), body)
        }
        false => (text(&head.headers, CONTENT_ENCODING.as_str()), body),
    };
    let body = match compressed_by {
        Some(compressed_by) => decode::decompress(compressed_by, body).map_err(undecodable)?,
        None => body,
    };
    let export = Export::decode(signal, encoding, &body).map_err(undecodable)?;
    Ok(Request {
        signal,
        grpc,
        authority: match head.uri.authority() {
            Some(authority) => Some(authority.to_string()),
            None => text(&head.headers, HOST.as_str()).map(str::to_owned),
        },
        path: head.uri.path_and_query().map_or_else(|| path.to_owned(), ToString::to_string),
        encoding: compressed_by.map(str::to_owned),
        headers: head.headers,
        body,
        connection: connection.index,
        client_certificate: connection.client_certificate(),
        export: Arc::new(export),
    })
}

/// Whether the content type is OTLP/JSON's.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    text(headers, CONTENT_TYPE.as_str()).is_some_and(|kind| kind.starts_with("application/json"))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// An error with its causes: this text is all that the client gets.
fn describe(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |error| error.source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
