//! A certificate chain with its private key.

use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// A certificate chain with the private key of its leaf, issued by a [`Pki`](super::Pki) or provided by the
/// test.
#[derive(Clone)]
pub struct Identity {
    certificates: Vec<CertificateDer<'static>>,
    certificate_pem: String,
    key: Vec<u8>,
    key_pem: String,
}

impl Identity {
    /// A given chain, leaf first, with the leaf's private key.
    pub fn new(certificates: Vec<CertificateDer<'static>>, key: PrivatePkcs8KeyDer<'_>) -> Self {
        let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        let pem = |label: &str, der: &[u8]| pem::encode_config(&pem::Pem::new(label, der), config);
        let certificate_pem = certificates.iter().map(|der| pem("CERTIFICATE", der)).collect();
        let key = key.secret_pkcs8_der().to_vec();
        let key_pem = pem("PRIVATE KEY", &key);
        Self { certificates, certificate_pem, key, key_pem }
    }

    /// The certificate chain in PEM, leaf first.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The private key in PEM (PKCS#8).
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// The certificate chain, leaf first.
    pub fn certificate_ders(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// The private key.
    pub fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }

    /// Writes `{name}.crt` and `{name}.key` into `directory`. Returns their paths in this order.
    ///
    /// # Errors
    ///
    /// Fails if either file cannot be written.
    pub fn write_to(&self, directory: &Path, name: &str) -> io::Result<(PathBuf, PathBuf)> {
        let certificate = directory.join(format!("{name}.crt"));
        let key = directory.join(format!("{name}.key"));
        fs::write(&certificate, &self.certificate_pem)?;
        fs::write(&key, &self.key_pem)?;
        Ok((certificate, key))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("certificates", &self.certificates.len())
            .finish_non_exhaustive()
    }
}
