//! Types of plain scalars, by the [core schema](https://yaml.org/spec/1.2.2/#103-core-schema) of
//! YAML 1.2.

/// The value of a plain scalar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scalar<'a> {
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(&'a str),
}

pub(super) fn resolve(text: &str) -> Scalar<'_> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Scalar::Null,
        "true" | "True" | "TRUE" => Scalar::Boolean(true),
        "false" | "False" | "FALSE" => Scalar::Boolean(false),
        ".nan" | ".NaN" | ".NAN" => Scalar::Float(f64::NAN),
        _ => {
            let number = integer(text).map(Scalar::Integer);
            number.or_else(|| float(text).map(Scalar::Float)).unwrap_or(Scalar::Text(text))
        }
    }
}

fn integer(text: &str) -> Option<i64> {
    let digits = |text: &str, radix| match text.starts_with(['+', '-']) {
        // Only decimal numbers have a sign.
        true => None,
        false => i64::from_str_radix(text, radix).ok(),
    };
    match (text.strip_prefix("0x"), text.strip_prefix("0o")) {
        (Some(text), _) => digits(text, 16),
        (_, Some(text)) => digits(text, 8),
        _ => text.parse().ok(),
    }
}

fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        let is_negative = text.starts_with('-');
        return Some(if is_negative { f64::NEG_INFINITY } else { f64::INFINITY });
    }
    // Rust also parses `inf`, `infinity` and `nan`, which are text in YAML.
    let is_number = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.bytes().any(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_core_schema() {
        use Scalar::{Boolean, Float, Integer, Null, Text};
        for (text, expected) in [
            ("", Null),
            ("~", Null),
            ("null", Null),
            ("nUll", Text("nUll")),
            ("true", Boolean(true)),
            ("FALSE", Boolean(false)),
            ("yes", Text("yes")),
            ("1", Integer(1)),
            ("-12", Integer(-12)),
            ("+3", Integer(3)),
            ("007", Integer(7)),
            ("0o17", Integer(15)),
            ("0xdeadbeef", Integer(3_735_928_559)),
            ("0x-1", Text("0x-1")),
            ("-0x1", Text("-0x1")),
            ("1_000", Text("1_000")),
            ("1.1", Float(1.1)),
            ("1.", Float(1.0)),
            (".5", Float(0.5)),
            ("-1e3", Float(-1000.0)),
            ("99999999999999999999", Float(99_999_999_999_999_999_999.0)),
            ("-.inf", Float(f64::NEG_INFINITY)),
            ("inf", Text("inf")),
            ("nan", Text("nan")),
            (".", Text(".")),
            ("1.1.1", Text("1.1.1")),
            ("e3", Text("e3")),
        ] {
            assert_eq!(resolve(text), expected, "{text}");
        }
        assert!(matches!(resolve(".nan"), Float(number) if number.is_nan()));
    }
}
