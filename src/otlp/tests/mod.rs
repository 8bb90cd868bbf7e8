//! Compares the encoder with opentelemetry-proto over all of the SDK's data, and with Python's protobuf.

mod data;
mod differences;
mod python;
mod upstream;
mod wire;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc;

use opentelemetry::KeyValue;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use proptest::prelude::*;
use prost::Message;

use self::data::Source;
use self::upstream::Canonical;
use super::{Items, Metrics, Spans, to_json, whole};
use crate::signal::Signal;

/// Our encoding, decoded, and upstream's message, both in canonical form.
fn both<M: Canonical + Default>(ours: &[u8], upstream: M) -> (Vec<u8>, Vec<u8>) {
    (M::decode(ours).unwrap().canonical(), upstream.canonical())
}

/// Like [`both`], but our encoding is transcoded to JSON first.
fn both_of_json<M>(signal: Signal, ours: &[u8], upstream: M) -> (Vec<u8>, Vec<u8>)
where
    M: Canonical + Default + serde::de::DeserializeOwned,
{
    let json = to_json(signal, ours);
    let ours: M = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"));
    (ours.canonical(), upstream.canonical())
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..2048)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn spans_are_those_of_upstream(bytes in bytes()) {
        let mut source = Source::new(&bytes);
        let (resource, spans) = (source.resource(), source.spans());
        let ours = whole::traces(&resource, &spans);
        let (ours, upstream) = both(&ours, upstream::traces(&resource, &spans));
        prop_assert!(ours == upstream, "{:#?}", spans);
    }

    #[test]
    fn log_records_are_those_of_upstream(bytes in bytes()) {
        let mut source = Source::new(&bytes);
        let (resource, records) = (source.resource(), source.records());
        let ours = whole::logs(&resource, &records);
        let (ours, upstream) = both(&ours, upstream::logs(&resource, &records));
        prop_assert!(ours == upstream, "{:#?}", records);
    }

    #[test]
    fn metrics_are_those_of_upstream(bytes in bytes()) {
        let mut source = Source::new(&bytes);
        let resource = source.resource();
        let checked = collect(&mut source, &resource, |metrics| {
            let ours = whole::metrics(metrics);
            let (ours, upstream) = both(&ours, upstream::metrics(metrics));
            (ours != upstream).then(|| format!("{metrics:#?}"))
        });
        prop_assert_eq!(checked, None);
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn json_is_that_of_upstream(bytes in bytes()) {
        let mut source = Source::finite(&bytes);
        let resource = source.resource();
        let spans = source.spans();
        let ours = whole::traces(&resource, &spans);
        let (ours, upstream) =
            both_of_json(Signal::Traces, &ours, upstream::traces(&resource, &spans));
        prop_assert!(ours == upstream, "{:#?}", spans);

        let records = source.records();
        let ours = whole::logs(&resource, &records);
        let (ours, upstream) = both_of_json(Signal::Logs, &ours, upstream::logs(&resource, &records));
        prop_assert!(ours == upstream, "{:#?}", records);

        let checked = collect(&mut source, &resource, |metrics| {
            let ours = whole::metrics(metrics);
            let (ours, upstream) = both_of_json(Signal::Metrics, &ours, upstream::metrics(metrics));
            (ours != upstream).then(|| format!("{metrics:#?}"))
        });
        prop_assert_eq!(checked, None);
    }

    /// However a batch is split, its parts together have each item once.
    #[test]
    fn parts_have_each_item_once(bytes in bytes(), cut: usize) {
        let mut source = Source::new(&bytes);
        let (resource, spans) = (source.resource(), source.spans());
        let batch = Spans { resource: &resource, spans: &spans };
        let cut_at = cut % (batch.len() + 1);
        let parts = [0..cut_at, cut_at..batch.len()].map(|part| {
            let request = ExportTraceServiceRequest::decode(&*batch.encode(part, Vec::new()));
            items(request.unwrap().resource_spans.remove(0).scope_spans, |scope| scope.spans)
        });
        let whole = ExportTraceServiceRequest::decode(&*batch.encode(0..batch.len(), Vec::new())).unwrap();
        let whole = items(whole.resource_spans[0].scope_spans.clone(), |scope| scope.spans);
        prop_assert_eq!(sorted(parts.concat()), sorted(whole));

        let checked = collect(&mut source, &resource, move |metrics| {
            let batch = Metrics(metrics);
            let cut_at = cut % (batch.len() + 1);
            let points = |request: Vec<u8>| {
                let mut request = ExportMetricsServiceRequest::decode(&*request).unwrap();
                items(request.resource_metrics.remove(0).scope_metrics, points)
            };
            let parts = [0..cut_at, cut_at..batch.len()].map(|part| {
                let length = part.len();
                let part = points(batch.encode(part, Vec::new()));
                assert_eq!(part.len(), length);
                part
            });
            let whole = points(batch.encode(0..batch.len(), Vec::new()));
            (sorted(parts.concat()) != sorted(whole)).then(|| format!("{metrics:#?}"))
        });
        prop_assert_eq!(checked, None);
    }
}

