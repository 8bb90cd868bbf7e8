//! The OTLP exporters: `otlp_http` and `otlp_grpc`.

use std::path::Path;
use std::time::Duration;

use http::HeaderValue;
use opentelemetry_sdk::metrics::Temporality;

use super::table::{Context, Table};
use super::yaml::Node;
use crate::config::headers;
use crate::config::layer::{EndpointText, HeadersText, Layer};
use crate::config::pem::Pem;
use crate::config::sdk_layer::MAX_MILLISECONDS;
use crate::config::settings::DEFAULT_TIMEOUT;
use crate::config::values::{HistogramAggregation, Value};
use crate::error::{ConfigFileProblem as Problem, Error};
use crate::origin::Sourced;
use crate::protocol::{Compression, Protocol};
use crate::signal::Signal;

/// The layer of one signal's exporter; `timeout` is the processor's export timeout.
pub(super) fn layer(
    signal: Signal,
    is_grpc: bool,
    node: Node,
    timeout: Option<Node>,
    context: &mut Context<'_>,
) -> Layer {
    let default = if is_grpc { Protocol::Grpc } else { Protocol::HttpProtobuf };
    let default = context.sourced(&node, default);
    let Some(mut table) = node.table_or_null(context) else {
        return Layer::default();
    };
    let mut layer = Layer::default();
    let endpoint = table.text("endpoint", context);
    layer.endpoint =
        endpoint.map(|endpoint| endpoint.map(|text| EndpointText { text, is_whole: true }));
    let encodings = [("protobuf", Protocol::HttpProtobuf), ("json", Protocol::HttpJson)];
    let encoding = match is_grpc {
        true => None,
        false => table.choice("encoding", &encodings, context),
    };
    layer.protocol = encoding.or(Some(default));
    if let Some(tls) = table.optional("tls").and_then(|node| node.table(context)) {
        self::tls(&mut layer, is_grpc, tls, context);
    }
    layer.headers = headers(&mut table, context);
    layer.compression = compression(&mut table, context);
    let own = table.milliseconds("timeout", 0, context);
    layer.timeout = shorter(own, timeout, DEFAULT_TIMEOUT, context);
    let max_request_size = table.number("max_request_size", 0..=i32::MAX as usize, context);
    layer.max_request_size = max_request_size.map(|size| size.value);
    let max_response_size = table.number("max_response_size", 1..=i32::MAX as usize, context);
    layer.max_response_size = max_response_size.map(|size| size.value);
    if signal == Signal::Metrics {
        let temporalities = [
            ("cumulative", Temporality::Cumulative),
            ("delta", Temporality::Delta),
            ("low_memory", Temporality::LowMemory),
        ];
        layer.temporality = table.choice("temporality_preference", &temporalities, context);
        let aggregations = [
            ("explicit_bucket_histogram", HistogramAggregation::ExplicitBucket),
            ("base2_exponential_bucket_histogram", HistogramAggregation::Base2ExponentialBucket),
        ];
        layer.histogram_aggregation =
            table.choice("default_histogram_aggregation", &aggregations, context);
    }
    table.finish(context);
    layer
}

fn tls(layer: &mut Layer, is_grpc: bool, mut table: Table, context: &mut Context<'_>) {
    layer.ca = pem("ca_file", &mut table, context);
    layer.client_certificate = pem("cert_file", &mut table, context);
    layer.client_key = pem("key_file", &mut table, context);
    let (given, missing) = match (&layer.client_certificate, &layer.client_key) {
        (Some(_), None) => ("cert_file", "key_file"),
        (None, Some(_)) => ("key_file", "cert_file"),
        _ => ("", ""),
    };
    if !missing.is_empty() {
        table.refuse(given, Problem::IncompleteIdentity { missing }, context);
    }
    if is_grpc && let Some(node) = table.optional("insecure") {
        let insecure = node.boolean(context);
        layer.insecure = insecure.map(|insecure| context.sourced(&node, insecure));
    }
    table.finish(context);
}

/// A file, whose path [has to be absolute][schema].
///
/// [schema]: https://opentelemetry.io/docs/specs/otel-config/types/#type-httptls
fn pem(key: &'static str, table: &mut Table, context: &mut Context<'_>) -> Option<Sourced<Pem>> {
    let node = table.optional(key)?;
    let path = node.text(context)?;
    if !Path::new(&path.value).is_absolute() {
        context.refuse(&node, Problem::RelativePath);
        return None;
    }
    Some(path.map(Pem::file))
}

/// The headers of both kinds. `headers` takes precedence over `headers_list`.
fn headers(table: &mut Table, context: &mut Context<'_>) -> Option<Sourced<HeadersText>> {
    let list = table.optional("headers_list");
    let given = table.take("headers");
    let origin = context.origin(given.as_ref().or(list.as_ref())?);
    let mut pairs = Vec::new();
    if let Some(node) = list {
        let text = node.text(context)?;
        match headers::parse_variable(&text.value, &text.origin) {
            Ok(headers) => {
                let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
                let listed = headers.iter().map(|(name, value)| (name.to_string(), text(value)));
                pairs.extend(listed);
            }
            Err(Error::Header { problem, .. }) => context.refuse(&node, Problem::Header(problem)),
            Err(_quoted) => {
                let expected = "no quotes within the value".into();
                context.refuse(&node, Problem::Value { expected });
            }
        }
    }
    // Of two with the same name, the later one wins.
    let given = given.map(|node| node.list(context)).unwrap_or_default();
    pairs.extend(given.into_iter().filter_map(|node| header(node, context)));
    Some(Sourced { value: HeadersText::Pairs(pairs), origin })
}

/// A header, unless it is null.
fn header(node: Node, context: &mut Context<'_>) -> Option<(String, String)> {
    let mut table = node.clone().table(context)?;
    let name = table.required("name", context).and_then(|name| name.text(context));
    let value = table.required("value", context).filter(|value| !value.is_null());
    let value = value.and_then(|value| value.text(context));
    table.finish(context);
    let (name, value) = (name?.value, value?.value);
    match headers::header(&name, &value) {
        Ok(_usable) => Some((name, value)),
        Err(problem) => {
            context.refuse(&node, Problem::Header(problem));
            None
        }
    }
}

fn compression(
    table: &mut Table,
    context: &mut Context<'_>,
) -> Option<Sourced<Option<Compression>>> {
    let node = table.optional("compression")?;
    let text = node.text(context)?;
    let value = <Option<Compression> as Value>::parse(&text.value);
    if value.is_none() {
        let expected = <Option<Compression> as Value>::EXPECTED.into();
        context.refuse(&node, Problem::Value { expected });
    }
    value.map(|value| Sourced { value, origin: text.origin })
}

/// The timeout of one export: the shorter of the exporter's and the processor's. Zero means no
/// limit.
fn shorter(
    own: Option<Sourced<Duration>>,
    timeout: Option<Node>,
    default: Duration,
    context: &mut Context<'_>,
) -> Option<Sourced<Duration>> {
    let limit = timeout.and_then(|node| {
        let milliseconds = node.number(0..=MAX_MILLISECONDS, context)?;
        Some(context.sourced(&node, Duration::from_millis(milliseconds)))
    });
    let effective = own.as_ref().map_or(default, |own| own.value);
    let is_shorter = |limit: &Sourced<Duration>| {
        !limit.is_zero() && (effective.is_zero() || **limit < effective)
    };
    limit.filter(is_shorter).or(own)
}
