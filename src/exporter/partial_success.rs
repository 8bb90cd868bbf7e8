//! What a collector rejects of a batch that it accepts.

use prost::Message;

use crate::config::Protocol;

/// The answer to an export, as far as it is alike for all signals.
#[derive(Message)]
struct Answer {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Message)]
struct PartialSuccess {
    /// Spans, data points or log records.
    #[prost(int64, tag = "1")]
    rejected: i64,
}

/// The number of [rejected items](https://opentelemetry.io/docs/specs/otlp/#partial-success-1).
///
/// An answer that cannot be decoded rejects none: it is a success by its status.
pub(super) fn rejected(protocol: Protocol, answer: &[u8]) -> u64 {
    let rejected = match protocol {
        Protocol::HttpJson => rejected_in_json(answer),
        Protocol::Grpc | Protocol::HttpProtobuf => {
            let answer = Answer::decode(answer).ok();
            answer.and_then(|answer| answer.partial_success).map(|success| success.rejected)
        }
    };
    rejected.and_then(|rejected| rejected.try_into().ok()).unwrap_or(0)
}

#[cfg(feature = "http-json")]
fn rejected_in_json(answer: &[u8]) -> Option<i64> {
    let answer: serde_json::Value = serde_json::from_slice(answer).ok()?;
    let success = answer.get("partialSuccess")?.as_object()?;
    let rejected = success.iter().find(|(name, _)| name.starts_with("rejected"))?.1;
    // JSON's mapping of protobuf writes 64 bits as a string, and reads both.
    rejected.as_i64().or_else(|| rejected.as_str()?.parse().ok())
}

#[cfg(not(feature = "http-json"))]
fn rejected_in_json(_answer: &[u8]) -> Option<i64> {
    None
}
