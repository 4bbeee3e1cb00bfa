//! How long a stored response may be used without asking: age, lifetime and what is allowed after it.
//!
//! Everything that the response says about it is worked out once, when it is stored (or confirmed by a 304), into a
//! [`Freshness`] of a few words; a hit only compares numbers. RFC 9111 section 4.2, RFC 5861.

use crate::directives::DirectiveSource;
use crate::disk::Take;
use crate::facts::{RequestFacts, ResponseFacts};
use crate::policy::{Mode, Policy};
use crate::{DeltaSeconds, Time, http_date, syntax};

/// RFC 9111 section 4.2.2 suggests a tenth of the time since the last modification.
pub const HEURISTIC_DIVISOR: u64 = 10;
/// A guessed lifetime never exceeds this many seconds.
pub const HEURISTIC_SECS_MAX: u64 = 86_400;

/// Where a lifetime comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LifetimeSource {
    SMaxAge,
    MaxAge,
    Expires,
    /// The site's rule.
    Rule,
    /// A tenth of the time since Last-Modified.
    Heuristic,
    /// Nothing that can be read gives it any: stale from the start.
    None,
}

impl LifetimeSource {
    /// All, in the order of their numbers.
    const ALL: [LifetimeSource; 6] = [
        LifetimeSource::SMaxAge,
        LifetimeSource::MaxAge,
        LifetimeSource::Expires,
        LifetimeSource::Rule,
        LifetimeSource::Heuristic,
        LifetimeSource::None,
    ];

    /// The word for logs and explanations.
    pub const fn word(self) -> &'static str {
        match self {
            LifetimeSource::SMaxAge => "s-maxage",
            LifetimeSource::MaxAge => "max-age",
            LifetimeSource::Expires => "expires",
            LifetimeSource::Rule => "rule",
            LifetimeSource::Heuristic => "heuristic",
            LifetimeSource::None => "none",
        }
    }
}

/// The freshness of one stored response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freshness {
    response_time: Time,
    /// RFC 9111 section 4.2.3, `corrected_initial_age`, in milliseconds.
    initial_age_millis: u64,
    lifetime: DeltaSeconds,
    source: LifetimeSource,
    stale_while_revalidate: Option<DeltaSeconds>,
    stale_if_error: Option<DeltaSeconds>,
    no_cache: bool,
    /// must-revalidate or proxy-revalidate: nothing may serve it stale.
    revalidate: bool,
    /// s-maxage: stale only by the origin's own stale-while-revalidate or stale-if-error.
    shared_revalidate: bool,
    immutable: bool,
    targeted: bool,
}

impl Freshness {
    /// Works out the freshness of a response that was asked for at `request_time` and arrived at `response_time`.
    pub fn of(
        request: &RequestFacts,
        facts: &ResponseFacts,
        policy: &Policy,
        status: u16,
        request_time: Time,
        response_time: Time,
    ) -> Self {
        let directives = &facts.directives;
        let initial_age_millis = initial_age_millis(facts, request_time, response_time);
        let forced = if policy.mode == Mode::Force { policy.ttl_for(status) } else { None };
        let obeyed = forced.is_none();
        let (lifetime, source) = match forced {
            Some(ttl) => (ttl, LifetimeSource::Rule),
            None => explicit(facts, response_time)
                .or_else(|| implicit(request, facts, policy, status, response_time))
                .unwrap_or((DeltaSeconds::ZERO, LifetimeSource::None)),
        };
        Freshness {
            response_time,
            initial_age_millis,
            lifetime: match source {
                // A rule speaks of the time spent here, whatever the age on arrival.
                LifetimeSource::Rule => from_arrival(lifetime, initial_age_millis),
                _ => lifetime,
            },
            source,
            stale_while_revalidate: directives.stale_while_revalidate,
            stale_if_error: directives.stale_if_error,
            no_cache: obeyed && directives.no_cache,
            revalidate: obeyed && (directives.must_revalidate || directives.proxy_revalidate),
            // RFC 9111 section 5.2.2.10: s-maxage incorporates the semantics of proxy-revalidate.
            shared_revalidate: obeyed && directives.s_maxage.is_some(),
            immutable: directives.immutable,
            targeted: directives.source == DirectiveSource::Targeted,
        }
    }

