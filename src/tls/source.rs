//! Where credentials come from, again and again.

use std::error::Error as StdError;
use std::fmt;
use std::fs::{self, Metadata};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use super::credentials::{Credentials, Identity, Key, Origins};
use super::pem::{Content, place};
use crate::config::{Pem, Sourced, TlsSettings};
use crate::error::Error;
use crate::lock::lock;

/// Gives the credentials of this moment, from wherever they are kept: Vault, a SPIFFE agent, an HSM.
///
/// It is asked when exporters are built, when an export starts and the reload interval is over, and
/// at once after TLS has failed. The calls come from a thread that may block. One at a time is in
/// progress; while it is, exports go on with what they have.
///
/// What it gives is checked as files are: what cannot be used never replaces what can.
///
/// ```
/// use otlp_mtls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
/// use otlp_mtls::{CredentialSource, Credentials, Exporters};
/// use std::error::Error;
///
/// #[derive(Debug)]
/// struct Vault;
///
/// impl CredentialSource for Vault {
///     fn load(&self) -> Result<Credentials, Box<dyn Error + Send + Sync>> {
///         let (chain, key) = issue()?; // one request to its PKI engine
///         let chain = CertificateDer::pem_slice_iter(&chain).collect::<Result<Vec<_>, _>>()?;
///         Ok(Credentials::new().with_identity(chain, PrivateKeyDer::from_pem_slice(&key)?))
///     }
/// }
/// # fn issue() -> std::io::Result<(Vec<u8>, Vec<u8>)> { Err(std::io::ErrorKind::Other.into()) }
///
/// let exporters = Exporters::builder()
///     .with_endpoint("https://localhost:4317")
///     .with_credential_source(Vault)
///     .build();
/// # assert!(exporters.is_err());
/// ```
pub trait CredentialSource: fmt::Debug + Send + Sync {
    /// The credentials of this moment.
    ///
    /// # Errors
    ///
    /// Why there are none now. At the start that is an error of `build()`; later the last good ones
    /// stay in use.
    fn load(&self) -> Result<Credentials, Box<dyn StdError + Send + Sync>>;

    /// Whether `load` may give something else than it did last. It should cost next to nothing; what
    /// cannot tell says so always, and what was loaded is compared.
    fn may_have_changed(&self) -> bool {
        true
    }
}

/// So that the application can keep a hand on its source.
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
    /// What the files looked like when they were last read.
    stamps: Mutex<Vec<Stamp>>,
}

impl Files {
    pub(super) fn new(tls: TlsSettings) -> Self {
        Self { tls, stamps: Mutex::default() }
    }

    fn pems(&self) -> impl Iterator<Item = &Sourced<Pem>> {
        let identity = self.tls.identity.iter();
        let identity = identity.flat_map(|identity| [&identity.certificate, &identity.key]);
        self.tls.ca.iter().chain(identity)
    }

    fn stamp(&self) -> Vec<Stamp> {
        self.pems().filter_map(|pem| pem.value.path()).map(Stamp::of).collect()
    }

    fn read(&self) -> Result<Credentials, Error> {
        let mut credentials = Credentials::new();
        if let Some(ca) = &self.tls.ca {
            credentials.trust_anchors = Some(Content::read(ca)?.certificates()?);
            credentials.origins.ca = (ca.origin.clone(), place(ca));
        }
        if let Some(identity) = &self.tls.identity {
            let (certificate, key) = (&identity.certificate, &identity.key);
            credentials.identity = Some(Identity {
                chain: Content::read(certificate)?.certificates()?,
                key: Key::Der(Content::read(key)?.private_key()?.into()),
            });
            credentials.origins = Origins {
                certificate: (certificate.origin.clone(), place(certificate)),
                key: (key.origin.clone(), place(key)),
                ..credentials.origins
            };
        }
        Ok(credentials)
    }
}

impl CredentialSource for Files {
    fn load(&self) -> Result<Credentials, Box<dyn StdError + Send + Sync>> {
        // Before the content: what changes in between is seen the next time.
        let stamps = self.stamp();
        let credentials = self.read();
        *lock(&self.stamps) = stamps;
        Ok(credentials?)
    }

    fn may_have_changed(&self) -> bool {
        let now = self.stamp();
        let last = lock(&self.stamps);
        *last != now || last.iter().any(Stamp::is_fresh)
    }
}

/// What tells a file from another one, without reading it. Symbolic links are followed, for
/// Kubernetes swaps one of them when it changes a volume.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    /// `None` while there is no such file.
    seen: Option<(SystemTime, u64, Unique)>,
    at: At,
}

impl Stamp {
    /// A clock's tick, and then some: within it a file can change twice and look the same.
    const TICK: Duration = Duration::from_secs(2);

    fn of(path: &Path) -> Self {
        let seen = fs::metadata(path).ok().map(|metadata| {
            let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            (modified, metadata.len(), unique(&metadata))
        });
        Self { seen, at: At(SystemTime::now()) }
    }

    /// Whether the file was changed so shortly before it was looked at that a later change may not
    /// show.
    fn is_fresh(&self) -> bool {
        self.seen.is_some_and(|(modified, ..)| {
            self.at.0.duration_since(modified).is_ok_and(|age| age < Self::TICK)
        })
    }
}

/// When a stamp was taken, which is no part of what it says.
#[derive(Debug)]
struct At(SystemTime);

impl PartialEq for At {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for At {}

/// Device, inode and the time of the inode's last change, which nobody can set.
#[cfg(unix)]
type Unique = (u64, u64, i64, i64);

#[cfg(unix)]
fn unique(metadata: &Metadata) -> Unique {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
}

/// Elsewhere a change that keeps size and time of modification is not seen.
#[cfg(not(unix))]
type Unique = ();

#[cfg(not(unix))]
fn unique(_metadata: &Metadata) -> Unique {}
