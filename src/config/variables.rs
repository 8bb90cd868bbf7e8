//! The names of all variables: those of the [OTLP exporter], and those of the [SDK].
//!
//! [OTLP exporter]: https://opentelemetry.io/docs/specs/otel/protocol/exporter/
//! [SDK]: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/

use crate::signal::Signal;

/// The variable for the target of a signal: `otlp`, `console` or `none`.
pub(crate) fn exporter_variable(signal: Signal) -> &'static str {
    match signal {
        Signal::Logs => "OTEL_LOGS_EXPORTER",
        Signal::Metrics => "OTEL_METRICS_EXPORTER",
        Signal::Traces => "OTEL_TRACES_EXPORTER",
    }
}

/// The file of the [declarative configuration][spec], which replaces all other variables, and its former name.
///
/// [spec]: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#declarative-configuration
pub(crate) const CONFIG_FILE: &str = "OTEL_CONFIG_FILE";
pub(crate) const EXPERIMENTAL_CONFIG_FILE: &str = "OTEL_EXPERIMENTAL_CONFIG_FILE";

/// Disables all telemetry.
pub(crate) const SDK_DISABLED: &str = "OTEL_SDK_DISABLED";

/// The propagators of trace context between services.
pub(crate) const PROPAGATORS: &str = "OTEL_PROPAGATORS";

/// A variable of the [OTLP exporter specification] that exists for all signals and per signal.
///
/// [OTLP exporter specification]: https://opentelemetry.io/docs/specs/otel/protocol/exporter/
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variable {
    Certificate,
    ClientCertificate,
    ClientKey,
    Compression,
    Endpoint,
    Headers,
    Insecure,
    Protocol,
    Timeout,
}

impl Variable {
    /// The variable's name for one signal or for all.
    pub(crate) fn name(self, signal: Option<Signal>) -> String {
        let scope = match signal {
            None => "",
            Some(Signal::Logs) => "LOGS_",
            Some(Signal::Metrics) => "METRICS_",
            Some(Signal::Traces) => "TRACES_",
        };
        let setting = match self {
            Self::Certificate => "CERTIFICATE",
            Self::ClientCertificate => "CLIENT_CERTIFICATE",
            Self::ClientKey => "CLIENT_KEY",
            Self::Compression => "COMPRESSION",
            Self::Endpoint => "ENDPOINT",
            Self::Headers => "HEADERS",
            Self::Insecure => "INSECURE",
            Self::Protocol => "PROTOCOL",
            Self::Timeout => "TIMEOUT",
        };
        format!("OTEL_EXPORTER_OTLP_{scope}{setting}")
    }
}

impl Variable {
    /// The equivalent key of an exporter in a configuration file.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Certificate => "tls.ca_file",
            Self::ClientCertificate => "tls.cert_file",
            Self::ClientKey => "tls.key_file",
            Self::Compression => "compression",
            Self::Endpoint => "endpoint",
            Self::Headers => "headers",
            Self::Insecure => "tls.insecure",
            Self::Protocol => "otlp_http or otlp_grpc",
            Self::Timeout => "timeout",
        }
    }
}

/// The temporality that the metric exporter requests from the SDK.
pub(crate) const TEMPORALITY_PREFERENCE: &str = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";

/// The aggregation of histograms unless a view sets another one.
pub(crate) const DEFAULT_HISTOGRAM_AGGREGATION: &str =
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION";

/// The interval at which files are checked, in milliseconds: an extension, named after the
/// [specification's
/// form](https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#language-specific-environment-variables)
/// for one language.
pub(crate) const RELOAD_INTERVAL: &str = "OTEL_RUST_EXPORTER_OTLP_RELOAD_INTERVAL";

/// The variables of one batch processor.
#[derive(Debug)]
pub(crate) struct BatchVariables {
    pub(crate) schedule_delay: &'static str,
    pub(crate) max_queue_size: &'static str,
    pub(crate) max_export_batch_size: &'static str,
}

pub(crate) const BATCH_SPANS: BatchVariables = BatchVariables {
    schedule_delay: "OTEL_BSP_SCHEDULE_DELAY",
    max_queue_size: "OTEL_BSP_MAX_QUEUE_SIZE",
    max_export_batch_size: "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
};

pub(crate) const BATCH_LOGS: BatchVariables = BatchVariables {
    schedule_delay: "OTEL_BLRP_SCHEDULE_DELAY",
    max_queue_size: "OTEL_BLRP_MAX_QUEUE_SIZE",
    max_export_batch_size: "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE",
};

impl BatchVariables {
    pub(crate) fn names(self) -> [&'static str; 3] {
        [self.schedule_delay, self.max_queue_size, self.max_export_batch_size]
    }
}

/// The level of the SDK's own log, and of this crate's if there is no subscriber.
pub(crate) const LOG_LEVEL: &str = "OTEL_LOG_LEVEL";

pub(crate) const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
pub(crate) const RESOURCE_ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// The export timeout of the SDK's processor or reader of a signal.
pub(crate) fn export_timeout(signal: Signal) -> &'static str {
    match signal {
        Signal::Logs => "OTEL_BLRP_EXPORT_TIMEOUT",
        Signal::Metrics => "OTEL_METRIC_EXPORT_TIMEOUT",
        Signal::Traces => "OTEL_BSP_EXPORT_TIMEOUT",
    }
}

pub(crate) const METRIC_EXPORT_INTERVAL: &str = "OTEL_METRIC_EXPORT_INTERVAL";

pub(crate) const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
pub(crate) const SAMPLER_ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";

pub(crate) const ATTRIBUTE_COUNT_LIMIT: &str = "OTEL_ATTRIBUTE_COUNT_LIMIT";
pub(crate) const SPAN_ATTRIBUTE_COUNT_LIMIT: &str = "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT";
pub(crate) const SPAN_EVENT_COUNT_LIMIT: &str = "OTEL_SPAN_EVENT_COUNT_LIMIT";
pub(crate) const SPAN_LINK_COUNT_LIMIT: &str = "OTEL_SPAN_LINK_COUNT_LIMIT";
pub(crate) const EVENT_ATTRIBUTE_COUNT_LIMIT: &str = "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT";
pub(crate) const LINK_ATTRIBUTE_COUNT_LIMIT: &str = "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT";

/// Variables of the specification that neither this crate nor the SDK supports.
pub(crate) const WITHOUT_EFFECT: &[&str] = &[
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
