use super::*;
use crate::config::layer::{Layer, Rank};
use crate::config::sdk_layer::SdkLayer;

fn env(vars: &[(&str, &str)]) -> Env {
    let vars: Vec<(String, String)> =
        vars.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Env::new(move |name| vars.iter().find(|(key, _)| key == name).map(|(_, value)| value.into()))
}

fn resolve(code: SdkLayer, vars: &[(&str, &str)], defaults: SdkLayer) -> (Sdk, Vec<String>) {
    let rank = |sdk| Rank { all: Layer { sdk, ..Layer::default() }, ..Rank::default() };
    let layers = Layers { code: rank(code), env: env(vars), defaults: rank(defaults), file: None };
    let mut warnings = Vec::new();
    let switches = Switches::resolve(&layers, &mut Vec::new()).unwrap();
    let sdk = Sdk::resolve(&layers, &switches, &mut warnings);
    (sdk, warnings.iter().map(ToString::to_string).collect())
}

fn from_env(vars: &[(&str, &str)]) -> (Sdk, Vec<String>) {
    resolve(SdkLayer::default(), vars, SdkLayer::default())
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[test]
fn defaults_are_the_specification_s() {
    let (sdk, warnings) = from_env(&[]);
    let batch = |delay| BatchSettings {
        schedule_delay: delay,
        max_queue_size: 2_048,
        max_export_batch_size: 512,
    };
    assert_eq!(sdk.batch_spans, batch(ms(5_000)));
    assert_eq!(sdk.batch_logs, batch(ms(1_000)));
    assert_eq!(sdk.metric_interval, None);
    assert!(warnings.is_empty(), "{warnings:?}");
}

/// Each value is used, or causes a warning that names the value used instead.
#[test]
fn batches() {
    for (name, value, delay, queue, batch, used) in [
        ("OTEL_BSP_SCHEDULE_DELAY", "20", 20, 2_048, 512, None),
        ("OTEL_BSP_SCHEDULE_DELAY", "0", 5_000, 2_048, 512, Some("5000")),
        ("OTEL_BSP_SCHEDULE_DELAY", "-1", 5_000, 2_048, 512, Some("5000")),
        ("OTEL_BSP_SCHEDULE_DELAY", "abc", 5_000, 2_048, 512, Some("5000")),
        ("OTEL_BSP_SCHEDULE_DELAY", "", 5_000, 2_048, 512, None),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "4096", 5_000, 4_096, 512, None),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "100", 5_000, 100, 100, None),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0", 5_000, 2_048, 512, Some("2048")),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "2147483647", 5_000, 131_072, 512, Some("131072")),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "99999999999999999999", 5_000, 131_072, 512, Some("131072")),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1", 5_000, 2_048, 1, None),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "0", 5_000, 2_048, 512, Some("512")),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4096", 5_000, 2_048, 2_048, Some("2048")),
    ] {
        let (sdk, warnings) = from_env(&[(name, value)]);
        let expected = BatchSettings {
            schedule_delay: ms(delay),
            max_queue_size: queue,
            max_export_batch_size: batch,
        };
        assert_eq!(sdk.batch_spans, expected, "{name}={value}");
        match used {
            None => assert!(warnings.is_empty(), "{name}={value}: {warnings:?}"),
            Some(used) => {
                let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
                let begins = format!("{name}: `{value}` is ignored, expected a number from ");
                assert!(warning.starts_with(&begins), "{warning}");
                assert!(warning.ends_with(&format!("; using {used}")), "{warning}");
            }
        }
    }
    let (sdk, _) = from_env(&[("OTEL_BLRP_SCHEDULE_DELAY", "7")]);
    assert_eq!((sdk.batch_logs.schedule_delay, sdk.batch_spans.schedule_delay), (ms(7), ms(5_000)));
}

