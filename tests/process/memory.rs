//! The memory that responses take.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_executor::block_on;
use opentelemetry::KeyValue;
use opentelemetry_sdk::trace::SpanExporter as _;
use otlp_mtls::{Exporters, ExportersBuilder, Protocol, RetryPolicy};

use crate::exporter::span;
use crate::in_a_process;
use crate::scripted::{Scripted, Step, grpc_accept, response};

pub(crate) const MIB: usize = 1 << 20;

/// The specification's limit for a response.
const LARGEST: usize = 4 * MIB;

/// The peak memory of this process, in bytes, since the last reset.
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim_end_matches("kB").trim().parse::<usize>().unwrap() * 1024
}

/// The peak memory of `work`, beyond what was in use before.
pub(crate) fn grown(work: impl FnOnce()) -> usize {
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak();
    work();
    // The kernel's counters lag behind by some pages, in either direction.
    peak().saturating_sub(before)
}

fn to(server: &Scripted, protocol: Protocol) -> ExportersBuilder {
    Exporters::builder()
        .with_endpoint(server.endpoint())
        .with_protocol(protocol)
        .with_retry(RetryPolicy::disabled())
        .with_failure_handler(|_| {})
}

/// JSON with a message of the maximum length of a response.
fn json() -> (&'static [u8], usize, &'static [u8]) {
    let (begin, end) = (&br#"{"partialSuccess":{"errorMessage":""#[..], &br#""}}"#[..]);
    (begin, LARGEST - begin.len() - end.len(), end)
}

#[test]
fn the_longest_response_takes_little_memory_in_one_part_and_in_many() {
    let name = "memory::the_longest_response_takes_little_memory_in_one_part_and_in_many";
    in_a_process(name, &[], || {
        let whole = |_| {
            let (begin, length, end) = json();
            let head = format!(
                "HTTP/1.1 200 \r\ncontent-type: application/json\r\ncontent-length: {LARGEST}\r\n\r\n"
            );
            vec![
                Step::Send([head.as_bytes(), begin].concat()),
                Step::Repeat(length, b"x".to_vec()),
                Step::Send(end.to_vec()),
            ]
        };
        let chunks = |_| {
            let (begin, length, end) = json();
            let chunk = |bytes: &[u8]| {
                [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
            };
            let head = "HTTP/1.1 200 \r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
            vec![
                Step::Send([head.as_bytes(), &chunk(begin)].concat()),
                Step::Repeat(length, chunk(b"x")),
                Step::Send([chunk(end), b"0\r\n\r\n".to_vec()].concat()),
            ]
        };
        let cases = [("whole", Scripted::http1(whole)), ("in chunks", Scripted::http1(chunks))];
        for (name, server) in cases {
            let exporters = to(&server, Protocol::HttpProtobuf).build().unwrap();
            let exporter = exporters.span_exporter().unwrap();
            let grown = grown(|| block_on(exporter.export(vec![span("a span")])).unwrap());
            println!("{name}: {} KiB", grown / 1024);
            assert!(grown < 40 * MIB, "{name}: {} MiB", grown / MIB);
        }
    });
}

/// A server that responds without reading: the bodies of requests are not kept.
#[test]
fn bodies_do_not_outlive_their_exchange() {
    in_a_process("memory::bodies_do_not_outlive_their_exchange", &[], || {
        const BODY: usize = 9 * MIB;
        const EXPORTS: usize = 60;
        let accept = response(200, &[("content-type", "application/x-protobuf")], b"");
        let Step::Send(accept) = accept else { unreachable!("it is sent") };
        let http1 = Scripted::early_http1(move |_| vec![Step::Send(accept.clone()), Step::Hold]);
        let http2 = Scripted::early_http2(|request| vec![grpc_accept(request.stream)]);
        for (server, protocol) in [(http1, Protocol::HttpProtobuf), (http2, Protocol::Grpc)] {
            let exporters = to(&server, protocol).build().unwrap();
            let exporter = exporters.span_exporter().unwrap();
            let large = "x".repeat(BODY);
            let answered = AtomicUsize::new(0);
            let grown = grown(|| {
                for _ in 0..EXPORTS {
                    let mut span = span("a large span");
                    span.attributes.push(KeyValue::new("large", large.clone()));
                    if block_on(exporter.export(vec![span])).is_ok() {
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
            println!("{protocol}: {} MiB", grown / MIB);
            assert_eq!(answered.into_inner(), EXPORTS, "{protocol}");
            // There are several copies of one export, and the allocator keeps some.
            assert!(grown < EXPORTS * BODY / 4, "{protocol}: {} MiB", grown / MIB);
        }
    });
}
