//! Whom we trust, and who we are. Knows nothing of tokio, tonic or hyper.

mod client_config;
mod credentials;
mod provider;
mod store;

pub(crate) use provider::crypto_provider;
pub(crate) use store::{Loading, Snapshot, Store};
