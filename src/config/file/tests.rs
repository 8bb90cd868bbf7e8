use super::yaml::Content;
use super::*;
use crate::config::layer::{HeadersText, Layer};
use crate::config::switches::OutputTarget;

const PATH: &str = "/etc/otel.yaml";

fn env() -> Env {
    Env::new(|name| {
        let value = match name {
            "STRING_VALUE" => "value",
            "BOOL_VALUE" => "true",
            "INT_VALUE" => "1",
            "FLOAT_VALUE" => "1.1",
            "HEX_VALUE" => "0xdeadbeef",
            "INVALID_MAP_VALUE" => "value\nkey:value",
            "DO_NOT_REPLACE_ME" => "Never use this value",
            "REPLACE_ME" => "${DO_NOT_REPLACE_ME}",
            "VALUE_WITH_ESCAPE" => "value$$",
            _ => return None,
        };
        Some(value.into())
    })
}

fn read(text: &str) -> Result<(ConfigFile, Vec<String>), Error> {
    let mut warnings = Vec::new();
    let origin = Origin::Variable("OTEL_CONFIG_FILE".to_owned());
    let file = ConfigFile::parse(text, Path::new(PATH), &origin, &env(), &mut warnings)?;
    Ok((file, warnings.iter().map(ToString::to_string).collect()))
}

/// The errors, one a line.
fn errors(text: &str) -> Vec<String> {
    match read(text) {
        Ok(_) => Vec::new(),
        Err(Error::ConfigFile { errors, .. }) => errors.iter().map(ToString::to_string).collect(),
        Err(error) => panic!("{error}"),
    }
}

/// A file whose tracer provider has one processor.
fn with_processor(processor: &str) -> String {
    format!("file_format: \"1.1\"\ntracer_provider:\n  processors:\n    - {processor}\n")
}

/// A file whose traces have one exporter.
fn with_exporter(exporter: &str) -> String {
    with_processor(&format!("batch: {{exporter: {exporter}}}"))
}

/// The settings of traces in a file.
#[cfg(feature = "trace")]
fn traces(text: &str) -> Layer {
    read(text).unwrap_or_else(|error| panic!("{error}")).0.rank.of(Signal::Traces)
}

