//! The waits that a collector names: they hold for every export of a signal, not only for the one that
//! was told.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::lock::lock;
use crate::net::{NetError, Turn};

/// One signal's place in the queue, and until when its collector wants to be left alone.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    pub(super) turn: Turn,
    pause: Mutex<Option<Pause>>,
    retries: AtomicU64,
}

#[derive(Clone, Debug)]
pub(super) struct Pause {
    pub(super) until: Instant,
    /// What the collector said.
    pub(super) error: NetError,
}

impl Pace {
    /// The pause that holds now.
    pub(super) fn pause(&self) -> Option<Pause> {
        let mut pause = lock(&self.pause);
        pause.take_if(|pause| pause.until <= Instant::now());
        pause.clone()
    }

    /// How many attempts were repeated.
    pub(crate) fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    pub(super) fn note_retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// When the pause ends that holds now.
    pub(crate) fn ends(&self) -> Option<std::time::Instant> {
        self.pause().map(|pause| pause.until.into_std())
    }

    pub(super) fn pause_for(&self, wait: Duration, error: &NetError) {
        let Some(until) = Instant::now().checked_add(wait) else {
            return;
        };
        let mut pause = lock(&self.pause);
        if pause.as_ref().is_none_or(|pause| pause.until < until) {
            *pause = Some(Pause { until, error: error.clone() });
        }
    }
}
