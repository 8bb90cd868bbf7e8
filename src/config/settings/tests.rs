//! One row per rule of the specification of the variables, named after the rule.

use opentelemetry_sdk::metrics::Temporality;

use super::*;
use crate::config::env::Env;
use crate::config::layer::Rank;
use crate::config::signal_builder::SignalBuilder;
use crate::config::values::HistogramAggregation;
use crate::config::variables::{DEFAULT_HISTOGRAM_AGGREGATION, TEMPORALITY_PREFERENCE};

type Pairs<'a> = &'a [(&'a str, &'a str)];
type Vars<'a> = Pairs<'a>;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
const TRACES_PROTOCOL: &str = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL";
const INSECURE: &str = "OTEL_EXPORTER_OTLP_INSECURE";
const TRACES_INSECURE: &str = "OTEL_EXPORTER_OTLP_TRACES_INSECURE";
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const TRACES_HEADERS: &str = "OTEL_EXPORTER_OTLP_TRACES_HEADERS";
const COMPRESSION: &str = "OTEL_EXPORTER_OTLP_COMPRESSION";
const TRACES_COMPRESSION: &str = "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION";
const TIMEOUT: &str = "OTEL_EXPORTER_OTLP_TIMEOUT";
const TRACES_TIMEOUT: &str = "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT";
const BSP_TIMEOUT: &str = "OTEL_BSP_EXPORT_TIMEOUT";
const CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";
const TRACES_CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE";
const CLIENT_KEY: &str = "OTEL_EXPORTER_OTLP_CLIENT_KEY";
const CLIENT_CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE";
const TRACES_CLIENT_CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE";

fn env(vars: Vars<'_>) -> Env {
    let vars: Vec<(String, String)> =
        vars.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Env::new(move |name| vars.iter().find(|(key, _)| key == name).map(|(_, value)| value.into()))
}

fn layers(vars: Vars<'_>, own: SignalBuilder, all: SignalBuilder) -> Layers {
    let mut all = all.0;
    if let Some(endpoint) = &mut all.endpoint {
        endpoint.value.is_whole = false;
    }
    let code = Rank { all, own: [(Signal::Traces, own.0)].into() };
    Layers { code, env: env(vars), defaults: Rank::default(), file: None }
}

fn resolve_with(
    vars: Vars<'_>,
    own: SignalBuilder,
    all: SignalBuilder,
) -> (Result<Settings, Error>, Vec<String>) {
    let layers = layers(vars, own, all);
    let mut warnings = Vec::new();
    let settings = Settings::resolve(Signal::Traces, &layers, false, &mut warnings);
    (settings, warnings.iter().map(ToString::to_string).collect())
}

fn resolve(vars: Vars<'_>) -> (Settings, Vec<String>) {
    let (settings, warnings) =
        resolve_with(vars, SignalBuilder::default(), SignalBuilder::default());
    (settings.unwrap(), warnings)
}

fn refusal(vars: Vars<'_>) -> String {
    resolve_with(vars, SignalBuilder::default(), SignalBuilder::default())
        .0
        .unwrap_err()
        .to_string()
}

fn url(settings: &Settings) -> String {
    format!("{}{}", settings.endpoint, settings.endpoint.path)
}

fn paths(settings: &Settings) -> [Option<&str>; 3] {
    let path =
        |pem: &Sourced<Pem>| pem.value.path().unwrap().to_str().unwrap().to_owned().leak() as &str;
    let tls = settings.tls.as_ref().unwrap();
    let identity = tls.identity.as_ref();
    [
        tls.ca.as_ref().map(path),
        identity.map(|identity| path(&identity.certificate)),
        identity.map(|identity| path(&identity.key)),
    ]
}

