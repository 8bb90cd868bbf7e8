//! The platform's certificate authorities.

use std::sync::Arc;
use std::{env, fs};

use super::anchor::Anchor;
use crate::config::Pem;
use crate::error::Error;

/// Certificates that cannot be read or parsed are left out: the platform's store is not under the
/// user's control.
pub(super) fn roots() -> Arc<[Anchor]> {
    let roots = rustls_native_certs::load_native_certs().certs;
    roots.iter().filter_map(|der| Anchor::read(der).ok()).collect()
}

/// Why there are no roots, if one of the variables that `rustls-native-certs` reads names others
/// than the system's. `ca` is the setting that names a CA in their place.
pub(super) fn named_in_vain(ca: &str) -> Option<Error> {
    ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().find_map(|variable| {
        let path = env::var_os(variable).filter(|path| !path.is_empty())?;
        let source = fs::metadata(&path).err();
        let place = Pem::file(path).place();
        Some(Error::PlatformRoots { variable, place, ca: ca.to_owned(), source })
    })
}
