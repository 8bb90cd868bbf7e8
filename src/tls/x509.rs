//! Decodes the parts of certificates that we use ([RFC
//! 5280](https://www.rfc-editor.org/rfc/rfc5280#section-4.1)).
//!
//! It has its own types over `der`'s, because those of `x509-cert` reject what TLS accepts: years
//! before 1970, text that does not match its string type, malformed extensions. What messages show
//! is decoded leniently: parts that cannot be decoded are left out. Where trust depends on the
//! result, [`ToBeSigned::all_extensions`] is strict.

use std::net::IpAddr;
use std::time::SystemTime;

use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, OctetStringRef, SetOfVec};
use der::{Decode, Encode, Sequence, Tag, TagNumber, Tagged, ValueOrd};

use super::time::instant;
use crate::text::hex;

#[cfg(feature = "testing")]
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const SUBJECT_KEY_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");
pub(super) const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
pub(super) const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
pub(super) const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
pub(super) const NAME_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.30");
const AUTHORITY_KEY_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.35");
pub(super) const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");

/// The tag numbers of `GeneralName`'s choices.
const DNS_NAME: u32 = 2;
const URI: u32 = 6;
const IP_ADDRESS: u32 = 7;

const UNREADABLE: &str = "(unreadable name)";

/// The short names of name attributes.
const ATTRIBUTES: &[(&str, &str)] = &[
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "surname"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "streetAddress"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.13", "description"),
    ("2.5.4.15", "businessCategory"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.42", "givenName"),
    ("2.5.4.46", "dnQualifier"),
    ("2.5.4.97", "organizationIdentifier"),
    ("0.9.2342.19200300.100.1.1", "uid"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "Email"),
    ("1.3.6.1.4.1.311.60.2.1.1", "msJurisdictionLocality"),
    ("1.3.6.1.4.1.311.60.2.1.2", "msJurisdictionStateOrProvince"),
    ("1.3.6.1.4.1.311.60.2.1.3", "msJurisdictionCountry"),
];

/// The extended key usages, by their names in OpenSSL's configuration.
const USAGES: &[(&str, &str)] = &[
    ("2.5.29.37.0", "anyExtendedKeyUsage"),
    ("1.3.6.1.5.5.7.3.1", "serverAuth"),
    ("1.3.6.1.5.5.7.3.2", "clientAuth"),
    ("1.3.6.1.5.5.7.3.3", "codeSigning"),
    ("1.3.6.1.5.5.7.3.4", "emailProtection"),
    ("1.3.6.1.5.5.7.3.8", "timeStamping"),
    ("1.3.6.1.5.5.7.3.9", "OCSPSigning"),
];

/// The extensions of [RFC 5280, section
/// 4.2.1](https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1), which may be critical.
pub(super) const EXTENSIONS: &[(&str, &str)] = &[
    ("2.5.29.9", "subjectDirectoryAttributes"),
    ("2.5.29.14", "subjectKeyIdentifier"),
    ("2.5.29.15", "keyUsage"),
    ("2.5.29.17", "subjectAltName"),
    ("2.5.29.18", "issuerAltName"),
    ("2.5.29.19", "basicConstraints"),
    ("2.5.29.30", "nameConstraints"),
    ("2.5.29.31", "crlDistributionPoints"),
    ("2.5.29.32", "certificatePolicies"),
    ("2.5.29.33", "policyMappings"),
    ("2.5.29.35", "authorityKeyIdentifier"),
    ("2.5.29.36", "policyConstraints"),
    ("2.5.29.37", "extendedKeyUsage"),
    ("2.5.29.46", "freshestCRL"),
    ("2.5.29.54", "inhibitAnyPolicy"),
];

#[derive(Sequence)]
struct Certificate<'a> {
    to_be_signed: ToBeSigned<'a>,
    algorithm: AnyRef<'a>,
    signature: BitStringRef<'a>,
}

/// A certificate: the signed part and the signature.
#[cfg(feature = "testing")]
pub(crate) struct SignedCertificate<'a> {
    pub(crate) content: ToBeSigned<'a>,
    pub(crate) message: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

#[cfg(feature = "testing")]
impl<'a> SignedCertificate<'a> {
    pub(crate) fn parse(der: &'a [u8]) -> der::Result<Self> {
        let certificate = Certificate::from_der(der)?;
        Ok(Self {
            message: certificate.to_be_signed.to_der()?,
            signature: certificate.signature.raw_bytes().to_vec(),
            content: certificate.to_be_signed,
        })
    }
}

