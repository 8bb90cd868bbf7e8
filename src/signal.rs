//! The three signals, and everything that OTLP spells differently for each of them.

use std::fmt;

/// One of OpenTelemetry's signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
pub enum Signal {
    /// Log records.
    Logs,
    /// Metric points.
    Metrics,
    /// Spans.
    Traces,
}

impl Signal {
    /// Every signal.
    pub const ALL: [Self; 3] = [Self::Logs, Self::Metrics, Self::Traces];

    /// The path that OTLP/HTTP appends to a generic endpoint, without a leading slash.
    pub(crate) fn http_path(self) -> &'static str {
        match self {
            Self::Logs => "v1/logs",
            Self::Metrics => "v1/metrics",
            Self::Traces => "v1/traces",
        }
    }

    /// The path of the OTLP/gRPC method.
    pub(crate) fn grpc_path(self) -> &'static str {
        match self {
            Self::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            Self::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            Self::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        }
    }

    /// Whether the signal's feature is compiled in.
    pub(crate) fn is_compiled(self) -> bool {
        match self {
            Self::Logs => cfg!(feature = "logs"),
            Self::Metrics => cfg!(feature = "metrics"),
            Self::Traces => cfg!(feature = "trace"),
        }
    }

    /// What the items of this signal are called.
    pub(crate) fn items(self) -> &'static str {
        match self {
            Self::Logs => "log records",
            Self::Metrics => "metric points",
            Self::Traces => "spans",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Logs => "logs",
            Self::Metrics => "metrics",
            Self::Traces => "traces",
        })
    }
}

/// Where a signal goes: `otlp`, `console` or `none`.
pub(crate) fn exporter_variable(signal: Signal) -> &'static str {
    match signal {
        Signal::Logs => "OTEL_LOGS_EXPORTER",
        Signal::Metrics => "OTEL_METRICS_EXPORTER",
        Signal::Traces => "OTEL_TRACES_EXPORTER",
    }
}

/// Whether there is to be no telemetry at all.
pub(crate) const SDK_DISABLED: &str = "OTEL_SDK_DISABLED";

/// How the context of a trace travels between services.
pub(crate) const PROPAGATORS: &str = "OTEL_PROPAGATORS";

/// A variable of the [OTLP exporter specification] that exists generic and per signal.
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
    /// The variable's name for one signal, or for all of them.
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

/// Which temporality the metric exporter asks of the SDK.
pub(crate) const TEMPORALITY_PREFERENCE: &str = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";

/// How histograms are aggregated unless a view says otherwise.
pub(crate) const DEFAULT_HISTOGRAM_AGGREGATION: &str =
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION";

/// How often files are looked at, in milliseconds: an extension, named after the
/// [specification's form](https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#language-specific-environment-variables)
/// for one language.
pub(crate) const RELOAD_INTERVAL: &str = "OTEL_RUST_EXPORTER_OTLP_RELOAD_INTERVAL";
