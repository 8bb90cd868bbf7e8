//! The part of [protobuf's wire format](https://protobuf.dev/programming-guides/encoding/) that OTLP needs.

/// The type of a field's value, in the low three bits of its tag.
#[derive(Clone, Copy)]
enum WireType {
    Varint = 0,
    Fixed64 = 1,
    Length = 2,
    Fixed32 = 5,
}

/// Bytes reserved for the length of a message that is expected to be shorter than 128 bytes, shorter than 16
/// KiB, or longer. A wrong guess is still correct, but moves the message's content once.
pub(super) const SHORT: usize = 1;
pub(super) const MEDIUM: usize = 2;
pub(super) const LONG: usize = 3;

/// The maximum length of a varint: 64 bits, seven per byte.
const MAX_VARINT: usize = 10;

/// Writes a message in one pass into one buffer.
///
/// There are two groups of methods. `uint`, `sint`, `fixed32`, `fixed64` and `string` omit the default value,
/// as proto3 does. `varint`, `sfixed64`, `double` and `bytes` always write: members of a `oneof` and `optional`
/// fields may have the default as their value.
///
/// The methods called for every field are inlined. Without that, encoding a span takes twice as long.
#[derive(Debug)]
pub(crate) struct Writer {
    buffer: Vec<u8>,
}

impl Writer {
    /// Appends to a buffer.
    pub(super) fn new(buffer: Vec<u8>) -> Self {
        Self { buffer }
    }

    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    #[inline]
    pub(super) fn uint(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.varint(field, value);
        }
    }

    /// Writes a `sint32` in zigzag encoding: 0, -1, 1, -2 are written as 0, 1, 2, 3.
    pub(super) fn sint(&mut self, field: u32, value: i32) {
        self.uint(field, u64::from(((value << 1) ^ (value >> 31)) as u32));
    }

    #[inline]
    pub(super) fn fixed32(&mut self, field: u32, value: u32) {
        if value != 0 {
            self.tag(field, WireType::Fixed32);
            self.buffer.extend_from_slice(&value.to_le_bytes());
        }
    }

    #[inline]
    pub(super) fn fixed64(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.tag(field, WireType::Fixed64);
            self.raw_fixed64(value);
        }
    }

    #[inline]
    pub(super) fn string(&mut self, field: u32, value: &str) {
        if !value.is_empty() {
            self.bytes(field, value.as_bytes());
        }
    }

    #[inline]
    pub(super) fn varint(&mut self, field: u32, value: u64) {
        self.tag(field, WireType::Varint);
        self.raw_varint(value);
    }

    pub(super) fn sfixed64(&mut self, field: u32, value: i64) {
        self.tag(field, WireType::Fixed64);
        self.buffer.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn double(&mut self, field: u32, value: f64) {
        self.tag(field, WireType::Fixed64);
        self.raw_double(value);
    }

    #[inline]
    pub(super) fn bytes(&mut self, field: u32, value: &[u8]) {
        self.tag(field, WireType::Length);
        self.raw_varint(value.len() as u64);
        self.buffer.extend_from_slice(value);
    }

    /// Writes a nested message, even if it is empty. Reserves `room` bytes for its length.
    #[inline]
    pub(super) fn message(&mut self, field: u32, room: usize, content: impl FnOnce(&mut Self)) {
        self.tag(field, WireType::Length);
        self.with_length(room, content);
    }

    /// Writes a packed repeated field: the numbers without tags. `write` is one of the `raw_…` methods.
    pub(super) fn packed<T>(
        &mut self,
        field: u32,
        elements: impl Iterator<Item = T>,
        write: fn(&mut Self, T),
    ) {
        let mut elements = elements.peekable();
        if elements.peek().is_some() {
            self.message(field, SHORT, |writer| {
                elements.for_each(|element| write(writer, element));
            });
        }
    }

    /// Writes content with its length in front.
    ///
    /// The length is unknown until the content is written, and is itself of variable size. So `room` bytes are
    /// reserved for it. If they turn out to be too many or too few, the content is moved so that no gap is
    /// left.
    #[inline]
    fn with_length(&mut self, room: usize, content: impl FnOnce(&mut Self)) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[0; LONG][..room]);
        content(self);
        let length = self.buffer.len() - start - room;
        // The most common case.
        if room == SHORT && length < 0x80 {
            self.buffer[start] = length as u8;
            return;
        }
        let (prefix, needed) = varint(length as u64);
        if needed != room {
            self.move_content(start + room, start + needed);
        }
        self.buffer[start..start + needed].copy_from_slice(&prefix[..needed]);
    }

    /// Moves everything written since `from` to begin at `to`.
    #[cold]
    fn move_content(&mut self, from: usize, to: usize) {
        let end = self.buffer.len();
        if to > from {
            self.buffer.resize(end + to - from, 0);
        }
        self.buffer.copy_within(from..end, to);
        self.buffer.truncate(end - from + to);
    }

    #[inline]
    fn tag(&mut self, field: u32, wire_type: WireType) {
        self.raw_varint(u64::from(field << 3 | wire_type as u32));
    }

    pub(super) fn raw_bytes(&mut self, value: &[u8]) {
        self.buffer.extend_from_slice(value);
    }

    pub(super) fn raw_fixed64(&mut self, value: u64) {
        self.buffer.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn raw_double(&mut self, value: f64) {
        self.buffer.extend_from_slice(&value.to_le_bytes());
    }

    #[inline]
    pub(super) fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.buffer.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.push(value as u8);
    }
}

/// The bytes of a varint, and their number.
fn varint(mut value: u64) -> ([u8; MAX_VARINT], usize) {
    let mut bytes = [0; MAX_VARINT];
    let mut length = 0;
    while value >= 0x80 {
        bytes[length] = value as u8 | 0x80;
        value >>= 7;
        length += 1;
    }
    bytes[length] = value as u8;
    (bytes, length + 1)
}

/// The bytes are not a valid protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The value of a field. The wire format gives its size but not its type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    /// A string, bytes, a message, or packed numbers.
    Bytes(&'a [u8]),
}

/// Reads the fields of one message, each with its number. Stops after the first [`Malformed`].
///
/// It reads untrusted input from the network, so it borrows, allocates nothing, and does not recurse. Nested
/// messages are read by another `Reader` if needed.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn field(&mut self) -> Option<(u32, Value<'a>)> {
        let tag = u32::try_from(self.varint()?).ok()?;
        let number = tag >> 3;
        let value = match tag & 7 {
            wire if wire == WireType::Varint as u32 => Value::Varint(self.varint()?),
            wire if wire == WireType::Fixed64 as u32 => Value::Fixed64(self.fixed64()?),
            wire if wire == WireType::Length as u32 => Value::Bytes(self.bytes()?),
            wire if wire == WireType::Fixed32 as u32 => {
                Value::Fixed32(u32::from_le_bytes(self.array()?))
            }
            // Groups are deprecated, and none of the messages read here has any.
            _ => return None,
        };
        (number != 0).then_some((number, value))
    }

    /// The next bytes as a varint. Also used for packed numbers, like `fixed64`.
    pub(super) fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for (index, byte) in self.rest.iter().take(MAX_VARINT).enumerate() {
            // The tenth byte can have only one bit of the 64.
            if index == MAX_VARINT - 1 && *byte > 1 {
                return None;
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if *byte < 0x80 {
                self.rest = &self.rest[index + 1..];
                return Some(value);
            }
        }
        None
    }

    pub(super) fn fixed64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.varint()?).ok()?;
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*array)
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<(u32, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.rest = &[];
        }
        Some(field.ok_or(Malformed))
    }
}