#[derive(Sequence)]
pub(crate) struct ToBeSigned<'a> {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", default = "Default::default")]
    version: u32,
    serial_number: AnyRef<'a>,
    algorithm: AnyRef<'a>,
    issuer: AnyRef<'a>,
    validity: Validity<'a>,
    subject: AnyRef<'a>,
    public_key: AnyRef<'a>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    issuer_id: Option<BitStringRef<'a>>,
    #[asn1(context_specific = "2", tag_mode = "IMPLICIT", optional = "true")]
    subject_id: Option<BitStringRef<'a>>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<AnyRef<'a>>,
}

pub(super) struct Extension<'a> {
    pub(super) id: AnyRef<'a>,
    pub(super) is_critical: bool,
    pub(super) value: &'a [u8],
}

#[derive(Sequence)]
struct DecodedExtension<'a> {
    id: AnyRef<'a>,
    #[asn1(default = "Default::default")]
    is_critical: bool,
    value: &'a OctetStringRef,
}

#[derive(Sequence)]
struct Validity<'a> {
    not_before: AnyRef<'a>,
    not_after: AnyRef<'a>,
}

#[derive(Sequence, ValueOrd)]
struct Attribute<'a> {
    id: AnyRef<'a>,
    value: AnyRef<'a>,
}

impl<'a> ToBeSigned<'a> {
    /// Trailing bytes are an error.
    pub(super) fn parse(der: &'a [u8]) -> der::Result<Self> {
        Ok(Certificate::from_der(der)?.to_be_signed)
    }

    /// The version: 1, 2 or 3.
    pub(crate) fn version(&self) -> u32 {
        self.version.saturating_add(1)
    }

    pub(super) fn subject(&self) -> String {
        name(self.subject).unwrap_or_else(|_| UNREADABLE.to_owned())
    }

    pub(super) fn issuer(&self) -> String {
        name(self.issuer).unwrap_or_else(|_| UNREADABLE.to_owned())
    }

    /// The first common name of the subject.
    #[cfg(feature = "testing")]
    pub(crate) fn common_name(&self) -> Option<String> {
        let relative: Vec<SetOfVec<Attribute<'_>>> = self.subject.decode_as().ok()?;
        let mut attributes = relative.iter().flat_map(SetOfVec::iter);
        let first = attributes.find(|it| it.id.value() == COMMON_NAME.as_bytes())?;
        Some(text(first.value))
    }

