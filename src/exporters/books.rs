//! What is counted, for metrics.

use std::collections::BTreeMap;

use super::Exporters;
use crate::config::Endpoint;
use crate::tls::CredentialStatus;

/// What is counted of one set of credentials.
pub(crate) struct StoreBooks {
    pub(crate) endpoint: Endpoint,
    pub(crate) status: CredentialStatus,
    pub(crate) handshakes: BTreeMap<Option<&'static str>, u64>,
}

impl Exporters {
    /// What is counted of each set of credentials.
    pub(crate) fn store_books(&self) -> Vec<StoreBooks> {
        let books = self.stores().into_iter().map(|(signals, store)| StoreBooks {
            // The first of the signals that share it: they share the collector too.
            endpoint: self.0.pipelines[&signals[0]].settings.endpoint.clone(),
            status: store.status(),
            handshakes: store.handshakes(),
        });
        books.collect()
    }
}
