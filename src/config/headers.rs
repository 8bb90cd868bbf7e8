//! Parses headers of requests.

use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, TE, TRANSFER_ENCODING,
    UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use crate::error::{Error, HeaderProblem};
use crate::origin::Origin;
use crate::secrets::is_quoted;

/// Whether the protocol itself sets this header.
pub(crate) fn is_reserved(name: &HeaderName) -> bool {
    const RESERVED: [HeaderName; 8] = [
        CONNECTION,
        CONTENT_ENCODING,
        CONTENT_LENGTH,
        CONTENT_TYPE,
        HOST,
        TE,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    RESERVED.contains(name) || name.as_str().starts_with("grpc-")
}

/// Headers from a variable: `name=value,name=value`, with values percent-encoded, the [format of
/// W3C Baggage](https://opentelemetry.io/docs/specs/otel/protocol/exporter/#specifying-headers-via-environment-variables)
/// without its properties.
pub(super) fn parse_variable(text: &str, origin: &Origin) -> Result<HeaderMap, Error> {
    if is_quoted(text) {
        return Err(Error::Quoted { origin: origin.clone() });
    }
    let pairs = text.split(',').filter(|pair| !pair.trim().is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').ok_or(HeaderProblem::NotAPair)?;
        let value = percent_decode_str(value.trim()).decode_utf8();
        Ok((name, value.map_err(|_not_utf8| HeaderProblem::Value)?))
    });
    parse(pairs, origin)
}

/// Headers from pairs.
pub(super) fn parse<N: AsRef<str>, V: AsRef<str>>(
    pairs: impl Iterator<Item = Result<(N, V), HeaderProblem>>,
    origin: &Origin,
) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    for (index, pair) in pairs.enumerate() {
        let header = pair.and_then(|(name, value)| header(name.as_ref(), value.as_ref()));
        let (name, value) = header.map_err(|problem| Error::Header {
            origin: origin.clone(),
            position: index + 1,
            problem,
        })?;
        headers.insert(name, value);
    }
    Ok(headers)
}

pub(super) fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), HeaderProblem> {
    let name: HeaderName = name.trim().parse().map_err(|_invalid| HeaderProblem::Name)?;
    if is_reserved(&name) {
        return Err(HeaderProblem::Reserved);
    }
    let value = Some(value).filter(|value| value.is_ascii());
    let value = value.and_then(|value| HeaderValue::from_str(value).ok());
    let mut value = value.ok_or(HeaderProblem::Value)?;
    // Kept out of `Debug` and HPACK's dynamic table.
    value.set_sensitive(true);
    Ok((name, value))
}
