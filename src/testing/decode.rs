//! Decodes requests.

use std::io::Read;

use bytes::{Buf, Bytes};
use flate2::read::MultiGzDecoder;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric::Data};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use crate::Signal;

/// A decoded message.
pub(super) enum Export {
    Logs(ExportLogsServiceRequest),
    Metrics(ExportMetricsServiceRequest),
    Traces(ExportTraceServiceRequest),
}

/// The encoding of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Protobuf,
    Json,
}

/// Why a message cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub(super) enum Undecodable {
    #[error("the message's encoding {0:?} is neither gzip nor zstd")]
    UnknownCompression(String),
    #[error("the message cannot be decompressed")]
    Decompress(#[source] std::io::Error),
    #[error("a grpc message of {announced} bytes in a body with {present}")]
    Length { announced: usize, present: usize },
    #[error("the message is not protobuf of its signal")]
    Protobuf(#[source] prost::DecodeError),
    #[error("the message is not json of its signal")]
    Json(#[source] serde_json::Error),
}

/// Extracts the message of a unary gRPC request, and whether its compressed flag is set.
///
/// <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests>
pub(super) fn unframe(mut body: Bytes) -> Result<(bool, Bytes), Undecodable> {
    if body.len() < 5 {
        return Err(Undecodable::Length { announced: 0, present: body.len() });
    }
    let compressed = body.get_u8() == 1;
    let announced = body.get_u32() as usize;
    if announced != body.len() {
        return Err(Undecodable::Length { announced, present: body.len() });
    }
    Ok((compressed, body))
}

pub(super) fn decompress(encoding: &str, body: Bytes) -> Result<Bytes, Undecodable> {
    match encoding {
        "identity" => Ok(body),
        "gzip" => {
            let mut message = Vec::new();
            MultiGzDecoder::new(body.as_ref())
                .read_to_end(&mut message)
                .map_err(Undecodable::Decompress)?;
            Ok(message.into())
        }
        "zstd" => Ok(zstd::decode_all(body.as_ref()).map_err(Undecodable::Decompress)?.into()),
        other => Err(Undecodable::UnknownCompression(other.to_owned())),
    }
}

fn protobuf<M: Message + Default>(body: &[u8]) -> Result<M, Undecodable> {
    M::decode(body).map_err(Undecodable::Protobuf)
}

impl Export {
    pub(super) fn decode(
        signal: Signal,
        encoding: Encoding,
        body: &[u8],
    ) -> Result<Self, Undecodable> {
        Ok(match (signal, encoding) {
            (Signal::Logs, Encoding::Protobuf) => Self::Logs(protobuf(body)?),
            (Signal::Metrics, Encoding::Protobuf) => Self::Metrics(protobuf(body)?),
            (Signal::Traces, Encoding::Protobuf) => Self::Traces(protobuf(body)?),
            (signal, Encoding::Json) => match signal {
                Signal::Logs => serde_json::from_slice(body).map(Self::Logs),
                Signal::Metrics => serde_json::from_slice(body).map(Self::Metrics),
                Signal::Traces => serde_json::from_slice(body).map(Self::Traces),
            }
            .map_err(Undecodable::Json)?,
        })
    }

    /// The number of spans, log records or metric points.
    pub(super) fn items(&self) -> usize {
        match self {
            Self::Logs(_) => self.log_records().count(),
            Self::Metrics(_) => self.metrics().map(points).sum(),
            Self::Traces(_) => self.spans().count(),
        }
    }

    pub(super) fn log_records(&self) -> impl Iterator<Item = &LogRecord> {
        let resources = match self {
            Self::Logs(export) => export.resource_logs.as_slice(),
            _ => &[],
        };
        resources
            .iter()
            .flat_map(|resource| &resource.scope_logs)
            .flat_map(|scope| &scope.log_records)
    }

    pub(super) fn metrics(&self) -> impl Iterator<Item = &Metric> {
        let resources = match self {
            Self::Metrics(export) => export.resource_metrics.as_slice(),
            _ => &[],
        };
        resources
            .iter()
            .flat_map(|resource| &resource.scope_metrics)
            .flat_map(|scope| &scope.metrics)
    }

    pub(super) fn spans(&self) -> impl Iterator<Item = &Span> {
        let resources = match self {
            Self::Traces(export) => export.resource_spans.as_slice(),
            _ => &[],
        };
        resources.iter().flat_map(|resource| &resource.scope_spans).flat_map(|scope| &scope.spans)
    }

    /// The attribute `key` of the first resource that has it.
    pub(super) fn resource_attribute(&self, key: &str) -> Option<String> {
        let resources: Vec<&Resource> = match self {
            Self::Logs(export) => {
                export.resource_logs.iter().filter_map(|item| item.resource.as_ref()).collect()
            }
            Self::Metrics(export) => {
                export.resource_metrics.iter().filter_map(|item| item.resource.as_ref()).collect()
            }
            Self::Traces(export) => {
                export.resource_spans.iter().filter_map(|item| item.resource.as_ref()).collect()
            }
        };
        let mut attributes = resources.into_iter().flat_map(|resource| &resource.attributes);
        let attribute = attributes.find(|attribute| attribute.key == key)?;
        Some(match attribute.value.as_ref()?.value.as_ref()? {
            Value::StringValue(text) => text.clone(),
            Value::BoolValue(value) => value.to_string(),
            Value::IntValue(value) => value.to_string(),
            Value::DoubleValue(value) => value.to_string(),
            other => format!("{other:?}"),
        })
    }
}

/// The number of data points of `metric`.
pub(super) fn points(metric: &Metric) -> usize {
    match &metric.data {
        None => 0,
        Some(Data::Gauge(data)) => data.data_points.len(),
        Some(Data::Sum(data)) => data.data_points.len(),
        Some(Data::Histogram(data)) => data.data_points.len(),
        Some(Data::ExponentialHistogram(data)) => data.data_points.len(),
        Some(Data::Summary(data)) => data.data_points.len(),
    }
}
