//! Parses the dates of certificates.

use std::time::{Duration, SystemTime};

use der::asn1::AnyRef;
use der::{DateTime, Tag, Tagged};

use crate::text::{CYCLE_SECONDS, CYCLE_YEARS};

/// A `UTCTime` or `GeneralizedTime`, in the form that [RFC
/// 5280](https://www.rfc-editor.org/rfc/rfc5280#section-4.1.2.5) requires: with seconds and a `Z`.
pub(super) fn instant(time: AnyRef<'_>) -> Option<SystemTime> {
    let text = str::from_utf8(time.value()).ok()?;
    let (year, date) = match (time.tag(), pairs(text.strip_suffix('Z')?)?.as_slice()) {
        (Tag::UtcTime, [year @ ..50, date @ ..]) => (2_000 + u16::from(*year), date.to_vec()),
        (Tag::UtcTime, [year, date @ ..]) => (1_900 + u16::from(*year), date.to_vec()),
        (Tag::GeneralizedTime, [century, year, date @ ..]) => {
            (100 * u16::from(*century) + u16::from(*year), date.to_vec())
        }
        _ => return None,
    };
    let [month, day, hour, minute, second] = *date else {
        return None;
    };
    let (years, cycle) = if year < 1970 { (CYCLE_YEARS, CYCLE_SECONDS) } else { (0, 0) };
    let date = DateTime::new(year + years, month, day, hour, minute, second).ok()?;
    let seconds = i64::try_from(date.unix_duration().as_secs()).ok()? - cycle;
    let distance = Duration::from_secs(seconds.unsigned_abs());
    match seconds < 0 {
        true => SystemTime::UNIX_EPOCH.checked_sub(distance),
        false => SystemTime::UNIX_EPOCH.checked_add(distance),
    }
}

/// Splits a text into two-digit numbers.
fn pairs(digits: &str) -> Option<Vec<u8>> {
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let digit = |byte: u8| byte.is_ascii_digit().then(|| byte - b'0');
    pairs.iter().map(|[tens, ones]| Some(10 * digit(*tens)? + digit(*ones)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::utc;

    fn written(tag: Tag, text: &str) -> Option<String> {
        let time = AnyRef::new(tag, text.as_bytes()).unwrap();
        instant(time).map(utc)
    }

    #[test]
    fn valid_dates() {
        for (tag, text, expected) in [
            (Tag::UtcTime, "491231235959Z", "2049-12-31T23:59:59Z"),
            (Tag::UtcTime, "500101000000Z", "1950-01-01T00:00:00Z"),
            (Tag::UtcTime, "691231235959Z", "1969-12-31T23:59:59Z"),
            (Tag::UtcTime, "700101000000Z", "1970-01-01T00:00:00Z"),
            (Tag::GeneralizedTime, "20000229120000Z", "2000-02-29T12:00:00Z"),
            (Tag::GeneralizedTime, "20510203040506Z", "2051-02-03T04:05:06Z"),
            (Tag::GeneralizedTime, "99991231235959Z", "9999-12-31T23:59:59Z"),
            (Tag::GeneralizedTime, "19000301000000Z", "1900-03-01T00:00:00Z"),
            (Tag::GeneralizedTime, "00000101000000Z", "0000-01-01T00:00:00Z"),
        ] {
            assert_eq!(written(tag, text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn invalid_dates() {
        for (tag, text) in [
            (Tag::UtcTime, ""),
            (Tag::UtcTime, "Z"),
            // Valid by X.680, but not by RFC 5280.
            (Tag::UtcTime, "3701161300Z"),
            (Tag::UtcTime, "370116130016+0000"),
            (Tag::GeneralizedTime, "20370116130016.25Z"),
            (Tag::UtcTime, "+1+1+1+1+1+1Z"),
            (Tag::UtcTime, "370229000000Z"),
            (Tag::UtcTime, "371301000000Z"),
            (Tag::UtcTime, "370116240000Z"),
            (Tag::UtcTime, "37011613001Z"),
            (Tag::UtcTime, "370116130016"),
            (Tag::UtcTime, "370116130016+01"),
            (Tag::UtcTime, "370116130016 Z"),
            (Tag::UtcTime, "370116130016ZZ"),
            (Tag::UtcTime, "3701161300\u{e9}Z"),
            (Tag::UtcTime, "20370116130016Z"),
            (Tag::GeneralizedTime, "370116130016Z"),
            (Tag::Utf8String, "370116130016Z"),
        ] {
            assert_eq!(written(tag, text), None, "{text}");
        }
    }
}
