//! X.509 version 1 certificates, by hand: rcgen writes version 3 only.
//!
//! Private PKIs made with a plain `openssl x509 -req` still issue them, and webpki refuses them.

use der::asn1::{AnyRef, BitStringRef};
use der::{Decode, Encode, Tag, Tagged};
use rcgen::SigningKey;
use rustls::pki_types::CertificateDer;

/// The certificate without what makes it one of version 3, signed again by its issuer.
pub(super) fn without_extensions(
    certificate: &CertificateDer<'_>,
    issuer: &impl SigningKey,
) -> Option<CertificateDer<'static>> {
    let [signed, algorithm, _signature] =
        Vec::<AnyRef<'_>>::from_der(certificate).ok()?.try_into().ok()?;
    let mut fields: Vec<AnyRef<'_>> = signed.decode_as().ok()?;
    // RFC 5280, 4.1: `version` and `extensions`. Without the former the version is 1, which has no extensions.
    fields.retain(|field| !matches!(field.tag(), Tag::ContextSpecific { .. }));
    let signed = fields.to_der().ok()?;
    let signature = issuer.sign(&signed).ok()?;
    let signature = BitStringRef::from_bytes(&signature).ok()?.to_der().ok()?;
    let parts = [AnyRef::from_der(&signed).ok()?, algorithm, AnyRef::from_der(&signature).ok()?];
    Some(parts.to_der().ok()?.into())
}
