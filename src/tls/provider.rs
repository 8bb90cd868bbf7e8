//! Selects the rustls `CryptoProvider`. The only file with `cfg`s for cryptography.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

use crate::error::Error;

/// The explicit provider, else the process's default, else the compiled-in one. A process default
/// is never installed: only the application may do that.
pub(crate) fn crypto_provider(
    explicit: Option<&Arc<CryptoProvider>>,
) -> Result<Arc<CryptoProvider>, Error> {
    explicit
        .or(CryptoProvider::get_default())
        .cloned()
        .or_else(compiled_provider)
        .ok_or(Error::NoCryptoProvider)
}

/// The compiled-in provider.
#[cfg(feature = "aws-lc-rs")]
pub(crate) fn compiled_provider() -> Option<Arc<CryptoProvider>> {
    Some(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
pub(crate) fn compiled_provider() -> Option<Arc<CryptoProvider>> {
    Some(Arc::new(rustls::crypto::ring::default_provider()))
}

#[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
pub(crate) fn compiled_provider() -> Option<Arc<CryptoProvider>> {
    None
}
