//! Formats text for people and for programs.

use std::time::{Duration, SystemTime};

use der::DateTime;
#[cfg(feature = "serde")]
use serde::ser::{Serialize, Serializer};

/// `der` supports no year before 1970, and the calendar repeats every 2000 years.
pub(crate) const CYCLE_YEARS: u16 = 2_000;
pub(crate) const CYCLE_SECONDS: i64 = 730_485 * 86_400;

/// Formats an instant in UTC by RFC 3339.
pub(crate) fn utc(time: SystemTime) -> String {
    let seconds = match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |secs| -secs),
    };
    let (years, since) = match seconds {
        0.. => (0, seconds),
        _ => (CYCLE_YEARS, seconds.saturating_add(CYCLE_SECONDS)),
    };
    let date = || {
        let since = Duration::from_secs(u64::try_from(since).ok()?);
        let date = DateTime::from_unix_duration(since).ok()?;
        Some((date.year().checked_sub(years)?, date))
    };
    let Some((year, date)) = date() else {
        return format!("{seconds} s after 1970");
    };
    let (month, day) = (date.month(), date.day());
    let (hour, minute, second) = (date.hour(), date.minutes(), date.seconds());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Whether `page` contains `text`, ignoring ASCII case.
pub(crate) fn contains(page: &[u8], text: &[u8]) -> bool {
    page.windows(text.len()).any(|window| window.eq_ignore_ascii_case(text))
}

/// Serialises an instant by RFC 3339.
#[cfg(feature = "serde")]
pub(crate) fn serialize_utc<S: Serializer>(
    time: &SystemTime,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&utc(*time))
}

#[cfg(feature = "serde")]
pub(crate) fn serialize_maybe_utc<S: Serializer>(
    time: &Option<SystemTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    time.map(utc).serialize(serializer)
}

/// A distinguished name, or a placeholder if it is empty.
pub(crate) fn named(name: &str) -> &str {
    if name.is_empty() { "(no subject)" } else { name }
}

/// The most items listed one by one: a certificate may have a hundred names, and a file as many CAs.
pub(crate) const FEW: usize = 4;

/// The first few items of a list.
pub(crate) fn list(items: &[String]) -> String {
    let shown = items[..items.len().min(FEW)].join(", ");
    match items.len().saturating_sub(FEW) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Makes text from elsewhere, such as a certificate, safe to log: it stays on one line, reads in the order in
/// which it is written, and is truncated.
pub(crate) fn printable(text: &str) -> String {
    const LONGEST: usize = 200;
    let mut shown = String::new();
    for character in text.chars().take(LONGEST) {
        match character.is_control() || rearranges(character) {
            true => shown.extend(character.escape_default()),
            false => shown.push(character),
        }
    }
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

/// Whether a character breaks a line or changes the direction of text (`Bidi_Control` in [Unicode's
/// PropList](https://www.unicode.org/Public/UCD/latest/ucd/PropList.txt)) without being a control character.
fn rearranges(character: char) -> bool {
    matches!(
        character,
        '\u{2028}' | '\u{2029}'
            | '\u{61c}' | '\u{200e}' | '\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
    )
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names are shown even from a rejected certificate.
    #[test]
    fn names_stay_on_one_line() {
        assert_eq!(printable("CN=ü, O=a\nERROR: b\x1b[31m"), "CN=ü, O=a\\nERROR: b\\u{1b}[31m");
        assert_eq!(
            printable("CN=a\u{2028}ERROR: b\u{2029}\u{202e}moc.elpmaxe\u{2066}\u{61c}"),
            r"CN=a\u{2028}ERROR: b\u{2029}\u{202e}moc.elpmaxe\u{2066}\u{61c}"
        );
        let long = printable(&"x".repeat(10_000));
        assert_eq!(long.chars().count(), 201);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn dates_outside_the_calendar() {
        let far = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_800);
        assert_eq!(utc(far), "253402300800 s after 1970");
        let long_ago = SystemTime::UNIX_EPOCH - Duration::from_secs(1 + 62_167_219_200);
        assert_eq!(utc(long_ago), "-62167219201 s after 1970");
    }
}
