//! X.509 version 1 certificates, by hand: rcgen writes version 3 only.
//!
//! Private PKIs made with a plain `openssl x509 -req` still issue them, and webpki refuses them.

use rcgen::{KeyPair, PublicKeyData, SigningKey};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// 1.2.840.10045.4.3.2, what [`KeyPair::generate`] signs with.
const ECDSA_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
/// 2.5.4.3
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// What goes into a version 1 certificate.
pub(super) struct Certificate<'a> {
    pub(super) common_name: &'a str,
    pub(super) not_before: OffsetDateTime,
    pub(super) not_after: OffsetDateTime,
    pub(super) key: &'a KeyPair,
}

impl Certificate<'_> {
    /// The certificate signed with `issuer_key` (ECDSA P-256), whose owner's name in DER is `issuer`.
    pub(super) fn signed_by(
        &self,
        issuer: &[u8],
        issuer_key: &impl SigningKey,
    ) -> Result<CertificateDer<'static>, rcgen::Error> {
        let algorithm = element(SEQUENCE, &[&element(OBJECT_IDENTIFIER, &[ECDSA_WITH_SHA256])]);
        let validity = element(SEQUENCE, &[&utc_time(self.not_before), &utc_time(self.not_after)]);
        // RFC 5280, 4.1: without the `version` field the version is 1, which has no extensions.
        let to_be_signed = element(
            SEQUENCE,
            &[
                &element(INTEGER, &[&serial_number(self.key)]),
                &algorithm,
                issuer,
                &validity,
                &name(self.common_name),
                &self.key.subject_public_key_info(),
            ],
        );
        let signature = issuer_key.sign(&to_be_signed)?;
        let certificate = element(
            SEQUENCE,
            &[&to_be_signed, &algorithm, &element(BIT_STRING, &[&[0], &signature])],
        );
        Ok(certificate.into())
    }
}

/// Unique for each key, positive, and never zero.
fn serial_number(key: &KeyPair) -> Vec<u8> {
    // The first byte of an uncompressed point is a constant, those after it are as good as random.
    let mut serial = key.public_key_raw()[1..17].to_vec();
    serial[0] = serial[0] & 0x3f | 0x40;
    serial
}

fn name(common_name: &str) -> Vec<u8> {
    let kind = element(OBJECT_IDENTIFIER, &[COMMON_NAME]);
    let value = element(UTF8_STRING, &[common_name.as_bytes()]);
    element(SEQUENCE, &[&element(SET, &[&element(SEQUENCE, &[&kind, &value])])])
}

/// RFC 5280, 4.1.2.5.1; good until 2049.
fn utc_time(time: OffsetDateTime) -> Vec<u8> {
    let text = format!(
        "{:02}{:02}{:02}{:02}{:02}{:02}Z",
        time.year() % 100,
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    );
    element(UTC_TIME, &[text.as_bytes()])
}

/// One DER element with the concatenated `parts` as its contents.
fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let contents = parts.concat();
    let length = contents.len().to_be_bytes();
    let length = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let mut der = vec![tag];
    // X.690, 8.1.3: one byte below 128, otherwise the number of bytes that follow.
    match contents.len() {
        short @ 0..128 => der.push(short as u8),
        _ => {
            der.push(0x80 | length.len() as u8);
            der.extend_from_slice(length);
        }
    }
    der.extend_from_slice(&contents);
    der
}
