//! Reads JSON from the network ([RFC 8259](https://www.rfc-editor.org/rfc/rfc8259)) in one pass, and keeps only
//! the few values that are needed. The others are validated and skipped without being copied.

use super::wire::Malformed;

/// The maximum depth of arrays and objects: deeper nesting could overflow the stack.
const MAX_DEPTH: usize = 100;

/// Reads one value after the other.
pub(super) struct JsonReader<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> JsonReader<'a> {
    /// Reads a text that consists of one object. `member` is called for each member and reads or skips its
    /// value.
    pub(super) fn read(
        text: &'a [u8],
        member: impl FnMut(&str, &mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let text = std::str::from_utf8(text).map_err(|_not_utf8| Malformed)?;
        let mut reader = Self { rest: text, depth: 0 };
        if !reader.is_object() {
            return Err(Malformed);
        }
        reader.object(member)?;
        reader.white_space();
        if reader.rest.is_empty() { Ok(()) } else { Err(Malformed) }
    }

    pub(super) fn is_object(&mut self) -> bool {
        self.peek() == Some(b'{')
    }

    pub(super) fn is_string(&mut self) -> bool {
        self.peek() == Some(b'"')
    }

    /// Reads an object. `null` counts as an empty object.
    pub(super) fn object(
        &mut self,
        mut member: impl FnMut(&str, &mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        if self.null() {
            return Ok(());
        }
        let mut name = String::new();
        self.nested(b'{', b'}', |reader| {
            name.clear();
            reader.append_string(&mut |part| name.push_str(part))?;
            reader.expect(b':')?;
            member(&name, reader)
        })
    }

    /// Reads a string. `null` counts as the empty string.
    pub(super) fn string(&mut self, into: &mut String) -> Result<(), Malformed> {
        into.clear();
        if self.null() {
            return Ok(());
        }
        self.append_string(&mut |part| into.push_str(part))
    }

    /// Reads an integer by [protobuf's JSON mapping](https://protobuf.dev/programming-guides/json/): a number
    /// or, as 64-bit integers are written, a string. `null` counts as zero.
    pub(super) fn integer(&mut self, into: &mut i64) -> Result<(), Malformed> {
        let mut text = String::new();
        match self.is_string() {
            true => self.string(&mut text)?,
            false if self.null() => text.push('0'),
            false => text.push_str(self.number()?),
        }
        *into = match text.parse() {
            Ok(integer) => integer,
            // `3.0` and `3e0` are integers too.
            Err(_) => match text.parse::<f64>() {
                Ok(number) if number.fract() == 0.0 && number.abs() < i64::MAX as f64 => {
                    number as i64
                }
                _ => return Err(Malformed),
            },
        };
        Ok(())
    }

    /// Skips a value.
    pub(super) fn skip(&mut self) -> Result<(), Malformed> {
        match self.peek() {
            Some(b'{') => self.object(|_, value| value.skip()),
            Some(b'[') => self.nested(b'[', b']', Self::skip),
            Some(b'"') => self.append_string(&mut |_| {}),
            Some(b'-' | b'0'..=b'9') => self.number().map(drop),
            _ if self.null() || self.literal("true") || self.literal("false") => Ok(()),
            _ => Err(Malformed),
        }
    }

    /// Reads comma-separated elements in brackets.
    fn nested(
        &mut self,
        open: u8,
        close: u8,
        mut element: impl FnMut(&mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Malformed);
        }
        self.expect(open)?;
        if self.peek() != Some(close) {
            loop {
                element(self)?;
                match self.peek() {
                    Some(b',') => self.advance(1),
                    _ => break,
                }
            }
        }
        self.depth -= 1;
        self.expect(close)
    }

    /// Reads a string piecewise: each piece is a single escape, or has none.
    fn append_string(&mut self, append: &mut dyn FnMut(&str)) -> Result<(), Malformed> {
        self.expect(b'"')?;
        loop {
            let special = |byte: u8| byte == b'"' || byte == b'\\' || byte < 0x20;
            let end = self.rest.bytes().position(special).ok_or(Malformed)?;
            append(&self.rest[..end]);
            self.advance(end);
            if self.starts_with(b'"') {
                self.advance(1);
                return Ok(());
            }
            if !self.starts_with(b'\\') {
                // A control character must be escaped.
                return Err(Malformed);
            }
            self.advance(1);
            append(self.escape()?.encode_utf8(&mut [0; 4]));
        }
    }

    fn escape(&mut self) -> Result<char, Malformed> {
        let kind = self.rest.bytes().next().ok_or(Malformed)?;
        let character = match kind {
            b'"' | b'\\' | b'/' => char::from(kind),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.advance(1);
                return self.code_point();
            }
            _ => return Err(Malformed),
        };
        self.advance(1);
        Ok(character)
    }

    /// Reads four hexadecimal digits, or eight for a surrogate pair. JSON's grammar allows a lone surrogate,
    /// which is not a character and is replaced.
    fn code_point(&mut self) -> Result<char, Malformed> {
        let first = self.hexadecimal()?;
        let is_pair = (0xd800..0xdc00).contains(&first) && self.rest.starts_with("\\u");
        if !is_pair {
            return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        self.advance(2);
        let second = self.hexadecimal()?;
        let low = second.checked_sub(0xdc00).filter(|low| *low < 0x400);
        let pair = low.and_then(|low| char::from_u32(0x10000 + ((first - 0xd800) << 10) + low));
        Ok(pair.unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hexadecimal(&mut self) -> Result<u32, Malformed> {
        let digits =
            self.rest.get(..4).filter(|digits| digits.bytes().all(|d| d.is_ascii_hexdigit()));
        let value =
            digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()).ok_or(Malformed)?;
        self.advance(4);
        Ok(value)
    }

    fn number(&mut self) -> Result<&'a str, Malformed> {
        self.white_space();
        let whole = self.rest;
        let length = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        if self.starts_with(b'-') {
            self.advance(1);
        }
        match length(self.rest) {
            0 => return Err(Malformed),
            digits if digits > 1 && self.starts_with(b'0') => return Err(Malformed),
            digits => self.advance(digits),
        }
        if self.starts_with(b'.') {
            self.advance(1);
            self.digits(length(self.rest))?;
        }
        if self.starts_with(b'e') || self.starts_with(b'E') {
            self.advance(1);
            if self.starts_with(b'+') || self.starts_with(b'-') {
                self.advance(1);
            }
            self.digits(length(self.rest))?;
        }
        Ok(&whole[..whole.len() - self.rest.len()])
    }

    fn digits(&mut self, count: usize) -> Result<(), Malformed> {
        self.advance(count);
        if count == 0 { Err(Malformed) } else { Ok(()) }
    }

    fn null(&mut self) -> bool {
        self.literal("null")
    }

    fn literal(&mut self, literal: &str) -> bool {
        self.white_space();
        let rest = self.rest.strip_prefix(literal);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        match self.peek() {
            Some(next) if next == byte => {
                self.advance(1);
                Ok(())
            }
            _ => Err(Malformed),
        }
    }

    /// The first byte after any white space.
    fn peek(&mut self) -> Option<u8> {
        self.white_space();
        self.rest.bytes().next()
    }

    fn starts_with(&self, byte: u8) -> bool {
        self.rest.as_bytes().first() == Some(&byte)
    }

    fn white_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    /// Cannot panic: callers have checked that the skipped bytes are ASCII, or end at a character boundary.
    fn advance(&mut self, bytes: usize) {
        self.rest = &self.rest[bytes..];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_read(text: &[u8]) -> bool {
        JsonReader::read(text, |_, value| value.skip()).is_ok()
    }

    fn member(text: &str) -> Option<String> {
        let mut read = String::new();
        JsonReader::read(text.as_bytes(), |_, value| value.string(&mut read)).ok()?;
        Some(read)
    }

    #[test]
    fn strings() {
        for (text, expected) in [
            (r#"{"a":""}"#, Some("")),
            (r#" { "a" : "b\"\\\/\b\f\n\r\t" } "#, Some("b\"\\/\u{8}\u{c}\n\r\t")),
            (r#"{"a":"\u00e9\ud83d\ude00é"}"#, Some("é😀é")),
            (r#"{"a":"\ud83d"}"#, Some("\u{fffd}")),
            (r#"{"a":"\ud83dx"}"#, Some("\u{fffd}x")),
            (r#"{"a":"\ud83d\u0041"}"#, Some("\u{fffd}")),
            (r#"{"a":null}"#, Some("")),
            (r#"{"a":"\u+041"}"#, None),
            (r#"{"a":"\u00é"}"#, None),
            (r#"{"a":"\x"}"#, None),
            ("{\"a\":\"\n\"}", None),
            (r#"{"a":"b}"#, None),
            (r#"{"a":1}"#, None),
        ] {
            assert_eq!(member(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn integers() {
        for (text, expected) in [
            ("3", Some(3)),
            ("\"3\"", Some(3)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("\"9223372036854775807\"", Some(i64::MAX)),
            ("3.0", Some(3)),
            ("3e2", Some(300)),
            ("null", Some(0)),
            ("3.5", None),
            ("1e30", None),
            ("03", None),
            ("3.", None),
            ("\"\"", None),
            ("\"x\"", None),
            ("{}", None),
            ("true", None),
        ] {
            let mut integer = 0;
            let text = format!("{{\"a\":{text}}}");
            let read = JsonReader::read(text.as_bytes(), |_, value| value.integer(&mut integer));
            assert_eq!(read.is_ok().then_some(integer), expected, "{text}");
        }
    }

    #[test]
    fn nesting_is_limited() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(is_read(nested(99).as_bytes()));
        assert!(!is_read(nested(100).as_bytes()));
        assert!(!is_read("{\"a\":".repeat(1_000_000).as_bytes()));
    }

    /// Almost JSON: its tokens in random order.
    fn text() -> impl Strategy<Value = String> {
        let token = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"a\"",
            "\"\\u0041\"",
            "\"\\ud800\"",
            "\"",
            "\\",
            "null",
            "true",
            "false",
            "0",
            "-1.5e+3",
            "01",
            "1.",
            " ",
            "\n",
            "x",
            "é",
        ]);
        prop::collection::vec(token, 0..12).prop_map(|tokens| tokens.concat())
    }

    fn tree() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::hash_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn accepts_exactly_what_serde_json_accepts(text in text()) {
            let text = format!("{{\"a\":{text}}}");
            // `IgnoredAny`, because serde_json's `Value` rejects a lone surrogate, which the grammar allows.
            let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            prop_assert_eq!(is_read(text.as_bytes()), is_json, "{}", text);
        }

        #[test]
        fn reads_what_serde_json_writes(tree in tree(), text: String) {
            let written = serde_json::json!({ "a": text, "b": tree });
            for written in [written.to_string(), format!("{written:#}")] {
                let mut read = String::new();
                let result = JsonReader::read(written.as_bytes(), |name, value| match name {
                    "a" => value.string(&mut read),
                    _ => value.skip(),
                });
                prop_assert!(result.is_ok(), "{}", written);
                prop_assert_eq!(&read, &text);
            }
        }
    }
}
