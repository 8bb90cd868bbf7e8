//! Masks what was sent in the text of an answer: a collector or proxy may quote the token that it rejects, or
//! the path that it does not serve, and may escape either.

use base64::Engine;
use http::HeaderMap;

use super::answer::RequestFacts;
use crate::config::{Protocol, path_prefix};
use crate::secrets::BASE64;

/// The text that is searched, in bytes: far more than is shown, and little enough to search quickly.
const LONGEST: usize = 16 * 1024;

/// Shorter values occur inside ordinary words and are not secrets.
const SHORTEST: usize = 4;

/// The start of a secret that is masked without the rest, which the server may have cut off.
const PART: usize = 12;

/// Replaces each part of `text` that quotes the request with `***`.
pub(super) fn masked(text: &str, request: &RequestFacts<'_>) -> String {
    let text = &text.as_bytes()[..text.len().min(LONGEST)];
    let secrets = secrets(request);
    let mut hidden = vec![false; text.len()];
    // A secret may follow what looks like the start of an escape: the text as it is, is searched as well.
    for read in [Decoded::plain, Decoded::new] {
        let Decoded { bytes, starts } = read(text);
        for secret in &secrets {
            let secret = read(secret.as_bytes()).bytes;
            for at in 0..bytes.len() {
                let pairs = bytes[at..].iter().zip(&secret);
                let common = pairs.take_while(|(shown, sent)| shown == sent).count();
                if common == secret.len() || common >= PART {
                    let end = starts.get(at + common).copied().unwrap_or(text.len());
                    hidden[starts[at]..end].fill(true);
                }
            }
        }
    }
    let mut shown = Vec::new();
    let mut was_hidden = false;
    for (byte, is_hidden) in text.iter().zip(hidden) {
        match (is_hidden, was_hidden) {
            (false, _) => shown.push(*byte),
            (true, false) => shown.extend(b"***"),
            (true, true) => {}
        }
        was_hidden = is_hidden;
    }
    String::from_utf8_lossy(&shown).into_owned()
}

/// What must not be shown: each header's value, the path's segments except OTLP's own, the query's parameters, and
/// of all of these the parts that may be quoted alone.
fn secrets(request: &RequestFacts<'_>) -> Vec<String> {
    let mut secrets = Vec::new();
    for value in request.headers.into_iter().flat_map(HeaderMap::values) {
        let value = String::from_utf8_lossy(value.as_bytes());
        secrets.push(value.trim().to_owned());
        secrets.extend(tokens(&value));
        let Some((_scheme, rest)) = value.trim().split_once(char::is_whitespace) else { continue };
        secrets.push(rest.trim().to_owned());
        // The user and password of `Basic` (RFC 7617).
        let decoded = BASE64.decode(rest.trim()).ok().and_then(|rest| String::from_utf8(rest).ok());
        secrets.extend(decoded.iter().flat_map(|pair| pair.split(':')).map(str::to_owned));
    }
    let path = match request.protocol {
        // The method's, always.
        Protocol::Grpc => "",
        Protocol::HttpProtobuf | Protocol::HttpJson => request.path,
    };
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    for segment in path_prefix(path).split('/') {
        // Alone, a segment like `otlp` is an ordinary word.
        secrets.push(format!("/{segment}"));
        secrets.extend(tokens(segment));
    }
    for parameter in query.split('&') {
        secrets.push(parameter.to_owned());
        secrets.extend(tokens(parameter));
    }
    secrets.retain(|secret| secret.chars().count() >= SHORTEST);
    secrets
}

/// The words of a value that may be a token: they have a digit or are longer than most words.
fn tokens(value: &str) -> impl Iterator<Item = String> {
    const LONG: usize = 16;
    value
        .split(|character: char| character.is_whitespace() || ",;:=&\"".contains(character))
        .filter(|word| word.len() > LONG || word.bytes().any(|byte| byte.is_ascii_digit()))
        .map(str::to_owned)
}

