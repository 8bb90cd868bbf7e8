//! Whom we trust, and who we are. Knows nothing of tokio, tonic or hyper.

mod certificate;
mod client_config;
mod credentials;
mod expiry;
mod pem;
mod provider;
mod source;
mod store;

pub(crate) use certificate::{distinguished_name, list, utc};
pub(crate) use credentials::Validated;
pub(crate) use provider::crypto_provider;
pub(crate) use store::{Loading, Snapshot, Store};

pub use certificate::CertificateFacts;
pub use credentials::Credentials;
pub use source::CredentialSource;
