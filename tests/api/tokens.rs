//! Bearer tokens in files.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use futures_executor::block_on;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use otlp_mtls::check::{Outcome, Topic};
use otlp_mtls::credentials::TokenStatus;
use otlp_mtls::error::Error;
use otlp_mtls::testing::{Collector, Reply, Request};
use otlp_mtls::{Exporters, ExportersBuilder, Protocol, Signal};
use tempfile::TempDir;

use crate::support::{
    Exporter, PROTOCOLS, TRANSPORTS, builder, export, last_failure, mtls_builder, mtls_collector,
    once, plaintext_builder, plaintext_collector, with_vars,
};
use crate::warnings::warnings_of;

const HOUR: Duration = Duration::from_secs(3600);

/// A directory with a token file.
struct Tokens(TempDir);

impl Tokens {
    fn new(content: &str) -> Self {
        let tokens = Self(tempfile::tempdir().unwrap());
        tokens.write(content);
        tokens
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("token")
    }

    fn write(&self, content: impl AsRef<[u8]>) {
        fs::write(self.path(), content).unwrap();
    }

    /// Exporters that read it at every export, and do not retry.
    fn builder(&self, collector: &Collector, protocol: Protocol) -> ExportersBuilder {
        once(plaintext_builder(collector, protocol))
            .with_reload_interval(Duration::ZERO)
            .with_bearer_token_file(self.path())
            .with_failure_handler(|_| {})
    }
}

fn bearer(request: &Request) -> Option<&str> {
    request.headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap())
}

/// The tokens that a collector received.
fn shown(collector: &Collector) -> Vec<String> {
    let shown = collector.received();
    shown.iter().map(|request| bearer(request).unwrap_or("none").replace("Bearer ", "")).collect()
}

/// A reply function that refuses all tokens except one.
fn accepting(collector: &Collector, token: &'static str) {
    collector.set_reply(move |request| match bearer(request).unwrap_or_default() {
        sent if sent == format!("Bearer {token}") => Reply::Accept,
        sent => {
            // A collector may repeat the token.
            let message = format!("who is {sent}?");
            Reply::Grpc { code: 16, message, retry_delay: None }
        }
    });
}

fn status(exporters: &Exporters) -> TokenStatus {
    let mut tokens = exporters.status().tokens;
    assert_eq!(tokens.len(), 1, "{tokens:?}");
    tokens.remove(0)
}

fn refusal(exporters: &Exporters) -> String {
    status(exporters).refusal.map(|refusal| refusal.reason).unwrap_or_default()
}

#[test]
fn every_request_has_the_token() {
    for protocol in PROTOCOLS {
        for content in ["first", "first\n", "\r\n\t first \n\n"] {
            let (tokens, collector) = (Tokens::new(content), plaintext_collector());
            let builder = tokens.builder(&collector, protocol).with_headers([("tenant", "t")]);
            let exporters = builder.build().unwrap();
            for signal in Signal::ALL {
                export(&exporters, signal).unwrap();
            }
            let shown = shown(&collector);
            assert!(shown.len() >= 3 && shown.iter().all(|token| token == "first"), "{shown:?}");
            assert!(collector.received().iter().all(|request| request.headers["tenant"] == "t"));
        }
    }
}

#[test]
fn a_signal_may_have_a_token_of_its_own() {
    let (all, own) = (Tokens::new("for-all"), Tokens::new("for-logs"));
    let collector = plaintext_collector();
    let exporters = all
        .builder(&collector, Protocol::Grpc)
        .with_signal(Signal::Logs, |logs| logs.with_bearer_token_file(own.path()))
        .build()
        .unwrap();
    for signal in Signal::ALL {
        export(&exporters, signal).unwrap();
    }
    for request in collector.received() {
        let expected = match request.signal {
            Signal::Logs => "Bearer for-logs",
            _ => "Bearer for-all",
        };
        assert_eq!(bearer(&request), Some(expected), "{}", request.signal);
    }
    let mut files: Vec<_> = exporters.status().tokens;
    files.sort_by_key(|token| token.signals.len());
    let files: Vec<_> = files.iter().map(|token| (token.signals.len(), &token.file)).collect();
    assert_eq!(files, [(1, &own.path()), (2, &all.path())]);
}

#[test]
fn code_beats_defaults() {
    let (default, code) = (Tokens::new("default"), Tokens::new("code"));
    let collector = plaintext_collector();
    let exporters = code
        .builder(&collector, Protocol::Grpc)
        .with_defaults(|defaults| {
            let defaults = defaults.with_bearer_token_file("/nowhere");
            defaults.with_signal(Signal::Logs, |logs| logs.with_bearer_token_file(default.path()))
        })
        .build()
        .unwrap();
    export(&exporters, Signal::Logs).unwrap();
    assert_eq!(shown(&collector), ["code"]);
    let exporters = once(plaintext_builder(&collector, Protocol::Grpc))
        .with_defaults(|defaults| defaults.with_bearer_token_file(default.path()))
        .build()
        .unwrap();
    export(&exporters, Signal::Logs).unwrap();
    assert_eq!(shown(&collector), ["code", "default"]);
}