/// The console's processors write each item at once, and have no timeout.
#[test]
fn what_the_console_does_not_use_is_named() {
    let all = [
        ("OTEL_BSP_SCHEDULE_DELAY", "1"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "4"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "1"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "1"),
        ("OTEL_BLRP_MAX_QUEUE_SIZE", "4"),
        ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "4"),
        ("OTEL_BLRP_EXPORT_TIMEOUT", "1"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "1"),
        // The console has one too.
        ("OTEL_METRIC_EXPORT_INTERVAL", "1"),
    ];
    let warnings_of = |targets: &'static str| {
        let targets = ["TRACES", "METRICS", "LOGS"]
            .map(|signal| (format!("OTEL_{signal}_EXPORTER"), targets));
        let targets = targets.iter().map(|(name, value)| (name.as_str(), *value));
        from_env(&all.into_iter().chain(targets).collect::<Vec<_>>()).1
    };
    assert_eq!(
        warnings_of("console"),
        [
            "OTEL_BLRP_SCHEDULE_DELAY, OTEL_BLRP_MAX_QUEUE_SIZE, OTEL_BLRP_MAX_EXPORT_BATCH_SIZE, \
             OTEL_BLRP_EXPORT_TIMEOUT: no effect: log records are only written to the console, \
             one by one",
            "OTEL_METRIC_EXPORT_TIMEOUT: no effect: metrics are only written to the console",
            "OTEL_BSP_SCHEDULE_DELAY, OTEL_BSP_MAX_QUEUE_SIZE, OTEL_BSP_MAX_EXPORT_BATCH_SIZE, \
             OTEL_BSP_EXPORT_TIMEOUT: no effect: spans are only written to the console, one by one",
        ]
    );
    for targets in ["otlp", "otlp,console", "none"] {
        assert_eq!(warnings_of(targets), [""; 0], "{targets}");
    }
}

#[test]
fn code_beats_the_environment_and_keeps_to_the_same_rule() {
    let batch = Batch::default()
        .with_schedule_delay(Duration::ZERO)
        .with_max_queue_size(usize::MAX)
        .with_max_export_batch_size(7);
    let code = SdkLayer { batch, metric_interval: Some(ms(5)), ..SdkLayer::default() };
    let vars = [
        ("OTEL_BSP_SCHEDULE_DELAY", "1"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "abc"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "abc"),
    ];
    let (sdk, warnings) = resolve(code, &vars, SdkLayer::default());
    let expected = BatchSettings {
        schedule_delay: ms(5_000),
        max_queue_size: 131_072,
        max_export_batch_size: 7,
    };
    assert_eq!(sdk.batch_spans, expected);
    assert_eq!(sdk.metric_interval, Some(ms(5)));
    // Two for spans, and two for log records.
    assert_eq!(warnings.len(), 4, "{warnings:?}");
    assert!(warnings.iter().all(|warning| warning.starts_with("with_batch(): ")), "{warnings:?}");
    let batch = Batch::default().with_schedule_delay(Duration::from_nanos(1));
    let code = SdkLayer { batch, ..SdkLayer::default() };
    let (sdk, warnings) = resolve(code, &[], SdkLayer::default());
    assert_eq!((sdk.batch_spans.schedule_delay, warnings.len()), (ms(1), 0));
}

#[test]
fn defaults_of_code_lie_below_the_environment() {
    let defaults = || SdkLayer {
        batch: Batch::default().with_max_queue_size(100).with_schedule_delay(ms(7)),
        metric_interval: Some(ms(9)),
        #[cfg(feature = "trace")]
        sampler: Some(Box::new(Sampler::AlwaysOff)),
        ..SdkLayer::default()
    };
    let (sdk, _) = resolve(SdkLayer::default(), &[], defaults());
    let batch =
        BatchSettings { schedule_delay: ms(7), max_queue_size: 100, max_export_batch_size: 100 };
    assert_eq!((sdk.batch_spans, sdk.metric_interval), (batch, Some(ms(9))));
    #[cfg(feature = "trace")]
    assert_eq!(format!("{:?}", sdk.sampler), "AlwaysOff");

    let vars = [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "50"),
        ("OTEL_BSP_SCHEDULE_DELAY", "abc"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "5"),
        ("OTEL_TRACES_SAMPLER", "always_on"),
    ];
    let (sdk, warnings) = resolve(SdkLayer::default(), &vars, defaults());
    assert_eq!(sdk.batch_spans.max_queue_size, 50);
    assert_eq!(sdk.batch_spans.schedule_delay, ms(7));
    assert_eq!(sdk.metric_interval, Some(ms(5)));
    #[cfg(feature = "trace")]
    assert_eq!(format!("{:?}", sdk.sampler), "AlwaysOn");
    let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
    assert!(warning.ends_with("; using 7"), "{warning}");
}

