//! What is counted, for metrics.

use std::collections::BTreeMap;

use super::{Exporters, Pipeline};
use crate::config::{Endpoint, Protocol};
use crate::export::Counts;
use crate::signal::Signal;
use crate::tls::CredentialStatus;

/// What is counted of one set of credentials.
pub(crate) struct StoreBooks {
    pub(crate) endpoint: Endpoint,
    pub(crate) status: CredentialStatus,
    pub(crate) handshakes: BTreeMap<Option<&'static str>, u64>,
}

/// What is counted of one signal.
pub(crate) struct SignalBooks {
    pub(crate) endpoint: Endpoint,
    pub(crate) protocol: Protocol,
    pub(crate) counts: Counts,
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

    /// What is counted of a signal; `None` if it does not go to a collector.
    pub(crate) fn signal_books(&self, signal: Signal) -> Option<SignalBooks> {
        let Pipeline { settings, stats, .. } = self.0.pipelines.get(&signal)?;
        let (endpoint, protocol) = (settings.endpoint.clone(), *settings.protocol);
        Some(SignalBooks { endpoint, protocol, counts: stats.counts() })
    }
}
