//! Parses all sections of a PEM file ([RFC 7468](https://www.rfc-editor.org/rfc/rfc7468)).
//!
//! Beyond the RFC it accepts what is unambiguous: sections without a line end between them, a byte
//! order mark before a section, indentation, and a UTF-16 file with a byte order mark. Any other
//! BEGIN or END is an error, so that no part of a file is skipped silently.

use base64::Engine;
use base64::decoded_len_estimate;
use zeroize::Zeroizing;

use super::{Wanted, format};
use crate::error::{CredentialLocation, CredentialProblem, PemProblem};
use crate::secrets::{BASE64, BEGIN, is_base64_of_key};

const END: &str = "-----END ";
const DASHES: &[u8] = b"-----";
/// The beginning of `-----BEGIN ` in base64.
const ENCODED_BEGIN: &[u8] = b"LS0tLS1CRUdJTi";
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One section, decoded.
pub(super) struct Section {
    pub(super) label: String,
    /// The number of its BEGIN line, counted from 1.
    pub(super) line: usize,
    /// Whether its headers say that it is encrypted ([RFC 1421, section
    /// 4.6.1.1](https://www.rfc-editor.org/rfc/rfc1421#section-4.6.1.1)).
    pub(super) is_encrypted: bool,
    pub(super) der: Zeroizing<Vec<u8>>,
}

/// A section whose END line has not been read yet.
struct Open<'a> {
    label: String,
    line: usize,
    is_encrypted: bool,
    body: Vec<&'a [u8]>,
}

pub(super) fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Whether it may contain PEM, also in UTF-16.
pub(super) fn is_text(content: &[u8]) -> bool {
    !content.contains(&0)
        || contains(content, BEGIN.as_bytes())
        || contains(content, b"B\0E\0G\0I\0N\0")
}

/// The text of a file that is completely UTF-16, with a byte order mark.
pub(super) fn from_utf16(content: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (units, decode): (_, fn([u8; 2]) -> u16) = match content {
        [0xff, 0xfe, units @ ..] => (units, u16::from_le_bytes),
        [0xfe, 0xff, units @ ..] => (units, u16::from_be_bytes),
        _ => return None,
    };
    // A file that is only partly UTF-16 is not decoded, and is reported by its NUL bytes. Two bytes
    // of ASCII would be decoded as one UTF-16 character.
    let (units, []) = units.as_chunks::<2>() else {
        return None;
    };
    if contains(content, BEGIN.as_bytes()) {
        return None;
    }
    // A UTF-16 unit has at most three bytes in UTF-8.
    let mut text = Zeroizing::new(Vec::with_capacity(units.len() * 3));
    for character in char::decode_utf16(units.iter().map(|unit| decode(*unit))) {
        // A byte order mark or a dash in the other byte order.
        let character = character.ok().filter(|c| !matches!(c, '\u{fffe}' | '\u{2d00}'))?;
        text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Some(text)
}

/// All sections of a text.
pub(super) fn scan(
    text: &[u8],
    wanted: Wanted,
    place: &CredentialLocation,
) -> Result<Vec<Section>, CredentialProblem> {
    let mut scanner = Scanner { wanted, place, sections: Vec::new(), open: None };
    let lines = text.split(|byte| *byte == b'\n').flat_map(|line| {
        // A single carriage return also ends a line.
        line.strip_suffix(b"\r").unwrap_or(line).split(|byte| *byte == b'\r')
    });
    for (line, number) in lines.zip(1..) {
        scanner.line(number, line)?;
    }
    match scanner.open {
        Some(Open { label, line, .. }) => Err(CredentialProblem::Truncated { label, line }),
        None => Ok(scanner.sections),
    }
}

struct Scanner<'a> {
    wanted: Wanted,
    place: &'a CredentialLocation,
    sections: Vec<Section>,
    open: Option<Open<'a>>,
}

