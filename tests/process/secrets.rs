//! A secret in a variable is not shown in any error, `Debug` output, log, report, failure or status.

use std::cell::Cell;
use std::fmt::{Debug, Write};
use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_executor::block_on;
use opentelemetry_sdk::trace::SpanExporter;
use otlp_mtls::testing::{Collector, Reply};
use otlp_mtls::{Exporters, Pem, Protocol, RetryPolicy};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::exporter::span;
use crate::in_a_process;

/// All our events, and those of other crates at `INFO` and above.
static LOG: Mutex<String> = Mutex::new(String::new());

fn log() -> MutexGuard<'static, String> {
    LOG.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Recorder;

impl<S: Subscriber> Layer<S> for Recorder {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        struct Fields<'a>(&'a mut String);
        impl Visit for Fields<'_> {
            fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
                let _ = writeln!(self.0, "{field} {value:?}");
            }
        }
        let metadata = event.metadata();
        if metadata.target().starts_with("otlp_mtls") || *metadata.level() <= Level::INFO {
            event.record(&mut Fields(&mut log()));
        }
    }
}

const GENERIC: [&str; 9] = [
    "ENDPOINT",
    "CERTIFICATE",
    "CLIENT_KEY",
    "CLIENT_CERTIFICATE",
    "HEADERS",
    "COMPRESSION",
    "TIMEOUT",
    "PROTOCOL",
    "INSECURE",
];

const PROXIES: [&str; 6] =
    ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "REQUEST_METHOD"];

/// All variables except the generic ones: those in the source code, and those of proxies.
fn others() -> Vec<String> {
    let source = include_str!("../../src/config/variables.rs");
    let named = source.split('"').skip(1).step_by(2);
    let named = named.filter(|name| name.starts_with("OTEL_") && !name.contains('{'));
    named.chain(PROXIES).map(str::to_owned).collect()
}

fn variables() -> impl Strategy<Value = String> {
    let scopes = ["", "TRACES_", "METRICS_", "LOGS_"];
    let generic = (select(scopes.to_vec()), select(&GENERIC[..]))
        .prop_map(|(scope, name)| format!("OTEL_EXPORTER_OTLP_{scope}{name}"));
    let others = others();
    assert!(
        others.len() > 30 && others.iter().any(|name| name == "OTEL_CONFIG_FILE"),
        "{others:?}"
    );
    prop_oneof![2 => generic, 1 => select(others)]
}

/// A secret, and a value that contains it, with `HOST` for a server.
type Hidden = (String, String);

/// A private key, as it may get into a variable.
fn keys() -> impl Strategy<Value = Hidden> {
    (any::<[u8; 32]>(), 0..13_usize, any::<bool>()).prop_map(|(key, form, is_quoted)| {
        // Ed25519 in PKCS#8 (RFC 8410).
        let start = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
        let der = STANDARD.encode([&start[..], &key].concat());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n");
        let encoded = STANDARD.encode(&pem);
        let encoded_as = |text: String| (STANDARD.encode(&text), STANDARD.encode(&text));
        let (secret, value) = match form {
            0 => (der, pem),
            1 => (der, pem.replace('\n', "\\n")),
            2 => (der, pem.replace('\n', " ")),
            3 => (der, pem.replace('\n', "\r\n")),
            4 => (encoded.clone(), encoded),
            5 => (der.clone(), der),
            6 => (der, pem[..80].to_owned()),
            7 => encoded_as(format!("\n{pem}")),
            8 => encoded_as(format!("\u{feff}# ours\n{pem}")),
            9 => encoded_as(encoded),
            10 => (encoded.clone(), format!("data:application/x-pem-file;base64,{encoded}")),
            11 => (der.clone(), format!("base64:{der}")),
            _ => (encoded.clone(), format!("{}\n{}", &encoded[..76], &encoded[76..])),
        };
        (secret, if is_quoted { format!("\"{value}\"") } else { value })
    })
}

