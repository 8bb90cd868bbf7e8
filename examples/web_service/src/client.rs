//! A call to another service, as part of the trace of the current request.

use std::error::Error;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry::global;
use opentelemetry_http::HeaderInjector;
use tokio::time::timeout;
use tracing::field::Empty;
use tracing::{Instrument, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Less than draining may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The largest response, in bytes.
const LIMIT: usize = 64 * 1024;

pub struct Downstream {
    client: Client<HttpConnector, Body>,
    url: Uri,
}

impl Downstream {
    pub fn new(url: Uri) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http(), url }
    }

    pub async fn get(&self) -> Result<String, Box<dyn Error + Send + Sync>> {
        let span = info_span!(
            "GET",
            otel.kind = "client",
            otel.status_code = Empty,
            error.type = Empty,
            http.request.method = "GET",
            http.response.status_code = Empty,
            server.address = self.url.host(),
            server.port = i64::from(self.url.port_u16().unwrap_or(80)),
            url.full = %self.url,
        );
        let mut request = Request::get(&self.url).body(Body::empty())?;
        global::get_text_map_propagator(|propagator| {
            propagator.inject_context(&span.context(), &mut HeaderInjector(request.headers_mut()));
        });
        let exchange = async {
            let response = self.client.request(request).await?;
            let status = response.status();
            let body = to_bytes(Body::new(response.into_body()), LIMIT).await?;
            Ok((status, String::from_utf8_lossy(&body).into_owned()))
        };
        let outcome = timeout(TIMEOUT, exchange.instrument(span.clone())).await;

        if let Ok(Ok((status, _))) = &outcome {
            span.record("http.response.status_code", i64::from(status.as_u16()));
        }
        let (kind, error) = match outcome {
            Ok(Ok((status, body))) if status.is_success() => return Ok(body),
            Ok(Ok((status, _))) => {
                (status.as_str().to_owned(), format!("{} answered {status}", self.url).into())
            }
            Ok(Err(error)) => ("_OTHER".to_owned(), error),
            Err(elapsed) => ("timeout".to_owned(), elapsed.into()),
        };
        span.record("otel.status_code", "ERROR").record("error.type", kind);
        Err(error)
    }
}