#[test]
fn a_new_token_is_taken_up_on_the_same_connection() {
    for protocol in TRANSPORTS {
        let (tokens, collector) = (Tokens::new("first"), plaintext_collector());
        let before = SystemTime::now();
        let exporters = tokens.builder(&collector, protocol).build().unwrap();
        let exporter = Exporter::new(&exporters, Signal::Traces);
        let export = || block_on(exporter.export()).unwrap();
        export();
        let first = status(&exporters);
        assert_eq!((first.generation, first.refusals), (0, 0));
        assert!(before <= first.loaded && first.loaded <= first.read);
        tokens.write("second\n");
        export();
        let renamed = tokens.0.path().join("renamed");
        fs::write(&renamed, "third").unwrap();
        fs::rename(renamed, tokens.path()).unwrap();
        export();
        assert_eq!(shown(&collector), ["first", "second", "third"], "{protocol}");
        assert_eq!(collector.connections(), 1, "{protocol}");
        let third = status(&exporters);
        assert_eq!(third.generation, 2);
        assert!(first.loaded < third.loaded && first.read < third.read);
        // The same token again does not count as a new one.
        tokens.write("third\n");
        export();
        let again = status(&exporters);
        assert_eq!((again.generation, again.loaded), (2, third.loaded));
        assert!(third.read < again.read);
    }
}

/// A projected volume as the kubelet lays it out.
#[cfg(unix)]
#[test]
fn swapped_by_kubernetes() {
    use std::os::unix::fs::symlink;

    for protocol in TRANSPORTS {
        let (volume, collector) = (tempfile::tempdir().unwrap(), plaintext_collector());
        let path = |name: &str| volume.path().join(name);
        let fill = |version: &str, token: &str| {
            fs::create_dir(path(version)).unwrap();
            fs::write(path(version).join("token"), token).unwrap();
        };
        fill("..1", "first");
        symlink("..1", path("..data")).unwrap();
        symlink("..data/token", path("token")).unwrap();
        let exporters = once(plaintext_builder(&collector, protocol))
            .with_reload_interval(Duration::ZERO)
            .with_bearer_token_file(path("token"))
            .build()
            .unwrap();
        export(&exporters, Signal::Traces).unwrap();
        fill("..2", "second");
        symlink("..2", path("..data_tmp")).unwrap();
        fs::rename(path("..data_tmp"), path("..data")).unwrap();
        fs::remove_dir_all(path("..1")).unwrap();
        export(&exporters, Signal::Traces).unwrap();
        assert_eq!(shown(&collector), ["first", "second"], "{protocol}");
    }
}

#[test]
fn a_file_is_not_read_before_the_interval_is_over() {
    let (tokens, collector) = (Tokens::new("first"), plaintext_collector());
    let builder = tokens.builder(&collector, Protocol::Grpc).with_reload_interval(HOUR);
    let exporters = builder.build().unwrap();
    export(&exporters, Signal::Traces).unwrap();
    tokens.write("second");
    export(&exporters, Signal::Traces).unwrap();
    exporters.reload().unwrap();
    export(&exporters, Signal::Traces).unwrap();
    assert_eq!(shown(&collector), ["first", "first", "second"]);
}

#[test]
fn a_token_that_is_refused_is_read_again_and_sent_once_more() {
    for protocol in TRANSPORTS {
        let (tokens, collector) = (Tokens::new("first-token"), plaintext_collector());
        let builder = tokens.builder(&collector, protocol).with_reload_interval(HOUR);
        let exporters = builder.build().unwrap();
        export(&exporters, Signal::Traces).unwrap();
        accepting(&collector, "second-token");
        tokens.write("second-token");
        export(&exporters, Signal::Traces).unwrap();
        assert_eq!(shown(&collector), ["first-token", "first-token", "second-token"]);
        let retried = |exporters: &Exporters| {
            exporters.status().exports.iter().map(|export| export.retried).sum::<u64>()
        };
        assert_eq!(retried(&exporters), 1, "{protocol}");

        // It is read again at once, although it was just read.
        accepting(&collector, "third-token");
        tokens.write("third-token");
        export(&exporters, Signal::Traces).unwrap();
        assert_eq!(retried(&exporters), 2, "{protocol}");

        // The request is repeated only with a new token, and only once.
        accepting(&collector, "last-token");
        let before = status(&exporters).read;
        export(&exporters, Signal::Traces).unwrap_err();
        assert!(status(&exporters).read > before);
        assert_eq!(collector.received().len(), 6, "{protocol}");
        tokens.write("fourth-token");
        export(&exporters, Signal::Traces).unwrap_err();
        assert_eq!(collector.received().len(), 8, "{protocol}");

        let failure = last_failure(&exporters, Signal::Traces);
        let words = failure.to_string();
        assert!(words.contains("who is ***?"), "{words}");
        assert!(failure.remedy().contains(tokens.path().to_str().unwrap()), "{words}");
        assert!(failure.remedy().contains("(with_bearer_token_file(), last read at 20"), "{words}");
        let shown = format!("{words} {failure:?} {exporters:?} {:?}", exporters.status());
        assert!(!shown.contains("-token"), "{shown}");
    }
}