    /// The subject, without its tag and length.
    pub(crate) fn subject_der(&self) -> &'a [u8] {
        self.subject.value()
    }

    /// The issuer, likewise.
    pub(crate) fn issuer_der(&self) -> &'a [u8] {
        self.issuer.value()
    }

    /// `None` if it cannot be decoded, as for [`not_after`](Self::not_after).
    pub(crate) fn not_before(&self) -> Option<SystemTime> {
        instant(self.validity.not_before)
    }

    pub(crate) fn not_after(&self) -> Option<SystemTime> {
        instant(self.validity.not_after)
    }

    /// The `SubjectPublicKeyInfo` in DER.
    pub(crate) fn public_key(&self) -> der::Result<Vec<u8>> {
        self.public_key.to_der()
    }

    /// The `SubjectPublicKeyInfo` in DER, without its tag and length.
    pub(super) fn public_key_der(&self) -> &'a [u8] {
        self.public_key.value()
    }

    /// The identifier of the certificate's own key, if there is one.
    pub(super) fn subject_key_identifier(&self) -> Option<&'a [u8]> {
        let identifier = <&OctetStringRef>::from_der(self.extension(SUBJECT_KEY_IDENTIFIER)?);
        Some(identifier.ok()?.as_bytes())
    }

    /// The identifier of the issuer's key, if there is one.
    pub(super) fn authority_key_identifier(&self) -> Option<&'a [u8]> {
        let number = TagNumber(0);
        let tag = Tag::ContextSpecific { constructed: false, number };
        let parts = self.list(AUTHORITY_KEY_IDENTIFIER);
        parts.into_iter().find(|part| part.tag() == tag).map(|part| part.value())
    }

    /// The subject alternative names that a client may verify.
    pub(super) fn names(&self) -> Vec<String> {
        self.list(SUBJECT_ALT_NAME).into_iter().filter_map(alternative_name).collect()
    }

    /// The URIs among them. All are returned, one that is not valid text as well as it can be
    /// shown.
    pub(super) fn uris(&self) -> Vec<String> {
        let is_uri = |name: &AnyRef<'_>| {
            matches!(name.tag(), Tag::ContextSpecific { number: TagNumber(URI), .. })
        };
        let uris = self.list(SUBJECT_ALT_NAME).into_iter().filter(is_uri);
        uris.map(|uri| String::from_utf8_lossy(uri.value()).into_owned()).collect()
    }

    /// The extended key usages.
    pub(super) fn usages(&self) -> Vec<String> {
        self.list(EXTENDED_KEY_USAGE).into_iter().map(|id| in_short(id, USAGES)).collect()
    }

    /// The signature algorithm: an `AlgorithmIdentifier`, without its tag and length.
    pub(super) fn signature_algorithm(&self) -> &'a [u8] {
        self.algorithm.value()
    }

    /// How many CAs may be below it in a chain, if that is limited.
    pub(super) fn path_length(&self) -> Option<u8> {
        let constraints = self.list(BASIC_CONSTRAINTS);
        u8::from_der(&constraints.get(1)?.to_der().ok()?).ok()
    }

    pub(super) fn is_ca(&self) -> bool {
        // `cA` may be absent, or be followed by the path length.
        let constraints = self.list(BASIC_CONSTRAINTS);
        constraints.first().is_some_and(|is| is.tag() == Tag::Boolean && is.value() != [0])
    }

    /// Empty if the extension cannot be decoded.
    pub(super) fn list(&self, id: ObjectIdentifier) -> Vec<AnyRef<'a>> {
        self.extension(id).and_then(|der| Vec::from_der(der).ok()).unwrap_or_default()
    }

    fn extension(&self, id: ObjectIdentifier) -> Option<&'a [u8]> {
        let mut extensions = self.extensions().into_iter();
        extensions.find(|extension| extension.id.value() == id.as_bytes()).map(|it| it.value)
    }

    /// The extensions that can be decoded.
    pub(super) fn extensions(&self) -> Vec<Extension<'a>> {
        let extensions = self.extensions.and_then(|extensions| extensions.decode_as().ok());
        let extensions: Vec<Vec<AnyRef<'a>>> = extensions.unwrap_or_default();
        let extension = |parts: &Vec<AnyRef<'a>>| match *parts.as_slice() {
            [id, value] => Some(Extension { id, is_critical: false, value: value.value() }),
            [id, is_critical, value] => {
                let is_critical = is_critical.value() != [0];
                Some(Extension { id, is_critical, value: value.value() })
            }
            _ => None,
        };
        extensions.iter().filter_map(extension).collect()
    }

    /// All extensions. Fails if one cannot be decoded completely.
    pub(super) fn all_extensions(&self) -> der::Result<Vec<Extension<'a>>> {
        let extensions = self.extensions.map(|extensions| extensions.decode_as()).transpose()?;
        let extensions: Vec<DecodedExtension<'a>> = extensions.unwrap_or_default();
        let extension = |DecodedExtension { id, is_critical, value }| {
            id.tag().assert_eq(Tag::ObjectIdentifier)?;
            Ok(Extension { id, is_critical, value: value.as_bytes() })
        };
        extensions.into_iter().map(extension).collect()
    }
}

/// A distinguished name in DER, as text.
pub(super) fn distinguished_name(der: &[u8]) -> Option<String> {
    name(AnyRef::from_der(der).ok()?).ok()
}

/// In the encoded order, as OpenSSL prints it.
pub(super) fn name(name: AnyRef<'_>) -> der::Result<String> {
    let relative: Vec<SetOfVec<Attribute<'_>>> = name.decode_as()?;
    let relative = relative.iter().map(|attributes| {
        let attributes = attributes.iter().map(|Attribute { id, value }| {
            let id = in_short(*id, ATTRIBUTES);
            format!("{id}={}", text(*value))
        });
        attributes.collect::<Vec<_>>().join(" + ")
    });
    Ok(relative.collect::<Vec<_>>().join(", "))
}

pub(super) fn in_short(id: AnyRef<'_>, names: &[(&str, &str)]) -> String {
    // `der` does not support arcs of more than 32 bits.
    let Ok(id) = ObjectIdentifier::from_bytes(id.value()) else {
        return hex(id.value());
    };
    let id = id.to_string();
    let name = names.iter().find(|(known, _)| *known == id);
    name.map_or(id, |(_, name)| (*name).to_owned())
}

/// A string of any type; a value of another type in hexadecimal digits.
fn text(value: AnyRef<'_>) -> String {
    match value.tag() {
        Tag::BmpString => {
            let (units, _) = value.value().as_chunks();
            let units: Vec<_> = units.iter().map(|unit| u16::from_be_bytes(*unit)).collect();
            String::from_utf16_lossy(&units)
        }
        Tag::Utf8String
        | Tag::PrintableString
        | Tag::TeletexString
        | Tag::Ia5String
        | Tag::VisibleString
        | Tag::GeneralString
        | Tag::NumericString
        | Tag::VideotexString => String::from_utf8_lossy(value.value()).into_owned(),
        _ => hex(value.value()),
    }
}