/// A token or password, as it may get into a variable.
fn tokens() -> impl Strategy<Value = Hidden> {
    let forms = [
        "http://user:TOKEN@HOST",
        "http://TOKEN@HOST/v1/traces",
        "https://user:TOKEN@HOST:1",
        "user:TOKEN@HOST",
        "http://HOST/receiver/TOKEN/v1/traces",
        "http://HOST/receiver/TOKEN",
        "http://HOST/TOKEN/",
        "HOST/TOKEN",
        "http://HOST?key=TOKEN",
        "http://HOST/v1/logs?key=TOKEN",
        "http://HOST/a@b?TOKEN@c",
        "http://HOST#TOKEN",
        "ftp://user:TOKEN@HOST",
        "http://user:TOKEN",
        "authorization=Bearer TOKEN",
        "authorization=Bearer%20TOKEN,x=y",
        "authorization: Bearer TOKEN",
        "a=b,TOKEN",
        "x-key=TOKEN\u{1}",
        "x key=TOKEN",
        "key:TOKEN",
        "{\"token\":\"TOKEN\"}",
        "TOKEN",
    ];
    let token = prop_oneof!["[a-zA-Z]{10,15}[0-9][a-zA-Z0-9]{5,30}", "[a-zA-Z]{17,48}"];
    (token, select(forms.to_vec()), any::<bool>()).prop_map(|(token, form, is_quoted)| {
        let value = form.replace("TOKEN", &token);
        (token, if is_quoted { format!("'{value}'") } else { value })
    })
}

/// Everything that a service could show of exporters with this variable.
fn shown(variable: &str, value: &str, host: &str) -> String {
    log().clear();
    let mut words = String::new();
    let is_proxy = variable.to_ascii_lowercase().ends_with("_proxy");
    let endpoint = match is_proxy {
        // A proxy is not used for loopback.
        true => "http://192.0.2.1:1".to_owned(),
        false => format!("http://{host}"),
    };
    let vars = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), endpoint),
        ("HTTP_PROXY".to_owned(), format!("http://{host}")),
        (variable.to_owned(), value.replace("HOST", host)),
    ];
    let lookup = move |name: &str| {
        vars.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.into())
    };
    let is_tls = ["CERTIFICATE", "CLIENT_KEY"].iter().any(|end| variable.ends_with(end));
    let builder = Exporters::builder()
        .with_env(lookup)
        .with_retry(RetryPolicy::disabled())
        .with_connect_timeout(Duration::from_secs(1))
        .with_timeout(Duration::from_secs(1))
        .with_failure_handler(|_| {});
    let builder = match is_tls {
        // It is not used over plaintext.
        true => builder.with_endpoint("https://127.0.0.1:1"),
        false if variable.ends_with("TIMEOUT") => builder.with_protocol(Protocol::HttpProtobuf),
        false => builder,
    };
    match builder.build() {
        Err(error) => write!(words, "{error}\n{error:?}\n{error:#?}").unwrap(),
        Ok(exporters) => {
            write!(words, "{exporters:?}\n{exporters:#?}").unwrap();
            let exporter = exporters.span_exporter().unwrap();
            write!(words, "{exporter:?}\n{:?}", block_on(exporter.export(Vec::new()))).unwrap();
            let report = exporters.check_blocking();
            write!(words, "{report}\n{report:?}\n{:?}", exporters.status()).unwrap();
            write!(words, "{:?}", exporters.reload()).unwrap();
        }
    }
    words.push_str(&log());
    words
}

/// Whether it may be shown: a host or a path is not a secret, unless it is a key.
fn is_open(variable: &str, secret: &str, value: &str) -> bool {
    let is_of = |ends: &[&str]| ends.iter().any(|end| variable.to_uppercase().ends_with(end));
    let is_path = is_of(&["CERTIFICATE", "CLIENT_KEY", "CONFIG_FILE"]) && !value.contains("://");
    let is_host = is_of(&["ENDPOINT", "_PROXY"]) && value.trim_matches('\'') == secret;
    // No token is as long as a key.
    secret.len() < 64 && (is_path || is_host)
}