#[test]
fn endpoint_and_protocol() {
    let rows: &[(&str, Vars<'_>, &str)] = &[
        ("the default is HTTP on 4318", &[], "http://localhost:4318/v1/traces"),
        (
            "the default over gRPC is 4317",
            &[(PROTOCOL, "grpc")],
            "http://localhost:4317/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        ),
        ("empty is unset", &[(ENDPOINT, "")], "http://localhost:4318/v1/traces"),
        ("white space is empty", &[(ENDPOINT, " \t")], "http://localhost:4318/v1/traces"),
        ("white space is trimmed", &[(ENDPOINT, " http://c:1 ")], "http://c:1/v1/traces"),
        (
            "the generic endpoint gets the path",
            &[(ENDPOINT, "https://c/p/")],
            "https://c:443/p/v1/traces",
        ),
        (
            "a signal's is used as it stands",
            &[(TRACES_ENDPOINT, "https://c/p/")],
            "https://c:443/p/",
        ),
        ("a signal's empty path is the root", &[(TRACES_ENDPOINT, "http://c:1")], "http://c:1/"),
        (
            "a signal's beats the generic one",
            &[(ENDPOINT, "http://g:1"), (TRACES_ENDPOINT, "http://s:1/x")],
            "http://s:1/x",
        ),
        (
            "an empty one of the signal falls back",
            &[(ENDPOINT, "http://g:1"), (TRACES_ENDPOINT, " ")],
            "http://g:1/v1/traces",
        ),
        (
            "each variable on its own",
            &[(ENDPOINT, "g:1"), (TRACES_PROTOCOL, "grpc"), (INSECURE, "true")],
            "http://g:1/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        ),
        (
            "protocols are not case-sensitive",
            &[(PROTOCOL, "HTTP/Protobuf")],
            "http://localhost:4318/v1/traces",
        ),
    ];
    for (rule, vars, expected) in rows {
        let (settings, warnings) = resolve(vars);
        assert_eq!(url(&settings), *expected, "{rule}");
        assert!(warnings.is_empty(), "{rule}: {warnings:?}");
    }
}

#[test]
fn insecure() {
    let rows: &[(&str, Vars<'_>, bool, usize)] = &[
        ("TLS unless told otherwise", &[(ENDPOINT, "c:1")], true, 0),
        ("true is plaintext", &[(ENDPOINT, "c:1"), (INSECURE, "true")], false, 0),
        ("in any case", &[(ENDPOINT, "c:1"), (INSECURE, "TRUE")], false, 0),
        ("false is TLS", &[(ENDPOINT, "c:1"), (INSECURE, "false")], true, 0),
        ("nonsense is TLS, with a warning", &[(ENDPOINT, "c:1"), (INSECURE, "1")], true, 1),
        (
            "a signal's nonsense does not fall back to true",
            &[(ENDPOINT, "c:1"), (TRACES_INSECURE, "yes"), (INSECURE, "true")],
            true,
            1,
        ),
        (
            "a signal's beats the generic one",
            &[(ENDPOINT, "c:1"), (TRACES_INSECURE, "false"), (INSECURE, "true")],
            true,
            0,
        ),
        ("a scheme may agree", &[(ENDPOINT, "https://c:1"), (INSECURE, "false")], true, 0),
        ("a plaintext scheme may too", &[(ENDPOINT, "http://c:1"), (INSECURE, "true")], false, 0),
        ("a scheme beats it", &[(ENDPOINT, "https://c:1"), (INSECURE, "true")], true, 1),
        ("a plaintext scheme beats it", &[(ENDPOINT, "http://c:1"), (INSECURE, "false")], false, 1),
    ];
    for (rule, vars, secure, warned) in rows {
        let vars = [&[(PROTOCOL, "grpc")], *vars].concat();
        let (settings, warnings) = resolve(&vars);
        assert_eq!(settings.endpoint.secure, *secure, "{rule}");
        assert_eq!(settings.tls.is_some(), *secure, "{rule}");
        assert_eq!(warnings.len(), *warned, "{rule}: {warnings:?}");
    }
    let (_, warnings) = resolve(&[(ENDPOINT, "http://c:1"), (INSECURE, "false")]);
    let expected = "OTEL_EXPORTER_OTLP_INSECURE: no effect: the scheme of http://c:1 \
                    (OTEL_EXPORTER_OTLP_ENDPOINT) takes precedence";
    assert_eq!(warnings, [expected]);
}

#[test]
fn certificates() {
    let https = (ENDPOINT, "https://c");
    let rows: &[(&str, Vars<'_>, [Option<&str>; 3])] = &[
        ("none is fine", &[https], [None; 3]),
        ("a CA alone", &[https, (CERTIFICATE, "ca")], [Some("ca"), None, None]),
        (
            "an identity alone",
            &[https, (CLIENT_CERTIFICATE, "crt"), (CLIENT_KEY, "key")],
            [None, Some("crt"), Some("key")],
        ),
        (
            "a signal's beats the generic one, each on its own",
            &[
                https,
                (CERTIFICATE, "ca"),
                (TRACES_CERTIFICATE, "traces-ca"),
                (CLIENT_CERTIFICATE, "crt"),
                (TRACES_CLIENT_CERTIFICATE, "traces-crt"),
                (CLIENT_KEY, "key"),
            ],
            [Some("traces-ca"), Some("traces-crt"), Some("key")],
        ),
        ("empty is unset", &[https, (CERTIFICATE, ""), (CLIENT_KEY, " ")], [None; 3]),
    ];
    for (rule, vars, expected) in rows {
        let (settings, warnings) = resolve(vars);
        assert_eq!(paths(&settings), *expected, "{rule}");
        assert!(warnings.is_empty(), "{rule}: {warnings:?}");
    }
}

#[test]
fn half_a_pair_names_what_is_missing() {
    let https = (ENDPOINT, "https://c");
    for (vars, given, missing) in [
        (&[https, (CLIENT_KEY, "k")], CLIENT_KEY, CLIENT_CERTIFICATE),
        (&[https, (CLIENT_CERTIFICATE, "c")], CLIENT_CERTIFICATE, CLIENT_KEY),
        (
            &[https, (TRACES_CLIENT_CERTIFICATE, "c")],
            TRACES_CLIENT_CERTIFICATE,
            "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
        ),
    ] {
        let refusal = refusal(vars);
        let expected = format!("{given} is set and {missing} is not");
        assert!(refusal.starts_with(&expected), "{refusal}");
    }
}

#[test]
fn plaintext_beside_tls_variables_warns_once_and_names_them() {
    let (settings, warnings) = resolve(&[
        (ENDPOINT, "http://c:1"),
        (CERTIFICATE, "ca"),
        // Half a pair is not an error if credentials are not read.
        (TRACES_CLIENT_CERTIFICATE, "crt"),
    ]);
    assert!(settings.tls.is_none());
    let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
    for words in ["http://c:1", ENDPOINT, CERTIFICATE, TRACES_CLIENT_CERTIFICATE, "https://"] {
        assert!(warning.contains(words), "{warning}");
    }
}

#[test]
fn headers() {
    let rows: &[(&str, Vars<'_>, Pairs<'_>)] = &[
        ("none by default", &[], &[]),
        ("pairs", &[(HEADERS, "a=1,b=2")], &[("a", "1"), ("b", "2")]),
        ("white space around", &[(HEADERS, " a = 1 , b=2 ,")], &[("a", "1"), ("b", "2")]),
        ("values are percent-encoded", &[(HEADERS, "a=x%20y%3Dz%2C")], &[("a", "x y=z,")]),
        ("a value may have an equals sign", &[(HEADERS, "a=b==")], &[("a", "b==")]),
        ("and what would be metadata", &[(HEADERS, "a=b;c=d")], &[("a", "b;c=d")]),
        ("of duplicates the last wins", &[(HEADERS, "a=1,A=2")], &[("a", "2")]),
        ("names are not case-sensitive", &[(HEADERS, "Api-Key=v")], &[("api-key", "v")]),
        (
            "a signal's replace all others",
            &[(HEADERS, "a=1"), (TRACES_HEADERS, "b=2")],
            &[("b", "2")],
        ),
    ];
    for (rule, vars, expected) in rows {
        let (settings, _) = resolve(vars);
        let headers: Vec<_> = settings
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        assert_eq!(headers, *expected, "{rule}");
        assert!(settings.headers.values().all(http::HeaderValue::is_sensitive), "{rule}");
    }
}

#[test]
fn headers_that_cannot_be_sent_are_refused_without_their_value() {
    for (value, words) in [
        ("a=1,secret", "header 2 is not of the form name=value"),
        ("a b=secret", "header 1 has a name that is not valid"),
        ("a=%00secret", "header 1 has a value that is not valid"),
        ("a=1%0d%0ab: secret", "header 1 has a value that is not valid"),
        ("a=%ffsecret", "header 1 has a value that is not valid"),
        ("a=%C3%A9secret", "header 1 has a value that is not valid"),
        ("Content-Length=secret", "header 1 has a name that only the protocol itself may set"),
        ("a=1,grpc-timeout=secret", "header 2 has a name that only the protocol itself may set"),
    ] {
        let refusal = refusal(&[(HEADERS, value)]);
        assert!(refusal.starts_with(HEADERS), "{refusal}");
        assert!(refusal.contains(&words.replace("not valid", "not a valid")), "{refusal}");
        assert!(!refusal.contains("secret"), "{refusal}");
    }
}

#[test]
fn timeout() {
    let ms = |ms| Some(Duration::from_millis(ms));
    let rows: &[(&str, Vars<'_>, Option<Duration>, usize)] = &[
        ("ten seconds by default", &[], ms(10_000), 0),
        ("milliseconds", &[(TIMEOUT, "250")], ms(250), 0),
        ("zero is no limit", &[(TIMEOUT, "0")], None, 0),
        ("a signal's beats the generic one", &[(TIMEOUT, "1"), (TRACES_TIMEOUT, "2")], ms(2), 0),
        ("no number is ignored", &[(TIMEOUT, "10s")], ms(10_000), 1),
        ("neither is a negative one", &[(TIMEOUT, "-1")], ms(10_000), 1),
        ("a signal's nonsense falls back", &[(TIMEOUT, "7"), (TRACES_TIMEOUT, "x")], ms(7), 1),
        ("the processor's, if it is shorter", &[(BSP_TIMEOUT, "3")], ms(3), 0),
        ("and not if it is longer", &[(BSP_TIMEOUT, "30000")], ms(10_000), 0),
        ("it limits what has no limit", &[(TIMEOUT, "0"), (BSP_TIMEOUT, "3")], ms(3), 0),
        ("zero adds no limit", &[(BSP_TIMEOUT, "0")], ms(10_000), 0),
        ("nor does nonsense", &[(BSP_TIMEOUT, "-1")], ms(10_000), 1),
        ("nor another signal's", &[("OTEL_BLRP_EXPORT_TIMEOUT", "3")], ms(10_000), 0),
    ];
    for (rule, vars, expected, warned) in rows {
        let (settings, warnings) = resolve(vars);
        assert_eq!(*settings.timeout, *expected, "{rule}");
        assert_eq!(warnings.len(), *warned, "{rule}: {warnings:?}");
    }
}

/// A value from code replaces the environment's; a default from code ranks below it.
#[test]
fn the_processor_s_timeout_beats_a_default_of_code() {
    for (code, default, expected) in [(None, Some(5_000), 3), (Some(5_000), None, 5_000)] {
        let set = |timeout: Option<u64>| match timeout {
            Some(timeout) => SignalBuilder::default().with_timeout(Duration::from_millis(timeout)),
            None => SignalBuilder::default(),
        };
        for is_own in [true, false] {
            let (own, all) = match is_own {
                true => (set(code), SignalBuilder::default()),
                false => (SignalBuilder::default(), set(code)),
            };
            let mut layers = layers(&[(BSP_TIMEOUT, "3")], own, all);
            layers.defaults.all = set(default).0;
            let settings = Settings::resolve(Signal::Traces, &layers, false, &mut Vec::new());
            let timeout = settings.unwrap().timeout;
            assert_eq!(*timeout, Some(Duration::from_millis(expected)), "{code:?} {default:?}");
        }
    }
}

#[cfg(all(feature = "gzip", feature = "zstd"))]
#[test]
fn compression() {
    use Compression::{Gzip, Zstd};
    let rows: &[(&str, Vars<'_>, Option<Compression>, usize)] = &[
        ("none by default", &[], None, 0),
        ("gzip", &[(COMPRESSION, "gzip")], Some(Gzip), 0),
        ("zstd, in any case", &[(COMPRESSION, "ZSTD")], Some(Zstd), 0),
        ("none switches off", &[(COMPRESSION, "gzip"), (TRACES_COMPRESSION, "none")], None, 0),
        ("unknown ones are ignored", &[(COMPRESSION, "brotli")], None, 1),
        ("and fall back", &[(COMPRESSION, "gzip"), (TRACES_COMPRESSION, "x")], Some(Gzip), 1),
    ];
    for (rule, vars, expected, warned) in rows {
        let (settings, warnings) = resolve(vars);
        assert_eq!(*settings.compression, *expected, "{rule}");
        assert_eq!(warnings.len(), *warned, "{rule}: {warnings:?}");
    }
}

/// The specification's defaults, and no variables.
#[test]
fn sizes() {
    let sizes = |settings: &Settings| (settings.max_request_size, settings.max_response_size);
    assert_eq!(sizes(&resolve(&[]).0), (64 << 20, 4 << 20));
    let all = SignalBuilder::default().with_max_request_size(1).with_max_response_size(2);
    let own = SignalBuilder::default().with_max_request_size(3).with_max_response_size(4);
    let of = |own, all| sizes(&resolve_with(&[], own, all).0.unwrap());
    assert_eq!(of(SignalBuilder::default(), all.clone()), (1, 2));
    assert_eq!(of(own, all), (3, 4));
    // As in a configuration file.
    let unlimited = SignalBuilder::default().with_max_request_size(0);
    assert_eq!(of(unlimited, SignalBuilder::default()), (usize::MAX, 4 << 20));
}

#[test]
fn an_unknown_protocol_is_ignored_with_a_warning() {
    let (settings, warnings) = resolve(&[(PROTOCOL, "grpc"), (TRACES_PROTOCOL, "thrift")]);
    assert_eq!(*settings.protocol, Protocol::Grpc);
    let expected = format!(
        "{TRACES_PROTOCOL}: `thrift` is ignored, expected grpc, http/protobuf or http/json"
    );
    assert_eq!(warnings, [expected]);
}

#[cfg(unix)]
#[test]
fn text_that_is_not_unicode_is_refused_and_a_path_is_taken() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    let lookup = |variable: &'static str| {
        Env::new(move |name| match name {
            name if name == variable => Some(OsString::from_vec(b"\xff".to_vec())),
            ENDPOINT => Some("https://c".into()),
            _ => None,
        })
    };
    let resolve = |env: Env| {
        let layers = Layers { code: Rank::default(), env, defaults: Rank::default(), file: None };
        Settings::resolve(Signal::Traces, &layers, false, &mut Vec::new())
    };
    let refusal = resolve(lookup(TIMEOUT)).unwrap_err().to_string();
    assert_eq!(refusal, format!("{TIMEOUT}: the value is not valid Unicode"));
    let settings = resolve(lookup(CERTIFICATE)).unwrap();
    assert!(settings.tls.unwrap().ca.unwrap().value.path().is_some());
}

#[test]
fn the_builder_beats_the_environment_and_a_signal_beats_all() {
    let vars: Vars<'_> = &[
        (TRACES_ENDPOINT, "https://env"),
        (TRACES_PROTOCOL, "grpc"),
        (TRACES_HEADERS, "env=1"),
        (TRACES_TIMEOUT, "1"),
        (TRACES_COMPRESSION, "gzip"),
        (TRACES_CERTIFICATE, "env-ca"),
        (TRACES_CLIENT_CERTIFICATE, "env-crt"),
        (CLIENT_KEY, "env-key"),
    ];
    let generic = || {
        SignalBuilder::default()
            .with_endpoint("https://all")
            .with_protocol(Protocol::HttpProtobuf)
            .with_headers([("all", "1")])
            .with_timeout(Duration::from_millis(2))
            .with_compression(None)
            .with_ca_certificate(Pem::file("all-ca"))
            .with_client_identity(Pem::file("all-crt"), Pem::file("all-key"))
            .with_server_name("all.example")
    };
    let (settings, warnings) = resolve_with(vars, SignalBuilder::default(), generic());
    let settings = settings.unwrap();
    assert_eq!(url(&settings), "https://all:443/v1/traces");
    assert_eq!(*settings.protocol, Protocol::HttpProtobuf);
    assert_eq!(settings.headers.len(), 1);
    assert_eq!(settings.headers["all"], "1");
    assert_eq!(*settings.timeout, Some(Duration::from_millis(2)));
    assert_eq!(*settings.compression, None);
    assert_eq!(paths(&settings), [Some("all-ca"), Some("all-crt"), Some("all-key")]);
    assert_eq!(settings.tls.unwrap().server_name.to_str(), "all.example");
    assert_eq!(warnings, [""; 0]);

    let specific = SignalBuilder::default()
        .with_endpoint("https://one/in")
        .with_headers([("one", "1")])
        .with_timeout(Duration::ZERO)
        .with_ca_certificate(Pem::file("one-ca"));
    let settings = resolve_with(vars, specific, generic()).0.unwrap();
    assert_eq!(url(&settings), "https://one:443/in");
    assert_eq!(settings.headers.len(), 1);
    assert_eq!(settings.headers["one"], "1");
    assert_eq!(*settings.timeout, None);
    assert_eq!(paths(&settings), [Some("one-ca"), Some("all-crt"), Some("all-key")]);
}

#[test]
fn insecure_of_the_builder_beats_the_environment() {
    let vars: Vars<'_> = &[(ENDPOINT, "c:1"), (PROTOCOL, "grpc"), (INSECURE, "true")];
    let secure = SignalBuilder::default().with_insecure(false);
    let settings = resolve_with(vars, SignalBuilder::default(), secure).0.unwrap();
    assert!(settings.endpoint.secure);
}

#[test]
fn a_server_name_that_no_certificate_could_have_is_refused() {
    let bad = SignalBuilder::default().with_server_name("not a name");
    let error =
        resolve_with(&[(ENDPOINT, "https://c")], bad, SignalBuilder::default()).0.unwrap_err();
    assert!(error.to_string().starts_with("with_server_name(): `not a name`"), "{error}");
}

#[test]
fn metrics_preferences() {
    let fold = |vars: Vars<'_>| {
        let mut warnings = Vec::new();
        let none = SignalBuilder::default;
        let layer = layers(vars, none(), none()).fold(Signal::Metrics, &mut warnings).unwrap();
        (layer, warnings.len())
    };
    for (value, expected, warned) in [
        ("Delta", Some(Temporality::Delta), 0),
        ("lowmemory", Some(Temporality::LowMemory), 0),
        ("cumulative", Some(Temporality::Cumulative), 0),
        ("", None, 0),
        ("daily", None, 1),
    ] {
        let (layer, warnings) = fold(&[(TEMPORALITY_PREFERENCE, value)]);
        assert_eq!(layer.temporality.map(|found| found.value), expected, "{value}");
        assert_eq!(warnings, warned, "{value}");
    }
    use HistogramAggregation::{Base2ExponentialBucket, ExplicitBucket};
    for (value, expected, warned) in [
        ("base2_exponential_bucket_histogram", Some(Base2ExponentialBucket), 0),
        ("explicit_bucket_histogram", Some(ExplicitBucket), 0),
        ("none", None, 1),
    ] {
        let (layer, warnings) = fold(&[(DEFAULT_HISTOGRAM_AGGREGATION, value)]);
        assert_eq!(layer.histogram_aggregation.map(|found| found.value), expected, "{value}");
        assert_eq!(warnings, warned, "{value}");
    }
}

/// In decreasing precedence: code for one signal, code for all, the signal's variable, the generic
/// one, a default from code.
#[test]
fn defaults_of_code_lie_below_the_environment() {
    let fold = |vars: Vars<'_>, code: SignalBuilder| {
        let mut layers = layers(vars, SignalBuilder::default(), code);
        layers.defaults.all = SignalBuilder::default()
            .with_protocol(Protocol::Grpc)
            .with_timeout(Duration::from_millis(3))
            .0;
        Settings::resolve(Signal::Traces, &layers, false, &mut Vec::new()).unwrap()
    };
    let settings = fold(&[], SignalBuilder::default());
    assert_eq!(
        (*settings.protocol, *settings.timeout),
        (Protocol::Grpc, Some(Duration::from_millis(3)))
    );
    let settings = fold(&[(PROTOCOL, "http/protobuf")], SignalBuilder::default());
    assert_eq!(*settings.protocol, Protocol::HttpProtobuf);
    let code = SignalBuilder::default().with_protocol(Protocol::HttpProtobuf);
    assert_eq!(*fold(&[(PROTOCOL, "grpc")], code).protocol, Protocol::HttpProtobuf);
}

#[test]
fn what_signals_share_a_connection() {
    let tls = &[
        (ENDPOINT, "https://c:1"),
        (CERTIFICATE, "ca"),
        (CLIENT_CERTIFICATE, "crt"),
        (CLIENT_KEY, "key"),
    ];
    let settings = |change: &dyn Fn(SignalBuilder) -> SignalBuilder| {
        resolve_with(tls, change(SignalBuilder::default()), SignalBuilder::default()).0.unwrap()
    };
    let one = settings(&|same| same);
    type Change<'a> = &'a dyn Fn(SignalBuilder) -> SignalBuilder;
    let rows: &[(&str, bool, Change<'_>)] = &[
        ("the path does not matter", true, &|o| o.with_endpoint("https://c:1/elsewhere")),
        ("nor the host's capitals", true, &|o| o.with_endpoint("https://C:1")),
        ("nor headers", true, &|o| o.with_headers([("a", "b")])),
        ("nor the timeout", true, &|o| o.with_timeout(Duration::from_secs(1))),
        ("nor where a value came from", true, &|o| o.with_ca_certificate(Pem::file("ca"))),
        ("the port does", false, &|o| o.with_endpoint("https://c:2")),
        ("the host does", false, &|o| o.with_endpoint("https://d:1")),
        ("the scheme does", false, &|o| o.with_endpoint("http://c:1")),
        ("the protocol family does", false, &|o| {
            o.with_endpoint("https://c:1").with_protocol(Protocol::Grpc)
        }),
        ("the CA does", false, &|o| o.with_ca_certificate(Pem::file("other"))),
        ("the identity does", false, &|o| {
            o.with_client_identity(Pem::file("other"), Pem::file("key"))
        }),
        ("the server's name does", false, &|o| o.with_server_name("other.example")),
        ("the authority does", false, &|o| o.with_authority("other.example")),
        ("but for its capitals", true, &|o| o.with_authority("C:1")),
    ];
    for (rule, share, change) in rows {
        assert_eq!(one.connection_key() == settings(change).connection_key(), *share, "{rule}");
    }
}

/// For each signal, each of its own variables is read, and none of another signal.
#[test]
fn every_signal_has_variables_of_its_own() {
    let resolve = |signal: Signal, vars: Vec<(String, &str)>| {
        let none = SignalBuilder::default;
        let vars: Vec<_> = vars.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let layers = layers(&vars, none(), none());
        Settings::resolve(signal, &layers, false, &mut Vec::new()).unwrap()
    };
    for (signal, name, export_timeout) in [
        (Signal::Traces, "TRACES", BSP_TIMEOUT),
        (Signal::Metrics, "METRICS", "OTEL_METRIC_EXPORT_TIMEOUT"),
        (Signal::Logs, "LOGS", "OTEL_BLRP_EXPORT_TIMEOUT"),
    ] {
        let vars = || {
            [
                ("ENDPOINT", "own:1"),
                ("PROTOCOL", "grpc"),
                ("CERTIFICATE", "ca"),
                ("CLIENT_CERTIFICATE", "crt"),
                ("CLIENT_KEY", "key"),
                ("HEADERS", "own=1"),
                ("TIMEOUT", "7"),
            ]
            .map(|(variable, value)| (format!("OTEL_EXPORTER_OTLP_{name}_{variable}"), value))
            .to_vec()
        };
        let settings = resolve(signal, vars());
        assert_eq!(settings.endpoint.to_string(), "https://own:1", "{name}");
        assert_eq!(*settings.protocol, Protocol::Grpc, "{name}");
        assert_eq!(paths(&settings), [Some("ca"), Some("crt"), Some("key")], "{name}");
        assert_eq!(settings.headers["own"], "1", "{name}");
        assert_eq!(*settings.timeout, Some(Duration::from_millis(7)), "{name}");
        let shorter = [vars(), vec![(export_timeout.to_owned(), "3")]].concat();
        assert_eq!(*resolve(signal, shorter).timeout, Some(Duration::from_millis(3)), "{name}");
        let insecure = (format!("OTEL_EXPORTER_OTLP_{name}_INSECURE"), "true");
        assert!(!resolve(signal, [vars(), vec![insecure]].concat()).endpoint.secure, "{name}");

        for other in Signal::ALL.into_iter().filter(|other| *other != signal) {
            let settings = resolve(other, vars());
            assert_eq!(settings.endpoint.origin, Origin::Default, "{name} is not {other}'s");
            assert!(settings.headers.is_empty() && settings.tls.is_none(), "{name}, {other}");
        }
    }
}

#[test]
fn certificates_of_variables_are_left_alone_where_others_are_brought_along() {
    let none = SignalBuilder::default;
    let vars: Vars<'_> = &[(ENDPOINT, "https://c"), (CLIENT_KEY, "half a pair")];
    let layers = layers(vars, none(), none());
    let settings = Settings::resolve(Signal::Traces, &layers, true, &mut Vec::new()).unwrap();
    let tls = settings.tls.unwrap();
    assert!(tls.ca.is_none() && tls.identity.is_none());
}
