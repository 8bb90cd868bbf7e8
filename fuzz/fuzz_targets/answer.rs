//! A collector's answer. The first line has the protocol (`grpc`, or else HTTP), how the body ends (`cut`, `long`, or else
//! whole) and the status; headers follow, a line each, an empty line, the body, and behind a line of `====` trailers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use otlp_mtls::answer::{Answer, judge};

/// What was sent in a header and in the path, and must not be shown.
const SECRET: &str = "SECRET-TOKEN";

const SEPARATOR: &[u8] = b"\n====\n";

fuzz_target!(|input: &[u8]| {
    let (first, rest) = split(input, b"\n");
    let (headers, rest) = split(rest, b"\n\n");
    let (body, trailers) = split(rest, SEPARATOR);
    let first = String::from_utf8_lossy(first);
    let mut words = first.split(' ');
    let answer = Answer {
        is_grpc: words.next() == Some("grpc"),
        end: words.next().unwrap_or_default(),
        status: words.next().and_then(|status| status.parse().ok()).unwrap_or(200),
        headers: &fields(headers),
        body,
        trailers: &fields(trailers),
    };
    let texts =
        judge(&answer, &format!("Bearer {SECRET}"), &format!("/{SECRET}/v1/traces"), 1 << 16);
    for text in texts {
        assert!(!text.contains(SECRET), "{text}");
        assert!(!text.contains(char::is_control), "{text:?}");
        // 200 characters, each of which may have been escaped, and our words around them.
        assert!(text.chars().count() < 200 * "\\u{10ffff}".len() + 200, "{text}");
    }
});

fn split<'a>(input: &'a [u8], separator: &[u8]) -> (&'a [u8], &'a [u8]) {
    match input.windows(separator.len()).position(|window| window == separator) {
        Some(at) => (&input[..at], &input[at + separator.len()..]),
        None => (input, b""),
    }
}

/// The names and values of `name: value` lines.
fn fields(lines: &[u8]) -> Vec<(&[u8], &[u8])> {
    lines.split(|byte| *byte == b'\n').map(|line| split(line, b": ")).collect()
}
