//! The encoder of OTLP beside opentelemetry-proto: both give the same messages.
#![no_main]

#[path = "../../src/otlp/tests/data.rs"]
mod data;
#[path = "../../src/otlp/tests/upstream.rs"]
mod upstream;

use data::Source;
use libfuzzer_sys::fuzz_target;
use otlp_mtls::encoder;
use upstream::Canonical;

fuzz_target!(|bytes: &[u8]| {
    let mut source = Source::new(bytes);
    let resource = source.resource();
    let spans = source.spans();
    same(&encoder::traces(&resource, &spans), upstream::traces(&resource, &spans));
    let records = source.records();
    same(&encoder::logs(&resource, &records), upstream::logs(&resource, &records));
    source.metrics(&resource, |metrics| {
        same(&encoder::metrics(metrics), upstream::metrics(metrics));
    });
});

fn same<M: Canonical + Default>(ours: &[u8], upstream: M) {
    let ours = M::decode(ours).expect("a message");
    assert!(ours.canonical() == upstream.canonical());
}
