//! The delay before another attempt.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::config::RetryPolicy;
use crate::otlp::Again;

/// The longest delay that a policy can set.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// The longest delay that a server can request.
pub(super) const LONGEST_NAMED: Duration = Duration::from_secs(5 * 60);

/// The shortest delay, under any policy: otherwise a server that fails at once would be called
/// in a tight loop.
const SHORTEST: Duration = Duration::from_millis(10);

/// The factor by which the delay grows.
const GROWTH: f64 = 1.5;

/// The delays between the attempts of one export.
pub(super) struct Backoff<'a> {
    policy: &'a RetryPolicy,
    attempts: u32,
    next: Duration,
}

impl<'a> Backoff<'a> {
    pub(super) fn new(policy: &'a RetryPolicy) -> Self {
        Self {
            policy,
            attempts: 1,
            next: policy.initial_backoff.min(policy.max_backoff).clamp(SHORTEST, LONGEST),
        }
    }

    /// The delay before the next attempt; `None` to give up.
    pub(super) fn wait(&mut self, again: Again) -> Option<Duration> {
        let named = match again {
            Again::No => return None,
            Again::Backoff => None,
            Again::After(delay) => Some(delay.min(LONGEST_NAMED)),
        };
        if self.attempts >= self.policy.max_attempts {
            return None;
        }
        self.attempts += 1;
        // The interval grows even if the server requests the same delay each time, and jitter never
        // shortens the requested delay.
        let base = self.next.max(named.unwrap_or_default());
        self.next = base.mul_f64(GROWTH).min(self.policy.max_backoff).clamp(SHORTEST, LONGEST);
        let wait = base.mul_f64(jitter());
        Some(match named {
            Some(named) => wait.max(named.mul_f64(1.0 + jitter() / 10.0)),
            None => wait,
        })
    }
}

/// A factor from 0.8 to 1.2, so that clients that failed together do not retry together.
fn jitter() -> f64 {
    // Each `RandomState` has different keys.
    let random = RandomState::new().hash_one(()) >> 11;
    0.8 + 0.4 * (random as f64 / (1u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> RetryPolicy {
        RetryPolicy::default()
            .with_max_attempts(4)
            .with_initial_backoff(Duration::from_millis(100))
            .with_max_backoff(Duration::from_millis(200))
    }

    #[test]
    fn waits_grow_up_to_the_longest_and_end() {
        let policy = policy();
        let mut backoff = Backoff::new(&policy);
        for expected in [100.0, 150.0, 200.0] {
            let wait = backoff.wait(Again::Backoff).unwrap().as_secs_f64() * 1000.0;
            assert!((0.8 * expected..=1.2 * expected).contains(&wait), "{wait} for {expected}");
        }
        assert_eq!(backoff.wait(Again::Backoff), None);
    }

    #[test]
    fn a_server_can_only_make_a_wait_longer() {
        let policy = policy();
        let long = Duration::from_secs(7);
        let wait = Backoff::new(&policy).wait(Again::After(long)).unwrap();
        assert!(wait >= long, "{wait:?}");
        let wait = Backoff::new(&policy).wait(Again::After(Duration::ZERO)).unwrap();
        assert!(wait >= Duration::from_millis(80), "{wait:?}");
    }

    #[test]
    fn long_waits_do_not_overflow() {
        let policy = RetryPolicy::default()
            .with_initial_backoff(Duration::MAX)
            .with_max_backoff(Duration::MAX);
        let mut backoff = Backoff::new(&policy);
        for again in [Again::Backoff, Again::After(Duration::MAX)] {
            assert!(backoff.wait(again).unwrap() <= LONGEST * 2);
        }
    }

    #[test]
    fn a_delay_requested_repeatedly_grows() {
        let policy = RetryPolicy::default();
        let mut backoff = Backoff::new(&policy);
        let named = Duration::from_secs(2);
        let mut least = named;
        for _ in 0..3 {
            let wait = backoff.wait(Again::After(named)).unwrap();
            assert!(wait >= least.mul_f64(0.8).max(named), "{wait:?}, not {least:?}");
            least = least.mul_f64(GROWTH).min(policy.max_backoff);
        }
    }

    #[test]
    fn a_server_is_not_waited_for_longer_than_five_minutes() {
        let day = Duration::from_secs(86_400);
        let wait = Backoff::new(&policy()).wait(Again::After(day)).unwrap();
        assert!(wait >= LONGEST_NAMED && wait <= LONGEST_NAMED.mul_f64(1.2), "{wait:?}");
    }

    #[test]
    fn a_wait_of_zero_has_a_floor() {
        let policy = RetryPolicy::default()
            .with_initial_backoff(Duration::ZERO)
            .with_max_backoff(Duration::ZERO);
        let mut backoff = Backoff::new(&policy);
        for _ in 0..4 {
            assert!(backoff.wait(Again::Backoff).unwrap() >= SHORTEST.mul_f64(0.8));
        }
    }

    #[test]
    fn permanent_failures_and_disabled_retries() {
        assert_eq!(Backoff::new(&policy()).wait(Again::No), None);
        assert_eq!(Backoff::new(&RetryPolicy::disabled()).wait(Again::Backoff), None);
    }
}
