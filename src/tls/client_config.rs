//! Builds rustls' `ClientConfig` from credentials and provider.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion};

use super::certificate::distinguished_name;
use super::notes::Notes;
use super::store::Generation;
use super::verifier::ServerVerifier;
use crate::config::TlsVersion;

/// A configuration that verifies servers by `verifier` and presents `identity` on request.
pub(super) fn client_config(
    verifier: Arc<ServerVerifier>,
    min_version: TlsVersion,
    identity: Option<Arc<CertifiedKey>>,
    alpn: Vec<Vec<u8>>,
) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::clone(&verifier.provider);
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions(min_version))?
        // Required by rustls for any custom verifier. Ours accepts nothing that rustls' own
        // would reject, except for a server's certificate that is itself trusted.
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::new(IdentityResolver(identity)));
    config.alpn_protocols = alpn;
    Ok(unresumed(config))
}

/// Disables session resumption: a resumed session would keep the certificates of the first
/// handshake after a rotation. Connections live for hours, and resumption would save each a
/// fraction of a millisecond.
pub(super) fn unresumed(mut config: ClientConfig) -> ClientConfig {
    config.resumption = Resumption::disabled();
    config
}

/// The configuration for one dial, which records what the server presents. A `with_rustls_config`
/// configuration keeps its own verifier.
pub(super) fn noting(
    config: &ClientConfig,
    verifier: Option<&Arc<ServerVerifier>>,
    notes: &Notes,
) -> ClientConfig {
    let mut config = config.clone();
    let resolver = Arc::clone(&config.client_auth_cert_resolver);
    config.client_auth_cert_resolver = Arc::new(Noting(resolver, notes.clone()));
    if let Some(verifier) = verifier {
        let noting = Noting(Arc::clone(verifier), notes.clone());
        config.dangerous().set_certificate_verifier(Arc::new(noting));
    }
    config
}

/// The configuration, with a verifier and resolver that look up the current credentials at each
/// handshake.
pub(super) fn rotating(
    mut config: ClientConfig,
    first: Arc<ServerVerifier>,
    current: impl Fn() -> Arc<Generation> + Send + Sync + 'static,
) -> ClientConfig {
    let rotating = Arc::new(Rotating { first, current: Box::new(current) });
    config.client_auth_cert_resolver = Arc::clone(&rotating) as _;
    config.dangerous().set_certificate_verifier(rotating);
    config
}

fn versions(min: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    const FROM_1_2: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
    const FROM_1_3: &[&SupportedProtocolVersion] = &[&TLS13];
    match min {
        TlsVersion::Tls12 => FROM_1_2,
        TlsVersion::Tls13 => FROM_1_3,
    }
}

/// Our answer to a certificate request.
///
/// The hints that servers send are unreliable, so we always present our only identity and let the
/// server decide.
#[derive(Debug)]
struct IdentityResolver(Option<Arc<CertifiedKey>>);

impl ResolvesClientCert for IdentityResolver {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}

/// Wraps a resolver and records the server's certificate request.
#[derive(Debug)]
struct Noting<T>(T, Notes);

impl ResolvesClientCert for Noting<Arc<dyn ResolvesClientCert>> {
    fn resolve(&self, hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.1.requested(hints.iter().filter_map(|name| distinguished_name(name)).collect());
        self.0.resolve(hints, schemes)
    }

    fn only_raw_public_keys(&self) -> bool {
        self.0.only_raw_public_keys()
    }

    fn has_certs(&self) -> bool {
        self.0.has_certs()
    }
}

impl ServerCertVerifier for Noting<Arc<ServerVerifier>> {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.1.presented([leaf].into_iter().chain(intermediates));
        let anchor = self.0.verify(leaf, intermediates, server_name, now)?;
        self.1.verified(&anchor.der);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, leaf, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Delegates to the verifier and resolver of the current credentials.
struct Rotating {
    /// The verifier of the first credentials, for signatures: they depend only on the provider,
    /// which does not change.
    first: Arc<ServerVerifier>,
    current: Box<dyn Fn() -> Arc<Generation> + Send + Sync>,
}

impl ResolvesClientCert for Rotating {
    fn resolve(&self, hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        (self.current)().config.client_auth_cert_resolver.resolve(hints, schemes)
    }

    fn has_certs(&self) -> bool {
        (self.current)().config.client_auth_cert_resolver.has_certs()
    }
}

impl ServerCertVerifier for Rotating {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let current = (self.current)();
        // Either all credentials of a store have a verifier or none has.
        let verifier = current.verifier.as_ref().unwrap_or(&self.first);
        verifier.verify_server_cert(leaf, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.first.verify_tls12_signature(message, leaf, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.first.verify_tls13_signature(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.first.supported_verify_schemes()
    }
}

impl fmt::Debug for Rotating {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rotating").finish_non_exhaustive()
    }
}
