//! Tables of responses and their verdicts.

use prost::Message;

use super::*;
use crate::testing::messages::{self, Any, ExportResponse, Status};

fn partial(rejected: i64, message: &str) -> Vec<u8> {
    let partial_success = Some(messages::PartialSuccess { rejected, message: message.to_owned() });
    ExportResponse { partial_success }.encode_to_vec()
}

fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    [&[flag], &(message.len() as u32).to_be_bytes()[..], message].concat()
}

fn rpc_status(message: &str, details: Vec<Any>) -> Vec<u8> {
    Status { code: 8, message: message.to_owned(), details }.encode_to_vec()
}

fn any(type_url: &str, value: Vec<u8>) -> Any {
    Any { type_url: type_url.to_owned(), value }
}

fn info(delay: Option<(i64, i32)>) -> Vec<u8> {
    let retry_delay = delay.map(|(seconds, nanos)| messages::Duration { seconds, nanos });
    messages::RetryInfo { retry_delay }.encode_to_vec()
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

fn http(status: u16, pairs: &[(&'static str, &str)], body: &[u8], end: End) -> Answer {
    let status = StatusCode::from_u16(status).unwrap();
    Answer {
        status,
        headers: headers(pairs),
        body: Bytes::copy_from_slice(body),
        trailers: None,
        end,
    }
}

fn grpc(pairs: &[(&'static str, &str)], body: &[u8], trailers: &[(&'static str, &str)]) -> Answer {
    let pairs = [&[("content-type", "application/grpc")], pairs].concat();
    let trailers = (!trailers.is_empty()).then(|| headers(trailers));
    Answer { trailers, ..http(200, &pairs, body, End::Complete) }
}

/// A verdict as short text.
fn judged(protocol: Protocol, answer: &Answer, sent: &HeaderMap, limit: usize) -> String {
    let request = RequestFacts {
        protocol,
        bytes: 7,
        uncompressed: None,
        headers: [sent, &HeaderMap::new()],
        path: "/receiver/s3cr3t/v1/traces?key=t0k/en%2B&mode=fast",
        max_response_size: limit,
    };
    match judge(answer, &request) {
        Verdict::Accepted(None) => "accepted".to_owned(),
        Verdict::Accepted(Some(FailureKind::Rejected { items, message })) => {
            format!("rejected {items}: {message}")
        }
        Verdict::Accepted(Some(FailureKind::Warning { message })) => format!("warning: {message}"),
        Verdict::Accepted(Some(FailureKind::UnreadAnswer { reason })) => {
            format!("unread: {reason}")
        }
        Verdict::Accepted(other) => panic!("{other:?}"),
        Verdict::Unanswered => "unanswered".to_owned(),
        Verdict::Refused(Refusal { kind, again }) => {
            let words = match kind {
                FailureKind::InvalidResponse { reason } => reason,
                FailureKind::Http { status, message } => format!("{status} {message}"),
                FailureKind::Grpc { code, message, .. } => format!("{code} {message}"),
                kind => kind.name().to_owned(),
            };
            let again = match again {
                Again::No => String::new(),
                again => format!(", {again:?}"),
            };
            format!("refused: {}{again}", words.trim_end())
        }
    }
}

fn over_http(answer: &Answer) -> String {
    judged(Protocol::HttpProtobuf, answer, &HeaderMap::new(), 100)
}

fn over_grpc(answer: &Answer) -> String {
    judged(Protocol::Grpc, answer, &HeaderMap::new(), 100)
}

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json");
const TEXT: (&str, &str) = ("content-type", "text/plain; charset=utf-8");
const PAGE: (&str, &str) = ("content-type", "text/html");

#[test]
fn a_success_is_read_by_its_own_content_type() {
    let json = br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"why"}}"#;
    let snake = br#"{"partial_success":{"rejected_log_records":3,"error_message":"why","x":[{}]}}"#;
    let page = "refused: is a web page: is this the port of a collector?";
    let not = "refused: is not the OTLP message that its content type says it is";
    let unread = "unread: is neither protobuf nor JSON";
    for (pairs, body, expected) in [
        (&[PROTOBUF][..], &b""[..], "accepted"),
        (&[PROTOBUF], &partial(0, ""), "accepted"),
        (&[PROTOBUF], &partial(3, "why"), "rejected 3: why"),
        (&[PROTOBUF], &partial(3, ""), "rejected 3: "),
        (&[PROTOBUF], &partial(-3, ""), "accepted"),
        (&[PROTOBUF], &partial(0, "move on"), "warning: move on"),
        (&[("content-type", "Application/X-Protobuf;a=b")], &partial(3, "why"), "rejected 3: why"),
        (&[("content-type", "application/protobuf")], &partial(3, "why"), "rejected 3: why"),
        (&[PROTOBUF], b"\xff\xff\xff\xff", not),
        (&[PROTOBUF], b"\x08\x03", not),
        (&[PROTOBUF], &[0; 100], "accepted"),
        (&[JSON], b"{}", "accepted"),
        (&[JSON], b"", "accepted"),
        (&[JSON], json, "rejected 3: why"),
        (&[("content-type", "APPLICATION/JSON; charset=UTF-8")], json, "rejected 3: why"),
        (&[JSON], snake, "rejected 3: why"),
        (&[JSON], br#"{"partialSuccess":null,"status":"ok"}"#, "accepted"),
        (&[JSON], br#"{"partialSuccess":{"errorMessage":"move on"}}"#, "warning: move on"),
        (&[JSON], br#"{"partialSuccess":{"rejectedSpans":"three"}}"#, not),
        (&[JSON], br#"{"partialSuccess":3}"#, not),
        (&[JSON], b"{not json}", not),
        (&[JSON], b"[]", not),
        (&[JSON], b"{} {}", not),
        (&[PAGE], b"<html>", page),
        (&[("content-type", "TEXT/HTML")], b"<html>", page),
        (&[PAGE], b"", "accepted"),
        (&[TEXT], b"OK", unread),
        (&[TEXT], b"", "accepted"),
        (&[("content-type", "application/octet-stream")], b"\x00", unread),
        (&[], b"", "accepted"),
        (&[], &partial(3, "why"), "rejected 3: why"),
        (&[], b"OK", unread),
        (&[("content-type", "application/grpc")], b"", "refused: only_grpc"),
    ] {
        for status in [200, 202, 204] {
            let answer = http(status, pairs, body, End::Complete);
            assert_eq!(over_http(&answer), expected, "{pairs:?} {body:?}");
        }
    }
    let answer = http(200, &[], json, End::Complete);
    assert_eq!(judged(Protocol::HttpJson, &answer, &HeaderMap::new(), 100), "rejected 3: why");
}

#[test]
fn a_truncated_body_keeps_its_status() {
    let cut = &partial(3, "why")[..6];
    for (status, pairs, body, expected) in [
        (200, &[PROTOBUF][..], &b""[..], "accepted"),
        (200, &[PROTOBUF], cut, "accepted"),
        (200, &[PROTOBUF], &partial(3, "why"), "rejected 3: why"),
        (200, &[JSON], b"{\"partialSuc", "accepted"),
        (200, &[PAGE], b"<ht", "refused: is a web page: is this the port of a collector?"),
        (403, &[PROTOBUF], b"", "refused: 403"),
        (400, &[TEXT], b"no such ten", "refused: 400 no such ten"),
        (503, &[], b"", "refused: 503, Backoff"),
        (429, &[("retry-after", "7")], b"", "refused: 429, After(7s)"),
    ] {
        assert_eq!(
            over_http(&http(status, pairs, body, End::BrokenOff)),
            expected,
            "{status} {body:?}"
        );
    }
    for (status, pairs, expected) in [
        (200, &[("content-type", "application/grpc")][..], "unanswered"),
        (
            200,
            &[("content-type", "application/grpc"), ("grpc-status", "14")],
            "refused: UNAVAILABLE, Backoff",
        ),
        (200, &[("content-type", "application/grpc"), ("grpc-status", "0")], "accepted"),
        (403, &[PAGE], "refused: 403"),
        (429, &[("retry-after", "7")], "refused: 429, After(7s)"),
    ] {
        assert_eq!(over_grpc(&http(status, pairs, b"", End::BrokenOff)), expected, "{status}");
    }
}

#[test]
fn what_is_too_long_is_not_tried_again() {
    for (status, expected) in
        [(200, "refused: is longer than 100 bytes"), (400, "refused: 400"), (503, "refused: 503")]
    {
        assert_eq!(over_http(&http(status, &[PROTOBUF], b"", End::TooLong)), expected);
    }
    let pairs = [("content-type", "application/grpc")];
    let answer = http(200, &pairs, b"", End::TooLong);
    assert_eq!(over_grpc(&answer), "refused: is longer than 100 bytes");
}

#[test]
fn messages_of_grpc() {
    let ok = [("grpc-status", "0")];
    let none = "refused: has no message";
    let not = "refused: is not an OTLP message";
    for (answer, expected) in [
        (grpc(&[], &framed(0, b""), &ok), "accepted"),
        (grpc(&[], &framed(0, &partial(3, "why")), &ok), "rejected 3: why"),
        (grpc(&[], &framed(0, &partial(0, "move on")), &ok), "warning: move on"),
        (grpc(&[("grpc-status", "0")], b"", &[]), none),
        (grpc(&[], b"", &ok), none),
        (grpc(&[], &framed(0, b"\xff"), &ok), not),
        (grpc(&[], &framed(0, b"")[..4], &ok), not),
        (grpc(&[], &[framed(0, b""), framed(0, b"")].concat(), &ok), not),
        (grpc(&[], &framed(2, b""), &ok), not),
        (grpc(&[], &framed(1, b""), &ok), not),
        (grpc(&[("grpc-encoding", "identity")], &framed(1, b""), &ok), not),
        (grpc(&[("grpc-encoding", "identity")], &framed(0, b""), &ok), "accepted"),
        (
            grpc(&[("grpc-encoding", "snappy")], &framed(1, b"x"), &ok),
            "refused: is compressed with `snappy`, which was not offered",
        ),
        (grpc(&[], &framed(0, b""), &[]), "refused: has no gRPC status"),
        (http(200, &[PAGE], b"<html>", End::Complete), "refused: not_grpc"),
        (http(404, &[PAGE], b"<html>", End::Complete), "refused: not_grpc"),
        (http(502, &[PAGE], b"<html>", End::Complete), "refused: 502, Backoff"),
    ] {
        assert_eq!(over_grpc(&answer), expected, "{answer:?}");
    }
}

#[test]
#[cfg(all(feature = "gzip", feature = "zstd"))]
fn compression_is_undone() {
    use std::io::Write;
    let gzip = |plain: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = |plain: &[u8]| zstd::encode_all(plain, 0).unwrap();
    let (plain, zeros) = (partial(3, "why"), vec![0; 1000]);
    let unknown = "refused: has the content encoding `br`, which this build cannot read";
    let many = "refused: has the content encoding `gzip, zstd, gzip`, which this build cannot read";
    let broken = "refused: is not compressed as its content encoding says";
    let long = "refused: is longer than 100 bytes";
    for (encoding, body, expected) in [
        ("gzip", gzip(&plain), "rejected 3: why"),
        ("GZip", gzip(&plain), "rejected 3: why"),
        ("zstd", zstd(&plain), "rejected 3: why"),
        ("identity", plain.clone(), "rejected 3: why"),
        ("gzip, zstd", zstd(&gzip(&plain)), "rejected 3: why"),
        ("identity, gzip, , identity, zstd", zstd(&gzip(&plain)), "rejected 3: why"),
        ("gzip, zstd, gzip", gzip(&zstd(&gzip(&plain))), many),
        ("br", plain.clone(), unknown),
        ("br", Vec::new(), "accepted"),
        ("gzip", plain.clone(), broken),
        ("gzip", gzip(&zeros), long),
        ("zstd", zstd(&zeros), long),
    ] {
        for media in [PROTOBUF, JSON, TEXT] {
            let answer = http(200, &[media, ("content-encoding", encoding)], &body, End::Complete);
            let judged = over_http(&answer);
            // The bodies are protobuf: only under that type is the rejection read.
            if media == PROTOBUF || !expected.starts_with("rejected") {
                assert_eq!(judged, expected, "{encoding} {media:?}");
            }
        }
    }
    let pairs = [PROTOBUF, ("content-encoding", "gzip")];
    assert_eq!(over_http(&http(200, &pairs, &gzip(&plain)[..9], End::BrokenOff)), "accepted");
    let body = gzip(&rpc_status("quota", Vec::new()));
    assert_eq!(over_http(&http(400, &pairs, &body, End::Complete)), "refused: 400 quota");
    let mut answer = http(400, &pairs, &gzip(&gzip(&body)), End::Complete);
    answer.headers.append("content-encoding", "gzip".parse().unwrap());
    answer.headers.append("content-encoding", "gzip".parse().unwrap());
    assert_eq!(over_http(&answer), "refused: 400", "more codings than are undone");

    let ok = [("grpc-status", "0")];
    for (encoding, message, expected) in [
        ("gzip", gzip(&plain), "rejected 3: why"),
        ("zstd", zstd(&plain), "rejected 3: why"),
        ("gzip", zstd(&plain), "refused: is not an OTLP message"),
        ("gzip", gzip(&zeros), long),
    ] {
        let answer = grpc(&[("grpc-encoding", encoding)], &framed(1, &message), &ok);
        assert_eq!(over_grpc(&answer), expected, "{encoding}");
    }
}

#[test]
fn the_reason_of_a_refusal() {
    for (pairs, body, expected) in [
        (&[PROTOBUF][..], &rpc_status("bad field", Vec::new())[..], "refused: 400 bad field"),
        (&[JSON], br#"{"code":3,"message":"bad field"}"#, "refused: 400 bad field"),
        (&[JSON], br#"{"error":"bad field"}"#, "refused: 400 bad field"),
        (&[JSON], br#"{"error":{"message":"bad field"}}"#, "refused: 400 bad field"),
        (&[JSON], br#"{"message":["bad field"]}"#, "refused: 400"),
        (&[TEXT], b" bad field\n", "refused: 400 bad field"),
        (&[], b"bad field", "refused: 400 bad field"),
        (&[PAGE], b"bad field", "refused: 400"),
        (&[TEXT], b"\n<html>bad field", "refused: 400"),
        (&[], b"\xff", "refused: 400"),
        (&[PROTOBUF], b"\xff", "refused: 400"),
        (&[("content-type", "image/png")], b"bad field", "refused: 400"),
    ] {
        assert_eq!(over_http(&http(400, pairs, body, End::Complete)), expected, "{pairs:?}");
    }
    let details = "CAMSCWJhZCBmaWVsZA"; // code 3, "bad field"
    for (pairs, expected) in [
        (&[("grpc-message", "bad%20field")][..], "refused: INVALID_ARGUMENT bad field"),
        (&[("grpc-status-details-bin", details)], "refused: INVALID_ARGUMENT bad field"),
        (&[("grpc-status-details-bin", "no base64")], "refused: INVALID_ARGUMENT"),
        (&[], "refused: INVALID_ARGUMENT"),
    ] {
        let pairs = [&[("grpc-status", "3")], pairs].concat();
        assert_eq!(over_grpc(&grpc(&pairs, b"", &[])), expected);
        assert_eq!(over_grpc(&grpc(&[], b"", &pairs)), expected);
    }
}

#[test]
fn a_message_shows_nothing_that_was_sent() {
    let sent = headers(&[
        ("authorization", "Bearer abcdefgh"),
        ("api-key", "abcd"),
        ("x-basic", "Basic  dXNlcjpodW50ZXI="),
        ("x-key", "a+b/c=="),
        ("x-long", "a-long-secret-value"),
        ("x-short", "the"),
    ]);
    for (message, expected) in [
        ("Bearer abcdefgh is the old one", "*** is the old one"),
        ("token abcdefgh, key abcd, abcdabcd", "token ***, key ***, ***"),
        ("dXNlcjpodW50ZXI= Basic  dXNlcjpodW50ZXI=", "*** ***"),
        ("user:hunter, hunter", "***:***, ***"),
        ("bearer ABCDEFGH", "***"),
        ("the%20key%20a+b%2fc%3d%3D", "the%20key%20***"),
        ("the key a%252Bb%252Fc%253D%253D", "the key ***"),
        (r#"the key \"a+b\/c==\""#, r#"the key \"***\""#),
        (r"the key a\u002bb\u002Fc\u003d\u003D", "the key ***"),
        (r"the key a\\u002bb\\\/c\x3d\x3D", "the key ***"),
        ("the key a&#43;b&#x2F;c&#61;=", "the key ***"),
        ("100%abcd", "100%***"),
        ("cut off: a-long-secret-val", "cut off: ***"),
        ("cut off: a-long", "cut off: a-long"),
        ("Route POST:/receiver/s3cr3t/v1/traces not found", "Route POST:***/v1/traces not found"),
        (
            "Cannot POST /receiver/s3cr3t/v1/traces?key=t0k/en%2B&mode=fast",
            "Cannot POST ***/v1/traces?***&***",
        ),
        ("no %2Freceiver%2fS3CR3T%2Fv1%2Ftraces", "no ***%2Fv1%2Ftraces"),
        (r"no \/receiver\/s3cr3t\/v1\/traces", r"no ***\/v1\/traces"),
        (
            "s3cr3t and t0k/en+ are unknown to the receiver",
            "*** and *** are unknown to the receiver",
        ),
    ] {
        let answer = http(401, &[TEXT], message.as_bytes(), End::Complete);
        let judged = judged(Protocol::HttpProtobuf, &answer, &sent, 1000);
        assert_eq!(judged, format!("refused: 401 {expected}"));
    }
}

#[test]
fn a_message_is_cut_and_escaped() {
    let long = "x".repeat(1000);
    let answer = http(400, &[TEXT], long.as_bytes(), End::Complete);
    let judged_long = judged(Protocol::HttpProtobuf, &answer, &HeaderMap::new(), 1000);
    assert_eq!(judged_long, format!("refused: 400 {}…", "x".repeat(200)));
    // A value that the truncation would split.
    let sent = headers(&[("api-key", "secret-secret")]);
    let split = format!("{}secret-secret", "x".repeat(195));
    let answer = http(400, &[TEXT], split.as_bytes(), End::Complete);
    let judged_split = judged(Protocol::HttpProtobuf, &answer, &sent, 1000);
    assert_eq!(judged_split, format!("refused: 400 {}***", "x".repeat(195)));

    let controls = "a\nb\u{1b}[31mc\u{2028}d\u{202e}e\u{2066}f\u{85}g";
    let answer = http(400, &[TEXT], controls.as_bytes(), End::Complete);
    let shown = over_http(&answer);
    let raw = ['\n', '\u{1b}', '\u{2028}', '\u{202e}', '\u{2066}', '\u{85}'];
    assert!(!shown.contains(raw), "{shown:?}");
    assert!(shown.starts_with(r"refused: 400 a\nb\u{1b}[31mc"), "{shown}");
}

#[test]
fn retry_info_under_any_prefix_and_without_a_delay() {
    let type_url = "type.googleapis.com/google.rpc.RetryInfo";
    let other = any("type.googleapis.com/google.rpc.DebugInfo", vec![1]);
    for (details, expected) in [
        (vec![any(type_url, info(Some((2, 500_000_000))))], ", After(2.5s)"),
        (vec![other.clone(), any(type_url, info(Some((2, 0))))], ", After(2s)"),
        (vec![any("google.rpc.RetryInfo", info(Some((2, 0))))], ", After(2s)"),
        (vec![any("example.com/types/google.rpc.RetryInfo", info(Some((2, 0))))], ", After(2s)"),
        (vec![any(type_url, info(None))], ", Backoff"),
        (vec![any(type_url, info(Some((-2, -1))))], ", After(0ns)"),
        (vec![any("type.googleapis.com/not.google.rpc.RetryInfo", info(Some((2, 0))))], ""),
        (vec![other], ""),
        (Vec::new(), ""),
    ] {
        let status = RpcStatus::from_protobuf(&rpc_status("", details));
        let again = status.retry_info.map(|info| info.delay.map_or(Again::Backoff, Again::After));
        let shown = again.map(|again| format!(", {again:?}")).unwrap_or_default();
        assert_eq!(shown, expected);
    }
    let longest = info(Some((i64::MAX, i32::MAX)));
    let status = RpcStatus::from_protobuf(&rpc_status("", vec![any(type_url, longest)]));
    let delay = status.retry_info.unwrap().delay.unwrap();
    assert_eq!(delay, Duration::new(i64::MAX as u64 + 2, 147_483_647));
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let in_a_minute = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(60));
    for (value, least, most) in [
        ("7", 7, 7),
        (" 7 ", 7, 7),
        (in_a_minute.as_str(), 50, 60),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0, 0),
    ] {
        let Again::After(delay) = retry_after(&headers(&[("retry-after", value)])) else {
            panic!("{value}");
        };
        assert!((least..=most).contains(&delay.as_secs()), "{value}: {delay:?}");
    }
    let beyond = retry_after(&headers(&[("retry-after", "99999999999999999999999")]));
    assert_eq!(beyond, Again::After(Duration::from_secs(u64::MAX)));
    for neither in ["soon", "-5", "+5", "1.5", "NaN", "1e9"] {
        assert_eq!(retry_after(&headers(&[("retry-after", neither)])), Again::Backoff, "{neither}");
    }
    assert_eq!(retry_after(&headers(&[])), Again::Backoff);
}
