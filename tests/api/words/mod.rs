//! Every kind of failure, caused by a real server, and its message.
//!
//! `tests/words.txt` contains all of them. `OTLP_MTLS_WRITE_WORDS=1 cargo test words` rewrites it.

mod anchors;
mod cases;
mod chains;
mod peer;

use std::fs;
use std::path::{Path, PathBuf};

use otlp_mtls::failure::Side;
use otlp_mtls::testing::{Collector, Fixture, Identity, Pki, Reply};
use otlp_mtls::{ExportersBuilder, Protocol, RetryPolicy, Signal};
use rustls::version::{TLS12, TLS13};
use tempfile::TempDir;

use crate::support::{
    Exporter, TRANSPORTS, export, last_failure, mtls_builder, once, plaintext_builder,
    plaintext_collector, with_vars,
};
use peer::{FullBacklog, Peer};

const GOLDEN: &str = "tests/words.txt";

/// A failure.
#[derive(Clone, Copy)]
struct Case {
    /// What is wrong.
    name: &'static str,
    /// [`FailureKind::name`](otlp_mtls::FailureKind::name).
    kind: &'static str,
    refused_by: Option<Side>,
    /// What the message must name: variables, builder calls, files.
    names: &'static [&'static str],
    protocols: &'static [Protocol],
    /// How many TCP connections one export makes with retries on; `None` if they cannot be counted.
    connections: Option<usize>,
    setup: fn(&Context) -> Setup,
}

/// What a case is built from.
struct Context {
    pki: Pki,
    directory: TempDir,
    protocol: Protocol,
}

/// A server, and exporters that fail with it.
struct Setup {
    server: Server,
    builder: ExportersBuilder,
    port: u16,
}

