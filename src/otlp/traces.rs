//! Encodes spans.

use std::ops::Range;

use opentelemetry::trace::{Event, Link, SpanContext, SpanId, SpanKind, Status, TraceState};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;

use super::common::{Groups, Items, Scope, attributes, resource, unix_nanos};
use super::schema::{
    event, export_trace_service_request, link, resource_spans, scope_spans, span, status,
};
use super::wire::{LONG, MEDIUM, SHORT, Writer};

/// Bits of
/// [`SpanFlags`](https://github.com/open-telemetry/opentelemetry-proto/blob/v1.10.0/opentelemetry/proto/trace/v1/trace.proto)
/// beside the W3C trace flags: whether the parent is remote, and that this is known.
const CONTEXT_HAS_IS_REMOTE: u32 = 0x100;
const CONTEXT_IS_REMOTE: u32 = 0x200;

#[derive(Debug)]
pub(crate) struct Spans<'a> {
    pub(crate) resource: &'a Resource,
    pub(crate) spans: &'a [SpanData],
}

impl Items for Spans<'_> {
    fn len(&self) -> usize {
        self.spans.len()
    }

    fn write(&self, items: Range<usize>, writer: &mut Writer) {
        let spans = &self.spans[items];
        let scopes = spans.iter().map(|span| Scope::new(&span.instrumentation_scope));
        let groups = Groups::new(scopes);
        writer.message(export_trace_service_request::RESOURCE_SPANS, LONG, |writer| {
            resource(writer, resource_spans::RESOURCE, self.resource);
            for (scope, items) in groups.iter() {
                writer.message(resource_spans::SCOPE_SPANS, LONG, |writer| {
                    scope.write(writer, scope_spans::SCOPE);
                    for item in items {
                        let span = &spans[item];
                        writer.message(scope_spans::SPANS, MEDIUM, |writer| {
                            self::span(writer, span);
                        });
                    }
                    writer.string(scope_spans::SCHEMA_URL, scope.schema_url());
                });
            }
            let schema_url = self.resource.schema_url().unwrap_or_default();
            writer.string(resource_spans::SCHEMA_URL, schema_url);
        });
    }
}

fn span(writer: &mut Writer, span: &SpanData) {
    let context = &span.span_context;
    writer.bytes(span::TRACE_ID, &context.trace_id().to_bytes());
    writer.bytes(span::SPAN_ID, &context.span_id().to_bytes());
    trace_state(writer, span::TRACE_STATE, context.trace_state());
    if span.parent_span_id != SpanId::INVALID {
        writer.bytes(span::PARENT_SPAN_ID, &span.parent_span_id.to_bytes());
    }
    writer.string(span::NAME, &span.name);
    writer.uint(span::KIND, kind(&span.span_kind));
    writer.fixed64(span::START_TIME_UNIX_NANO, unix_nanos(span.start_time));
    writer.fixed64(span::END_TIME_UNIX_NANO, unix_nanos(span.end_time));
    attributes(writer, span::ATTRIBUTES, &span.attributes);
    writer.uint(span::DROPPED_ATTRIBUTES_COUNT, span.dropped_attributes_count.into());
    for event in span.events.iter() {
        writer.message(span::EVENTS, SHORT, |writer| self::event(writer, event));
    }
    writer.uint(span::DROPPED_EVENTS_COUNT, span.events.dropped_count.into());
    for link in span.links.iter() {
        writer.message(span::LINKS, SHORT, |writer| self::link(writer, link));
    }
    writer.uint(span::DROPPED_LINKS_COUNT, span.links.dropped_count.into());
    writer.message(span::STATUS, SHORT, |writer| match &span.status {
        Status::Unset => {}
        Status::Ok => writer.uint(status::CODE, 1),
        Status::Error { description } => {
            writer.string(status::MESSAGE_TEXT, description);
            writer.uint(status::CODE, 2);
        }
    });
    writer.fixed32(span::FLAGS, flags(context, span.parent_span_is_remote));
}

fn event(writer: &mut Writer, event: &Event) {
    writer.fixed64(event::TIME_UNIX_NANO, unix_nanos(event.timestamp));
    writer.string(event::NAME, &event.name);
    attributes(writer, event::ATTRIBUTES, &event.attributes);
    writer.uint(event::DROPPED_ATTRIBUTES_COUNT, event.dropped_attributes_count.into());
}

fn link(writer: &mut Writer, link: &Link) {
    let context = &link.span_context;
    writer.bytes(link::TRACE_ID, &context.trace_id().to_bytes());
    writer.bytes(link::SPAN_ID, &context.span_id().to_bytes());
    trace_state(writer, link::TRACE_STATE, context.trace_state());
    attributes(writer, link::ATTRIBUTES, &link.attributes);
    writer.uint(link::DROPPED_ATTRIBUTES_COUNT, link.dropped_attributes_count.into());
    writer.fixed32(link::FLAGS, flags(context, context.is_remote()));
}

/// Writes the value of W3C's `tracestate` header. [`TraceState::header`] would allocate for every member.
fn trace_state(writer: &mut Writer, field: u32, state: &TraceState) {
    let mut members = state.into_iter().peekable();
    if members.peek().is_some() {
        writer.message(field, SHORT, |writer| {
            for (index, (key, value)) in members.enumerate() {
                if index > 0 {
                    writer.raw_bytes(b",");
                }
                writer.raw_bytes(key.as_bytes());
                writer.raw_bytes(b"=");
                writer.raw_bytes(value.as_bytes());
            }
        });
    }
}

fn flags(context: &SpanContext, is_remote: bool) -> u32 {
    let remote = if is_remote { CONTEXT_IS_REMOTE } else { 0 };
    u32::from(context.trace_flags().to_u8()) | CONTEXT_HAS_IS_REMOTE | remote
}

fn kind(kind: &SpanKind) -> u64 {
    match kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
        SpanKind::Consumer => 5,
    }
}
