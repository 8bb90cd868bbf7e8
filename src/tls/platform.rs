//! The platform's certificate authorities.

use std::{env, fs};

use rustls::RootCertStore;

use crate::config::Pem;
use crate::error::Error;

/// What the platform has is not ours to judge: what cannot be read or parsed is left out.
pub(super) fn roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
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
