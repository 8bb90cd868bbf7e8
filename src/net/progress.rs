//! The evidence of a dial in progress.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::dial::Target;
use crate::failure::{Evidence, FailureKind, Stage};
use crate::lock::lock;
use crate::tls::Generation;

/// The evidence of a dial in progress. Each step is recorded as it begins, so that a request whose
/// deadline passes first can say how far the dial had come.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<Evidence>);

impl Progress {
    pub(super) fn new(credentials: Option<Arc<Generation>>) -> Self {
        Self(Mutex::new(Evidence { credentials, ..Evidence::default() }))
    }

    pub(super) fn reach(&self, stage: Stage) {
        lock(&self.0).stage = stage;
    }

    pub(super) fn note(&self, note: impl FnOnce(&mut Evidence)) {
        note(&mut lock(&self.0));
    }

    pub(super) fn read<T>(&self, read: impl FnOnce(&Evidence) -> T) -> T {
        read(&lock(&self.0))
    }

    pub(super) fn evidence(&self) -> Arc<Evidence> {
        Arc::new(self.read(Evidence::clone))
    }

    /// The failure of a dial that took too long, from the stage that it reached.
    pub(super) fn late(&self, target: &Target, after: Duration) -> FailureKind {
        let stage = self.read(|evidence| evidence.stage);
        match (stage, &target.proxy) {
            (Stage::Resolving | Stage::Connecting | Stage::Tunnelling, Some(via)) => {
                FailureKind::ProxyTimeout { proxy: via.proxy.to_string(), after }
            }
            (Stage::Resolving, None) => {
                let words = format!("no answer from the name servers within {after:?}");
                let source = std::io::Error::new(std::io::ErrorKind::TimedOut, words);
                FailureKind::Resolve { source: source.into() }
            }
            (Stage::Connecting | Stage::Tunnelling, None) => FailureKind::ConnectTimeout { after },
            (Stage::Handshaking, _) => FailureKind::HandshakeTimeout { after },
            (Stage::AwaitingSettings | Stage::Ready, _) => FailureKind::Http2Timeout { after },
        }
    }
}
