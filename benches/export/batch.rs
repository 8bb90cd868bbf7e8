//! The exported data.

use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

/// Spans of an HTTP server with eight attributes each.
pub(crate) fn spans(count: u64) -> Vec<SpanData> {
    let scope = InstrumentationScope::builder("checkout").with_version("1.4.2").build();
    (1..=count).map(|number| span(number, &scope)).collect()
}

fn span(number: u64, scope: &InstrumentationScope) -> SpanData {
    let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_760_000_000 + number);
    SpanData {
        span_context: SpanContext::new(
            TraceId::from(u128::from(random) << 64 | u128::from(number)),
            SpanId::from(random),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        ),
        parent_span_id: SpanId::from(random ^ 1),
        parent_span_is_remote: true,
        span_kind: SpanKind::Server,
        name: "GET /orders/{order_id}".into(),
        start_time: start,
        end_time: start + Duration::from_micros(random % 50_000),
        // Attributes as instrumentation records them: constants, numbers, and strings allocated for the
        // request.
        attributes: vec![
            KeyValue::new("http.request.method", "GET"),
            KeyValue::new("http.route", "/orders/{order_id}"),
            KeyValue::new("http.response.status_code", 200),
            KeyValue::new("url.scheme", "https"),
            KeyValue::new("url.path", format!("/orders/{random}")),
            KeyValue::new("server.address", "checkout.shop.svc.cluster.local".to_owned()),
            KeyValue::new("server.port", 8443),
            KeyValue::new("user_agent.original", "grpc-java-okhttp/1.71.0".to_owned()),
        ],
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: scope.clone(),
    }
}
