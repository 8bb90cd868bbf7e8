//! The collector's TLS.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{
    CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme, SupportedProtocolVersion,
};
use webpki::RawPublicKeyEntity;

use super::Identity;
use crate::Error as BuildError;
use crate::tls::{SignedCertificate, compiled_provider};

/// The settings that [`set_tls`](super::Collector::set_tls) does not change.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) versions: Vec<&'static SupportedProtocolVersion>,
    pub(super) alpn: Vec<Vec<u8>>,
    pub(super) client_certificate_optional: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            versions: rustls::DEFAULT_VERSIONS.to_vec(),
            alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            client_certificate_optional: false,
        }
    }
}

impl Options {
    pub(super) fn config(
        &self,
        identity: &Identity,
        client_ca: Option<&str>,
    ) -> io::Result<Arc<ServerConfig>> {
        // The process default is the last resort: it belongs to the application, and a test may be about it.
        let provider = compiled_provider()
            .or_else(|| CryptoProvider::get_default().cloned())
            .ok_or(BuildError::NoCryptoProvider)
            .map_err(invalid)?;
        let key = provider.key_provider.load_private_key(identity.key_der()).map_err(invalid)?;
        // `with_single_cert` would reject a version 1 certificate.
        let certified = CertifiedKey::new(identity.certificate_ders().to_vec(), key);

        let verifier: Arc<dyn ClientCertVerifier> = match client_ca {
            None => WebPkiClientVerifier::no_client_auth(),
            Some(pem) => {
                let authorities = CertificateDer::pem_slice_iter(pem.as_bytes())
                    .collect::<Result<Vec<_>, _>>()
                    .map_err(invalid)?;
                let mut roots = RootCertStore::empty();
                for authority in &authorities {
                    roots.add(authority.clone()).map_err(invalid)?;
                }
                let mut inner =
                    WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
                if self.client_certificate_optional {
                    inner = inner.allow_unauthenticated();
                }
                Arc::new(Verifier {
                    inner: inner.build().map_err(invalid)?,
                    authorities,
                    algorithms: provider.signature_verification_algorithms,
                })
            }
        };

        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)
            .map_err(invalid)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = self.alpn.clone();
        Ok(config.into())
    }
}

fn invalid(source: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, source)
}

/// webpki's verifier, extended by X.509 version 1 leaf certificates. webpki rejects these, but OpenSSL, and
/// hence most collectors, accept them.
///
/// For tests only: of a version 1 leaf, it checks the CA's signature and the validity period, and nothing else.
#[derive(Debug)]
struct Verifier {
    inner: Arc<dyn ClientCertVerifier>,
    authorities: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    fn verify_v1(
        &self,
        leaf: &SignedCertificate<'_>,
        now: UnixTime,
    ) -> Result<(), CertificateError> {
        let has_issued = |authority: &CertificateDer<'_>| {
            SignedCertificate::parse(authority).is_ok_and(|authority| {
                authority.content.subject_der() == leaf.content.issuer_der()
                    && verifies(self.algorithms.all, &authority, &leaf.message, &leaf.signature)
            })
        };
        if !self.authorities.iter().any(has_issued) {
            return Err(CertificateError::UnknownIssuer);
        }

        let now = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(now.as_secs()));
        match (leaf.content.not_before(), now, leaf.content.not_after()) {
            (Some(not_before), Some(now), _) if now < not_before => {
                Err(CertificateError::NotValidYet)
            }
            (Some(_), Some(now), Some(not_after)) if now <= not_after => Ok(()),
            (Some(_), Some(_), Some(_)) => Err(CertificateError::Expired),
            _ => Err(CertificateError::BadEncoding),
        }
    }

    /// Whether the signature was made with the key of the version 1 certificate `leaf`.
    fn verify_v1_signature(
        &self,
        message: &[u8],
        leaf: &SignedCertificate<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let mapped = self.algorithms.mapping.iter().find(|(scheme, _)| *scheme == signed.scheme);
        match mapped {
            Some((_, algorithms)) if verifies(algorithms, leaf, message, signed.signature()) => {
                Ok(HandshakeSignatureValid::assertion())
            }
            _ => Err(CertificateError::BadSignature.into()),
        }
    }
}

impl ClientCertVerifier for Verifier {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match v1(leaf) {
            Some(leaf) => {
                self.verify_v1(&leaf, now)?;
                Ok(ClientCertVerified::assertion())
            }
            None => self.inner.verify_client_cert(leaf, intermediates, now),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match v1(leaf) {
            Some(leaf) => self.verify_v1_signature(message, &leaf, signed),
            None => self.inner.verify_tls12_signature(message, leaf, signed),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match v1(leaf) {
            Some(leaf) => self.verify_v1_signature(message, &leaf, signed),
            None => self.inner.verify_tls13_signature(message, leaf, signed),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// The parsed certificate if its version is 1.
fn v1<'a>(certificate: &'a CertificateDer<'_>) -> Option<SignedCertificate<'a>> {
    SignedCertificate::parse(certificate).ok().filter(|it| it.content.version() == 1)
}

/// Whether `signature` over `message` verifies by any of `algorithms`. An algorithm for another key type fails
/// like a wrong signature.
fn verifies(
    algorithms: &[&dyn SignatureVerificationAlgorithm],
    signer: &SignedCertificate<'_>,
    message: &[u8],
    signature: &[u8],
) -> bool {
    let Ok(key) = signer.content.public_key().map(SubjectPublicKeyInfoDer::from) else {
        return false;
    };
    RawPublicKeyEntity::try_from(&key).is_ok_and(|key| {
        algorithms.iter().any(|it| key.verify_signature(*it, message, signature).is_ok())
    })
}