#[test]
fn no_secret_is_shown() {
    in_a_process("secrets::no_secret_is_shown", &[], || {
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Recorder))
            .unwrap();
        let collector = Collector::builder().start().unwrap();
        collector.set_reply(|_| Reply::Http { status: 404, headers: Vec::new() });
        let host = collector.endpoint().replace("http://", "");

        let mut runner =
            TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(900) });
        let cases = (variables(), prop_oneof![keys(), tokens()]);
        let answered = Cell::new(0);
        let ran = runner.run(&cases, |(variable, (secret, value))| {
            if is_open(&variable, &secret, &value) {
                return Ok(());
            }
            let words = shown(&variable, &value, &host);
            answered.set(answered.get() + u32::from(words.contains("the collector answered")));
            for part in secret.as_bytes().windows(12) {
                let part = std::str::from_utf8(part).unwrap();
                prop_assert!(!words.contains(part), "{}: {}", variable, words);
            }
            Ok(())
        });
        ran.unwrap();
        assert!(answered.get() > 100, "only {} got as far as an answer", answered.get());
    });
}

/// A server or proxy may quote a request, and escape it.
#[test]
fn what_a_collector_quotes_is_not_shown() {
    const TOKEN: &str = "s3cr3t+t0k/en==";
    let echoes: [fn(String) -> String; 4] = [
        |text| text,
        |text| text.to_uppercase(),
        |text| utf8_percent_encode(&text, NON_ALPHANUMERIC).to_string(),
        |text| text.replace('/', "\\/").replace('+', "\\u002B"),
    ];
    in_a_process("secrets::what_a_collector_quotes_is_not_shown", &[], || {
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Recorder))
            .unwrap();
        let collector = Collector::builder().start().unwrap();
        let host = collector.endpoint().replace("http://", "");
        for (variable, value) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://HOST/receiver/s3cr3t+t0k/en=="),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://HOST/s3cr3t%2Bt0k%2fen%3d=/"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://HOST?key=s3cr3t+t0k/en%3D="),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://HOST/s3cr3t+t0k/en==/v1/traces?mode=a"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer s3cr3t+t0k/en=="),
        ] {
            for echo in echoes {
                collector.set_reply(move |request| {
                    let sent = request.headers.get("authorization");
                    let message = format!("no POST {} for {sent:?}", request.path);
                    Reply::Grpc { code: 5, message: echo(message), retry_delay: None }
                });
                let words = shown(variable, value, &host).to_lowercase();
                assert!(words.contains("***"), "{value}: {words}");
                for part in TOKEN.split(['+', '/', '=']).filter(|part| !part.is_empty()) {
                    // `en` alone is an ordinary word.
                    let is_shown = words.contains(part) && part != "en";
                    assert!(!is_shown, "{value}: {words}");
                }
            }
        }
    });
}

/// Everything that a service could show of exporters with a bearer token in a file, which a collector repeats.
fn shown_of_a_token(collector: &Collector, protocol: Protocol, path: &Path, later: &str) -> String {
    log().clear();
    let mut words = String::new();
    let builder = Exporters::builder()
        .with_env(|_| None)
        .with_endpoint(collector.endpoint())
        .with_protocol(protocol)
        .with_retry(RetryPolicy::disabled())
        .with_reload_interval(Duration::ZERO)
        .with_bearer_token_file(path)
        .with_failure_handler(|failure| log().push_str(&format!("{failure} {failure:?}")));
    match builder.build() {
        Err(error) => write!(words, "{error}\n{error:?}\n{error:#?}").unwrap(),
        Ok(exporters) => {
            let exporter = exporters.span_exporter().unwrap();
            for content in [None, Some(later)] {
                if let Some(content) = content {
                    fs::write(path, content).unwrap();
                }
                write!(words, "{exporters:?}\n{exporters:#?}\n{exporter:?}").unwrap();
                write!(words, "{:?}", block_on(exporter.export(vec![span("a span")]))).unwrap();
                let (report, status) = (exporters.check_blocking(), exporters.status());
                write!(words, "{report}\n{report:?}\n{status:?}").unwrap();
                let json = [serde_json::to_string(&report), serde_json::to_string(&status)];
                write!(words, "{json:?}\n{:?}", exporters.reload()).unwrap();
            }
        }
    }
    words.push_str(&log());
    words
}

