//! Certificates and keys, as loaded from a source and as validated.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{CertificateError, RootCertStore};
use zeroize::Zeroizing;

use super::anchor::{Anchor, IssuerProblem};
use super::certificate::CertificateFacts;
use super::details::CertificateDetails;
use super::public_key::is_same;
use crate::config::Origin;
use crate::error::{CredentialLocation, CredentialProblem, Error, KeyMismatch};
use crate::text::utc;

/// Trust anchors and client identity, as loaded by a [`CredentialSource`](crate::CredentialSource).
///
/// `Debug` shows the number of certificates, and nothing of the key.
#[derive(Clone, Default)]
pub struct Credentials {
    /// `None` for the platform's roots.
    pub(super) trust_anchors: Option<Vec<CertificateDer<'static>>>,
    pub(super) identity: Option<Identity>,
    pub(super) origins: Origins,
    pub(super) beside: Beside,
}

/// The client's certificate chain, leaf first, and its private key.
#[derive(Clone)]
pub(super) struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: Key,
}

#[derive(Clone)]
pub(super) enum Key {
    /// Overwritten with zeros when the last reference is dropped.
    Der(Arc<Zeroizing<PrivateKeyDer<'static>>>),
    Signing(Arc<dyn SigningKey>),
}

/// Where each part came from, for messages.
#[derive(Clone, Debug)]
pub(crate) struct Origins {
    pub(crate) ca: (Origin, CredentialLocation),
    pub(crate) certificate: (Origin, CredentialLocation),
    pub(crate) key: (Origin, CredentialLocation),
}

/// The PEM labels of unused sections in each file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beside {
    pub(crate) ca: Vec<String>,
    pub(crate) certificate: Vec<String>,
    pub(crate) key: Vec<String>,
}

impl Default for Origins {
    fn default() -> Self {
        let source = (Origin::Builder("with_credential_source"), CredentialLocation::Source);
        Self { ca: source.clone(), certificate: source.clone(), key: source }
    }
}

impl Credentials {
    /// Trusts the platform's roots and presents no certificate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the certificate authorities to trust, instead of the platform's.
    #[must_use]
    pub fn with_trust_anchors(
        mut self,
        certificates: impl IntoIterator<Item = CertificateDer<'static>>,
    ) -> Self {
        self.trust_anchors = Some(certificates.into_iter().collect());
        self
    }

    /// Sets the client's certificate chain, leaf first, and its private key.
    ///
    /// An empty chain is an error when the credentials are loaded.
    #[must_use]
    pub fn with_identity(
        mut self,
        chain: impl IntoIterator<Item = CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Self {
        let key = Key::Der(Arc::new(Zeroizing::new(key)));
        self.identity = Some(Identity { chain: chain.into_iter().collect(), key });
        self
    }

    /// Sets the client's certificate chain, leaf first, and a signing key that is not in memory,
    /// for instance in an HSM.
    #[must_use]
    pub fn with_signing_key(
        mut self,
        chain: impl IntoIterator<Item = CertificateDer<'static>>,
        key: Arc<dyn SigningKey>,
    ) -> Self {
        let key = Key::Signing(key);
        self.identity = Some(Identity { chain: chain.into_iter().collect(), key });
        self
    }

    /// Checks everything that can be checked without a handshake.
    pub(super) fn validate(self, provider: &CryptoProvider) -> Result<Validated, Error> {
        if self.trust_anchors.as_ref().is_some_and(Vec::is_empty) {
            return Err(problem(&self.origins.ca, CredentialProblem::NoTrustAnchors));
        }
        let (mut anchors, mut trust_anchors) = (Vec::new(), Vec::new());
        for (index, der) in self.trust_anchors.iter().flatten().enumerate() {
            let invalid = |source| invalid_certificate(&self.origins.ca, index, source);
            anchors.push(Anchor::read(der).map_err(|source| invalid(Box::new(source)))?);
            trust_anchors.push(CertificateFacts::parse(der, provider).map_err(invalid)?);
        }
        let identity = match &self.identity {
            Some(identity) => Some(identity.validate(&self.origins, provider)?),
            None => None,
        };
        let (certified_key, chain) = identity.unzip();
        Ok(Validated {
            credentials: self,
            anchors: anchors.into(),
            certified_key,
            trust_anchors,
            chain: chain.unwrap_or_default(),
        })
    }
}

impl PartialEq for Credentials {
    /// Compares the content, and ignores where it came from.
    fn eq(&self, other: &Self) -> bool {
        self.trust_anchors == other.trust_anchors && self.identity == other.identity
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        let same_key = match (&self.key, &other.key) {
            (Key::Der(one), Key::Der(other)) => one == other,
            (Key::Signing(one), Key::Signing(other)) => Arc::ptr_eq(one, other),
            _ => false,
        };
        same_key && self.chain == other.chain
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chain = self.identity.as_ref().map_or(0, |identity| identity.chain.len());
        f.debug_struct("Credentials")
            .field("trust_anchors", &self.trust_anchors.as_ref().map(Vec::len))
            .field("chain", &chain)
            .finish_non_exhaustive()
    }
}

impl Identity {
    fn validate(
        &self,
        origins: &Origins,
        provider: &CryptoProvider,
    ) -> Result<(Arc<CertifiedKey>, Vec<CertificateFacts>), Error> {
        if self.chain.is_empty() {
            return Err(problem(&origins.certificate, CredentialProblem::EmptyChain));
        }
        let parse = |(index, der): (usize, &CertificateDer<'_>)| {
            CertificateFacts::parse(der, provider)
                .map_err(|source| invalid_certificate(&origins.certificate, index, source))
        };
        let facts: Vec<_> = self.chain.iter().enumerate().map(parse).collect::<Result<_, _>>()?;
        let key = match &self.key {
            Key::Signing(key) => Arc::clone(key),
            Key::Der(key) => {
                provider.key_provider.load_private_key(key.clone_key()).map_err(|source| {
                    problem(&origins.key, CredentialProblem::UnsupportedKey { source })
                })?
            }
        };
        // If the key does not give its public half, a mismatch shows only in the handshake.
        if let Some(public_key) = key.public_key()
            && !facts.first().is_some_and(|leaf| is_same(&leaf.public_key, &public_key))
        {
            let leaf_is_not_first =
                facts.iter().any(|facts| is_same(&facts.public_key, &public_key));
            let (certificate_origin, certificate) = origins.certificate.clone();
            let (key_origin, key) = origins.key.clone();
            return Err(Error::KeyMismatch(Box::new(KeyMismatch {
                certificate_origin,
                certificate,
                subject: facts.into_iter().next().map(|leaf| leaf.subject).unwrap_or_default(),
                key_origin,
                key,
                leaf_is_not_first,
            })));
        }
        // Not by `from_der`, which parses the leaf with webpki and so rejects X.509 v1 (see rustls
        // issue 2364), which servers accept. Its check that key and leaf match is done above.
        Ok((Arc::new(CertifiedKey::new(self.chain.clone(), key)), facts))
    }
}

/// Validated credentials.
#[derive(Debug)]
pub(crate) struct Validated {
    pub(super) credentials: Credentials,
    /// Empty for the platform's roots.
    pub(super) anchors: Arc<[Anchor]>,
    pub(super) certified_key: Option<Arc<CertifiedKey>>,
    /// The facts of `anchors`, in the same order.
    pub(crate) trust_anchors: Vec<CertificateFacts>,
    /// The client's, leaf first.
    pub(crate) chain: Vec<CertificateFacts>,
}

impl Validated {
    /// Where each part came from.
    pub(crate) fn origins(&self) -> &Origins {
        &self.credentials.origins
    }

