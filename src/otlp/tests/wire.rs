//! Compares the wire format with prost's.

use proptest::prelude::*;
use prost::Message;

use super::super::wire::{LONG, Malformed, Reader, Value, Writer};

fn written(content: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    content(&mut writer);
    writer.into_buffer()
}

/// The message type by which prost encodes the same fields.
#[derive(Clone, Message, PartialEq)]
struct Sample {
    #[prost(uint64, tag = "1")]
    uint: u64,
    #[prost(sint32, tag = "2")]
    sint: i32,
    #[prost(fixed32, tag = "3")]
    fixed32: u32,
    #[prost(fixed64, tag = "4")]
    fixed64: u64,
    #[prost(string, tag = "5")]
    string: String,
    #[prost(int64, optional, tag = "6")]
    varint: Option<i64>,
    #[prost(sfixed64, optional, tag = "7")]
    sfixed64: Option<i64>,
    #[prost(double, optional, tag = "8")]
    double: Option<f64>,
    #[prost(bytes = "vec", optional, tag = "9")]
    bytes: Option<Vec<u8>>,
    #[prost(uint64, repeated, tag = "10")]
    varints: Vec<u64>,
    #[prost(fixed64, repeated, tag = "11")]
    fixed64s: Vec<u64>,
    #[prost(double, repeated, tag = "2000")]
    doubles: Vec<f64>,
    #[prost(message, optional, boxed, tag = "12")]
    nested: Option<Box<Self>>,
}

impl Sample {
    fn write(&self, writer: &mut Writer, room: usize) {
        writer.uint(1, self.uint);
        writer.sint(2, self.sint);
        writer.fixed32(3, self.fixed32);
        writer.fixed64(4, self.fixed64);
        writer.string(5, &self.string);
        if let Some(varint) = self.varint {
            writer.varint(6, varint as u64);
        }
        if let Some(sfixed64) = self.sfixed64 {
            writer.sfixed64(7, sfixed64);
        }
        if let Some(double) = self.double {
            writer.double(8, double);
        }
        if let Some(bytes) = &self.bytes {
            writer.bytes(9, bytes);
        }
        writer.packed(10, self.varints.iter().copied(), Writer::raw_varint);
        writer.packed(11, self.fixed64s.iter().copied(), Writer::raw_fixed64);
        if let Some(nested) = &self.nested {
            writer.message(12, room, |writer| nested.write(writer, room));
        }
        writer.packed(2000, self.doubles.iter().copied(), Writer::raw_double);
    }
}

fn samples() -> impl Strategy<Value = Sample> {
    let numbers = || prop::collection::vec(any::<u64>(), 0..40);
    let flat = (
        (any::<u64>(), any::<i32>(), any::<u32>(), any::<u64>()),
        (any::<String>(), any::<Option<i64>>(), any::<Option<i64>>(), any::<Option<f64>>()),
        (prop::option::of(prop::collection::vec(any::<u8>(), 0..300)), numbers(), numbers()),
        prop::collection::vec(any::<f64>(), 0..40),
        0_u32..=64,
    );
    let flat = flat.prop_map(|(fixed, values, lists, doubles, bits)| Sample {
        // Shifted, so that varints of any length occur.
        uint: fixed.0.checked_shr(bits).unwrap_or(0),
        sint: fixed.1,
        fixed32: fixed.2,
        fixed64: fixed.3,
        string: values.0,
        varint: values.1,
        sfixed64: values.2,
        double: values.3,
        bytes: lists.0,
        varints: lists.1,
        fixed64s: lists.2,
        doubles,
        nested: None,
    });
    flat.prop_recursive(4, 8, 1, |inner| {
        (inner.clone(), inner)
            .prop_map(|(outer, inner)| Sample { nested: Some(Box::new(inner)), ..outer })
    })
}

proptest! {
    /// For any reserved length.
    #[test]
    fn prost_writes_the_same(sample in samples(), room in 0..=LONG) {
        let bytes = written(|writer| sample.write(writer, room));
        prop_assert_eq!(bytes, sample.encode_to_vec());
    }

    #[test]
    fn each_field_is_read_back(number in 1_u32..1 << 29, value: u64, bytes: Vec<u8>) {
        let message = written(|writer| {
            writer.varint(number, value);
            writer.sfixed64(number, value as i64);
            writer.bytes(number, &bytes);
            writer.fixed32(number, value as u32 | 1);
        });
        let fields: Result<Vec<_>, _> = Reader::new(&message).collect();
        prop_assert_eq!(fields.unwrap(), [
            (number, Value::Varint(value)),
            (number, Value::Fixed64(value)),
            (number, Value::Bytes(&bytes)),
            (number, Value::Fixed32(value as u32 | 1)),
        ]);
    }

    /// Except groups, which prost accepts.
    #[test]
    fn any_bytes_are_a_message_or_malformed(bytes: Vec<u8>) {
        let is_message = Reader::new(&bytes).all(|field| field.is_ok());
        prop_assert!(!is_message || prost_takes(&bytes), "{:?}", bytes);
    }
}

/// Whether prost can skip every field.
fn prost_takes(bytes: &[u8]) -> bool {
    #[derive(Message)]
    struct Empty {}
    Empty::decode(bytes).is_ok()
}

#[test]
fn truncated_messages_are_malformed() {
    let message = written(|writer| {
        writer.bytes(1, b"four");
    });
    for length in 1..message.len() {
        let fields: Vec<_> = Reader::new(&message[..length]).collect();
        assert_eq!(fields, [Err(Malformed)], "{length} bytes");
    }
}

#[test]
fn invalid_messages_are_malformed() {
    for (name, bytes) in [
        ("a number of 65 bits", &[8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2][..]),
        ("a number without an end", &[8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0]),
        ("a length beyond all memory", &[10, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
        ("field 0", &[0, 0]),
        ("a group", &[11, 12]),
        ("a wire type that there is not", &[14]),
        ("a tag of more than 32 bits", &[0x88, 0x80, 0x80, 0x80, 0x10, 0]),
    ] {
        assert_eq!(Reader::new(bytes).last(), Some(Err(Malformed)), "{name}");
    }
}
