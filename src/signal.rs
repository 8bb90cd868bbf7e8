//! The three signals, and the names that OTLP has for each of them.

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

    /// What an item of this signal is called.
    pub(crate) fn item(self) -> &'static str {
        match self {
            Self::Logs => "log record",
            Self::Metrics => "metric point",
            Self::Traces => "span",
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

    /// A number of items with their name.
    pub(crate) fn counted(self, items: u64) -> String {
        let name = if items == 1 { self.item() } else { self.items() };
        format!("{items} {name}")
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
