//! Trust anchors, client identity and verification. This module does not use tokio, tonic or hyper.

mod anchor;
mod certificate;
mod client_config;
mod credentials;
mod details;
mod expiry;
mod notes;
mod pem;
mod platform;
mod provider;
mod public_key;
mod source;
mod spiffe;
mod status;
mod store;
mod time;
mod token;
mod verifier;
mod x509;

pub(crate) use anchor::IssuerProblem;
pub(crate) use credentials::Validated;
pub(crate) use details::{CertificateDetails, GeneralName, algorithm_name};
pub(crate) use notes::{Handshake, Notes};
#[cfg(feature = "testing")]
pub(crate) use provider::compiled_provider;
pub(crate) use provider::crypto_provider;
pub(crate) use spiffe::{OtherSpiffeId, SpiffeProblem};
pub(crate) use store::{Generation, Given, Store};
pub(crate) use token::TokenFile;
pub(crate) use verifier::{IssuerPlace, RefusedIssuer};
#[cfg(feature = "testing")]
pub(crate) use x509::SignedCertificate;

pub use certificate::CertificateFacts;
pub use credentials::Credentials;
pub use source::CredentialSource;
pub use status::{CredentialStatus, RejectedCredentials, TokenStatus};
