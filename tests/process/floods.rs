//! Servers that never stop sending: an export ends with its deadline at the latest, takes little memory, and leaves the
//! I/O thread to others.

use std::time::Duration;

use futures_executor::block_on;
use opentelemetry_sdk::trace::SpanExporter as _;
use otlp_mtls::testing::Collector;
use otlp_mtls::{Exporters, Protocol, RetryPolicy};

use crate::exporter::span;
use crate::in_a_process;
use crate::memory::{MIB, grown};
use crate::scripted::{Scripted, Step, data, frame, headers};

/// More than a server can send before an export's deadline.
const ENDLESS: usize = usize::MAX;

/// Types of frames: [RFC 9113, section 6](https://www.rfc-editor.org/rfc/rfc9113#section-6).
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const GRPC: [(&str, &str); 2] = [(":status", "200"), ("content-type", "application/grpc")];

/// Sent once, and then repeated without end.
type Flood = (&'static str, fn(u32) -> Vec<u8>, fn(u32) -> Vec<u8>);

/// An HPACK field that is not added to the dynamic table.
const FIELD: &[u8] = b"\0\x01a\x01b";

fn nothing(_: u32) -> Vec<u8> {
    Vec::new()
}

const HTTP2: &[Flood] = &[
    (
        "CONTINUATION",
        |stream| frame(HEADERS, 0, stream, FIELD),
        |stream| frame(CONTINUATION, 0, stream, FIELD),
    ),
    (
        "CONTINUATION that is empty",
        |stream| frame(HEADERS, 0, stream, FIELD),
        |stream| frame(CONTINUATION, 0, stream, b""),
    ),
    (
        "trailers",
        |stream| [headers(stream, &GRPC, false), frame(HEADERS, 1, stream, FIELD)].concat(),
        |stream| frame(CONTINUATION, 0, stream, &FIELD.repeat(100)),
    ),
    ("SETTINGS", nothing, |_| frame(SETTINGS, 0, 0, b"\0\x04\0\0\xff\xff")),
    ("SETTINGS that acknowledge", nothing, |_| frame(SETTINGS, 1, 0, b"")),
    ("PING", nothing, |_| frame(PING, 0, 0, b"flooding")),
    ("RST_STREAM", nothing, |stream| frame(RST_STREAM, 0, stream, b"\0\0\0\x08")),
    ("WINDOW_UPDATE", nothing, |stream| frame(WINDOW_UPDATE, 0, stream, b"\0\0\0\x01")),
    ("PRIORITY", nothing, |stream| frame(PRIORITY, 0, stream, b"\0\0\0\0\x01")),
    ("PUSH_PROMISE", nothing, |stream| frame(PUSH_PROMISE, 4, stream, b"\0\0\0\x02")),
    ("GOAWAY", nothing, |_| frame(GOAWAY, 0, 0, b"\x7f\xff\xff\xff\0\0\0\0")),
    ("informational answers", nothing, |stream| headers(stream, &[(":status", "103")], false)),
    (
        "DATA that is empty",
        |stream| headers(stream, &GRPC, false),
        |stream| data(stream, b"", false),
    ),
    ("a body", |stream| headers(stream, &GRPC, false), |stream| data(stream, &[0; 50], false)),
];

const HTTP1: &[Flood] = &[
    ("informational answers", nothing, |_| b"HTTP/1.1 103 \r\n\r\n".to_vec()),
    ("headers", |_| b"HTTP/1.1 200 \r\n".to_vec(), |_| b"a: b\r\n".to_vec()),
    ("one header", |_| b"HTTP/1.1 200 \r\na: ".to_vec(), |_| b"b".repeat(1000)),
    ("a status line", |_| b"HTTP/1.1 200 ".to_vec(), |_| b"b".repeat(1000)),
    (
        "a body",
        |_| b"HTTP/1.1 200 \r\ncontent-type: application/x-protobuf\r\n\r\n".to_vec(),
        |_| vec![0; 1000],
    ),
    (
        "chunks",
        |_| b"HTTP/1.1 200 \r\ntransfer-encoding: chunked\r\n\r\n".to_vec(),
        |_| b"1\r\nx\r\n".to_vec(),
    ),
    (
        "a chunk's extension",
        |_| b"HTTP/1.1 200 \r\ntransfer-encoding: chunked\r\n\r\n1;".to_vec(),
        |_| b"x".repeat(1000),
    ),
    (
        "trailers",
        |_| b"HTTP/1.1 200 \r\ntransfer-encoding: chunked\r\n\r\n0\r\n".to_vec(),
        |_| b"a: b\r\n".to_vec(),
    ),
];

#[test]
fn end_with_the_export() {
    in_a_process("floods::end_with_the_export", &[], || {
        let good = Collector::builder().start().unwrap();
        let to = |endpoint: String, protocol: Protocol| {
            let exporters = Exporters::builder()
                .with_endpoint(endpoint)
                .with_protocol(protocol)
                .with_timeout(Duration::from_secs(1))
                .with_retry(RetryPolicy::disabled())
                .with_failure_handler(|_| {});
            exporters.build().unwrap()
        };
        for (protocol, floods) in [(Protocol::Grpc, HTTP2), (Protocol::HttpProtobuf, HTTP1)] {
            for &(name, once, again) in floods {
                let script = move |request: crate::scripted::Request| {
                    let stream = request.stream;
                    vec![Step::Send(once(stream)), Step::Repeat(ENDLESS, again(stream))]
                };
                let server = match protocol {
                    Protocol::Grpc => Scripted::http2(script),
                    _ => Scripted::http1(script),
                };
                let exporters = to(server.endpoint(), protocol);
                let exporter = exporters.span_exporter().unwrap();
                let grown = grown(|| {
                    let answer = block_on(exporter.export(vec![span("a span")]));
                    println!("{protocol}, {name}: {answer:?}");
                });
                println!("{protocol}, {name}: {} KiB", grown / 1024);
                assert!(grown < 16 * MIB, "{protocol}, {name}: {} MiB", grown / MIB);
                let others = to(good.endpoint(), protocol).span_exporter().unwrap();
                block_on(others.export(vec![span("of another")])).unwrap();
            }
        }
        assert_eq!(good.spans().len(), HTTP1.len() + HTTP2.len());
    });
}
