//! Verifies servers' certificates.

use std::cell::RefCell;
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, Der, ServerName, TrustAnchor, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

use super::anchor::{Anchor, IssuerProblem, may_sign};
use super::spiffe::verify_spiffe_id;
use super::x509::ToBeSigned;
use crate::config::SpiffeId;

/// Verifies servers with webpki, and also checks the trust anchor of each path that webpki finds.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    pub(super) provider: Arc<CryptoProvider>,
    /// The anchors that the application configures.
    pub(super) named: Arc<[Anchor]>,
    /// The platform's anchors, if they are trusted.
    pub(super) platform: Arc<[Anchor]>,
    /// The SPIFFE ID that a server must have instead of a name.
    pub(super) spiffe_id: Option<SpiffeId>,
}

/// A certificate that a server's chain leads to but that cannot be its issuer. It is passed in
/// [`CertificateError::Other`].
#[derive(Clone, Debug, thiserror::Error)]
#[error("the issuer {problem}")]
pub(crate) struct RefusedIssuer {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) problem: IssuerProblem,
    pub(crate) place: IssuerPlace,
}

/// Where an issuer's certificate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IssuerPlace {
    /// It is among the anchors that the application configures.
    Named,
    /// It is one of the platform's roots.
    Platform,
    /// The server presented it, as an intermediate.
    Presented,
}

impl ServerVerifier {
    pub(super) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<&Anchor, rustls::Error> {
        let parsed = ParsedCertificate::try_from(leaf)?;
        let anchor = match self.anchors().find(|anchor| anchor.der == *leaf) {
            Some(own) => {
                own.may_serve(time(now)).map_err(|problem| self.unfit_server(own, problem))?;
                own
            }
            None => self.verify_chain(leaf, intermediates, now)?,
        };
        match &self.spiffe_id {
            Some(id) => verify_spiffe_id(leaf, id)?,
            None => verify_server_name(&parsed, name)?,
        }
        Ok(anchor)
    }