    /// The configured CAs, to find the one that caused a rejection.
    pub(crate) fn anchor_details(&self) -> Vec<CertificateDetails> {
        let named = self.credentials.trust_anchors.iter().flatten();
        named.filter_map(CertificateDetails::parse).collect()
    }

    /// The unused sections in each file.
    pub(crate) fn beside(&self) -> &Beside {
        &self.credentials.beside
    }

    /// Whether CAs are configured, instead of the platform's.
    pub(crate) fn names_a_ca(&self) -> bool {
        self.credentials.trust_anchors.is_some()
    }

    /// Each anchor, with the reason if it cannot issue certificates for servers now.
    pub(crate) fn judged_anchors(
        &self,
    ) -> impl Iterator<Item = (&CertificateFacts, Result<(), IssuerProblem>)> {
        let now = SystemTime::now();
        let judged = self.anchors.iter().map(move |anchor| anchor.may_issue(now, 0));
        self.trust_anchors.iter().zip(judged)
    }

    /// Verifies our certificate as a server that trusts the same CAs would. `Ok(false)` if another
    /// CA issued it, which is not an error.
    pub(crate) fn verify_client(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<bool, rustls::Error> {
        let Some(Identity { chain, .. }) = &self.credentials.identity else {
            return Ok(false);
        };
        let roots = self.anchors.iter().map(|anchor| anchor.trust_anchor.clone());
        let roots = Arc::new(RootCertStore { roots: roots.collect() });
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
        // A verifier cannot be built without roots.
        let (Some((leaf, intermediates)), Ok(verifier)) = (chain.split_first(), verifier.build())
        else {
            return Ok(false);
        };
        match verifier.verify_client_cert(leaf, intermediates, UnixTime::now()) {
            Ok(_verified) => Ok(true),
            // `BadSignature` means another CA of the same name.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature,
            )) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Fails if they are expired or not yet valid, so that they do not replace working ones.
    pub(super) fn ensure_in_time(&self) -> Result<(), Error> {
        let Origins { ca, certificate, .. } = &self.credentials.origins;
        let mut anchors = self.trust_anchors.iter().map(out_of_time);
        // One valid anchor is enough.
        if let Some(Some(first)) = anchors.next()
            && anchors.all(|anchor| anchor.is_some())
        {
            return Err(problem(ca, first));
        }
        match self.chain.first().and_then(out_of_time) {
            Some(leaf) => Err(problem(certificate, leaf)),
            None => Ok(()),
        }
    }
}

fn out_of_time(facts: &CertificateFacts) -> Option<CredentialProblem> {
    let (now, subject) = (SystemTime::now(), facts.subject.clone());
    match (facts.expired(now), facts.not_yet_valid(now)) {
        (Some(not_after), _) => {
            Some(CredentialProblem::Expired { subject, not_after: utc(not_after) })
        }
        (None, Some(not_before)) => {
            Some(CredentialProblem::NotYetValid { subject, not_before: utc(not_before) })
        }
        (None, None) => None,
    }
}

fn problem((origin, place): &(Origin, CredentialLocation), problem: CredentialProblem) -> Error {
    Error::Credential { origin: origin.clone(), place: place.clone(), problem }
}

fn invalid_certificate(
    origin: &(Origin, CredentialLocation),
    index: usize,
    source: Box<dyn std::error::Error + Send + Sync>,
) -> Error {
    problem(origin, CredentialProblem::InvalidCertificate { position: index + 1, source })
}
