//! What the site's rules say about caching one request: an argument of every decision, never a decision itself.
//!
//! The edge compiles it from the snapshot; no default lives here. All spans are whole seconds.

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::DeltaSeconds;

/// How the rules and the origin's own words relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The origin decides; the rules fill in what it leaves open.
    Honour,
    /// The rule's lifetime wins over max-age, s-maxage, Expires, no-cache and the revalidate directives. What keeps
    /// one user's answer from another still stands: no-store, private, Authorization, Set-Cookie and `Vary: *`.
    Force,
    /// Neither serve from the cache nor store.
    Bypass,
}

/// The caching policy of one request.
#[derive(Debug, Clone)]
pub struct Policy {
    pub mode: Mode,
    /// Lifetime for successes and redirects without a word from the origin (`Honour`), or whatever it says (`Force`).
    pub ttl: Option<DeltaSeconds>,
    /// The same by status, first match wins; the only way to keep an error that the origin gives no lifetime.
    pub ttl_by_status: Arc<[(RangeInclusive<u16>, DeltaSeconds)]>,
    /// How long a stale response may be served while it is revalidated, where the origin does not say.
    pub grace: Option<DeltaSeconds>,
    /// How long a stale response may stand in for an origin that fails, where the origin does not say.
    pub stale_if_error: Option<DeltaSeconds>,
    /// Larger bodies are not stored, in bytes.
    pub object_bytes_max: u64,
    /// Whether no-cache, no-store, max-age, min-fresh, max-stale, stale-if-error and Pragma of the request are obeyed
    /// (RFC 9111 section 5.2.1). Most CDNs ignore them, because they let any client reach the origin.
    pub honour_client_directives: bool,
}

impl Policy {
    /// The rule's lifetime for a response of this status.
    ///
    /// The plain `ttl` covers successes and redirects only: an error is kept by rule only where its status is listed
    /// (a short accident must not become a long one).
    pub fn ttl_for(&self, status: u16) -> Option<DeltaSeconds> {
        let listed = self.ttl_by_status.iter().find(|(statuses, _)| statuses.contains(&status));
        match listed {
            Some((_, ttl)) => Some(*ttl),
            None if (200..400).contains(&status) => self.ttl,
            None => None,
        }
    }
}

#[cfg(test)]
impl Policy {
    /// What RFC 9111 says and nothing more.
    pub(crate) fn plain() -> Self {
        Policy {
            mode: Mode::Honour,
            ttl: None,
            ttl_by_status: Arc::new([]),
            grace: None,
            stale_if_error: None,
            object_bytes_max: u64::MAX,
            honour_client_directives: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_status_wins_over_the_plain_ttl_and_errors_need_to_be_listed() {
        let policy = Policy {
            ttl: Some(DeltaSeconds::saturating(60)),
            ttl_by_status: Arc::new([
                (404..=404, DeltaSeconds::saturating(5)),
                (301..=308, DeltaSeconds::saturating(7)),
                (400..=499, DeltaSeconds::saturating(1)),
            ]),
            ..Policy::plain()
        };
        let ttl = |status| policy.ttl_for(status).map(DeltaSeconds::as_secs);
        assert_eq!(ttl(200), Some(60));
        assert_eq!(ttl(302), Some(7));
        assert_eq!(ttl(404), Some(5));
        assert_eq!(ttl(410), Some(1));
        assert_eq!(ttl(503), None);
    }
}
