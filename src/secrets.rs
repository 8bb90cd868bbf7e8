//! Recognises configured values that may be secrets, so that no message shows them.

use std::path::Path;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

/// Base64 with or without padding.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The start of a PEM block.
pub(crate) const BEGIN: &str = "-----BEGIN ";

/// The maximum lengths of a path and of a file name that Linux, macOS and Windows have in common.
const PATH_MAX: usize = 4096;
const NAME_MAX: usize = 255;

/// Whether a value cannot be a path: it is the text of a certificate or key, or something else that may be a
/// secret.
pub(crate) fn is_no_path(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let is_too_long =
        text.len() > PATH_MAX || text.split(['/', '\\']).any(|name| name.len() > NAME_MAX);
    is_too_long
        || text.contains(['\n', '\r', '\0'])
        // JSON, which includes JWK.
        || text.starts_with('{')
        // A URL, which may contain a password.
        || text.contains("://") && !text.starts_with("file:")
        || is_key_text(&text)
}

/// Whether a value set as a path may be a token instead: a JWT, a header's value, or a word longer than most
/// file names.
pub(crate) fn may_be_token(path: &Path) -> bool {
    const LONG: usize = 16;
    let text = path.to_string_lossy();
    let has_scheme = text.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("bearer "));
    text.is_empty()
        || text.starts_with("eyJ")
        || has_scheme
        || text.len() > LONG && !text.contains(['/', '\\'])
}

/// Whether a value contains a certificate or key: PEM, or base64 of PEM or DER. Its line ends may be intact,
/// escaped or missing.
pub(crate) fn is_key_text(text: &str) -> bool {
    let packed: String = text
        .replace("\\n", "")
        .replace("\\r", "")
        .chars()
        .filter(|character| !character.is_whitespace() && !"\"'\0".contains(*character))
        .collect();
    // White space was removed, also in the label.
    packed.contains("-----BEGIN") || packed.split(|c| !is_base64(c)).any(is_base64_of_key)
}

/// One of the characters of base64, in either alphabet, but for its padding.
fn is_base64(character: char) -> bool {
    character.is_ascii_alphanumeric() || "+/-_".contains(character)
}

/// Whether this is base64, without white space, of PEM or DER, or of base64 of it. It may be cut off.
pub(crate) fn is_base64_of_key(packed: &str) -> bool {
    /// The shortest key, Ed25519 in PKCS#8, has 64 characters.
    const SHORTEST: usize = 48;
    let packed = packed.trim_end_matches('=');
    if packed.len() < SHORTEST || !packed.chars().all(is_base64) {
        return false;
    }
    let whole = packed.len() / 4 * 4;
    let standard = packed[..whole].replace('-', "+").replace('_', "/");
    let decoded = BASE64.decode(standard).unwrap_or_default();
    is_der(&decoded) || is_key_text(&String::from_utf8_lossy(&decoded))
}

/// Whether bytes start like a certificate, key or PKCS#12 archive: a SEQUENCE whose first element is a number,
/// a SEQUENCE or an object identifier.
pub(crate) fn is_der(bytes: &[u8]) -> bool {
    match bytes {
        [0x30, 0x80, first, ..]
        | [0x30, 0x81, _, first, ..]
        | [0x30, 0x82, _, _, first, ..]
        | [0x30, 0x83, _, _, _, first, ..]
        | [0x30, 0x00..=0x7f, first, ..] => matches!(first, 0x02 | 0x06 | 0x30),
        _ => false,
    }
}

/// A value for a message, where a keyword or a number was expected.
///
/// It is shown only if it is a number, or short words without digits, so that a misspelling is visible. Anything
/// else may be a secret in the wrong variable.
pub(crate) fn shown(value: &str) -> String {
    const SHORT: usize = 16;
    const LONG: usize = 48;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-+_./,:\"' ".contains(c);
    let has = |kind: fn(&char) -> bool| value.chars().any(|c| kind(&c));
    let is_mixed = has(char::is_ascii_digit) && has(char::is_ascii_alphabetic);
    let longest = if is_mixed { SHORT } else { LONG };
    let mut words = value.split(|c: char| !c.is_ascii_alphabetic());
    let has_long_word = words.any(|word| word.len() > SHORT);
    match value.len() <= longest && !has_long_word && value.chars().all(is_plain) {
        true => format!("`{value}`"),
        false => "its value (not shown)".to_owned(),
    }
}

