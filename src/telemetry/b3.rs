//! Zipkin's B3 propagation, [in one header or in several](https://github.com/openzipkin/b3-propagation).
//!
//! Implemented here because opentelemetry-zipkin, the crate with a B3 propagator, is deprecated.

use opentelemetry::Context;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};

const SINGLE: &str = "b3";
const TRACE_ID: &str = "x-b3-traceid";
const SPAN_ID: &str = "x-b3-spanid";
const SAMPLED: &str = "x-b3-sampled";
const FLAGS: &str = "x-b3-flags";

/// Extracts both formats and injects one, as the [specification] requires.
///
/// [specification]: https://opentelemetry.io/docs/specs/otel/context/api-propagators/#b3-requirements
#[derive(Debug)]
pub(super) struct B3Propagator {
    fields: Vec<String>,
    is_single: bool,
}

/// The debug flag: the sender wants the whole trace recorded. OpenTelemetry has no flag for it, so it is passed
/// on in the context.
#[derive(Debug)]
struct Debug;

/// The values found in one of the formats.
struct Found<'a> {
    trace_id: &'a str,
    span_id: &'a str,
    sampled: &'a str,
    is_debug: bool,
}

impl B3Propagator {
    /// Injects a single header (`b3`).
    pub(super) fn single() -> Self {
        Self { fields: vec![SINGLE.to_owned()], is_single: true }
    }

    /// Injects a header per value (`b3multi`).
    pub(super) fn multiple() -> Self {
        let fields = [TRACE_ID, SPAN_ID, SAMPLED, FLAGS].map(str::to_owned).to_vec();
        Self { fields, is_single: false }
    }
}

impl TextMapPropagator for B3Propagator {
    fn inject_context(&self, context: &Context, injector: &mut dyn Injector) {
        let span = context.span();
        let span = span.span_context();
        if !span.is_valid() {
            return;
        }
        let (trace_id, span_id) = (span.trace_id(), span.span_id());
        let is_debug = context.get::<Debug>().is_some();
        let sampled = if span.is_sampled() { "1" } else { "0" };
        if self.is_single {
            let sampled = if is_debug { "d" } else { sampled };
            injector.set(SINGLE, format!("{trace_id}-{span_id}-{sampled}"));
            return;
        }
        injector.set(TRACE_ID, trace_id.to_string());
        injector.set(SPAN_ID, span_id.to_string());
        match is_debug {
            true => injector.set(FLAGS, "1".to_owned()),
            false => injector.set(SAMPLED, sampled.to_owned()),
        }
    }

    fn extract_with_context(&self, context: &Context, extractor: &dyn Extractor) -> Context {
        let found = single(extractor).or_else(|| multiple(extractor));
        let Some((span, is_debug)) = found.and_then(span_context) else {
            return context.clone();
        };
        let context = context.with_remote_span_context(span);
        if is_debug { context.with_value(Debug) } else { context }
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(&self.fields)
    }
}

/// Parses `{trace id}-{span id}-{sampled}-{parent span id}`; the last two are optional.
fn single(extractor: &dyn Extractor) -> Option<Found<'_>> {
    let mut parts = extractor.get(SINGLE)?.trim().split('-');
    let (trace_id, span_id) = (parts.next()?, parts.next()?);
    let sampled = parts.next().unwrap_or("0");
    Some(Found { trace_id, span_id, sampled, is_debug: sampled == "d" })
}

fn multiple(extractor: &dyn Extractor) -> Option<Found<'_>> {
    Some(Found {
        trace_id: extractor.get(TRACE_ID)?.trim(),
        span_id: extractor.get(SPAN_ID)?.trim(),
        sampled: extractor.get(SAMPLED).map_or("0", str::trim),
        is_debug: extractor.get(FLAGS).is_some_and(|flags| flags.trim() == "1"),
    })
}

