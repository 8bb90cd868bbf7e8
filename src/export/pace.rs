//! The delays that a collector requests. They hold for every export of a signal, not only for the
//! one whose answer requested them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::lock::lock;
use crate::net::{NetError, Turn};

/// The retries of one signal, and the pause that its collector has requested.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    pub(super) turn: Turn,
    pause: Mutex<Option<Pause>>,
    retries: AtomicU64,
}

#[derive(Clone, Debug)]
pub(super) struct Pause {
    pub(super) until: Instant,
    /// The answer that requested the pause.
    pub(super) error: NetError,
}

impl Pace {
    /// The current pause.
    pub(super) fn pause(&self) -> Option<Pause> {
        let mut pause = lock(&self.pause);
        pause.take_if(|pause| pause.until <= Instant::now());
        pause.clone()
    }

    /// How many attempts were retries.
    pub(crate) fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    pub(super) fn note_retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// The end of the current pause.
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