/// With a zero delay the SDK would spin, and with an empty queue it would drop everything.
#[test]
fn defaults_of_code_keep_to_the_same_rule() {
    let defaults = || SdkLayer {
        batch: Batch::default()
            .with_schedule_delay(Duration::ZERO)
            .with_max_queue_size(usize::MAX)
            .with_max_export_batch_size(0),
        metric_interval: Some(Duration::ZERO),
        ..SdkLayer::default()
    };
    let expected = |delay| BatchSettings {
        schedule_delay: ms(delay),
        max_queue_size: 131_072,
        max_export_batch_size: 512,
    };
    let (sdk, warnings) = resolve(SdkLayer::default(), &[], defaults());
    assert_eq!((sdk.batch_spans, sdk.batch_logs), (expected(5_000), expected(1_000)));
    assert_eq!(sdk.metric_interval, None);
    let of = |setter: &str| {
        warnings.iter().filter(|warning| warning.starts_with(setter)).collect::<Vec<_>>()
    };
    // Three of spans, and three of log records.
    assert_eq!(of("with_batch(): ").len(), 6, "{warnings:?}");
    assert!(warnings[0].ends_with("; using 5000"), "{warnings:?}");
    assert_eq!(of("with_metric_interval(): ").len(), 1, "{warnings:?}");
    let days = Duration::from_secs(86_400 * 365);
    let defaults = SdkLayer { metric_interval: Some(days), ..SdkLayer::default() };
    let (sdk, warnings) = resolve(SdkLayer::default(), &[], defaults);
    assert_eq!((sdk.metric_interval, warnings.len()), (Some(ms(MAX_MILLISECONDS)), 1));
}

#[test]
fn intervals() {
    for (value, interval, said) in [
        ("2000", Some(ms(2_000)), 0),
        ("", None, 0),
        ("0", None, 1),
        ("abc", None, 1),
        ("-5", None, 1),
        ("99999999999999999999999", Some(ms(2_147_483_647)), 1),
    ] {
        let (sdk, warnings) = from_env(&[("OTEL_METRIC_EXPORT_INTERVAL", value)]);
        assert_eq!(sdk.metric_interval, interval, "{value}");
        assert_eq!(warnings.len(), said, "{value}: {warnings:?}");
    }
}