/// The calling span, and whether the debug flag is set.
fn span_context(found: Found<'_>) -> Option<(SpanContext, bool)> {
    let Found { trace_id, span_id, sampled, is_debug } = found;
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    // Trace ids have 64 or 128 bits.
    let has_length = matches!(trace_id.len(), 16 | 32) && span_id.len() == 16;
    if !(has_length && is_hex(trace_id) && is_hex(span_id)) {
        return None;
    }
    let is_sampled = is_debug || sampled == "1" || sampled.eq_ignore_ascii_case("true");
    let span = SpanContext::new(
        TraceId::from_hex(trace_id).ok()?,
        SpanId::from_hex(span_id).ok()?,
        TraceFlags::NOT_SAMPLED.with_sampled(is_sampled),
        true,
        TraceState::default(),
    );
    span.is_valid().then_some((span, is_debug))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const TRACE: &str = "80f198ee56343ba864fe8b2a57d3eff7";
    const SPAN: &str = "e457b5a2e4d86bd1";

    fn extract(headers: &[(&str, &str)]) -> Context {
        let headers: HashMap<String, String> =
            headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        B3Propagator::single().extract_with_context(&Context::new(), &headers)
    }

    fn inject(propagator: &B3Propagator, context: &Context) -> Vec<(String, String)> {
        let mut headers = HashMap::new();
        propagator.inject_context(context, &mut headers);
        let mut headers: Vec<_> = headers.into_iter().collect();
        headers.sort();
        headers
    }

    /// Each context is passed on in a single header and in several.
    #[test]
    fn extracted_contexts_are_injected() {
        let one = |sampled: &str| format!("{TRACE}-{SPAN}-{sampled}");
        let short = "64fe8b2a57d3eff7";
        for (headers, expected) in [
            (vec![("b3", one("1"))], one("1")),
            (vec![("b3", one("0"))], one("0")),
            (vec![("b3", one("d"))], one("d")),
            (vec![("b3", one("1") + "-05e3ac9a4f6e3b90")], one("1")),
            // The sampling decision is deferred to us.
            (vec![("b3", format!("{TRACE}-{SPAN}"))], one("0")),
            (vec![("b3", format!("{short}-{SPAN}-1"))], format!("{short:0>32}-{SPAN}-1")),
            (
                vec![(TRACE_ID, TRACE.into()), (SPAN_ID, SPAN.into()), (SAMPLED, "1".into())],
                one("1"),
            ),
            (
                vec![(TRACE_ID, TRACE.into()), (SPAN_ID, SPAN.into()), (SAMPLED, "true".into())],
                one("1"),
            ),
            (vec![(TRACE_ID, TRACE.into()), (SPAN_ID, SPAN.into()), (FLAGS, "1".into())], one("d")),
            // The single header takes precedence.
            (vec![("b3", one("1")), (TRACE_ID, "1".repeat(32)), (SPAN_ID, SPAN.into())], one("1")),
        ] {
            let headers: Vec<_> =
                headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let context = extract(&headers);
            let single = inject(&B3Propagator::single(), &context);
            assert_eq!(single, [("b3".to_owned(), expected.clone())], "{headers:?}");
            let multiple = inject(&B3Propagator::multiple(), &context);
            let again: Vec<_> =
                multiple.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!(inject(&B3Propagator::single(), &extract(&again)), single, "{again:?}");
        }
    }

    #[test]
    fn invalid_trace_headers_are_ignored() {
        let zero = "0".repeat(32);
        for headers in [
            &[("b3", "0")][..],
            &[("b3", "")],
            &[("b3", "80f198ee-e457b5a2e4d86bd1-1")],
            &[("b3", "80f198ee56343ba864fe8b2a57d3effg-e457b5a2e4d86bd1-1")],
            &[("b3", "+0f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1")],
            &[(TRACE_ID, TRACE)],
            &[(TRACE_ID, &zero), (SPAN_ID, SPAN), (SAMPLED, "1")],
        ] {
            let context = extract(headers);
            assert!(!context.span().span_context().is_valid(), "{headers:?}");
            assert!(inject(&B3Propagator::multiple(), &context).is_empty(), "{headers:?}");
        }
    }
}