/// Applies a function to the metrics that a meter provider collects, and returns its result.
fn collect<T: Send + 'static>(
    source: &mut Source<'_>,
    resource: &Resource,
    look: impl Fn(&ResourceMetrics) -> Option<T> + Send + Sync + 'static,
) -> Option<T> {
    let (sender, seen) = mpsc::channel();
    source.metrics(resource, move |metrics| {
        // Passes on a panic of `look`, which runs on the reader's thread and would be lost there.
        let _ = sender.send(catch_unwind(AssertUnwindSafe(|| look(metrics))));
    });
    seen.into_iter().find_map(|seen| seen.unwrap_or_else(|panic| resume_unwind(panic)))
}

fn items<S, I: Message>(scopes: Vec<S>, items: impl Fn(S) -> Vec<I>) -> Vec<Vec<u8>> {
    scopes.into_iter().flat_map(items).map(|item| item.encode_to_vec()).collect()
}

fn sorted(mut items: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    items.sort();
    items
}

/// Each point of a scope as a separate metric.
fn points(
    scope: opentelemetry_proto::tonic::metrics::v1::ScopeMetrics,
) -> Vec<opentelemetry_proto::tonic::metrics::v1::Metric> {
    use opentelemetry_proto::tonic::metrics::v1::metric::Data;

    macro_rules! apart {
        ($metric:ident, $data:ident, $kind:ident) => {{
            let mut metrics = Vec::new();
            for point in $data.data_points.clone() {
                let mut data = $data.clone();
                data.data_points = vec![point];
                metrics.push(opentelemetry_proto::tonic::metrics::v1::Metric {
                    data: Some(Data::$kind(data)),
                    ..$metric.clone()
                });
            }
            metrics
        }};
    }
    let metrics = scope.metrics.into_iter().flat_map(|metric| match &metric.data {
        Some(Data::Gauge(data)) => apart!(metric, data, Gauge),
        Some(Data::Sum(data)) => apart!(metric, data, Sum),
        Some(Data::Histogram(data)) => apart!(metric, data, Histogram),
        Some(Data::ExponentialHistogram(data)) => apart!(metric, data, ExponentialHistogram),
        Some(Data::Summary(_)) | None => Vec::new(),
    });
    metrics.collect()
}

#[test]
fn ten_thousand_attributes() {
    let mut span = Source::new(&[]).one_span();
    span.attributes = (0..10_000).map(|n| KeyValue::new(format!("key {}", n % 9_999), n)).collect();
    let (resource, spans) = (Resource::builder_empty().build(), [span]);
    let ours = whole::traces(&resource, &spans);
    let (ours, upstream) = both(&ours, upstream::traces(&resource, &spans));
    assert!(ours == upstream);
}