/// Whether a value is in quotes. A shell removes them, but an env file, a unit file or a manifest may not.
pub(crate) fn is_quoted(value: &str) -> bool {
    let value = value.as_bytes();
    matches!(value, [first @ (b'"' | b'\''), .., last] if first == last)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";

    #[test]
    fn values_that_cannot_be_paths() {
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{KEY}\n-----END PRIVATE KEY-----\n");
        const LONG: &str =
            "/var/run/secrets/workload-spiffe-credentials/otel/certificates/ca-bundle";
        let long = format!("/{}", "a/".repeat(2500));
        for (rule, value) in [
            ("PEM", pem.clone()),
            ("with its line ends escaped", pem.replace('\n', "\\n")),
            ("with its line ends lost", pem.replace('\n', "")),
            ("in quotes", format!("\"{pem}\"")),
            ("cut off", pem[..40].to_owned()),
            ("base64 of PEM", BASE64.encode(&pem)),
            ("base64 of DER", KEY.to_owned()),
            ("in quotes too", format!("'{KEY}'")),
            ("base64 of PEM with a line end in front", BASE64.encode(format!("\n{pem}"))),
            ("with a byte order mark", BASE64.encode(format!("\u{feff}{pem}"))),
            ("with a comment", BASE64.encode(format!("# the service's key\n{pem}"))),
            ("in UTF-16", {
                let units: Vec<u8> = pem.encode_utf16().flat_map(u16::to_le_bytes).collect();
                BASE64.encode(units)
            }),
            ("base64 twice", BASE64.encode(BASE64.encode(&pem))),
            ("base64 twice of DER", BASE64.encode(KEY)),
            ("a data URL", format!("data:text/plain;base64,{}", BASE64.encode(&pem))),
            ("with its encoding's name", format!("base64:{KEY}")),
            ("a variable's name too", format!("KEY={KEY}")),
            ("base64 that is cut off", BASE64.encode(format!("\n{pem}"))[..61].to_owned()),
            ("in the alphabet for URLs", KEY.replace('/', "_")),
            ("JSON", r#"{"kty":"OKP"}"#.to_owned()),
            ("a URL", "https://u:pw@host/ca.crt".to_owned()),
            ("lines", "a\nb".to_owned()),
            ("a name that is too long", "a".repeat(256)),
            ("a path that is too long", long),
        ] {
            assert!(is_no_path(Path::new(&value)), "{rule}: {value}");
        }
        for path in
            ["/etc/otel/certs/ca.crt", "ca.pem", "C:\\certs\\ca.crt", "${DIR}/ca.crt", "MIIB", LONG]
        {
            assert!(!is_no_path(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn values_that_may_be_tokens() {
        for token in ["", "eyJhbGciOi/J9", "Bearer x/y", "bearer x", "hunter2hunter2hunter2"] {
            assert!(may_be_token(Path::new(token)), "{token}");
        }
        for path in ["/var/run/secrets/tokens/otel", "token", "C:\\tokens\\otel-collector"] {
            assert!(!may_be_token(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn shown_values() {
        for value in [
            "10s",
            "http/protobuf2",
            "\"grpc\"",
            "explicit_bucket_histogramm",
            "otlp, zipkin",
            "18446744073709551616",
        ] {
            assert_eq!(shown(value), format!("`{value}`"));
        }
        for value in [
            "a=b",
            "hunter2hunter2hunter2",
            "correcthorsebatterystaple",
            "otlp, correcthorsebatterystaple",
            "u:p@host",
            "sk_live_51HG8aK2eZvKYlo2C",
            "a\nb",
        ] {
            assert_eq!(shown(value), "its value (not shown)");
        }
    }
}