    /// Appends it as a disk keeps it.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let optional = |span: Option<DeltaSeconds>| span.map_or(u32::MAX, |span| span.as_secs() as u32);
        let flags = [self.no_cache, self.revalidate, self.shared_revalidate, self.immutable, self.targeted];
        out.extend_from_slice(&self.response_time.as_millis().to_le_bytes());
        out.extend_from_slice(&self.initial_age_millis.to_le_bytes());
        out.extend_from_slice(&(self.lifetime.as_secs() as u32).to_le_bytes());
        out.extend_from_slice(&optional(self.stale_while_revalidate).to_le_bytes());
        out.extend_from_slice(&optional(self.stale_if_error).to_le_bytes());
        out.push(self.source as u8);
        out.push(flags.iter().rev().fold(0, |bits, flag| bits << 1 | u8::from(*flag)));
    }

    /// Reads what [`Freshness::encode`] wrote.
    pub(crate) fn decode(take: &mut Take<'_>) -> Option<Self> {
        let response_time = Time::from_millis(take.u64()?);
        let initial_age_millis = take.u64()?;
        let lifetime = DeltaSeconds::saturating(take.u32()?.into());
        let optional = |secs: u32| (secs != u32::MAX).then(|| DeltaSeconds::saturating(secs.into()));
        let (stale_while_revalidate, stale_if_error) = (optional(take.u32()?), optional(take.u32()?));
        let source = LifetimeSource::ALL.into_iter().nth(take.u8()?.into())?;
        let bits = take.u8()?;
        let flag = |at: u8| bits >> at & 1 == 1;
        Some(Freshness {
            response_time,
            initial_age_millis,
            lifetime,
            source,
            stale_while_revalidate,
            stale_if_error,
            no_cache: flag(0),
            revalidate: flag(1),
            shared_revalidate: flag(2),
            immutable: flag(3),
            targeted: flag(4),
        })
    }

    /// The same promises, counted from a new confirmation: for a 304 that leaves a targeted field unsaid.
    #[must_use]
    pub fn confirmed(&self, facts: &ResponseFacts, request_time: Time, response_time: Time) -> Self {
        let initial_age_millis = initial_age_millis(facts, request_time, response_time);
        let lifetime = match self.source {
            LifetimeSource::Rule => {
                let spent = DeltaSeconds::saturating(self.initial_age_millis / 1000).as_secs();
                let ttl = DeltaSeconds::saturating(self.lifetime.as_secs() - spent.min(self.lifetime.as_secs()));
                from_arrival(ttl, initial_age_millis)
            }
            _ => self.lifetime,
        };
        Freshness { response_time, initial_age_millis, lifetime, ..self.clone() }
    }

    /// RFC 9111 section 4.2.3: `current_age` in whole seconds, as the Age field carries it.
    pub fn age(&self, now: Time) -> u64 {
        self.initial_age_millis.saturating_add(now.millis_since(self.response_time)) / 1000
    }

    /// RFC 9111 section 4.2.3: `corrected_initial_age` in whole seconds, the age on arrival.
    pub fn initial_age(&self) -> u64 {
        self.initial_age_millis / 1000
    }

    /// Seconds of freshness left; zero or negative once stale (the `ttl` of Cache-Status, RFC 9211 section 2.4).
    pub fn ttl(&self, now: Time) -> i64 {
        self.lifetime.as_secs().cast_signed() - self.age(now).min(i64::MAX.cast_unsigned() / 2).cast_signed()
    }

    /// RFC 9111 section 4.2: fresh while the lifetime exceeds the age.
    pub fn is_fresh(&self, now: Time) -> bool {
        self.lifetime.as_secs() > self.age(now)
    }

    /// Seconds since it went stale; zero while fresh.
    pub fn staleness(&self, now: Time) -> u64 {
        self.age(now).saturating_sub(self.lifetime.as_secs())
    }

    /// The freshness lifetime that the age is compared with.
    pub fn lifetime(&self) -> DeltaSeconds {
        self.lifetime
    }

    /// Where the lifetime comes from.
    pub fn source(&self) -> LifetimeSource {
        self.source
    }

    /// When the response (or the 304 that confirmed it) arrived.
    pub fn response_time(&self) -> Time {
        self.response_time
    }

    /// Unqualified no-cache: each use needs validation (RFC 9111 section 5.2.2.4).
    pub fn no_cache(&self) -> bool {
        self.no_cache
    }

    /// RFC 8246.
    pub fn immutable(&self) -> bool {
        self.immutable
    }

    /// Whether the origin itself or a rule gave a lifetime, or at least a guess was allowed.
    pub fn has_lifetime(&self) -> bool {
        self.source != LifetimeSource::None
    }

    /// Whether a targeted field (RFC 9213, Surrogate-Control) gave the directives.
    pub fn targeted(&self) -> bool {
        self.targeted
    }

    /// RFC 9111 section 4.2.4: whether the client or a rule may be given it stale although the origin did not offer.
    pub fn may_be_stale(&self) -> bool {
        !(self.no_cache || self.revalidate || self.shared_revalidate)
    }

    /// How long after expiry it may be served while it is revalidated, in seconds.
    ///
    /// must-revalidate, proxy-revalidate and no-cache win over every window (RFC 9111 section 4.2.4); s-maxage gives
    /// way to the origin's own stale-while-revalidate, which stands beside it for no other purpose.
    ///
    /// A rule's grace extends a lifetime; it does not make one out of max-age=0.
    pub fn grace(&self, policy: &Policy) -> u64 {
        let rule = policy.grace.filter(|_| self.lifetime > DeltaSeconds::ZERO);
        self.window(self.stale_while_revalidate, rule)
    }

    /// How long after expiry it may stand in for a failing origin, in seconds (RFC 5861 section 4).
    pub fn error_grace(&self, policy: &Policy) -> u64 {
        self.window(self.stale_if_error, policy.stale_if_error)
    }

    fn window(&self, offered: Option<DeltaSeconds>, rule: Option<DeltaSeconds>) -> u64 {
        if self.no_cache || self.revalidate {
            return 0;
        }
        let usable = match offered {
            Some(offered) => Some(offered),
            // A rule does not make up consent out of silence.
            None if self.shared_revalidate || self.source == LifetimeSource::None => None,
            None => rule,
        };
        usable.unwrap_or(DeltaSeconds::ZERO).as_secs()
    }
}