impl<'a> Scanner<'a> {
    fn line(&mut self, number: usize, line: &'a [u8]) -> Result<(), CredentialProblem> {
        if line.contains(&0) {
            let command = format::utf16(self.wanted, self.place);
            return Err(invalid(number, PemProblem::Nul { command }));
        }
        let line = line.trim_ascii();
        let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line).trim_ascii_start();
        match self.open.take() {
            Some(section) => self.inside(section, number, line),
            None => self.outside(number, line),
        }
    }

    /// Reads text between sections, or the beginning of one.
    fn outside(&mut self, number: usize, line: &'a [u8]) -> Result<(), CredentialProblem> {
        if line.starts_with(b"#") {
            return Ok(());
        }
        if let Some(rest) = line.strip_prefix(BEGIN.as_bytes()) {
            return self.begin(number, line, rest);
        }
        if line.starts_with(ENCODED_BEGIN) {
            return Err(invalid(number, PemProblem::Base64));
        }
        if std::str::from_utf8(line).is_ok_and(is_base64_of_key) {
            return Err(invalid(number, PemProblem::NoBoundary));
        }
        if line.starts_with(END.as_bytes()) {
            return Err(invalid(number, PemProblem::UnexpectedEnd));
        }
        match is_boundary(line) {
            true => Err(self.mangled(number, line)),
            false => Ok(()),
        }
    }

    fn begin(
        &mut self,
        number: usize,
        line: &'a [u8],
        rest: &'a [u8],
    ) -> Result<(), CredentialProblem> {
        let end = rest.windows(DASHES.len()).position(|window| window == DASHES);
        let (label, after) = match end {
            Some(end) => (&rest[..end], &rest[end + DASHES.len()..]),
            None => return Err(self.mangled(number, line)),
        };
        let is_label =
            |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b" .#".contains(byte);
        if !after.is_empty() || !label.iter().all(is_label) {
            return Err(self.mangled(number, line));
        }
        self.open = Some(Open {
            label: String::from_utf8_lossy(label).into_owned(),
            line: number,
            is_encrypted: false,
            body: Vec::new(),
        });
        Ok(())
    }

    fn inside(
        &mut self,
        mut section: Open<'a>,
        number: usize,
        line: &'a [u8],
    ) -> Result<(), CredentialProblem> {
        if let Some(rest) = line.strip_prefix(END.as_bytes()) {
            let after = rest
                .strip_prefix(section.label.as_bytes())
                .and_then(|rest| rest.strip_prefix(DASHES))
                .ok_or_else(|| invalid(number, PemProblem::UnexpectedEnd))?;
            self.sections.push(section.close()?);
            // The next section may begin here, if a file without a final line end was concatenated
            // with another one.
            return self.outside(number, after.strip_prefix(BYTE_ORDER_MARK).unwrap_or(after));
        }
        if line.starts_with(BEGIN.as_bytes()) {
            let Open { label, line, .. } = section;
            return Err(CredentialProblem::Truncated { label, line });
        }
        if is_boundary(line) {
            return Err(self.mangled(number, line));
        }
        match section.body.is_empty() && is_header(line) {
            true => section.is_encrypted |= line.ends_with(b"ENCRYPTED"),
            false => section.body.push(line),
        }
        self.open = Some(section);
        Ok(())
    }

    /// What is wrong with a BEGIN or END that is not on a line of its own.
    fn mangled(&self, number: usize, line: &[u8]) -> CredentialProblem {
        /// Longer than any BEGIN line, and shorter than one with the shortest key after it.
        const LONGEST_BOUNDARY: usize = 80;
        let has_content = line.len() > LONGEST_BOUNDARY;
        invalid(
            number,
            if contains(line, b"\\n") {
                let command = format::escaped(self.wanted, self.place);
                PemProblem::EscapedLineEnds { command }
            } else if has_content {
                let command = format::one_line(self.wanted, self.place);
                PemProblem::NoLineEnds { command }
            } else {
                PemProblem::Boundary
            },
        )
    }
}

impl Open<'_> {
    fn close(self) -> Result<Section, CredentialProblem> {
        let Self { label, line, is_encrypted, body } = self;
        let room = body.iter().map(|line| line.len()).sum();
        // Neither buffer may grow, because that would leave a copy of a key in freed memory.
        let mut base64 = Zeroizing::new(Vec::with_capacity(room));
        for line in body {
            base64.extend(line.iter().filter(|byte| !byte.is_ascii_whitespace()));
        }
        let mut der = Zeroizing::new(Vec::with_capacity(decoded_len_estimate(room)));
        // The decoder's own error would show a byte of the content.
        match BASE64.decode_vec(base64.as_slice(), &mut der) {
            Ok(()) => Ok(Section { label, line, is_encrypted, der }),
            Err(_) => Err(invalid(line, PemProblem::InvalidBase64 { label })),
        }
    }
}

/// The headers of OpenSSL's traditional format of encrypted keys.
fn is_header(line: &[u8]) -> bool {
    line.starts_with(b"Proc-Type:") || line.starts_with(b"DEK-Info:")
}

/// Whether a line contains a BEGIN or END, or a damaged one: with fewer dashes or those of a word
/// processor, in lower case, with another space.
fn is_boundary(line: &[u8]) -> bool {
    const LONGEST: usize = 64;
    /// The first words of labels, so that text between sections may contain the word "end".
    const LABELS: [&str; 12] = [
        "CERTIFICATE",
        "X509",
        "TRUSTED",
        "PRIVATE",
        "RSA",
        "EC ",
        "ENCRYPTED",
        "PKCS",
        "CMS",
        "PUBLIC",
        "OPENSSH",
        "SSH2",
    ];
    if contains(line, BEGIN.as_bytes()) || contains(line, END.as_bytes()) {
        return true;
    }
    let is_dash = |c| matches!(c, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}');
    let start = String::from_utf8_lossy(&line[..line.len().min(LONGEST)]);
    // No line of base64 does, so no part of a key is copied below.
    if !start.starts_with(is_dash) {
        return false;
    }
    let start = start.trim_start_matches(|c| is_dash(c) || c == ' ').to_ascii_uppercase();
    let label = ["BEGIN", "END"].iter().find_map(|word| start.strip_prefix(word));
    label.is_some_and(|label| {
        let label = label.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
        LABELS.iter().any(|known| label.starts_with(known))
    })
}

fn invalid(line: usize, problem: PemProblem) -> CredentialProblem {
    CredentialProblem::InvalidPem { line, problem }
}
