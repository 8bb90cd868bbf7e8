//! Verifies a server's SPIFFE ID.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::{CertificateError, OtherError};

use super::anchor::may_sign_anything;
use super::x509::ToBeSigned;
use crate::config::SpiffeId;
use crate::text::printable;

/// A certificate without the expected SPIFFE ID. It is passed in [`CertificateError::Other`].
#[derive(Clone, Debug, thiserror::Error)]
#[error("the certificate is not of {expected}")]
pub(crate) struct OtherSpiffeId {
    pub(crate) expected: SpiffeId,
    pub(crate) problem: SpiffeProblem,
}

/// What is wrong with it.
#[derive(Clone, Debug)]
pub(crate) enum SpiffeProblem {
    /// It has these URIs instead: another one, none, or several.
    Uris(Vec<String>),
    /// It may sign certificates or CRLs.
    IsSigner,
}

/// By [X509-SVID, sections 4 and 5][spec]: exactly one URI, which is the ID, in a certificate that
/// may not sign others. The chain is verified elsewhere.
///
/// [spec]: https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md#5-validation
pub(super) fn verify_spiffe_id(
    leaf: &CertificateDer<'_>,
    expected: &SpiffeId,
) -> Result<(), rustls::Error> {
    let refused = |problem| {
        let refusal = OtherSpiffeId { expected: expected.clone(), problem };
        CertificateError::Other(OtherError(Arc::new(refusal)))
    };
    let certificate =
        ToBeSigned::parse(leaf).map_err(|_undecodable| CertificateError::BadEncoding)?;
    if may_sign_anything(&certificate) {
        return Err(refused(SpiffeProblem::IsSigner).into());
    }
    let uris = certificate.uris();
    match uris.as_slice() {
        [uri] if uri.parse().is_ok_and(|id| expected.admits(&id)) => Ok(()),
        uris => {
            let shown = uris.iter().map(|uri| printable(uri)).collect();
            Err(refused(SpiffeProblem::Uris(shown)).into())
        }
    }
}
