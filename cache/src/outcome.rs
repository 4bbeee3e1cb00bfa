//! What became of one request, in one word.
//!
//! The same words stand in the code, in `Cache-Status` (RFC 9211), in the access log and in the metrics; there is no
//! flag beside them that could disagree.

/// How the cache answered one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Served from a stored response that was fresh.
    Hit,
    /// Served from a stored response that the origin confirmed with a 304.
    Revalidated,
    /// Served stale, while one request revalidates (RFC 5861 section 3, or the grace of a rule).
    StaleWhileRevalidate,
    /// Served stale, because the origin could not be asked or failed (RFC 5861 section 4).
    StaleIfError,
    /// Fetched from the origin; the reason says why nothing stored could be used.
    Miss(MissReason),
    /// The cache was left aside: it neither served nor stored.
    Bypass(BypassReason),
    /// Answered by the node itself: a redirect, a refusal, an error, a purge.
    Local,
}

/// Why nothing stored answered the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MissReason {
    /// Nothing is stored under the key.
    Absent,
    /// Something is stored, but for another value of a header named in Vary.
    Vary,
    /// What is stored has expired, and the origin answered with a new response.
    Expired,
    /// What is stored was purged.
    Purged,
    /// The request's own directives (no-cache, max-age, min-fresh) refused what is stored.
    Request,
    /// Some of what was asked for is stored, and the rest had to be fetched.
    Partial,
}

/// Why the cache was left aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BypassReason {
    /// The method is never answered from a cache.
    Method,
    /// A rule of the site says so.
    Rule,
    /// The request itself forbids storing (no-store) or carries a body or an upgrade.
    Request,
    /// The key is remembered as uncacheable, so that its requests do not wait for each other.
    Uncacheable,
    /// Too many requests already wait for the same fill.
    Crowded,
}

impl Outcome {
    /// All words of [`Outcome::word`], in the order of [`Outcome::index`].
    pub const WORDS: [&'static str; 7] = ["hit", "revalidated", "stale", "stale-error", "miss", "bypass", "local"];

    /// A small dense number for tables of counters: the position in [`Outcome::WORDS`].
    pub const fn index(self) -> usize {
        match self {
            Outcome::Hit => 0,
            Outcome::Revalidated => 1,
            Outcome::StaleWhileRevalidate => 2,
            Outcome::StaleIfError => 3,
            Outcome::Miss(_) => 4,
            Outcome::Bypass(_) => 5,
            Outcome::Local => 6,
        }
    }

    /// The word for logs and metrics.
    pub const fn word(self) -> &'static str {
        Self::WORDS[self.index()]
    }

    /// Whether the body came from the store.
    pub const fn is_hit(self) -> bool {
        matches!(self, Outcome::Hit | Outcome::Revalidated | Outcome::StaleWhileRevalidate | Outcome::StaleIfError)
    }

    /// The reason behind a miss or a bypass, as one word for the log.
    pub const fn reason(self) -> Option<&'static str> {
        match self {
            Outcome::Miss(reason) => Some(match reason {
                MissReason::Absent => "absent",
                MissReason::Vary => "vary",
                MissReason::Expired => "expired",
                MissReason::Purged => "purged",
                MissReason::Request => "request",
                MissReason::Partial => "partial",
            }),
            Outcome::Bypass(reason) => Some(match reason {
                BypassReason::Method => "method",
                BypassReason::Rule => "rule",
                BypassReason::Request => "request",
                BypassReason::Uncacheable => "uncacheable",
                BypassReason::Crowded => "crowded",
            }),
            _ => None,
        }
    }

    /// The member of `Cache-Status` after the cache's name: `hit`, or `fwd=` and why (RFC 9211 section 2).
    pub const fn cache_status(self) -> &'static str {
        match self {
            Outcome::Hit => "hit",
            Outcome::Revalidated => "fwd=stale; fwd-status=304",
            Outcome::StaleWhileRevalidate => "hit; detail=stale-while-revalidate",
            Outcome::StaleIfError => "hit; detail=stale-if-error",
            Outcome::Miss(MissReason::Absent) => "fwd=uri-miss",
            Outcome::Miss(MissReason::Vary) => "fwd=vary-miss",
            Outcome::Miss(MissReason::Expired) => "fwd=stale",
            Outcome::Miss(MissReason::Purged) => "fwd=miss; detail=purged",
            Outcome::Miss(MissReason::Request) => "fwd=request",
            Outcome::Miss(MissReason::Partial) => "fwd=partial",
            Outcome::Bypass(BypassReason::Method) => "fwd=method",
            Outcome::Bypass(BypassReason::Rule) => "fwd=bypass; detail=rule",
            Outcome::Bypass(BypassReason::Request) => "fwd=bypass; detail=request",
            Outcome::Bypass(BypassReason::Uncacheable) => "fwd=bypass; detail=uncacheable",
            Outcome::Bypass(BypassReason::Crowded) => "fwd=bypass; detail=crowded",
            Outcome::Local => "detail=local",
        }
    }
}
