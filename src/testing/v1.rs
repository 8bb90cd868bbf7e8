//! X.509 version 1 certificates, built by hand because rcgen writes only version 3.
//!
//! Private PKIs made with a plain `openssl x509 -req` still issue them, and webpki rejects them.

use der::asn1::{AnyRef, BitStringRef};
use der::{Decode, Encode, Tag, Tagged};
use rcgen::SigningKey;
use rustls::pki_types::CertificateDer;

/// Removes the fields of version 3 from a certificate, and signs it again with the issuer's key.
pub(super) fn without_extensions(
    certificate: &CertificateDer<'_>,
    issuer: &impl SigningKey,
) -> Option<CertificateDer<'static>> {
    let [signed, algorithm, _signature] =
        Vec::<AnyRef<'_>>::from_der(certificate).ok()?.try_into().ok()?;
    let mut fields: Vec<AnyRef<'_>> = signed.decode_as().ok()?;
    // RFC 5280, section 4.1: without the `version` field the version is 1, which has no `extensions`.
    fields.retain(|field| !matches!(field.tag(), Tag::ContextSpecific { .. }));
    let signed = fields.to_der().ok()?;
    let signature = issuer.sign(&signed).ok()?;
    let signature = BitStringRef::from_bytes(&signature).ok()?.to_der().ok()?;
    let parts = [AnyRef::from_der(&signed).ok()?, algorithm, AnyRef::from_der(&signature).ok()?];
    Some(parts.to_der().ok()?.into())
}