#[test]
fn no_bearer_token_is_shown() {
    const TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.c2VjcmV0LXRva2Vu.c2lnbmF0dXJl";
    in_a_process("secrets::no_bearer_token_is_shown", &[], || {
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Recorder))
            .unwrap();
        let collector = Collector::builder().start().unwrap();
        collector.set_reply(|request| {
            let sent = request.headers["authorization"].to_str().unwrap();
            let message = format!("{sent} is not valid");
            Reply::Grpc { code: 16, message, retry_delay: None }
        });
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let contents = [
            TOKEN.to_owned(),
            format!("{TOKEN}\n"),
            format!("Bearer {TOKEN}"),
            format!("{TOKEN}\n{TOKEN}"),
            format!("{TOKEN}\u{e9}"),
            format!("{{\"token\": \"{TOKEN}\"}}"),
            TOKEN.repeat(2000),
        ];
        let mut refused = 0;
        for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
            for content in &contents {
                for later in &contents {
                    fs::write(&path, content).unwrap();
                    let words = shown_of_a_token(&collector, protocol, &path, later);
                    for part in TOKEN.as_bytes().windows(8) {
                        let part = std::str::from_utf8(part).unwrap();
                        assert!(!words.contains(part), "{content}: {words}");
                    }
                    refused += usize::from(words.contains("*** is not valid"));
                }
                // Instead of a path.
                let words = shown_of_a_token(&collector, protocol, Path::new(content), "");
                assert!(!words.contains("eyJ") && words.contains("(not shown)"), "{words}");
            }
        }
        // Two of the contents are only a token.
        assert_eq!(refused, 2 * 2 * contents.len());
    });
}

/// A path in the platform's own variable, and the builder's methods.
#[test]
fn nor_by_other_ways() {
    let pem = "-----BEGIN PRIVATE KEY-----\nSECRETSECRET\n-----END PRIVATE KEY-----\n";
    let vars = [("SSL_CERT_FILE", pem), ("SSL_CERT_DIR", "")];
    // The content of a configuration file instead of its path: the second ends like a path.
    let file = "file_format: '1.1'\ntracer_provider: {headers_list: SECRETSECRET}";
    let in_place =
        |text: String| move |name: &str| (name == "OTEL_CONFIG_FILE").then(|| text.clone().into());
    in_a_process("secrets::nor_by_other_ways", &vars, || {
        let builder = || Exporters::builder().with_env(|_| None);
        let builders = [
            builder().with_endpoint("https://localhost"),
            builder().with_endpoint("https://localhost").with_ca_certificate(Pem::file(pem)),
            builder().with_endpoint(pem),
            builder().with_endpoint("https://u:SECRETSECRET@localhost"),
            builder().with_headers([("SECRETSECRET=", "x")]),
            builder().with_headers([("x", "SECRETSECRET\n")]),
            builder().with_env(in_place(file.to_owned())),
            builder().with_env(in_place(format!("{file}\n# otel.yaml"))),
        ];
        for builder in builders {
            let error = builder.build().unwrap_err();
            let words = format!("{error} {error:?} {:?}", Pem::file(pem));
            assert!(!words.contains("SECRETSECRET"), "{words}");
        }
    });
}
