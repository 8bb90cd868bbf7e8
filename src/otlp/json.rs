//! OTLP's [JSON](https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding), transcoded from its
//! protobuf: only one encoder has to know the SDK's data. A table has the names of the fields.

use std::fmt::{Result, Write};
use std::mem;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::schema::{Field, Fields, Kind};
use super::wire::{Reader, Value};

/// Transcodes a message written by our own encoder. It relies on two properties of that encoder: each field is
/// in the table, and the elements of a repeated field are adjacent.
pub(super) fn transcode(bytes: &[u8], fields: &Fields) -> String {
    // Names and digits take more space than tags and bytes.
    let mut json = String::with_capacity(bytes.len() * 3);
    // Writing to a `String` cannot fail.
    let _ = object(&mut json, bytes, fields);
    json
}

fn object(json: &mut String, bytes: &[u8], fields: &Fields) -> Result {
    json.write_char('{')?;
    let mut separator = Separator::default();
    // The repeated field whose array is open.
    let mut open = None;
    for (number, value) in Reader::new(bytes).flatten() {
        let Some(field) = fields.0.iter().find(|field| field.number == number) else {
            continue;
        };
        if open == Some(number) {
            json.write_char(',')?;
        } else {
            if open.take().is_some() {
                json.write_char(']')?;
            }
            separator.write(json)?;
            write!(json, "\"{}\":", field.name)?;
        }
        match (&field.kind, value) {
            (Kind::Repeated(Kind::Message(fields)), Value::Bytes(bytes)) => {
                if open.replace(number).is_none() {
                    json.write_char('[')?;
                }
                object(json, bytes, fields)?;
            }
            (Kind::Repeated(kind), Value::Bytes(bytes)) => packed(json, bytes, kind)?,
            (kind, value) => self::value(json, value, kind)?,
        }
    }
    if open.is_some() {
        json.write_char(']')?;
    }
    // An empty list may be omitted, but opentelemetry-proto rejects a value without it.
    if let ([Field { name, kind: Kind::Repeated(_), .. }], false) = (fields.0, separator.is_due) {
        write!(json, "\"{name}\":[]")?;
    }
    json.write_char('}')
}

/// Writes a comma before every element but the first.
#[derive(Default)]
struct Separator {
    is_due: bool,
}

impl Separator {
    fn write(&mut self, json: &mut String) -> Result {
        if mem::replace(&mut self.is_due, true) { json.write_char(',') } else { Ok(()) }
    }
}

fn packed(json: &mut String, bytes: &[u8], kind: &Kind) -> Result {
    json.write_char('[')?;
    let mut separator = Separator::default();
    let mut elements = Reader::new(bytes);
    let mut next = || match kind {
        Kind::Uint64 => elements.varint().map(Value::Varint),
        _ => elements.fixed64().map(Value::Fixed64),
    };
    while let Some(element) = next() {
        separator.write(json)?;
        value(json, element, kind)?;
    }
    json.write_char(']')
}

fn value(json: &mut String, value: Value<'_>, kind: &Kind) -> Result {
    match (kind, value) {
        (Kind::Message(fields), Value::Bytes(bytes)) => object(json, bytes, fields),
        (Kind::String, Value::Bytes(bytes)) => string(json, &String::from_utf8_lossy(bytes)),
        (Kind::Bytes, Value::Bytes(bytes)) => write!(json, "\"{}\"", BASE64_STANDARD.encode(bytes)),
        (Kind::Id, Value::Bytes(bytes)) => {
            json.write_char('"')?;
            for byte in bytes {
                write!(json, "{byte:02x}")?;
            }
            json.write_char('"')
        }
        (Kind::Bool, Value::Varint(value)) => write!(json, "{}", value != 0),
        (Kind::Uint32, Value::Varint(value)) => write!(json, "{value}"),
        (Kind::Sint32, Value::Varint(value)) => {
            let value = value as u32;
            write!(json, "{}", (value >> 1) as i32 ^ -((value & 1) as i32))
        }
        (Kind::Fixed32, Value::Fixed32(value)) => write!(json, "{value}"),
        // 64-bit integers are strings: JavaScript's numbers have only 53 bits.
        (Kind::Uint64, Value::Varint(value)) => write!(json, "\"{value}\""),
        (Kind::Int64, Value::Varint(value)) => write!(json, "\"{}\"", value as i64),
        (Kind::Fixed64, Value::Fixed64(value)) => write!(json, "\"{value}\""),
        (Kind::Sfixed64, Value::Fixed64(value)) => write!(json, "\"{}\"", value as i64),
        (Kind::Double, Value::Fixed64(value)) => double(json, f64::from_bits(value)),
        // Unreachable: our encoder writes each field with the type in the table.
        _ => json.write_str("null"),
    }
}

/// NaN and the infinities are [strings](https://protobuf.dev/programming-guides/json/).
fn double(json: &mut String, value: f64) -> Result {
    if value.is_finite() {
        write!(json, "{value:?}")
    } else if value.is_nan() {
        json.write_str("\"NaN\"")
    } else if value > 0.0 {
        json.write_str("\"Infinity\"")
    } else {
        json.write_str("\"-Infinity\"")
    }
}

fn string(json: &mut String, text: &str) -> Result {
    json.write_char('"')?;
    let mut plain_from = 0;
    for (at, escaped) in text.match_indices(|c| matches!(c, '"' | '\\' | '\0'..='\x1f')) {
        json.write_str(&text[plain_from..at])?;
        // Each escaped character is one byte.
        write!(json, "\\u{:04x}", escaped.as_bytes()[0])?;
        plain_from = at + 1;
    }
    json.write_str(&text[plain_from..])?;
    json.write_char('"')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl FnOnce(&mut String) -> Result) -> String {
        let mut json = String::new();
        write(&mut json).unwrap();
        json
    }

    proptest! {
        #[test]
        fn a_double_is_read_back(bits: u64) {
            let value = f64::from_bits(bits);
            let json = written(|json| double(json, value));
            let read: f64 = json.trim_matches('"').parse().unwrap();
            prop_assert!(read.to_bits() == bits || read.is_nan() && value.is_nan(), "{}", json);
            prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{}", json);
        }

        #[test]
        fn any_text_is_read_back(text: String) {
            let json = written(|json| string(json, &text));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }

        #[test]
        fn any_bytes_give_json(bytes: Vec<u8>) {
            let json = transcode(&bytes, &super::super::schema::export_trace_service_request::FIELDS);
            prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{}", json);
        }
    }
}
