//! Records what one handshake presents, as the verifier and the resolver of its dial see it.

use std::sync::{Arc, Mutex};

use rustls::pki_types::CertificateDer;

use crate::lock::lock;

/// What a handshake presented, whether or not it was completed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handshake {
    /// What the server presented, leaf first. Empty if it presented nothing.
    pub(crate) server_chain: Vec<CertificateDer<'static>>,
    /// The trust anchor of that chain, once we have accepted it.
    pub(crate) anchor: Option<CertificateDer<'static>>,
    /// Whether the server asked for a client certificate.
    pub(crate) certificate_requested: bool,
    /// The issuers that the server accepts, as distinguished names.
    pub(crate) acceptable_issuers: Vec<String>,
}

/// The record of one handshake, shared by its verifier and resolver. Clones are the same record.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes(Arc<Mutex<Handshake>>);

impl Notes {
    pub(crate) fn presented<'a>(&self, chain: impl Iterator<Item = &'a CertificateDer<'a>>) {
        lock(&self.0).server_chain = chain.map(|der| der.clone().into_owned()).collect();
    }

    pub(crate) fn verified(&self, anchor: &CertificateDer<'_>) {
        lock(&self.0).anchor = Some(anchor.clone().into_owned());
    }

    pub(crate) fn requested(&self, acceptable_issuers: Vec<String>) {
        let mut handshake = lock(&self.0);
        handshake.certificate_requested = true;
        handshake.acceptable_issuers = acceptable_issuers;
    }

    /// What the handshake has presented so far.
    pub(crate) fn read(&self) -> Handshake {
        lock(&self.0).clone()
    }
}