/// A file that is invalid for a while loses nothing, and is reported.
#[test]
fn an_invalid_token_does_not_replace_a_valid_one() {
    for protocol in TRANSPORTS {
        let (tokens, collector) = (Tokens::new("good"), plaintext_collector());
        let exporters = tokens.builder(&collector, protocol).build().unwrap();
        export(&exporters, Signal::Traces).unwrap();
        let good = status(&exporters);
        let mut reasons = BTreeSet::new();
        for (content, words) in BROKEN {
            tokens.write(content);
            export(&exporters, Signal::Traces).unwrap();
            export(&exporters, Signal::Traces).unwrap();
            let reason = refusal(&exporters);
            let start = format!("with_bearer_token_file(): {}: ", tokens.path().display());
            assert!(reason.starts_with(&start) && reason.contains(words), "{reason}");
            assert!(!reason.contains("secret"), "{reason}");
            reasons.insert(reason);
            assert_eq!(status(&exporters).refusals, reasons.len() as u64);
            assert_eq!(status(&exporters).read, good.read);
        }
        fs::remove_file(tokens.path()).unwrap();
        export(&exporters, Signal::Traces).unwrap();
        assert!(refusal(&exporters).contains("there is no such file"), "{}", refusal(&exporters));
        let error = exporters.reload().unwrap_err().to_string();
        assert!(error.contains("there is no such file"), "{error}");
        assert!(shown(&collector).iter().all(|token| token == "good"));

        tokens.write("better");
        export(&exporters, Signal::Traces).unwrap();
        assert_eq!(shown(&collector).last().unwrap(), "better");
        assert_eq!(refusal(&exporters), "");
    }
}

const BROKEN: [(&str, &str); 5] = [
    ("", "it is empty"),
    (" \n\t\n", "it is empty"),
    ("secret secret", "character 7 of it is not visible ASCII"),
    (
        "Bearer secret",
        "character 7 of it is not visible ASCII: the file must contain only the token",
    ),
    ("\u{feff}secret", "character 1 of it is not visible ASCII"),
];

fn build_error(path: impl Into<PathBuf>) -> String {
    let builder = builder().with_endpoint("http://localhost:4317").with_bearer_token_file(path);
    let error = builder.build().unwrap_err();
    assert!(matches!(error, Error::Credential { .. }), "{error:?}");
    format!("{error:?}")
}

