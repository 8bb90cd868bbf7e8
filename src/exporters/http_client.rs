//! Requests to a signal's collector for other clients.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::uri::PathAndQuery;
use opentelemetry_http::ResponseBodyTooLarge;

use super::Exporters;
use super::connector::{BoxError, Route};
use crate::error::Error;
use crate::export::worded;
use crate::net::{End, Request, Response, Turn};
use crate::signal::Signal;

impl Exporters {
    /// A client for requests to a signal's collector. They are sent unchanged, on the exporters'
    /// connection.
    ///
    /// # Errors
    ///
    /// As [`connector`](Self::connector).
    pub fn http_client(&self, signal: Signal) -> Result<HttpClient, Error> {
        Ok(HttpClient { route: self.route(signal)?, turn: Arc::default() })
    }
}

/// Sends requests unchanged to a signal's collector, over the exporters' TLS.
///
/// The caller adds headers and retries. The signal's timeout and limit of response size apply.
/// Another host or port than the signal's is refused, and so is `https` where the signal's endpoint
/// is plaintext. The error is a [`Failure`](crate::Failure).
#[derive(Clone)]
pub struct HttpClient {
    route: Route,
    turn: Arc<Turn>,
}

impl HttpClient {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, BoxError> {
        let Route { settings, transport } = &self.route;
        self.route.admit(request.uri())?;
        let (head, body) = request.into_parts();
        let path = head.uri.into_parts().path_and_query;
        let request = Request {
            method: head.method,
            path: path.unwrap_or(PathAndQuery::from_static("/")),
            headers: head.headers,
            body,
            max_response: settings.max_response_size,
        };
        let sent = transport.client().send(request, Arc::clone(&self.turn), *settings.timeout);
        let Response { status, headers, body, end, .. } =
            sent.await.map_err(|error| worded(&error, settings))?;
        match end {
            End::Complete => {}
            End::BrokenOff(error) => return Err(worded(&error, settings).into()),
            End::TooLong => return Err(ResponseBodyTooLarge::new().into()),
        }
        let mut response = http::Response::new(body);
        (*response.status_mut(), *response.headers_mut()) = (status, headers);
        Ok(response)
    }
}

/// The signature is what `async_trait` expands to.
impl opentelemetry_http::HttpClient for HttpClient {
    fn send_bytes<'a, 'async_trait>(
        &'a self,
        request: http::Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<http::Response<Bytes>, BoxError>> + Send + 'async_trait>>
    where
        'a: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(self.send(request))
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HttpClient").field(&self.route).finish()
    }
}
