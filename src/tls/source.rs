//! Sources of credentials, which are loaded repeatedly.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use super::credentials::{Credentials, Identity, Key, Origins};
use super::pem::{Wanted, certificates, private_key};
use crate::config::{Origin, Pem, Sourced, TlsSettings};
use crate::error::{CredentialLocation, Error};

/// Provides the current credentials, for instance from Vault, a SPIFFE agent or an HSM.
///
/// It is called when exporters are built, when an export starts after the reload interval, and at
/// once after TLS has failed, but then at most once a second. The calling thread may block. Only
/// one call is in progress at a time; meanwhile, exports continue with the current credentials.
///
/// The result is checked as files are: unusable credentials never replace usable ones.
///
/// ```
/// use otlp_mtls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
/// use otlp_mtls::{CredentialSource, Credentials, Exporters};
/// use std::error::Error;
/// use std::sync::Mutex;
/// use std::time::{Duration, Instant};
///
/// /// Two thirds of a certificate's life.
/// const LEASE: Duration = Duration::from_secs(8 * 3600);
///
/// #[derive(Debug, Default)]
/// struct Vault {
///     issued: Mutex<Option<Instant>>,
/// }
///
/// impl CredentialSource for Vault {
///     fn load(&self) -> Result<Credentials, Box<dyn Error + Send + Sync>> {
///         let (chain, key) = issue()?; // one request to its PKI engine
///         let chain = CertificateDer::pem_slice_iter(&chain).collect::<Result<Vec<_>, _>>()?;
///         let key = PrivateKeyDer::from_pem_slice(&key)?;
///         *self.issued.lock().unwrap() = Some(Instant::now());
///         Ok(Credentials::new().with_identity(chain, key))
///     }
///
///     // Without this, a certificate would be issued at each look, every ten seconds.
///     fn may_have_changed(&self) -> bool {
///         self.issued.lock().unwrap().is_none_or(|issued| issued.elapsed() >= LEASE)
///     }
/// }
/// # fn issue() -> std::io::Result<(Vec<u8>, Vec<u8>)> { Err(std::io::ErrorKind::Other.into()) }
///
/// let exporters = Exporters::builder()
///     .with_endpoint("https://localhost:4317")
///     .with_credential_source(Vault::default())
///     .build();
/// # assert!(exporters.is_err());
/// ```
pub trait CredentialSource: fmt::Debug + Send + Sync {
    /// Loads the current credentials.
    ///
    /// # Errors
    ///
    /// Why there are none at the moment. At the first call `build()` fails with it; later the
    /// previous credentials remain in use.
    fn load(&self) -> Result<Credentials, Box<dyn StdError + Send + Sync>>;

    /// Whether `load` may return something else than last time. It should be cheap. A source that
    /// cannot tell returns `true`: what is loaded is compared anyway.
    fn may_have_changed(&self) -> bool {
        true
    }
}

/// So that the application can keep a reference to its source.
impl<S: CredentialSource + ?Sized> CredentialSource for Arc<S> {
    fn load(&self) -> Result<Credentials, Box<dyn StdError + Send + Sync>> {
        (**self).load()
    }

    fn may_have_changed(&self) -> bool {
        (**self).may_have_changed()
    }
}

/// The files that variables and [`Pem::file`] name.
#[derive(Debug)]
pub(super) struct Files {
    tls: TlsSettings,
}

impl Files {
    pub(super) fn new(tls: TlsSettings) -> Self {
        Self { tls }
    }

    fn read(&self) -> Result<Credentials, Error> {
        let mut credentials = Credentials::new();
        if let Some(ca) = &self.tls.ca {
            let found = certificates(ca, Wanted::TrustAnchors)?;
            credentials.trust_anchors = Some(found.value);
            credentials.origins.ca = located(ca);
            credentials.beside.ca = found.beside;
        }
        if let Some(identity) = &self.tls.identity {
            let (certificate, key) = (&identity.certificate, &identity.key);
            let (chain, private_key) =
                (certificates(certificate, Wanted::Chain)?, private_key(key)?);
            credentials.identity =
                Some(Identity { chain: chain.value, key: Key::Der(private_key.value.into()) });
            credentials.origins = Origins {
                certificate: located(certificate),
                key: located(key),
                ..credentials.origins
            };
            credentials.beside.certificate = chain.beside;
            credentials.beside.key = private_key.beside;
        }
        Ok(credentials)
    }
}

fn located(pem: &Sourced<Pem>) -> (Origin, CredentialLocation) {
    (pem.origin.clone(), pem.value.place())
}

/// They are read at each check and compared by content: that takes microseconds, and detects every
/// change on every platform.
impl CredentialSource for Files {
    fn load(&self) -> Result<Credentials, Box<dyn StdError + Send + Sync>> {
        Ok(self.read()?)
    }
}