#[test]
fn an_invalid_first_token_is_an_error() {
    for (content, words) in BROKEN {
        let tokens = Tokens::new(content);
        let error = build_error(tokens.path());
        let start = format!("with_bearer_token_file(): {}: ", tokens.path().display());
        assert!(error.starts_with(&start) && error.contains(words), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
    let tokens = Tokens::new("");
    let error = build_error(tokens.0.path());
    assert!(error.contains("this is a directory"), "{error}");
    let error = build_error("/nowhere/token");
    assert!(error.starts_with("with_bearer_token_file(): /nowhere/token: there is no such file"));

    // At most 64 KiB, including white space.
    tokens.write("x".repeat(65_535) + "\n");
    let collector = plaintext_collector();
    tokens.builder(&collector, Protocol::Grpc).build().unwrap();
    tokens.write("x".repeat(65_536) + "\n");
    let error = build_error(tokens.path());
    assert!(error.contains("it is larger than 65536 bytes"), "{error}");

    assert!(build_error("").contains("it is not the path of a file"));

    // The token itself instead of its path.
    for token in ["eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.", "Bearer a/b", "hunter2hunter2hunter2"] {
        let error = build_error(token);
        assert!(error.contains("the value (not shown): it is not the path of a file"), "{error}");
        assert!(!error.contains(&token[..6]), "{error}");
    }
}

#[test]
fn an_authorization_header_beside_it_is_an_error() {
    let tokens = Tokens::new("token");
    let both = |builder: ExportersBuilder| {
        let error = builder.with_bearer_token_file(tokens.path()).build().unwrap_err();
        assert!(matches!(error, Error::TwoAuthorizations { .. }), "{error:?}");
        error.to_string()
    };
    let error = both(builder().with_headers([("Authorization", "Basic secret")]));
    assert_eq!(
        error,
        "with_headers(): an `authorization` header is set in addition to with_bearer_token_file(), \
         which sets it too: remove one of the two"
    );
    for variable in ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_LOGS_HEADERS"] {
        let error = both(with_vars(vec![(variable, "a=b,authorization=Basic%20secret")]));
        assert!(
            error.starts_with(&format!("{variable}: ")) && !error.contains("secret"),
            "{error}"
        );
    }
    // A provider's header is detected when the provider is called.
    for protocol in TRANSPORTS {
        let collector = plaintext_collector();
        let exporters = tokens
            .builder(&collector, protocol)
            .with_header_provider(|signal| {
                let name = if signal == Signal::Logs { "authorization" } else { "tenant" };
                Ok(HeaderMap::from_iter([(name.parse()?, "secret".parse()?)]))
            })
            .build()
            .unwrap();
        export(&exporters, Signal::Traces).unwrap();
        assert_eq!(shown(&collector), ["token"]);
        export(&exporters, Signal::Logs).unwrap_err();
        assert_eq!(collector.received().len(), 1, "{protocol}");
        let words = last_failure(&exporters, Signal::Logs).to_string();
        assert!(words.contains("in addition to with_bearer_token_file()"), "{words}");
        assert!(!words.contains("secret"), "{words}");
    }
}

#[test]
fn over_plaintext_to_another_host_there_is_a_warning() {
    let tokens = Tokens::new("token");
    let warnings = |endpoint: &str| {
        warnings_of(|| {
            let builder = builder().with_endpoint(endpoint).with_bearer_token_file(tokens.path());
            drop(builder.build().unwrap());
        })
    };
    for own in ["localhost", "LOCALHOST", "127.0.0.1", "127.8.9.10", "[::1]", "[::ffff:127.0.0.1]"]
    {
        assert_eq!(warnings(&format!("http://{own}:4318")), [""; 0], "{own}");
    }
    for other in ["collector", "10.0.0.1", "[2001:db8::1]", "localhost.example"] {
        assert_eq!(
            warnings(&format!("http://{other}:4318")),
            [format!(
                "http://{other}:4318 (with_endpoint()) is plaintext, so the token of \
                 with_bearer_token_file() can be read in transit: begin the endpoint with \
                 https://"
            )]
        );
    }
    let (pki, collector) = mtls_collector();
    let warnings = warnings_of(|| {
        let builder = mtls_builder(&pki, &collector, Protocol::Grpc);
        drop(builder.with_bearer_token_file(tokens.path()).build().unwrap());
    });
    assert_eq!(warnings, [""; 0]);
}

#[test]
fn a_check_shows_the_file_and_not_the_token() {
    for protocol in TRANSPORTS {
        let (tokens, collector) = (Tokens::new("good-token"), plaintext_collector());
        accepting(&collector, "good-token");
        let exporters = tokens.builder(&collector, protocol).build().unwrap();
        tokens.write("bad token");
        let report = exporters.check_blocking();
        assert!(report.is_delivered(), "{report}");
        let words = |topic| {
            let mut findings = report.signals[0].findings.iter();
            findings.find(|finding| finding.topic == topic).unwrap()
        };
        let token = words(Topic::Token);
        assert_eq!(token.outcome, Outcome::Good);
        let place = format!("in {} (with_bearer_token_file())", tokens.path().display());
        assert!(token.words.starts_with("read at 20") && token.words.ends_with(&place), "{report}");
        assert_eq!(words(Topic::Rotation).outcome, Outcome::Doubtful, "{report}");

        tokens.write("other-token");
        let report = exporters.check_blocking();
        assert!(!report.is_delivered(), "{report}");
        let shown = format!("{report} {report:?} {}", serde_json::to_string(&report).unwrap());
        assert!(!shown.contains("-token") && !shown.contains("bad token"), "{shown}");
    }
}

/// They would send requests without a token.
#[test]
fn upstream_s_exporters_cannot_have_one() {
    let (tokens, collector) = (Tokens::new("token"), plaintext_collector());
    for protocol in TRANSPORTS {
        let exporters = tokens.builder(&collector, protocol).build().unwrap();
        let error = otlp_mtls::upstream::span_exporter(&exporters).unwrap_err();
        assert!(format!("{error:?}").contains("with_bearer_token_file()"), "{error:?}");
        let exporters = plaintext_builder(&collector, protocol);
        let exporters = exporters.with_header_provider(|_| Ok(HeaderMap::new())).build().unwrap();
        let error = otlp_mtls::upstream::span_exporter(&exporters).unwrap_err();
        assert!(format!("{error:?}").contains("with_header_provider()"), "{error:?}");
    }
}