/// The [specification's table][spec], with the result of each input.
///
/// [spec]: https://opentelemetry.io/docs/specs/otel/configuration/data-model/#environment-variable-substitution
#[test]
fn the_specification_s_table_of_substitutions() {
    use super::scalar::Scalar::{self, Boolean, Float, Integer, Null, Text};
    let rows: &[(&str, Scalar<'_>)] = &[
        ("${STRING_VALUE}", Text("value")),
        ("${BOOL_VALUE}", Boolean(true)),
        ("${INT_VALUE}", Integer(1)),
        ("${FLOAT_VALUE}", Float(1.1)),
        ("${HEX_VALUE}", Integer(3_735_928_559)),
        ("\"${STRING_VALUE}\"", Text("value")),
        ("\"${BOOL_VALUE}\"", Text("true")),
        ("\"${INT_VALUE}\"", Text("1")),
        ("\"${FLOAT_VALUE}\"", Text("1.1")),
        ("\"${HEX_VALUE}\"", Text("0xdeadbeef")),
        ("${env:STRING_VALUE}", Text("value")),
        ("${INVALID_MAP_VALUE}", Text("value\nkey:value")),
        ("foo ${STRING_VALUE} ${FLOAT_VALUE}", Text("foo value 1.1")),
        ("${UNDEFINED_KEY}", Null),
        ("${UNDEFINED_KEY:-fallback}", Text("fallback")),
        ("${REPLACE_ME}", Text("${DO_NOT_REPLACE_ME}")),
        ("${UNDEFINED_KEY:-${STRING_VALUE}}", Text("${STRING_VALUE}")),
        ("$${STRING_VALUE}", Text("${STRING_VALUE}")),
        ("$$${STRING_VALUE}", Text("$value")),
        ("$$$${STRING_VALUE}", Text("$${STRING_VALUE}")),
        ("$${STRING_VALUE:-fallback}", Text("${STRING_VALUE:-fallback}")),
        ("$${STRING_VALUE:-${STRING_VALUE}}", Text("${STRING_VALUE:-value}")),
        ("${UNDEFINED_KEY:-$${UNDEFINED_KEY}}", Text("${UNDEFINED_KEY:-${UNDEFINED_KEY}}")),
        ("${VALUE_WITH_ESCAPE}", Text("value$$")),
        ("a $$ b", Text("a $ b")),
        ("a $ b", Text("a $ b")),
    ];
    let value = |text: &str| {
        let document = yaml::parse(text, &env()).unwrap();
        let Content::Table(mut entries) = document.content else { panic!("{text}") };
        assert_eq!(entries.len(), 1, "{text}");
        entries.remove(0)
    };
    for (input, expected) in rows {
        let (key, node) = value(&format!("key: {input}"));
        assert_eq!((key.as_str(), node.scalar()), ("key", Some(*expected)), "{input}");
    }
    let (key, node) = value("${STRING_VALUE}: value");
    assert_eq!((key.as_str(), node.scalar()), ("${STRING_VALUE}", Some(Text("value"))));
    let refused = yaml::parse("a: 1\nkey: ${STRING_VALUE:?error}", &env()).unwrap_err().to_string();
    assert!(refused.starts_with("line 2: key: invalid substitution"), "{refused}");
}

#[test]
fn yaml_that_is_no_configuration() {
    for (rule, text, expected) in [
        ("an empty file", "", "line 1: the key `file_format` is missing"),
        ("no mapping", "- a", "line 1: expected a mapping"),
        ("no YAML", "a: ]", "line 1: invalid YAML: "),
        (
            "a key twice",
            "file_format: '1.0'\nfile_format: '1.0'",
            "line 2: file_format: the key is",
        ),
        ("two documents", "file_format: '1.0'\n---\na: 1", "line 2: a second document is not"),
        ("a tag", "file_format: !!int '1'", "line 1: file_format: a tag is not supported"),
        ("an alias within", "a: &x [*x]", "line 1: a[0]: an alias within what it refers to"),
        ("a key of its own kind", "? [a]\n: 1", "line 1: a key that is not text is not"),
    ] {
        let found = errors(text);
        assert!(
            found.first().is_some_and(|found| found.starts_with(expected)),
            "{rule}: {found:?}"
        );
    }
    let deep = format!("a: {}", "[".repeat(200));
    assert!(errors(&deep)[0].contains("so large a file is not supported"), "{:?}", errors(&deep));
    let bomb: String = (1..20).map(|i| format!("a{i}: &a{i} [*a{0}, *a{0}]\n", i - 1)).collect();
    let bomb = format!("a0: &a0 [1, 2]\n{bomb}");
    assert!(errors(&bomb)[0].contains("so large a file is not supported"), "{:?}", errors(&bomb));
}

#[test]
fn versions() {
    let said = |version: &str| {
        read(&format!("file_format: {version}")).map(|(_, warnings)| warnings.len()).ok()
    };
    for (version, expected) in [
        ("\"1.0\"", Some(0)),
        ("'1.1'", Some(0)),
        ("1.0", Some(0)),
        ("\"1.7\"", Some(1)),
        ("\"2.0\"", None),
        ("\"0.4\"", None),
        ("\"1.0-rc.2\"", None),
        ("1", None),
        ("", None),
    ] {
        assert_eq!(said(version), expected, "{version}");
    }
    let (_, warnings) = read("file_format: '1.7'").unwrap();
    let expected =
        "file_format (/etc/otel.yaml:1): `1.7` is ignored, expected 1.0 to 1.1; using 1.1";
    assert_eq!(warnings, [expected]);
}

/// A missing signal is off.
#[test]
fn a_file_that_says_nothing() {
    let (file, _) = read("file_format: '1.1'\ndisabled: ${UNSET}\nlog_level:").unwrap();
    for signal in Signal::ALL {
        assert!(file.switches.outputs(signal).is_empty(), "{signal}");
    }
    assert!(!file.switches.is_disabled() && !file.names_propagators);
    assert!(file.switches.propagators().is_empty());
    let disabled = format!("{}disabled: ${{BOOL_VALUE}}\n", with_exporter("{otlp_http: }"));
    let (file, _) = read(&disabled).unwrap();
    let origin = file.disabled.as_ref();
    assert_eq!(origin.unwrap().to_string(), "disabled (/etc/otel.yaml:5)");
    let switches = file.switches.below(&Rank::default(), origin);
    assert!(switches.is_disabled());
    assert!(switches.outputs(Signal::Traces).is_empty());
}

#[test]
fn log_levels() {
    for (level, expected) in [
        ("info", LevelFilter::INFO),
        ("trace", LevelFilter::TRACE),
        ("warn2", LevelFilter::ERROR),
        ("error4", LevelFilter::OFF),
        ("fatal", LevelFilter::OFF),
    ] {
        let (file, _) = read(&format!("file_format: '1.1'\nlog_level: {level}")).unwrap();
        assert_eq!(file.switches.log_level(), Some(expected), "{level}");
    }
    assert_eq!(errors("file_format: '1.1'\nlog_level: info5").len(), 1);
}

#[test]
fn propagators_of_both_kinds() {
    let of = |text: &str| {
        let (file, _) = read(&format!("file_format: '1.1'\npropagator: {text}")).unwrap();
        assert!(file.names_propagators);
        file.switches.propagators().to_vec()
    };
    use Propagator::{Baggage, TraceContext};
    assert_eq!(of("{composite: [tracecontext: , baggage: ]}"), [TraceContext, Baggage]);
    assert_eq!(
        of("{composite: [baggage: ], composite_list: 'tracecontext, baggage'}"),
        [Baggage, TraceContext]
    );
    assert_eq!(of("{composite_list: none}"), []);
    assert_eq!(of("{composite_list: }"), []);
    let refused = errors("file_format: '1.1'\npropagator:\n  composite:\n    - xray:\n");
    assert!(
        refused[0].starts_with("line 4: propagator.composite[0].xray: expected "),
        "{refused:?}"
    );
}

#[cfg(feature = "trace")]
#[test]
fn an_exporter_with_all_it_may_have() {
    let text = with_exporter(
        "{otlp_http: {endpoint: 'https://c/v1/traces', encoding: json, compression: gzip, timeout: 7, \
         max_request_size: 0, max_response_size: 9, headers_list: 'a=1,b=%20', headers: [{name: a, value: '2'}, {name: b, \
         value: }], tls: {ca_file: /ca, cert_file: /cert, key_file: /key}}}",
    );
    let layer = traces(&text);
    let endpoint = layer.endpoint.unwrap();
    assert_eq!((endpoint.text.as_str(), endpoint.is_whole), ("https://c/v1/traces", true));
    assert_eq!(endpoint.origin.to_string(), "endpoint (/etc/otel.yaml:4)");
    assert_eq!(layer.protocol.unwrap().value.to_string(), "http/json");
    assert_eq!(layer.compression.unwrap().value.unwrap().to_string(), "gzip");
    assert_eq!(layer.timeout.unwrap().value.as_millis(), 7);
    assert_eq!((layer.max_request_size, layer.max_response_size), (Some(0), Some(9)));
    let Some(HeadersText::Pairs(headers)) = layer.headers.map(|headers| headers.value) else {
        panic!("no headers")
    };
    let expected = [("a", "1"), ("b", " "), ("a", "2")];
    assert_eq!(headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(layer.ca.unwrap().path(), Some(Path::new("/ca")));
    assert_eq!(layer.client_certificate.unwrap().path(), Some(Path::new("/cert")));
    assert_eq!(layer.client_key.unwrap().path(), Some(Path::new("/key")));

    // Null and missing values.
    for exporter in ["{otlp_grpc: }", "{otlp_grpc: {}}", "{otlp_grpc: {endpoint: , tls: }}"] {
        let layer = traces(&with_exporter(exporter));
        assert_eq!(layer.protocol.unwrap().value.to_string(), "grpc", "{exporter}");
        assert!(layer.endpoint.is_none() && layer.headers.is_none(), "{exporter}");
    }
    let layer = traces(&with_exporter("{otlp_grpc: {endpoint: 'c:4317', tls: {insecure: true}}}"));
    assert!(layer.insecure.unwrap().value);
}

/// The shorter timeout wins.
#[cfg(feature = "trace")]
#[test]
fn timeouts_of_exporter_and_processor() {
    for (processor, exporter, expected) in [
        ("", "timeout: 5", Some(("timeout", 5))),
        ("export_timeout: 3,", "timeout: 5", Some(("export_timeout", 3))),
        ("export_timeout: 0,", "timeout: 5", Some(("timeout", 5))),
        ("export_timeout: 3,", "timeout: 0", Some(("export_timeout", 3))),
        ("export_timeout: 3,", "", Some(("export_timeout", 3))),
        ("export_timeout: 30000,", "", None),
        ("export_timeout: 30000,", "timeout: ", None),
    ] {
        let text = with_processor(&format!(
            "batch: {{{processor} exporter: {{otlp_http: {{{exporter}}}}}}}"
        ));
        let found = traces(&text).timeout.map(|found| {
            let Origin::File(origin) = found.origin else { panic!("{:?}", found.origin) };
            (origin.key, found.value.as_millis())
        });
        let expected = expected.map(|(key, value)| (key.to_owned(), value));
        assert_eq!(found, expected, "{processor} {exporter}");
    }
}

#[cfg(feature = "trace")]
#[test]
fn processors_samplers_and_limits() {
    let text = "
file_format: '1.1'
attribute_limits: {attribute_count_limit: 7, attribute_value_length_limit: }
tracer_provider:
  processors:
    - batch:
        schedule_delay: 20
        max_queue_size: ${INT_VALUE}0
        max_export_batch_size: 10
        exporter:
          otlp_http:
    - simple: {exporter: {otlp_file/development: }}
";
    assert_eq!(
        errors(text),
        [
            "line 12: tracer_provider.processors[1].simple.exporter.otlp_file/development: not supported"
        ]
    );
    let text = text.replace("    - simple: {exporter: {otlp_file/development: }}\n", "");
    let (file, _) = read(&format!(
        "{text}  limits: {{event_count_limit: 0}}\n  sampler: {{parent_based: {{root: {{always_off: }}, \
         local_parent_sampled: {{trace_id_ratio_based: {{ratio: 0.5}}}}}}}}\n"
    ))
    .unwrap();
    let [output] = file.switches.outputs(Signal::Traces) else { panic!("one output") };
    assert_eq!(output.target, OutputTarget::Otlp);
    let expected = crate::config::Batch::default()
        .with_schedule_delay(std::time::Duration::from_millis(20))
        .with_max_queue_size(10)
        .with_max_export_batch_size(10);
    assert_eq!(output.processor, crate::config::Processor::Batch(expected));
    let sdk = file.rank.all.sdk;
    let limits = sdk.span_limits.unwrap();
    assert_eq!((limits.max_attributes_per_span, limits.max_events_per_span), (7, 0));
    assert_eq!((limits.max_links_per_span, limits.max_attributes_per_link), (128, 128));
    let sampler = format!("{:?}", sdk.sampler.unwrap());
    assert!(sampler.contains("root: AlwaysOff"), "{sampler}");
    assert!(sampler.contains("local_parent_sampled: Some(TraceIdRatioBased(0.5))"), "{sampler}");
    assert!(sampler.contains("remote_parent_sampled: None"), "{sampler}");
}

#[test]
fn the_resource() {
    let of = |text: &str| {
        let (file, _) = read(&format!("file_format: '1.1'\nresource: {text}")).unwrap();
        let sdk = file.rank.all.sdk;
        let attributes = sdk
            .attributes
            .iter()
            .map(|attribute| (attribute.key.to_string(), format!("{:?}", attribute.value)));
        (sdk.resource.unwrap(), attributes.collect::<Vec<_>>())
    };
    let (resource, attributes) = of(
        "{schema_url: 'https://s', attributes_list: 'a=1,b=%20', attributes: [{name: a, value: '2'}, \
         {name: n, value: 3, type: int}, {name: d, value: 1, type: double}, {name: t, value: true, \
         type: bool}, {name: gone, value: }, {name: l, value: [x, 'y'], type: string_array}]}",
    );
    assert_eq!(resource.schema_url(), Some("https://s"));
    assert!(crate::config::is_unnamed(&resource));
    let name = opentelemetry::Key::from_static_str("telemetry.sdk.language");
    assert_eq!(resource.get(&name).unwrap().to_string(), "rust");
    let expected = [
        ("a", "String(Owned(\"1\"))"),
        ("b", "String(Owned(\" \"))"),
        ("a", "String(Owned(\"2\"))"),
        ("n", "I64(3)"),
        ("d", "F64(1.0)"),
        ("t", "Bool(true)"),
        ("l", "Array(String([Owned(\"x\"), Owned(\"y\")]))"),
    ];
    assert_eq!(attributes.len(), expected.len(), "{attributes:?}");
    for ((key, value), (expected_key, expected)) in attributes.iter().zip(expected) {
        assert_eq!((key.as_str(), value.as_str()), (expected_key, expected));
    }
    let (resource, attributes) = of("{}");
    assert_eq!((resource.schema_url(), attributes.len()), (None, 0));
}

/// No unsupported key is ignored, and all of them are reported at once.
#[test]
fn what_cannot_be_used_is_named_with_its_line() {
    let text = "
file_format: \"1.1\"
instrumentation/development: {}
loger_provider: {}
disabled: yes
attribute_limits: {attribute_value_length_limit: 10}
propagator:
resource:
  detection/development: {}
  attributes:
    - {name: a, value: 1}
    - {value: '1'}
";
    assert_eq!(
        errors(text),
        [
            "line 3: instrumentation/development: not supported",
            "line 4: loger_provider: unknown key, expected file_format, disabled, log_level, \
         attribute_limits, tracer_provider, meter_provider, logger_provider, propagator, resource",
            "line 5: disabled: expected true or false",
            "line 6: attribute_limits.attribute_value_length_limit: not supported",
            "line 7: propagator: expected a mapping",
            "line 9: resource.detection/development: not supported",
            "line 11: resource.attributes[0].value: expected a string: put the value in quotes",
            "line 12: resource.attributes[1]: the key `name` is missing",
        ]
    );
}

#[cfg(feature = "trace")]
#[test]
fn what_cannot_be_used_of_an_exporter() {
    for (exporter, expected) in [
        ("", "batch.exporter: expected a mapping"),
        ("{}", "batch.exporter: expected a mapping with one key"),
        ("{otlp_http: , otlp_grpc: }", "batch.exporter: expected a mapping with one key"),
        ("{zipkin: }", "zipkin: unknown key, expected otlp_http, otlp_grpc, console"),
        ("{otlp_http: 1}", "otlp_http: expected a mapping"),
        ("{otlp_http: {endpoint: 1}}", "endpoint: expected a string: put the value in quotes"),
        ("{otlp_http: {tls: {ca_file: ca.crt}}}", "tls.ca_file: expected an absolute path"),
        ("{otlp_http: {tls: {insecure: true}}}", "tls.insecure: unknown key, expected ca_file, "),
        ("{otlp_http: {tls: {certificate_file: /c}}}", "certificate_file: unknown key"),
        ("{otlp_http: {tls: {cert_file: /c}}}", "tls.cert_file: a client certificate needs its"),
        ("{otlp_http: {tls: {key_file: /c}}}", "tls.key_file: a client certificate needs its"),
        ("{otlp_grpc: {encoding: json}}", "encoding: unknown key"),
        ("{otlp_http: {encoding: xml}}", "encoding: expected protobuf, json"),
        ("{otlp_http: {compression: br}}", "compression: expected none, gzip or zstd"),
        ("{otlp_http: {timeout: -1}}", "timeout: expected a number from 0 to 2147483647"),
        ("{otlp_http: {timeout: 1.5}}", "timeout: expected a number from 0 to"),
        ("{otlp_http: {headers: }}", "headers: expected a list with at least one entry"),
        ("{otlp_http: {headers: [{name: 'a b', value: x}]}}", "headers[0]: the header "),
        ("{otlp_http: {headers: [{name: a}]}}", "headers[0]: the key `value` is missing"),
        ("{otlp_http: {headers_list: a}}", "headers_list: the header "),
        ("{otlp_http: {temporality_preference: delta}}", "temporality_preference: unknown key"),
    ] {
        let found = errors(&with_exporter(exporter));
        let [found] = found.as_slice() else { panic!("{exporter}: {found:?}") };
        assert!(found.starts_with("line 4: tracer_provider.processors[0].batch"), "{found}");
        assert!(found.contains(expected), "{exporter}: {found}");
    }
    let twice =
        with_processor("batch: {exporter: {otlp_http: }}\n    - simple: {exporter: {otlp_grpc: }}");
    assert_eq!(
        errors(&twice),
        ["line 5: tracer_provider.processors[1].simple.exporter.otlp_grpc: this signal already \
             has an OTLP exporter, and only one is supported"]
    );
    for (processor, expected) in [
        ("batch: ", "processors[0].batch: expected a mapping"),
        ("batch: {}", "processors[0].batch: the key `exporter` is missing"),
        ("bach: {}", "bach: unknown key, expected batch, simple"),
        (
            "batch: {schedule_delay: 0, exporter: {otlp_http: }}",
            "schedule_delay: expected a number from 1",
        ),
        (
            "batch: {max_queue_size: 5, max_export_batch_size: 6, exporter: {otlp_http: }}",
            "from 1 to 5",
        ),
        ("simple: {schedule_delay: 5, exporter: {otlp_http: }}", "schedule_delay: unknown key"),
    ] {
        let found = errors(&with_processor(processor));
        let [found] = found.as_slice() else { panic!("{processor}: {found:?}") };
        assert!(found.contains(expected), "{processor}: {found}");
    }
}

#[cfg(all(feature = "metrics", feature = "logs"))]
#[test]
fn metrics_and_logs() {
    let text = "
file_format: '1.1'
meter_provider:
  exemplar_filter: always_off
  readers:
    - periodic:
        interval: 5
        exporter:
          otlp_grpc: {temporality_preference: low_memory, default_histogram_aggregation: \
                base2_exponential_bucket_histogram}
logger_provider:
  limits: {attribute_count_limit: }
  processors:
    - simple: {exporter: {otlp_http: }}
";
    let (file, _) = read(text).unwrap();
    let metrics = file.rank.of(Signal::Metrics);
    assert_eq!(
        metrics.temporality.unwrap().value,
        opentelemetry_sdk::metrics::Temporality::LowMemory
    );
    assert_eq!(
        metrics.histogram_aggregation.unwrap().value,
        crate::config::HistogramAggregation::Base2ExponentialBucket
    );
    let interval = Some(std::time::Duration::from_millis(5));
    assert_eq!(
        file.switches.outputs(Signal::Metrics)[0].processor,
        crate::config::Processor::Periodic(interval)
    );
    assert_eq!(file.switches.outputs(Signal::Logs)[0].processor, crate::config::Processor::Simple);
    for (from, to, expected) in [
        (
            "always_off",
            "trace_based",
            "line 4: meter_provider.exemplar_filter: expected always_off",
        ),
        ("  readers:", "  views: []\n  readers:", "line 5: meter_provider.views: not supported"),
        ("periodic:", "pull:", "line 6: meter_provider.readers[0].pull: not supported"),
        ("count_limit: ", "count_limit: 1", "logger_provider.limits.attribute_count_limit: not"),
        (
            "logger_provider:",
            "attribute_limits: {attribute_count_limit: 5}\nlogger_provider:",
            "attribute_limits.attribute_count_limit: not supported for log records",
        ),
    ] {
        let found = errors(&text.replacen(from, to, 1));
        let [found] = found.as_slice() else { panic!("{to}: {found:?}") };
        assert!(found.contains(expected), "{found}");
    }
}

/// Code takes precedence over the file, and the file over defaults from code.
#[cfg(feature = "trace")]
#[test]
fn code_beats_the_file() {
    let mut code = Rank::default();
    code.all.sdk.batch = crate::config::Batch::default().with_max_queue_size(3);
    let text =
        with_processor("batch: {max_queue_size: 9, schedule_delay: 9, exporter: {otlp_http: }}");
    let (file, _) = read(&text).unwrap();
    let switches = file.switches.below(&code, None);
    let expected =
        crate::config::Batch::default().with_schedule_delay(std::time::Duration::from_millis(9));
    assert_eq!(
        switches.outputs(Signal::Traces)[0].processor,
        crate::config::Processor::Batch(expected)
    );

    let enabled = |enabled| Some(Sourced::builder("with_enabled", enabled));
    code.all.enabled = enabled(false);
    code.own.entry(Signal::Metrics).or_default().enabled = enabled(true);
    let (file, _) = read(&text).unwrap();
    let switches = file.switches.below(&code, None);
    assert!(switches.outputs(Signal::Traces).is_empty());
    assert!(switches.is_exported(Signal::Metrics) && !switches.is_disabled());
}

/// The example of `docs/config-file.md`.
#[cfg(all(feature = "trace", feature = "grpc"))]
#[test]
fn the_documentation_s_file() {
    let page = include_str!("../../../docs/config-file.md");
    let file = page.split("```").find_map(|part| part.strip_prefix("yaml\n")).unwrap();
    let layer = traces(file);
    assert_eq!(layer.client_key.unwrap().path(), Some(Path::new("/etc/otel/certs/client.key")));
    assert_eq!(layer.ca.unwrap().origin.to_string(), "ca_file (/etc/otel.yaml:13)");
}

proptest::proptest! {
    /// Any input gives an error at worst.
    #[test]
    fn any_text(text in "([-:{}&*!|>'\"%@#,?$~a1 \n]|\\[|\\]|file_format: '1.1'\n|\\$\\{a){0,60}") {
        drop(read(&text));
    }
}

/// Without limits, each of these takes a large multiple of its size in memory.
#[test]
fn what_a_file_takes_is_limited() {
    let long = "a".repeat(100_000);
    for (rule, text) in [
        ("aliases of a long text", format!("a: &a {long}\nb: [{}]", "*a, ".repeat(50))),
        ("aliases under a long key", format!("a: &a [{}]\n? {long}\n: *a", "1, ".repeat(50))),
        (
            "a long key over many",
            format!("? {long}\n: {{{}}}", (0..50).map(|i| format!("k{i}: , ")).collect::<String>()),
        ),
        (
            "anchors within each other",
            format!(
                "a: {}{long}{}",
                (0..50).map(|i| format!("&a{i} [")).collect::<String>(),
                "]".repeat(50)
            ),
        ),
    ] {
        let errors = errors(&text);
        let is_refused = errors.first().is_some_and(|error| error.contains("so large a file is"));
        assert!(is_refused, "{rule}");
    }
}
