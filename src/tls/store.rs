//! The credentials in use. Every dial asks here which they are.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore};

use super::client_config::client_config;
use super::credentials::{add_trust_anchors, load_identity};
use crate::config::{Settings, TlsSettings, TlsVersion, Warning};
use crate::error::Error;
use crate::signal::Variable;

/// The application protocols that OTLP travels by.
const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// The TLS side of a transport.
#[derive(Debug)]
pub(crate) struct Store {
    current: Snapshot,
}

/// The credentials of one moment.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// Counts up with every change of the credentials.
    pub(crate) generation: u64,
    /// One configuration per generation, for rustls resumes a session only under the same one.
    pub(crate) config: Arc<ClientConfig>,
    /// Whether a server asked for a client certificate in this generation. A resumed handshake
    /// carries no such request, so what was once asked is remembered.
    pub(crate) certificate_requested: Arc<AtomicBool>,
}

/// What the builder says about TLS for all signals.
pub(crate) struct Loading<'a> {
    pub(crate) provider: Option<&'a Arc<CryptoProvider>>,
    pub(crate) min_version: TlsVersion,
    pub(crate) system_roots: bool,
    /// A configuration brought along, in place of one made here.
    pub(crate) custom: Option<&'a Arc<ClientConfig>>,
}

impl Store {
    /// Loads what the settings name, and fails on anything that cannot be used.
    pub(crate) fn load(
        settings: &Settings,
        tls: &TlsSettings,
        loading: &Loading<'_>,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, Error> {
        let alpn = match settings.protocol.is_grpc() {
            true => vec![H2.to_vec()],
            false => vec![H2.to_vec(), HTTP_1_1.to_vec()],
        };
        let certificate_requested = Arc::new(AtomicBool::new(false));
        let config = match loading.custom {
            Some(custom) => {
                let mut config = ClientConfig::clone(custom);
                config.alpn_protocols = alpn;
                config
            }
            None => {
                let provider = super::crypto_provider(loading.provider)?;
                let roots = trust_anchors(settings, tls, loading.system_roots)?;
                let identity = tls.identity.as_ref();
                let identity = identity
                    .map(|identity| load_identity(identity, &provider, warnings))
                    .transpose()?;
                let requested = Arc::clone(&certificate_requested);
                client_config(provider, loading.min_version, roots, identity, alpn, requested)
                    .map_err(|source| Error::Rustls {
                        endpoint: settings.endpoint.to_string(),
                        source,
                    })?
            }
        };
        Ok(Self {
            current: Snapshot { generation: 0, config: Arc::new(config), certificate_requested },
        })
    }

    /// The credentials to dial with now.
    pub(crate) fn current(&self) -> Snapshot {
        self.current.clone()
    }
}

/// The CA that was named in place of the platform's, or those of the platform.
fn trust_anchors(
    settings: &Settings,
    tls: &TlsSettings,
    system_roots: bool,
) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    if let Some(ca) = &tls.ca {
        add_trust_anchors(ca, &mut roots)?;
    }
    if tls.ca.is_none() || system_roots {
        // What the platform has is not ours to judge: what cannot be read or parsed is left out.
        let platform = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(platform.certs);
    }
    if roots.is_empty() {
        return Err(Error::NoPlatformRoots {
            endpoint: settings.endpoint.to_string(),
            origin: settings.endpoint.origin.clone(),
            variable: Variable::Certificate.name(None),
        });
    }
    Ok(roots)
}
