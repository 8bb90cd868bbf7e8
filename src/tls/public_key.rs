//! Compares public keys, independent of their encoding.

use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier};
use der::{Decode, Sequence};

/// RSA keys in general, and those restricted to RSASSA-PSS.
const RSA: [ObjectIdentifier; 2] = [
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1"),
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10"),
];
const ELLIPTIC_CURVE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

/// A `SubjectPublicKeyInfo`, without its parameters.
#[derive(Sequence)]
struct PublicKey<'a> {
    /// The identifier and parameters.
    algorithm: Vec<AnyRef<'a>>,
    key: BitStringRef<'a>,
}

/// The value of a key, independent of its encoding.
#[derive(PartialEq, Eq)]
enum Value<'a> {
    Rsa {
        modulus: &'a [u8],
        exponent: &'a [u8],
    },
    Point {
        x: &'a [u8],
        y_is_odd: bool,
        /// `None` in a compressed point, which has only its parity.
        y: Option<&'a [u8]>,
    },
}

/// Compares the keys themselves, and ignores the encoding of a point and an algorithm's parameters.
pub(super) fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one == other {
        return true;
    }
    match (value(one), value(other)) {
        (
            Some(Value::Point { x, y_is_odd, y }),
            Some(Value::Point { x: other_x, y_is_odd: other_is_odd, y: other_y }),
        ) => {
            let same_y = y.zip(other_y).is_none_or(|(y, other)| y == other);
            x == other_x && y_is_odd == other_is_odd && same_y
        }
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}

/// `None` for keys that have only one encoding.
fn value(der: &[u8]) -> Option<Value<'_>> {
    let PublicKey { algorithm, key } = PublicKey::from_der(der).ok()?;
    let (id, key) = (algorithm.first()?.value(), key.as_bytes()?);
    if RSA.iter().any(|rsa| rsa.as_bytes() == id) {
        let [modulus, exponent] = *Vec::<AnyRef<'_>>::from_der(key).ok()? else {
            return None;
        };
        let [modulus, exponent] = [modulus, exponent].map(|number| significant(number.value()));
        return Some(Value::Rsa { modulus, exponent });
    }
    if id != ELLIPTIC_CURVE.as_bytes() {
        return None;
    }
    // SEC 1, section 2.3.3.
    match key {
        [form @ (2 | 3), x @ ..] => Some(Value::Point { x, y_is_odd: *form == 3, y: None }),
        [4 | 6 | 7, point @ ..] => {
            let (x, y) = point.split_at(point.len() / 2);
            Some(Value::Point { x, y_is_odd: y.last()? % 2 == 1, y: Some(y) })
        }
        _ => None,
    }
}

/// A number without leading zeros.
fn significant(number: &[u8]) -> &[u8] {
    &number[number.iter().take_while(|byte| **byte == 0).count()..]
}

#[cfg(test)]
mod tests {
    use der::{Encode, Tag};

    use super::*;

    fn tlv(tag: Tag, value: &[u8]) -> Vec<u8> {
        AnyRef::new(tag, value).unwrap().to_der().unwrap()
    }

    fn key(id: ObjectIdentifier, parameters: &[u8], key: &[u8]) -> Vec<u8> {
        let algorithm = [id.to_der().unwrap().as_slice(), parameters].concat();
        let key = tlv(Tag::BitString, &[&[0], key].concat());
        tlv(Tag::Sequence, &[tlv(Tag::Sequence, &algorithm), key].concat())
    }

    #[test]
    fn a_point_by_its_parity() {
        let curve = tlv(Tag::ObjectIdentifier, b"\x2a\x86\x48\xce\x3d\x03\x01\x07");
        let point = |point: &[u8]| key(ELLIPTIC_CURVE, &curve, point);
        let whole = point(&[4, 10, 11, 20, 21]);
        assert!(is_same(&whole, &point(&[3, 10, 11])));
        assert!(is_same(&point(&[3, 10, 11]), &whole));
        assert!(is_same(&whole, &point(&[7, 10, 11, 20, 21])));
        // Explicit curve parameters instead of the curve's name.
        let explicit = key(ELLIPTIC_CURVE, &tlv(Tag::Sequence, &[]), &[4, 10, 11, 20, 21]);
        assert!(is_same(&whole, &explicit));
        assert!(!is_same(&whole, &point(&[2, 10, 11])));
        // A damaged point of the same parity.
        assert!(!is_same(&whole, &point(&[4, 10, 11, 22, 21])));
        assert!(!is_same(&whole, &point(&[3, 10, 12])));
        assert!(!is_same(&point(&[2, 10, 11]), &point(&[3, 10, 11])));
        assert!(!is_same(&whole, &point(&[])));
    }

    #[test]
    fn a_modulus_and_an_exponent() {
        let numbers = |modulus: &[u8], exponent: &[u8]| {
            let numbers = [tlv(Tag::Integer, modulus), tlv(Tag::Integer, exponent)];
            tlv(Tag::Sequence, &numbers.concat())
        };
        let usual = key(RSA[0], &[5, 0], &numbers(&[0, 200, 1], &[1, 0, 1]));
        for same in [
            key(RSA[0], &[], &numbers(&[0, 200, 1], &[1, 0, 1])),
            key(RSA[1], &tlv(Tag::Sequence, &[]), &numbers(&[0, 200, 1], &[1, 0, 1])),
            key(RSA[0], &[5, 0], &numbers(&[0, 0, 200, 1], &[0, 1, 0, 1])),
        ] {
            assert!(is_same(&usual, &same), "{same:?}");
        }
        for other in [
            key(RSA[0], &[5, 0], &numbers(&[0, 200, 2], &[1, 0, 1])),
            key(RSA[0], &[5, 0], &numbers(&[0, 200, 1], &[3])),
            key(ELLIPTIC_CURVE, &[5, 0], &numbers(&[0, 200, 1], &[1, 0, 1])),
            key(RSA[0], &[5, 0], b"nonsense"),
        ] {
            assert!(!is_same(&usual, &other), "{other:?}");
        }
    }

    /// Ed25519 keys have only one encoding.
    #[test]
    fn other_keys_are_compared_by_bytes() {
        let id = ObjectIdentifier::new_unwrap("1.3.101.112");
        assert!(is_same(&key(id, &[], &[1; 32]), &key(id, &[], &[1; 32])));
        assert!(!is_same(&key(id, &[], &[1; 32]), &key(id, &[], &[2; 32])));
        assert!(!is_same(b"nonsense", b"other"));
    }
}
