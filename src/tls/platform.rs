//! The platform's certificate authorities.

use std::sync::Arc;
use std::{env, fs};

use super::anchor::Anchor;
use crate::config::Pem;
use crate::error::Error;

/// What cannot be read or parsed is left out: what the platform has is not ours to put right.
pub(super) fn roots() -> Arc<[Anchor]> {
    let roots = rustls_native_certs::load_native_certs().certs;
    roots.iter().filter_map(|der| Anchor::read(der).ok()).collect()
}

/// Why there are no roots, if a variable names others than the system's: those that
/// `rustls-native-certs` reads, as OpenSSL does.
pub(super) fn named_in_vain() -> Option<Error> {
    ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().find_map(|variable| {
        let path = env::var_os(variable).filter(|path| !path.is_empty())?;
        let source = fs::metadata(&path).err();
        Some(Error::PlatformRoots { variable, place: Pem::file(path).place(), source })
    })
}