fn alternative_name(name: AnyRef<'_>) -> Option<String> {
    let Tag::ContextSpecific { number: TagNumber(choice), .. } = name.tag() else {
        return None;
    };
    match choice {
        DNS_NAME | URI => Some(str::from_utf8(name.value()).ok()?.to_owned()),
        IP_ADDRESS => match *name.value() {
            [a, b, c, d] => Some(IpAddr::from([a, b, c, d]).to_string()),
            ref address => Some(IpAddr::from(<[u8; 16]>::try_from(address).ok()?).to_string()),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tlv(tag: Tag, value: &[u8]) -> Vec<u8> {
        AnyRef::new(tag, value).unwrap().to_der().unwrap()
    }

    /// A name of one attribute, with its value in DER.
    fn attribute(id: &str, value: &[u8]) -> Vec<u8> {
        let id = ObjectIdentifier::new_unwrap(id).to_der().unwrap();
        tlv(Tag::Set, &tlv(Tag::Sequence, &[id.as_slice(), value].concat()))
    }

    fn named(relative: &[Vec<u8>]) -> Option<String> {
        distinguished_name(&tlv(Tag::Sequence, &relative.concat()))
    }

    #[test]
    fn names_keep_their_order() {
        let country = attribute("2.5.4.6", &tlv(Tag::PrintableString, b"DE"));
        let common_name = attribute("2.5.4.3", &tlv(Tag::Utf8String, b"a, b + \"c\""));
        let other = attribute("2.5.4.99", &tlv(Tag::Utf8String, b"x"));
        let name = named(&[country, common_name, other]);
        assert_eq!(name.as_deref(), Some("C=DE, CN=a, b + \"c\", 2.5.4.99=x"));
        assert_eq!(named(&[]).as_deref(), Some(""));
    }

    #[test]
    fn several_attributes_in_one() {
        let one = &attribute("2.5.4.3", &tlv(Tag::Utf8String, b"one"))[2..];
        let two = &attribute("2.5.4.11", &tlv(Tag::Utf8String, b"two"))[2..];
        let name = named(&[tlv(Tag::Set, &[one, two].concat())]);
        assert_eq!(name.as_deref(), Some("CN=one + OU=two"));
    }

    #[test]
    fn text_of_any_type() {
        let mut universal = tlv(Tag::Utf8String, b"\0\0\0a");
        universal[0] = 0x1c;
        for (value, expected) in [
            (tlv(Tag::BmpString, &[0, b'O', 0x01, 0x61]), Some("CN=Oš")),
            // Formally, a BMPString has no surrogate pairs.
            (tlv(Tag::BmpString, &[0xd8, 0x3d, 0xde, 0x00]), Some("CN=😀")),
            (tlv(Tag::BmpString, &[0xd8, 0x3d]), Some("CN=\u{fffd}")),
            (tlv(Tag::TeletexString, b"M\xfcller"), Some("CN=M\u{fffd}ller")),
            (tlv(Tag::TeletexString, "Müller".as_bytes()), Some("CN=Müller")),
            (tlv(Tag::PrintableString, b"*.example"), Some("CN=*.example")),
            (tlv(Tag::Ia5String, "ü".as_bytes()), Some("CN=ü")),
            (tlv(Tag::OctetString, b"\x01\xab"), Some("CN=01ab")),
            // `der` does not support this tag.
            (universal, None),
        ] {
            assert_eq!(named(&[attribute("2.5.4.3", &value)]).as_deref(), expected);
        }
    }

    #[test]
    fn an_identifier_with_a_uuid() {
        let id = AnyRef::new(Tag::ObjectIdentifier, b"\x69\x83\xff\xff\xff\xff\x7f").unwrap();
        assert_eq!(in_short(id, USAGES), "6983ffffffff7f");
    }

    #[test]
    fn alternative_names() {
        let name = |choice, value| {
            let number = TagNumber(choice);
            let tag = Tag::ContextSpecific { constructed: false, number };
            alternative_name(AnyRef::new(tag, value).unwrap())
        };
        assert_eq!(name(DNS_NAME, b"*.example").as_deref(), Some("*.example"));
        assert_eq!(name(DNS_NAME, "bücher.example".as_bytes()).as_deref(), Some("bücher.example"));
        assert_eq!(name(DNS_NAME, b"\xff"), None);
        assert_eq!(name(URI, b"spiffe://a/b").as_deref(), Some("spiffe://a/b"));
        assert_eq!(name(IP_ADDRESS, &[127, 0, 0, 1]).as_deref(), Some("127.0.0.1"));
        assert_eq!(name(IP_ADDRESS, &[0; 16]).as_deref(), Some("::"));
        assert_eq!(name(IP_ADDRESS, &[1; 5]), None);
        assert_eq!(name(1, b"me@example"), None);
    }
}
