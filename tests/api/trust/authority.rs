//! CAs with any defect, and certificates issued by them.

use der::asn1::AnyRef;
use der::{Decode, Encode, Tag};
use otlp_mtls::rustls::pki_types::CertificateDer;
use otlp_mtls::testing::Identity;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// A certificate that issues others, permitted or not.
pub(crate) struct Authority {
    pub(crate) params: CertificateParams,
    key: KeyPair,
    pub(crate) der: CertificateDer<'static>,
}

impl Authority {
    /// A valid CA, changed by `change`.
    pub(crate) fn new(change: impl FnOnce(&mut CertificateParams)) -> Self {
        Self::with_key(KeyPair::generate().unwrap(), change)
    }

    fn with_key(key: KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let params = params("root", change);
        let der = params.self_signed(&key).unwrap().der().clone();
        Self { params, key, der }
    }

    pub(crate) fn good() -> Self {
        Self::new(|_| {})
    }

    /// Another certificate for itself, with the same name and key.
    pub(crate) fn renewed(&self, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::try_from(self.key.serialize_der()).unwrap();
        Self::with_key(key, change)
    }

    /// An intermediate issued by this CA.
    pub(crate) fn intermediate(&self, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = params("intermediate", change);
        let der = params.signed_by(&key, &self.issuer()).unwrap().der().clone();
        Self { params, key, der }
    }

    /// The intermediate's certificate, issued by this CA.
    pub(crate) fn cross_sign(&self, other: &Self) -> CertificateDer<'static> {
        other.params.signed_by(&other.key, &self.issuer()).unwrap().der().clone()
    }

    /// A server for `localhost`, with these intermediates.
    pub(crate) fn server(&self, intermediates: &[CertificateDer<'static>]) -> Identity {
        self.server_with(intermediates, |_| {})
    }

    pub(crate) fn server_with(
        &self,
        intermediates: &[CertificateDer<'static>],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Identity {
        let key = KeyPair::generate().unwrap();
        let params = params("server", |params| {
            params.is_ca = IsCa::ExplicitNoCa;
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            change(params);
        });
        let leaf = params.signed_by(&key, &self.issuer()).unwrap();
        let chain = [leaf.der().clone()].into_iter().chain(intermediates.iter().cloned());
        Identity::new(chain.collect(), key.serialize_der().into())
    }

    /// Its certificate.
    pub(crate) fn as_slice(&self) -> &[CertificateDer<'static>] {
        std::slice::from_ref(&self.der)
    }

    /// A server that presents this certificate.
    pub(crate) fn as_server(&self) -> Identity {
        Identity::new(vec![self.der.clone()], self.key.serialize_der().into())
    }

    /// Changes bytes of its certificate: the signature of a trust anchor is not verified.
    pub(crate) fn rewritten(mut self, rewrite: impl FnOnce(&[u8]) -> Vec<u8>) -> Self {
        self.der = rewrite(&self.der).into();
        self
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }
}

fn params(common_name: &str, change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.use_authority_key_identifier_extension = true;
    change(&mut params);
    params
}

pub(crate) fn extension(id: &[u64], critical: bool, value: &[u8]) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(id, value.to_vec());
    extension.set_criticality(critical);
    extension
}

/// Without version and extensions, as version 1 has it.
pub(crate) fn as_version_1(certificate: &[u8]) -> Vec<u8> {
    rewritten(certificate, |parts| {
        parts.retain(|part| part[0] & 0xc0 != 0x80);
    })
}

/// With an elliptic curve's point as `x` and the parity of `y` (SEC 1, section 2.3.3).
pub(crate) fn with_compressed_point(certificate: &[u8]) -> Vec<u8> {
    rewritten(certificate, |parts| {
        let key = parts.iter_mut().rfind(|part| part[0] == 0x30).unwrap();
        let [algorithm, point] = elements(key).try_into().unwrap();
        // A tag, a length, no unused bits, and then the point.
        let point = &point[3..];
        let (x, y) = point[1..].split_at(point.len() / 2);
        let parity = 2 + y.last().unwrap() % 2;
        let point = tlv(Tag::BitString, &[&[0, parity], x].concat());
        *key = tlv(Tag::Sequence, &[algorithm, point].concat());
    })
}

/// Replaces parts of the signed content.
fn rewritten(certificate: &[u8], change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Vec<u8> {
    let [to_be_signed, algorithm, signature] = elements(certificate).try_into().unwrap();
    let mut parts = elements(&to_be_signed);
    change(&mut parts);
    let to_be_signed = tlv(Tag::Sequence, &parts.concat());
    tlv(Tag::Sequence, &[to_be_signed, algorithm, signature].concat())
}

fn elements(sequence: &[u8]) -> Vec<Vec<u8>> {
    let elements: Vec<AnyRef<'_>> = Vec::from_der(sequence).unwrap();
    elements.iter().map(|element| element.to_der().unwrap()).collect()
}

fn tlv(tag: Tag, value: &[u8]) -> Vec<u8> {
    AnyRef::new(tag, value).unwrap().to_der().unwrap()
}

/// Replaces all occurrences of these bytes.
pub(crate) fn replaced(certificate: &[u8], these: &[u8], by: &[u8]) -> Vec<u8> {
    assert_eq!(these.len(), by.len());
    let mut certificate = certificate.to_vec();
    let mut found = 0;
    for start in 0..=certificate.len() - these.len() {
        let window = &mut certificate[start..start + these.len()];
        if window == these {
            window.copy_from_slice(by);
            found += 1;
        }
    }
    assert!(found > 0);
    certificate
}
