//! How long a server asks us to wait, in the details of a gRPC status.

use std::time::Duration;

use prost::Message;
use tonic::Status;

const TYPE_URL: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// [`google.rpc.Status`](https://github.com/googleapis/googleapis/blob/master/google/rpc/status.proto),
/// as far as we read it.
#[derive(Message)]
struct Details {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`
#[derive(Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// The delay of the status's [`RetryInfo`](https://opentelemetry.io/docs/specs/otlp/#otlpgrpc-throttling).
///
/// Details that cannot be decoded have none: the code says the rest.
pub(super) fn retry_delay(status: &Status) -> Option<Duration> {
    let details = Details::decode(status.details()).ok()?.details;
    let info = details.iter().find(|any| any.type_url == TYPE_URL)?;
    let delay = RetryInfo::decode(info.value.as_slice()).ok()?.retry_delay?;
    // A negative one is none to wait for.
    let seconds = delay.seconds.try_into().unwrap_or(0);
    Some(Duration::new(seconds, delay.nanos.try_into().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn delay(details: &[u8]) -> Option<Duration> {
        let details = details.to_vec().into();
        retry_delay(&Status::with_details(Code::Unavailable, "", details))
    }

    fn details(type_url: &str, seconds: i64, nanos: i32) -> Vec<u8> {
        let info = RetryInfo { retry_delay: Some(Delay { seconds, nanos }) };
        let other = Any { type_url: "type.googleapis.com/other".to_owned(), value: vec![1] };
        let info = Any { type_url: type_url.to_owned(), value: info.encode_to_vec() };
        Details { details: vec![other, info] }.encode_to_vec()
    }

    #[test]
    fn among_other_details() {
        let two_and_a_half = details(TYPE_URL, 2, 500_000_000);
        assert_eq!(delay(&two_and_a_half), Some(Duration::from_millis(2_500)));
        assert_eq!(delay(&details("type.googleapis.com/another", 2, 0)), None);
    }

    #[test]
    fn whatever_a_server_sends() {
        assert_eq!(delay(&details(TYPE_URL, -2, -1)), Some(Duration::ZERO));
        let longest = Duration::new(i64::MAX as u64 + 2, 147_483_647);
        assert_eq!(delay(&details(TYPE_URL, i64::MAX, i32::MAX)), Some(longest));
        assert_eq!(delay(&[]), None);
        assert_eq!(delay(&[0xff; 9]), None);
        assert_eq!(delay(&details(TYPE_URL, 2, 0)[1..]), None);
    }
}
