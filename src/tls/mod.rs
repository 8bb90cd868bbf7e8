//! Whom we trust, and who we are. Knows nothing of tokio, tonic or hyper.

mod certificate;
mod client_config;
mod credentials;
mod details;
mod expiry;
mod pem;
mod platform;
mod provider;
mod source;
mod store;
mod time;
mod x509;

pub(crate) use certificate::{list, named, printable};
pub(crate) use credentials::Validated;
pub(crate) use details::{CertificateDetails, GeneralName, algorithm_name};
pub(crate) use provider::crypto_provider;
pub(crate) use store::{Loading, Snapshot, Store};
pub(crate) use time::utc;

pub use certificate::CertificateFacts;
pub use credentials::Credentials;
pub use source::CredentialSource;