/// Kept while exports go there.
enum Server {
    Collector(Collector),
    Peer(Peer),
    FullBacklog(#[expect(dead_code, reason = "kept while exports go there")] FullBacklog),
    Nobody,
}

impl Server {
    fn accepted(&self) -> Option<usize> {
        match self {
            Self::Collector(collector) => Some(collector.connections()),
            Self::Peer(peer) => Some(peer.accepted()),
            Self::FullBacklog(_) | Self::Nobody => None,
        }
    }
}

impl Context {
    fn new(protocol: Protocol) -> Self {
        Self { pki: Pki::new(), directory: tempfile::tempdir().unwrap(), protocol }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Exporters configured by variables, with a CA and a client certificate.
    fn exporters(&self, endpoint: String, ca: &str, client: Option<&Identity>) -> ExportersBuilder {
        self.exporters_with(endpoint, ca, client, &[])
    }

    fn exporters_with(
        &self,
        endpoint: String,
        ca: &str,
        client: Option<&Identity>,
        more: &[(&'static str, String)],
    ) -> ExportersBuilder {
        let file = |name: &str, pem: &str| {
            let path = self.path(name);
            fs::write(&path, pem).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let mut vars = vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", self.protocol.to_string()),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", file("ca.crt", ca)),
        ];
        if let Some(client) = client {
            let certificate = file("client.crt", client.certificate_pem());
            vars.push(("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certificate));
            vars.push(("OTEL_EXPORTER_OTLP_CLIENT_KEY", file("client.key", client.key_pem())));
        }
        vars.extend_from_slice(more);
        let retry = RetryPolicy::default().with_max_attempts(2);
        with_vars(vars).with_retry(retry).with_failure_handler(|_| {})
    }

    fn good_client(&self) -> Identity {
        self.pki.client(Fixture::Good)
    }
}

/// Whether a kind of this name is a timeout, a failure to connect, and a TLS failure.
fn classes(kind: &str) -> (bool, bool, bool) {
    let begins = |starts: &[&str]| starts.iter().any(|start| kind.starts_with(start));
    (
        kind.ends_with("_timeout") || ["silent", "deadline"].contains(&kind),
        begins(&["resolve", "unreachable", "connect_", "proxy_"])
            || ["connect", "connection_refused"].contains(&kind),
        begins(&["tls", "not_tls", "needs_tls", "handshake_", "server_cert", "client_cert"]),
    )
}

/// Runs a case, and returns its message without the parts that differ in each run.
fn run(case: &Case, protocol: Protocol) -> String {
    let context = Context::new(protocol);
    let Setup { server, builder, port } = (case.setup)(&context);
    let exporters = builder.build().unwrap();
    let error = export(&exporters, Signal::Traces).unwrap_err().to_string();
    let name = format!("{}, {protocol}", case.name);

    let failure = last_failure(&exporters, Signal::Traces);
    let words = failure.to_string();
    assert_eq!(failure.kind().name(), case.kind, "{name}: {words}\n{failure:#?}");
    assert_eq!(failure.kind().refused_by(), case.refused_by, "{name}: {words}");
    let (timeout, connect, tls) = classes(case.kind);
    assert_eq!(
        (failure.is_timeout(), failure.is_connect(), failure.is_tls()),
        (timeout, connect, tls),
        "{name}: {words}"
    );
    // What the SDK logs.
    assert!(error.contains(&words), "{name}: {error}");
    let written = normalised(&words, context.directory.path(), port);
    for part in case.names {
        assert!(written.contains(part), "{name}: no {part} in\n{written}");
    }
    assert!(words.lines().count() <= 6, "{name}: {words}");
    // An endpoint may have no scheme.
    assert!(!words.contains("in place of http"), "{name}: {words}");
    // With these no variable provides credentials.
    if ["with_rustls_config()", "with_credential_source()"].iter().any(|it| words.contains(it)) {
        assert!(!words.contains("CERTIFICATE") && !words.contains("CLIENT_"), "{name}: {words}");
    }
    let first = words.lines().next().unwrap();
    assert_eq!(first, failure.summary());
    assert!(first.starts_with("traces export to http"), "{name}: {first}");
    if let (Some(expected), Some(accepted)) = (case.connections, server.accepted()) {
        assert_eq!(accepted, expected, "{name}: connections");
    }
    written
}

/// Replaces ports, directories, dates, and messages of the system or of libraries.
pub(crate) fn normalised(words: &str, directory: &Path, port: u16) -> String {
    let (first, rest) = words.split_once('\n').unwrap_or((words, ""));
    let first = match first.split_once("cannot be resolved: ") {
        Some((before, _)) => format!("{before}cannot be resolved: <the system's message>"),
        None => first.to_owned(),
    };
    let rest = rest.lines().map(|line| match line.strip_prefix("  cause: ") {
        Some(_) => "  cause: <a library's message>",
        None => line,
    });
    let words = [first.as_str()].into_iter().chain(rest).collect::<Vec<_>>().join("\n");
    let words = words.replace(directory.to_str().unwrap(), "/etc/otel/certs");
    let words = words.replace(&format!(":{port}"), ":4317");
    let words: String = words
        .split_inclusive(|character: char| !character.is_ascii_hexdigit())
        .map(|word| match word.char_indices().last() {
            Some((64, end)) => format!("<sha-256>{end}"),
            _ => word.to_owned(),
        })
        .collect();
    let mut rest = words.as_str();
    let mut normal = String::new();
    while let Some(start) = rest.find("20") {
        let (before, from) = rest.split_at(start);
        normal.push_str(before);
        let is_date = from.len() >= 20
            && from.is_char_boundary(20)
            && from.as_bytes()[4] == b'-'
            && from.as_bytes()[10] == b'T'
            && from.as_bytes()[19] == b'Z';
        let length = if is_date { 20 } else { 2 };
        normal.push_str(if is_date { "<date>" } else { "20" });
        rest = &from[length..];
    }
    normal + rest
}

#[test]
fn all_words() {
    let mut golden = String::from(
        "Every failure in words, from real handshakes. Written by `OTLP_MTLS_WRITE_WORDS=1 cargo test words`.\n",
    );
    for case in [cases::CASES, chains::CASES, anchors::CASES].concat() {
        let words: Vec<String> =
            case.protocols.iter().map(|protocol| run(&case, *protocol)).collect();
        for other in &words[1..] {
            assert_eq!(&words[0], other, "{}: the words depend on the protocol", case.name);
        }
        golden.push_str(&format!("\n# {} ({})\n\n{}\n", case.name, case.kind, words[0]));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(GOLDEN);
    if std::env::var_os("OTLP_MTLS_WRITE_WORDS").is_some() {
        fs::write(&path, &golden).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap();
    let differs = written.lines().zip(golden.lines()).find(|(old, new)| old != new);
    assert_eq!(differs, None, "{GOLDEN} is not what the tests see (old, new)");
    assert_eq!(written, golden);
}

#[test]
fn the_troubleshooting_section_shows_these_words() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let golden = fs::read_to_string(root.join(GOLDEN)).unwrap();
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let (_, section) = readme.split_once("\n## Troubleshooting\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let shown: Vec<&str> = section
        .split("```text\n")
        .skip(1)
        .filter_map(|block| block.split("```").next())
        .filter(|block| block.starts_with("traces export to"))
        .collect();
    assert!(shown.len() >= 4, "{}", shown.len());
    for words in shown {
        assert!(golden.contains(words), "no failure has these words:\n{words}");
    }
}

/// A server's response may contain anything.
#[test]
fn no_failure_shows_a_key_or_a_header() {
    for protocol in TRANSPORTS {
        for (code, status) in [(16, 401), (7, 403), (3, 400), (13, 500)] {
            for by_grpc in [true, false] {
                let collector = Collector::builder().start().unwrap();
                collector.set_reply(move |_| match by_grpc {
                    true => {
                        let message = "our-secret is unknown".to_owned();
                        Reply::Grpc { code, message, retry_delay: None }
                    }
                    false => Reply::Http {
                        status,
                        headers: vec![("x-reason".to_owned(), "their-secret".to_owned())],
                    },
                });
                let exporters = plaintext_builder(&collector, protocol)
                    .with_headers([("authorization", "our-secret")])
                    .with_retry(RetryPolicy::disabled())
                    .build()
                    .unwrap();
                export(&exporters, Signal::Traces).unwrap_err();
                let failure = last_failure(&exporters, Signal::Traces);
                let words = format!("{failure} {failure:?} {:?}", exporters.status());
                assert!(!words.contains("secret"), "{protocol}: {words}");
            }
        }
    }
}

/// Over TLS 1.2 the handshake ends with the server's verdict on the certificate, and a server that
/// has responded has accepted it. A connection that breaks later has another reason.
#[test]
fn a_certificate_that_was_accepted_is_not_blamed() {
    // Over TLS 1.3 the verdict may come after the handshake.
    for (version, expected) in [(&TLS12, "connection"), (&TLS13, "client_certificate_refused")] {
        let pki = Pki::new();
        let collector = Collector::builder()
            .with_tls(pki.server(Fixture::Good))
            .with_client_ca(pki.ca_pem())
            .with_tls_versions(&[version])
            .with_alpn(vec![b"http/1.1".to_vec()])
            .start()
            .unwrap();
        let builder = once(mtls_builder(&pki, &collector, Protocol::HttpProtobuf));
        let exporters = builder.with_failure_handler(|_| {}).build().unwrap();
        let exporter = Exporter::new(&exporters, Signal::Traces);
        let fails = || {
            futures_executor::block_on(exporter.export()).unwrap_err();
            last_failure(&exporters, Signal::Traces)
        };

        collector.set_reply(|_| Reply::Close);
        let failure = fails();
        assert_eq!(failure.kind().name(), expected, "{version:?}: {failure}");

        collector.set_reply(|_| Reply::Accept);
        futures_executor::block_on(exporter.export()).unwrap();
        collector.set_reply(|_| Reply::Close);
        // On the working connection, and on the next one.
        fails();
        let handshakes = collector.handshakes();
        let failure = fails();
        assert_eq!(collector.handshakes(), handshakes + 1, "{version:?}");
        assert_eq!(collector.resumptions(), 0, "{version:?}");
        assert_eq!(failure.kind().name(), "connection", "{version:?}: {failure}");
    }
}

#[test]
fn a_header_providers_error_stays_in_its_line() {
    let collector = plaintext_collector();
    for protocol in TRANSPORTS {
        let error = format!(
            "the IdP said:\n{{\n\"error\": \"\x1b[31mx\"\n}}\n1\n2\n{}",
            "3".repeat(10_000)
        );
        let exporters = once(plaintext_builder(&collector, protocol))
            .with_header_provider(move |_| Err(error.clone().into()))
            .with_failure_handler(|_| {})
            .build()
            .unwrap();
        export(&exporters, Signal::Traces).unwrap_err();
        let words = last_failure(&exporters, Signal::Traces).to_string();
        let shown = r#"the header provider failed: the IdP said:\n{\n"error": "\u{1b}[31mx"\n"#;
        assert!(words.contains(shown), "{words}");
        assert!(words.lines().count() <= 6 && words.chars().count() < 500, "{words}");
    }
}

/// gRPC has no status code for it, and each library has its own message.
#[test]
fn a_batch_that_is_too_large_is_recognised_by_the_message() {
    for (message, expected) in [
        ("grpc: received message larger than max (5000000 vs. 4194304)", "too_large"),
        ("CLIENT: Received message larger than max (5 vs. 4)", "too_large"),
        ("Received message exceeds the maximum configured message size.", "too_large"),
        ("gRPC message exceeds maximum size 4194304: 5000000", "too_large"),
        ("the rate exceeds the maximum of your plan", "RESOURCE_EXHAUSTED"),
    ] {
        let collector = plaintext_collector();
        let reply =
            move |_: &_| Reply::Grpc { code: 8, message: message.to_owned(), retry_delay: None };
        collector.set_reply(reply);
        let builder = once(plaintext_builder(&collector, Protocol::Grpc));
        let exporters = builder.with_failure_handler(|_| {}).build().unwrap();
        export(&exporters, Signal::Traces).unwrap_err();
        let failure = last_failure(&exporters, Signal::Traces);
        assert_eq!(failure.kind().name(), expected, "{message}: {failure}");
    }
}

#[test]
// Only on Linux is all of 127/8 loopback, so that the port is free.
#[cfg(target_os = "linux")]
fn a_port_that_is_usually_the_other_protocols_is_named() {
    let hint = |port, protocol: Protocol| {
        let address = format!("127.86.{}.{}:{port}", std::process::id() % 250, protocol as u8);
        let peer = Peer::resetting_on(std::net::TcpListener::bind(address).unwrap());
        let vars = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", peer.addr)),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_string()),
        ];
        let builder = once(with_vars(vars.to_vec())).with_failure_handler(|_| {});
        let exporters = builder.build().unwrap();
        export(&exporters, Signal::Traces).unwrap_err();
        last_failure(&exporters, Signal::Traces).remedy().to_owned()
    };
    let grpc = hint(4318, Protocol::Grpc);
    let expected = "; port 4318 is usually OTLP/HTTP: if so, set OTEL_EXPORTER_OTLP_PROTOCOL to \
                    http/protobuf, or use port 4317";
    assert!(grpc.ends_with(expected), "{grpc}");
    let http = hint(4317, Protocol::HttpProtobuf);
    let expected = "; port 4317 is usually OTLP/gRPC: if so, set OTEL_EXPORTER_OTLP_PROTOCOL to grpc, \
                    or use port 4318";
    assert!(http.ends_with(expected), "{http}");
    for (port, protocol) in [(4317, Protocol::Grpc), (4318, Protocol::HttpProtobuf)] {
        let own = hint(port, protocol);
        assert!(!own.contains("is usually OTLP/gRPC:"), "{own}");
    }
}

/// Whether the test has a process of its own. If not, it is run in one, after this shell command.
#[cfg(target_os = "linux")]
fn is_alone(test: &str, line: &str) -> bool {
    const ALONE: &str = "OTLP_MTLS_WORDS_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let output = std::process::Command::new("sh")
        .args(["-c", &format!("{line}; exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env(ALONE, "")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    false
}

#[test]
#[cfg(target_os = "linux")]
fn a_credential_source_without_a_ca() {
    let context = Context::new(Protocol::Grpc);
    let ca = context.pki.write_ca_to(context.directory.path()).unwrap();
    // Not every platform has roots.
    let line = format!("export SSL_CERT_FILE='{}' SSL_CERT_DIR=", ca.display());
    if !is_alone("words::a_credential_source_without_a_ca", &line) {
        return;
    }
    let server = context.pki.server(Fixture::Good);
    let collector = Collector::builder().with_tls(server).start().unwrap();
    let builder = context.exporters(collector.endpoint(), context.pki.ca_pem(), None);
    let source = cases::Source(otlp_mtls::Credentials::new());
    let exporters = builder.with_credential_source(source).build().unwrap();
    export(&exporters, Signal::Traces).unwrap_err();
    let failure = last_failure(&exporters, Signal::Traces);
    let trusted = "we trust: the platform's roots, because the source given to \
                   with_credential_source() has no CA";
    assert!(failure.facts().iter().any(|fact| fact == trusted), "{failure}");
    assert!(!failure.to_string().contains("OTEL_"), "{failure}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_process_without_file_descriptors() {
    // The limit is that of the process.
    if !is_alone("words::a_process_without_file_descriptors", "ulimit -n 100") {
        return;
    }
    let collector = plaintext_collector();
    let builder = once(plaintext_builder(&collector, Protocol::Grpc));
    let exporters = builder.with_failure_handler(|_| {}).build().unwrap();
    let exporter = Exporter::new(&exporters, Signal::Traces);
    let held: Vec<_> = std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect();
    let result = futures_executor::block_on(exporter.export());
    drop(held);
    result.unwrap_err();
    let failure = last_failure(&exporters, Signal::Traces);
    assert_eq!(failure.kind().name(), "connect", "{failure}");
    assert!(failure.remedy().contains("ulimit -n"), "{failure}");
}