/// A lifetime of `ttl` from now on for something that is already `age_millis` old.
fn from_arrival(ttl: DeltaSeconds, age_millis: u64) -> DeltaSeconds {
    DeltaSeconds::saturating(ttl.as_secs().saturating_add(age_millis / 1000))
}

/// RFC 9111 section 4.2.3.
fn initial_age_millis(facts: &ResponseFacts, request_time: Time, response_time: Time) -> u64 {
    let date = facts.date.and_then(|date| http_date::parse(date, response_time));
    let apparent_age = date.map_or(0, |date| response_time.as_secs().saturating_sub(date));
    let response_delay = response_time.millis_since(request_time);
    let corrected_age = age_value(&facts.age).as_secs() * 1000 + response_delay;
    corrected_age.max(apparent_age.saturating_mul(1000))
}

/// RFC 9111 section 5.1: the first member counts if Age comes as a list; an invalid value is ignored.
fn age_value(lines: &[&[u8]]) -> DeltaSeconds {
    let first = lines.first().and_then(|line| line.split(|&b| b == b',').next());
    first.and_then(|value| syntax::delta_seconds(syntax::trim(value))).unwrap_or(DeltaSeconds::ZERO)
}

/// RFC 9111 section 4.2.1: what the origin says. s-maxage, then max-age, then Expires.
///
/// A value that cannot be read makes the response stale, and is no lifetime that a rule could build on.
fn explicit(facts: &ResponseFacts, now: Time) -> Option<(DeltaSeconds, LifetimeSource)> {
    let directives = &facts.directives;
    let source = |source, malformed| if malformed { LifetimeSource::None } else { source };
    if let Some(s_maxage) = directives.s_maxage {
        return Some((s_maxage, source(LifetimeSource::SMaxAge, directives.s_maxage_malformed)));
    }
    if let Some(max_age) = directives.max_age {
        return Some((max_age, source(LifetimeSource::MaxAge, directives.max_age_malformed)));
    }
    let expires = expires_lifetime(facts, now)?;
    let malformed = expires.is_err();
    Some((expires.unwrap_or_default(), source(LifetimeSource::Expires, malformed)))
}

/// Where the origin says nothing: the site's rule, then a guess.
fn implicit(
    request: &RequestFacts,
    facts: &ResponseFacts,
    policy: &Policy,
    status: u16,
    now: Time,
) -> Option<(DeltaSeconds, LifetimeSource)> {
    // RFC 9111 section 5.4 gives Pragma no meaning in a response; those who send it mean "do not guess".
    (!facts.pragma_no_cache).then_some(())?;
    let rule = policy.ttl_for(status).map(|ttl| (ttl, LifetimeSource::Rule));
    // A page made for one visitor's cookie is not guessed to be everybody's (cache deception).
    let guess = || if request.cookie { None } else { heuristic(facts, status, now) };
    rule.or_else(|| guess().map(|guess| (guess, LifetimeSource::Heuristic)))
}

/// An Expires that is no HTTP-date.
struct InvalidExpires;

/// RFC 9111 section 5.3: Expires minus Date; an invalid date, "0" among them, is in the past. Of several lines the
/// earliest counts (section 4.2.1 leaves the first one or "stale"). `None` without Expires.
fn expires_lifetime(facts: &ResponseFacts, now: Time) -> Option<Result<DeltaSeconds, InvalidExpires>> {
    let date = facts.date.and_then(|date| http_date::parse(date, now)).unwrap_or(now.as_secs());
    let expires = |line: &&[u8]| http_date::parse(line, now).ok_or(InvalidExpires);
    let earliest = facts.expires.iter().map(expires).reduce(|a, b| Ok(a?.min(b?)))?;
    Some(earliest.map(|expires| DeltaSeconds::saturating(expires.saturating_sub(date))))
}

/// RFC 9110 section 15.1 without 206, which is not stored as it is. What could provoke a 405 for others, a method override
/// outside the key, goes to no origin and into no store.
pub(crate) const fn is_heuristically_cacheable(status: u16) -> bool {
    matches!(status, 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// RFC 9111 section 4.2.2: a guess, allowed for the statuses above and for what is marked public.
fn heuristic(facts: &ResponseFacts, status: u16, now: Time) -> Option<DeltaSeconds> {
    (is_heuristically_cacheable(status) || facts.directives.public).then_some(())?;
    let modified = http_date::parse(facts.last_modified?, now)?;
    let date = facts.date.and_then(|date| http_date::parse(date, now)).unwrap_or(now.as_secs());
    let guess = date.saturating_sub(modified) / HEURISTIC_DIVISOR;
    Some(DeltaSeconds::saturating(guess.min(HEURISTIC_SECS_MAX)))
}

#[cfg(test)]
mod tests;
