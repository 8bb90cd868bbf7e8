//! Warnings about certificates that expire soon.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use tracing::Level;

use super::certificate::CertificateFacts;
use crate::lock::lock;
use crate::stderr;
use crate::text::FEW;
use crate::text::utc;

/// The longest advance warning, unless the builder sets another one.
const IN_ADVANCE: Duration = Duration::from_secs(14 * DAY);

const DAY: u64 = 24 * 3600;

/// The most warnings that are remembered. When there are more, all are forgotten, and a certificate still in use is
/// warned about again: certificates that live for minutes would otherwise fill the memory.
const MOST: usize = 64;

/// Warns about each certificate once per remaining day.
#[derive(Debug)]
pub(super) struct Expiry {
    /// `None` for a quarter of a certificate's lifetime, which may be short.
    threshold: Option<Duration>,
    /// The remaining days at the last warning, by fingerprint; `None` if it had expired.
    told: Mutex<BTreeMap<String, Option<u64>>>,
}

impl Expiry {
    pub(super) fn new(threshold: Option<Duration>) -> Self {
        Self { threshold, told: Mutex::default() }
    }

    /// Whether it is time to warn.
    pub(super) fn is_near(&self, facts: &CertificateFacts) -> bool {
        let CertificateFacts { not_before, not_after, .. } = facts;
        let Some(not_after) = *not_after else {
            return false;
        };
        let threshold = self.threshold.unwrap_or_else(|| {
            let life = not_before.and_then(|not_before| not_after.duration_since(not_before).ok());
            IN_ADVANCE.min(life.unwrap_or_default() / 4)
        });
        left(not_after) < threshold
    }

    /// Checks the trust anchor in use: the others may be a root store, which always has some
    /// expired ones. Also warns if all of them have expired.
    pub(super) fn look_at_anchors(
        &self,
        anchors: &[CertificateFacts],
        used: Option<&CertificateFacts>,
        place: &str,
    ) {
        let now = SystemTime::now();
        let is_out_of_time =
            |facts: &CertificateFacts| facts.expired(now).or(facts.not_yet_valid(now)).is_some();
        if anchors.iter().all(is_out_of_time) {
            anchors.iter().take(FEW).for_each(|anchor| self.look("CA", anchor, place));
        }
        // After a rotation it may no longer be among the anchors.
        if let Some(used) = used.filter(|used| anchors.contains(used)) {
            self.look("CA", used, place);
        }
    }

    /// `place` is where to renew it, with a preposition.
    pub(super) fn look(&self, whose: &str, facts: &CertificateFacts, place: &str) {
        self.warn_if_early(whose, facts, place);
        let CertificateFacts { subject, fingerprint, not_after, .. } = facts;
        let (Some(not_after), true) = (*not_after, self.is_near(facts)) else {
            return;
        };
        let left = left(not_after);
        let days = left.as_secs() / DAY;
        let now = (!left.is_zero()).then_some(days);
        if self.remember(format!("{whose} {fingerprint}"), now) == Some(now) {
            return;
        }
        let not_after = utc(not_after);
        let when = match left {
            Duration::ZERO => "has expired".to_owned(),
            _ if days == 0 => "expires in less than a day".to_owned(),
            _ => format!("expires in {days} days"),
        };
        let words =
            format!("the {whose} certificate ({subject}) {when}, at {not_after}: renew it {place}");
        tracing::warn!(
            name: "otlp_mtls.certificate.expiry",
            whose,
            subject,
            not_after,
            days,
            "{words}"
        );
        stderr::write_unless_heard(Level::WARN, words);
    }

    /// Returns what was remembered before.
    fn remember(&self, certificate: String, days: Option<u64>) -> Option<Option<u64>> {
        let mut told = lock(&self.told);
        if told.len() >= MOST && !told.contains_key(&certificate) {
            told.clear();
        }
        told.insert(certificate, days)
    }

    /// Warns once about a certificate that is not valid yet.
    fn warn_if_early(&self, whose: &str, facts: &CertificateFacts, place: &str) {
        let CertificateFacts { subject, fingerprint, .. } = facts;
        let Some(not_before) = facts.not_yet_valid(SystemTime::now()) else {
            return;
        };
        if self.remember(format!("early {whose} {fingerprint}"), None).is_some() {
            return;
        }
        let not_before = utc(not_before);
        let words = format!(
            "the {whose} certificate ({subject}) is not valid before {not_before}: correct this \
             machine's clock, or replace the certificate {place}"
        );
        tracing::warn!(
            name: "otlp_mtls.certificate.not_yet_valid",
            whose,
            subject,
            not_before,
            "{words}"
        );
        stderr::write_unless_heard(Level::WARN, words);
    }
}

/// The time left until then.
fn left(not_after: SystemTime) -> Duration {
    not_after.duration_since(SystemTime::now()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bounded_number_of_certificates_is_remembered() {
        let expiry = Expiry::new(None);
        for number in 0..1000 {
            assert_eq!(expiry.remember(number.to_string(), Some(3)), None);
            assert_eq!(expiry.remember(number.to_string(), Some(2)), Some(Some(3)));
            assert!(lock(&expiry.told).len() <= MOST);
        }
    }
}
