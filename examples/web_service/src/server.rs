//! A span and two metrics for each request served, by the semantic conventions:
//! <https://opentelemetry.io/docs/specs/semconv/http/http-spans/>, and `http-metrics`.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use opentelemetry::metrics::{Histogram, UpDownCounter};
use opentelemetry::{KeyValue, global};
use opentelemetry_http::HeaderExtractor;
use tracing::field::Empty;
use tracing::{Instrument, Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// In seconds. The SDK's default buckets are for milliseconds.
const BUCKETS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

#[derive(Clone)]
pub struct Metrics {
    active: UpDownCounter<i64>,
    duration: Histogram<f64>,
}

impl Metrics {
    /// To be called after the global meter provider is set: instruments created before have no effect.
    pub fn new() -> Self {
        let meter = global::meter(env!("CARGO_PKG_NAME"));
        let active = meter.i64_up_down_counter("http.server.active_requests");
        let duration = meter.f64_histogram("http.server.request.duration");
        Self {
            active: active.with_unit("{request}").build(),
            duration: duration.with_unit("s").with_boundaries(BUCKETS.to_vec()).build(),
        }
    }
}

/// The middleware. It measures until the response's headers, which for short bodies is the end.
pub async fn observe(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let method = known(request.method());
    // The route's pattern, not the path: clients can send any number of different paths.
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let verb = if method == OTHER { "HTTP" } else { method };
    let span = info_span!(
        "request",
        otel.name = route.as_ref().map_or_else(|| verb.to_owned(), |route| format!("{verb} {route}")),
        otel.kind = "server",
        otel.status_code = Empty,
        error.type = Empty,
        http.request.method = method,
        http.response.status_code = Empty,
        http.route = route,
        url.path = request.uri().path(),
        url.scheme = "http",
    );
    let parent =
        global::get_text_map_propagator(|known| known.extract(&HeaderExtractor(request.headers())));
    // Fails if there is no span: traces, or this span by RUST_LOG, are off.
    let _ = span.set_parent(parent);

    let mut in_flight = InFlight::new(metrics, span.clone(), method, route);
    let response = next.run(request).instrument(span).await;
    in_flight.status = Some(response.status());
    response
}

/// A request in progress. It uses `Drop`, because a request may also end when its client disconnects or at the shutdown.
struct InFlight {
    metrics: Metrics,
    span: Span,
    attributes: Vec<KeyValue>,
    route: Option<String>,
    started: Instant,
    status: Option<StatusCode>,
}

impl InFlight {
    fn new(metrics: Metrics, span: Span, method: &'static str, route: Option<String>) -> Self {
        let attributes =
            vec![KeyValue::new("http.request.method", method), KeyValue::new("url.scheme", "http")];
        metrics.active.add(1, &attributes);
        Self { metrics, span, attributes, route, started: Instant::now(), status: None }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.metrics.active.add(-1, &self.attributes);

        self.attributes.extend(self.route.take().map(|route| KeyValue::new("http.route", route)));
        if let Some(status) = self.status {
            let status = i64::from(status.as_u16());
            self.span.record("http.response.status_code", status);
            self.attributes.push(KeyValue::new("http.response.status_code", status));
        }
        // An invalid request (4xx) is not an error of the server.
        let error = match self.status {
            None => Some("cancelled".to_owned()),
            Some(status) => status.is_server_error().then(|| status.as_str().to_owned()),
        };
        if let Some(error) = error {
            self.span.record("otel.status_code", "ERROR").record("error.type", &*error);
            self.attributes.push(KeyValue::new("error.type", error));
        }
        self.metrics.duration.record(self.started.elapsed().as_secs_f64(), &self.attributes);
    }
}

const OTHER: &str = "_OTHER";

/// A client may send any method, and each would be a time series.
fn known(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] =
        ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];
    KNOWN.into_iter().find(|known| method == known).unwrap_or(OTHER)
}