#[cfg(feature = "trace")]
#[test]
fn samplers() {
    let ratio = |ratio| format!("TraceIdRatioBased({ratio:?})");
    for (sampler, argument, expected, said) in [
        ("", "", "ParentBased(AlwaysOn)".to_owned(), 0),
        ("ALWAYS_OFF", "", "AlwaysOff".to_owned(), 0),
        ("always_on", "", "AlwaysOn".to_owned(), 0),
        ("ParentBased_Always_Off", "", "ParentBased(AlwaysOff)".to_owned(), 0),
        ("traceidratio", "0.25", ratio(0.25), 0),
        ("traceidratio", "", ratio(1.0), 0),
        ("traceidratio", "-1", ratio(1.0), 1),
        ("traceidratio", "nan", ratio(1.0), 1),
        ("traceidratio", "2", ratio(1.0), 1),
        ("traceidratio", "inf", ratio(1.0), 1),
        ("parentbased_traceidratio", "0", format!("ParentBased({})", ratio(0.0)), 0),
        ("jaeger_remote", "", "ParentBased(AlwaysOn)".to_owned(), 1),
        // The argument has no effect.
        ("", "0.1", "ParentBased(AlwaysOn)".to_owned(), 1),
        ("", "abc", "ParentBased(AlwaysOn)".to_owned(), 1),
        ("always_on", "abc", "AlwaysOn".to_owned(), 1),
        ("parentbased_always_off", "0.1", "ParentBased(AlwaysOff)".to_owned(), 1),
        ("jaeger_remote", "0.1", "ParentBased(AlwaysOn)".to_owned(), 2),
    ] {
        let vars = [("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", argument)];
        let (sdk, warnings) = from_env(&vars);
        assert_eq!(format!("{:?}", sdk.sampler), expected, "{sampler} {argument}");
        assert_eq!(warnings.len(), said, "{sampler} {argument}: {warnings:?}");
    }
    let (_, warnings) = from_env(&[("OTEL_TRACES_SAMPLER_ARG", "0.1")]);
    let begins = "OTEL_TRACES_SAMPLER_ARG: no effect: ";
    assert!(warnings[0].starts_with(begins), "{warnings:?}");
    // With a sampler from code, the variables are not read.
    let code = SdkLayer { sampler: Some(Box::new(Sampler::AlwaysOff)), ..SdkLayer::default() };
    let vars = [("OTEL_TRACES_SAMPLER_ARG", "0.1")];
    let (_, warnings) = resolve(code, &vars, SdkLayer::default());
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[cfg(feature = "trace")]
#[test]
fn limits() {
    let (sdk, warnings) = from_env(&[
        ("OTEL_ATTRIBUTE_COUNT_LIMIT", "5"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "0"),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", "-1"),
        ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "7"),
    ]);
    let limits = sdk.span_limits;
    assert_eq!(limits.max_attributes_per_span, 5);
    assert_eq!(limits.max_attributes_per_event, 5);
    assert_eq!(limits.max_attributes_per_link, 7);
    // Zero is a valid limit.
    assert_eq!(limits.max_events_per_span, 0);
    assert_eq!(limits.max_links_per_span, 128);
    // One of them is for log records, which have no limit.
    let expected =
        "OTEL_ATTRIBUTE_COUNT_LIMIT: no effect on log records: not supported by the Rust SDK";
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert_eq!(warnings[1], expected);

    let (sdk, warnings) = from_env(&[
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "1"),
        ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "2"),
        ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "3"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "4"),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", "5"),
    ]);
    let expected = SpanLimits {
        max_attributes_per_span: 1,
        max_attributes_per_event: 2,
        max_attributes_per_link: 3,
        max_events_per_span: 4,
        max_links_per_span: 5,
    };
    assert_eq!(format!("{:?}", sdk.span_limits), format!("{expected:?}"));
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn what_has_no_effect_is_named_once() {
    let names = [
        "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        "OTEL_ENTITIES",
        "OTEL_EXPORTER_OTLP_METRIC_INSECURE",
        "OTEL_EXPORTER_OTLP_SPAN_INSECURE",
        "OTEL_EXPORTER_PROMETHEUS_HOST",
        "OTEL_EXPORTER_PROMETHEUS_PORT",
        "OTEL_EXPORTER_ZIPKIN_ENDPOINT",
        "OTEL_EXPORTER_ZIPKIN_TIMEOUT",
        "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT",
        "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        "OTEL_METRICS_EXEMPLAR_FILTER",
        "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    ];
    let (_, warnings) = from_env(&names.map(|name| (name, "1")));
    let reason = "no effect: not supported by this crate or the Rust SDK";
    assert_eq!(warnings, [format!("{}: {reason}", names.join(", "))]);
    let (_, warnings) = from_env(&[("OTEL_ENTITIES", " ")]);
    assert!(warnings.is_empty(), "{warnings:?}");
}