    /// The anchor of a valid path.
    fn verify_chain(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<&Anchor, rustls::Error> {
        let candidates = self.candidates([leaf].into_iter().chain(intermediates), time(now));
        let anchors: Vec<TrustAnchor<'_>> =
            candidates.iter().map(|anchor| borrowed(&anchor.trust_anchor)).collect();
        // Identified by its position: another anchor with the same subject and key may have other
        // name constraints.
        let entry = |path: &VerifiedPath<'_>| {
            let index = anchors.iter().position(|anchor| ptr::eq(anchor, path.anchor()));
            index.map(|index| candidates[index])
        };
        // Of the first rejected path, which is the most likely one.
        let refused = RefCell::new(None);
        let judge = |path: &VerifiedPath<'_>| {
            let anchor = entry(path).ok_or(webpki::Error::UnknownIssuer)?;
            self.judge(path, anchor, now).map_err(|refusal| {
                refused.borrow_mut().get_or_insert(refusal);
                webpki::Error::UnknownIssuer
            })
        };
        let algorithms = self.provider.signature_verification_algorithms.all;
        let parsed = EndEntityCert::try_from(leaf);
        let path = parsed.as_ref().ok().and_then(|leaf| {
            let usage = KeyUsage::server_auth();
            leaf.verify_for_usage(
                algorithms,
                &anchors,
                intermediates,
                now,
                usage,
                None,
                Some(&judge),
            )
            .ok()
        });
        if let Some(anchor) = path.as_ref().and_then(entry) {
            return Ok(anchor);
        }
        if let Some(refusal) = refused.into_inner() {
            return Err(CertificateError::Other(OtherError(Arc::new(refusal))).into());
        }
        // rustls exports no function that maps webpki's errors to its own. This call fails in the
        // same way and maps the error.
        let roots = RootCertStore { roots: anchors.iter().map(TrustAnchor::to_owned).collect() };
        let parsed = ParsedCertificate::try_from(leaf)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, intermediates, now, algorithms)?;
        Err(CertificateError::UnknownIssuer.into())
    }

    /// Whether the issuers on a path may sign certificates.
    fn judge(
        &self,
        path: &VerifiedPath<'_>,
        anchor: &Anchor,
        now: UnixTime,
    ) -> Result<(), RefusedIssuer> {
        // RFC 5280, 4.2.1.9: self-issued certificates do not count.
        let mut intermediates = 0;
        for intermediate in path.intermediate_certificates() {
            intermediates += usize::from(intermediate.issuer() != intermediate.subject());
            let der = intermediate.der();
            may_sign(&der).map_err(|problem| RefusedIssuer {
                der: der.into_owned(),
                problem,
                place: IssuerPlace::Presented,
            })?;
        }
        let refused = |problem| self.refused(anchor, problem);
        anchor.may_issue(time(now), intermediates).map_err(refused)
    }

    fn refused(&self, anchor: &Anchor, problem: IssuerProblem) -> RefusedIssuer {
        let is_named = self.named.iter().any(|named| ptr::eq(named, anchor));
        let place = if is_named { IssuerPlace::Named } else { IssuerPlace::Platform };
        RefusedIssuer { der: anchor.der.clone(), problem, place }
    }

    /// The error for a server's certificate that is itself an anchor.
    fn unfit_server(&self, own: &Anchor, problem: IssuerProblem) -> rustls::Error {
        let error = match problem {
            IssuerProblem::Expired => CertificateError::Expired,
            IssuerProblem::NotYetValid => CertificateError::NotValidYet,
            IssuerProblem::WrongUsage => CertificateError::InvalidPurpose,
            problem => CertificateError::Other(OtherError(Arc::new(self.refused(own, problem)))),
        };
        error.into()
    }

    /// The anchors whose name is that of an issuer of these certificates.
    ///
    /// webpki gives up after 100 signature checks, and there are files with more CAs of one name.
    /// So anchors with a matching key identifier come first, as in Go, and among equal ones those
    /// that may issue.
    fn candidates<'a>(
        &self,
        presented: impl Iterator<Item = &'a CertificateDer<'a>>,
        now: SystemTime,
    ) -> Vec<&Anchor> {
        let presented: Vec<_> = presented.filter_map(|der| ToBeSigned::parse(der).ok()).collect();
        let issued = |anchor: &Anchor| {
            let subject = anchor.trust_anchor.subject.as_ref();
            let issued = presented.iter().filter(|one| one.issuer_der() == subject);
            let keys =
                issued.map(|one| match (one.authority_key_identifier(), &anchor.key_identifier) {
                    (Some(issuer), Some(own)) if issuer == own => Likelihood::SameKey,
                    (Some(_), Some(_)) => Likelihood::OtherKey,
                    _ => Likelihood::Unknown,
                });
            keys.min()
        };
        let mut candidates: Vec<_> =
            self.anchors().filter_map(|anchor| Some((issued(anchor)?, anchor))).collect();
        candidates
            .sort_by_key(|(likelihood, anchor)| (*likelihood, anchor.may_issue(now, 0).is_err()));
        candidates.into_iter().map(|(_, anchor)| anchor).collect()
    }

    fn anchors(&self) -> impl Iterator<Item = &Anchor> {
        self.named.iter().chain(self.platform.iter())
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verify(leaf, intermediates, server_name, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, leaf, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, leaf, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Whether an anchor's key identifier matches that of a certificate's issuer, if both have one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Likelihood {
    SameKey,
    Unknown,
    OtherKey,
}

fn borrowed<'a>(anchor: &'a TrustAnchor<'static>) -> TrustAnchor<'a> {
    let TrustAnchor { subject, subject_public_key_info, name_constraints } = anchor;
    TrustAnchor {
        subject: Der::from_slice(subject),
        subject_public_key_info: Der::from_slice(subject_public_key_info),
        name_constraints: name_constraints.as_deref().map(Der::from_slice),
    }
}

fn time(now: UnixTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(now.as_secs())
}