/// A text in lower case, and where each byte of it starts in the original.
struct Decoded {
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

impl Decoded {
    /// Without decoding anything.
    fn plain(text: &[u8]) -> Self {
        Self { bytes: text.to_ascii_lowercase(), starts: (0..text.len()).collect() }
    }

    /// With all escapes decoded: a value and any escaped form of it come out equal.
    fn new(text: &[u8]) -> Self {
        /// How often a value may have been escaped.
        const DEPTH: usize = 8;
        let mut decoded = Self::plain(text);
        for _ in 0..DEPTH {
            decoded = decoded.unescaped();
        }
        decoded
    }

    fn unescaped(&self) -> Self {
        let mut unescaped = Self { bytes: Vec::new(), starts: Vec::new() };
        let mut at = 0;
        while let Some(first) = self.bytes.get(at) {
            let (length, byte) = escape(&self.bytes[at..]).unwrap_or((1, *first));
            // In a form's encoding, a space is a plus sign.
            let byte = if byte == b'+' { b' ' } else { byte.to_ascii_lowercase() };
            unescaped.bytes.push(byte);
            unescaped.starts.push(self.starts[at]);
            at += length;
        }
        unescaped
    }
}

/// The length of the escape at the start of a text in lower case, and what it stands for: percent-encoding, the
/// escapes of JSON and of quoted text in Go and Rust, and HTML's.
fn escape(text: &[u8]) -> Option<(usize, u8)> {
    let number = |digits, radix| u8::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok();
    let hexadecimal = |start: &[u8]| {
        let digits = text.strip_prefix(start)?.get(..2)?;
        Some((start.len() + digits.len(), number(digits, 16)?))
    };
    let starts = [&b"%"[..], b"\\x", b"\\u00"];
    starts.into_iter().find_map(hexadecimal).or_else(|| match text {
        // The escapes of control characters do not occur in what was sent.
        [b'\\', byte, ..] if !matches!(byte, b'u' | b'x') => Some((2, *byte)),
        [b'&', name @ ..] => {
            const LONGEST: usize = 7;
            let length = name.iter().take(LONGEST).position(|byte| *byte == b';')?;
            let byte = match &name[..length] {
                b"amp" => b'&',
                b"lt" => b'<',
                b"gt" => b'>',
                b"quot" => b'"',
                b"apos" => b'\'',
                [b'#', b'x', digits @ ..] => number(digits, 16)?,
                [b'#', digits @ ..] => number(digits, 10)?,
                _ => return None,
            };
            Some((length + 2, byte))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use proptest::prelude::*;

    use super::*;

    /// As a server escapes text.
    fn escaped(text: &str, form: u8) -> String {
        let mut escaped = String::new();
        for byte in text.bytes() {
            let shown = char::from(byte);
            match form {
                _ if byte.is_ascii_alphanumeric() && form < 5 => write!(escaped, "{shown}"),
                0 => write!(escaped, "%{byte:02x}"),
                1 => write!(escaped, "\\u{byte:04X}"),
                2 => write!(escaped, "&#{byte};"),
                3 => write!(escaped, "&#x{byte:x};"),
                4 => write!(escaped, "\\{shown}"),
                5 => write!(escaped, "%{byte:02X}"),
                _ => write!(escaped, "\\x{byte:02x}"),
            }
            .unwrap();
        }
        escaped
    }

    proptest! {
        #[test]
        fn escapes_make_no_difference(
            // Without the starts of escapes, which would be ambiguous.
            text in r"[ -$'-\[\]-~]{4,20}",
            forms in prop::collection::vec(0_u8..7, 0..4),
        ) {
            let echoed = forms.iter().fold(text.clone(), |text, form| escaped(&text, *form));
            let bytes = |text: &str| Decoded::new(text.as_bytes()).bytes;
            prop_assert_eq!(bytes(&text), bytes(&echoed), "{}", echoed);
        }
    }
}
