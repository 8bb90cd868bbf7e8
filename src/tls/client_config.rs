//! Credentials and provider to a rustls `ClientConfig`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SignatureScheme, SupportedProtocolVersion};

use crate::config::TlsVersion;

/// A configuration that verifies the server by `roots` and presents `identity` where asked.
///
/// Whether a server asked is noted in `certificate_requested`.
pub(super) fn client_config(
    provider: Arc<CryptoProvider>,
    min_version: TlsVersion,
    roots: RootCertStore,
    identity: Option<Arc<CertifiedKey>>,
    alpn: Vec<Vec<u8>>,
    certificate_requested: Arc<AtomicBool>,
) -> Result<ClientConfig, rustls::Error> {
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions(min_version))?
        .with_webpki_verifier(verifier)
        .with_client_cert_resolver(Arc::new(Identity {
            certified_key: identity,
            certificate_requested,
        }));
    config.alpn_protocols = alpn;
    Ok(config)
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
#[derive(Debug)]
struct Identity {
    certified_key: Option<Arc<CertifiedKey>>,
    certificate_requested: Arc<AtomicBool>,
}

impl ResolvesClientCert for Identity {
    fn resolve(
        &self,
        // Servers send more of these hints than they mean, or none: the one identity we have is
        // presented, and the server says what it thinks of it.
        _root_hint_subjects: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        self.certificate_requested.store(true, Ordering::Relaxed);
        self.certified_key.clone()
    }

    fn has_certs(&self) -> bool {
        self.certified_key.is_some()
    }
}
