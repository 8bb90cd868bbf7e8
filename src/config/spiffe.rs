//! SPIFFE IDs, by the [specification](https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md).

use std::fmt;
use std::str::FromStr;

const SCHEME: &str = "spiffe://";

/// Section 2.3.
const MAX_LENGTH: usize = 2048;
const MAX_TRUST_DOMAIN: usize = 255;

/// The ID of a workload, or with an empty path of a trust domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SpiffeId {
    trust_domain: String,
    /// Empty, or with its leading slash.
    path: String,
}

/// The error for text that is not a valid SPIFFE ID.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NotSpiffe;

impl FromStr for SpiffeId {
    type Err = NotSpiffe;

    fn from_str(id: &str) -> Result<Self, NotSpiffe> {
        let rest = id.strip_prefix(SCHEME).filter(|_| id.len() <= MAX_LENGTH).ok_or(NotSpiffe)?;
        let (trust_domain, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let is_lower = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
        let is_segment = |segment: &str| {
            !matches!(segment, "" | "." | "..")
                && segment.bytes().all(|byte| is_lower(byte) || byte.is_ascii_uppercase())
        };
        let is_sound = matches!(trust_domain.len(), 1..=MAX_TRUST_DOMAIN)
            && trust_domain.bytes().all(is_lower)
            && path.split('/').skip(1).all(is_segment);
        let id = || Self { trust_domain: trust_domain.to_owned(), path: path.to_owned() };
        is_sound.then(id).ok_or(NotSpiffe)
    }
}

impl SpiffeId {
    /// Whether a workload has this ID, or is in this trust domain.
    pub(crate) fn admits(&self, workload: &Self) -> bool {
        // The ID of a trust domain is not that of a workload.
        !workload.path.is_empty()
            && self.trust_domain == workload.trust_domain
            && (self.path.is_empty() || self.path == workload.path)
    }

    /// Whether it is the ID of a trust domain.
    pub(crate) fn is_trust_domain(&self) -> bool {
        self.path.is_empty()
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}{}", self.trust_domain, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_ids() {
        for id in ["spiffe://trust.domain", "spiffe://a-b_1.c/Ns/x/sa/y.z_-", "spiffe://a/..."] {
            let parsed: SpiffeId = id.parse().unwrap();
            assert_eq!(parsed.to_string(), id);
            assert_eq!(parsed.is_trust_domain(), id == "spiffe://trust.domain");
        }
        let long = |count: usize| format!("spiffe://a/{}", "b".repeat(count));
        assert!(long(MAX_LENGTH - 11).parse::<SpiffeId>().is_ok());
        assert!(long(MAX_LENGTH - 10).parse::<SpiffeId>().is_err());
        assert!(format!("spiffe://{}", "a".repeat(256)).parse::<SpiffeId>().is_err());
    }

    #[test]
    fn invalid_ids() {
        for id in [
            "",
            "spiffe:",
            "spiffe://",
            "spiffe:///path",
            "SPIFFE://trust.domain",
            "https://trust.domain/collector",
            "trust.domain/collector",
            "spiffe://Trust.domain",
            "spiffe://trust.domain/",
            "spiffe://trust.domain/a/",
            "spiffe://trust.domain//a",
            "spiffe://trust.domain/./a",
            "spiffe://trust.domain/../a",
            "spiffe://trust.domain:8443/a",
            "spiffe://user@trust.domain/a",
            "spiffe://trust.domain/a?b",
            "spiffe://trust.domain/a#b",
            "spiffe://trust.domain/a%20b",
            "spiffe://trust.domain/ä",
            "spiffe://tröst.domain/a",
            "spiffe://trust.domain/a ",
        ] {
            assert!(id.parse::<SpiffeId>().is_err(), "{id}");
        }
    }

    #[test]
    fn ids_that_match() {
        let id = |id: &str| id.parse::<SpiffeId>().unwrap();
        let (domain, workload) = (id("spiffe://a"), id("spiffe://a/b"));
        assert!(domain.admits(&workload) && workload.admits(&workload));
        for other in ["spiffe://a/b/c", "spiffe://a/B", "spiffe://a.b/b", "spiffe://a"] {
            assert!(!workload.admits(&id(other)), "{other}");
        }
        assert!(domain.admits(&id("spiffe://a/b/c")));
        assert!(!domain.admits(&id("spiffe://b/b")) && !domain.admits(&domain));
    }
}
