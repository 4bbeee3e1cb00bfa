//! Cache directives of requests and responses (RFC 9111 section 5.2, RFC 5861, RFC 8246, RFC 9213).
//!
//! A response directive that cannot be parsed is read in its most restrictive sense (RFC 9111 section 4.2.1 encourages
//! that for freshness): a lifetime becomes zero, a qualified form becomes the unqualified one, and a permission
//! (`public`, `immutable`) is not given. A request directive that cannot be parsed is ignored.

use smallvec::SmallVec;

use crate::DeltaSeconds;
use crate::syntax::{self, Argument, is_token};

/// How stale a response the client accepts (RFC 9111 section 5.2.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxStale {
    /// Of any staleness.
    Any,
    /// Expired for no longer than this.
    Within(DeltaSeconds),
}

/// The directives of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RequestDirectives {
    pub no_cache: bool,
    pub no_store: bool,
    pub only_if_cached: bool,
    pub max_age: Option<DeltaSeconds>,
    pub min_fresh: Option<DeltaSeconds>,
    pub max_stale: Option<MaxStale>,
    /// RFC 5861 section 4: the client accepts a stale response of this staleness when the origin fails.
    pub stale_if_error: Option<DeltaSeconds>,
    /// Whether any of the above is set: the hit path asks this once.
    pub any: bool,
}

impl RequestDirectives {
    /// Adds the directives of one Cache-Control line. Of two values the more demanding one counts.
    pub fn add_line(&mut self, line: &[u8]) {
        for (name, argument) in syntax::directives(line) {
            self.add(name, argument);
        }
    }

    fn add(&mut self, name: &[u8], argument: Argument<'_>) {
        let seconds = argument.delta_seconds();
        match name.len() {
            7 if name.eq_ignore_ascii_case(b"max-age") => self.max_age = least(self.max_age, seconds),
            8 if name.eq_ignore_ascii_case(b"no-cache") => self.no_cache = true,
            8 if name.eq_ignore_ascii_case(b"no-store") => self.no_store = true,
            9 if name.eq_ignore_ascii_case(b"min-fresh") => self.min_fresh = self.min_fresh.max(seconds),
            9 if name.eq_ignore_ascii_case(b"max-stale") => self.add_max_stale(argument),
            14 if name.eq_ignore_ascii_case(b"only-if-cached") => self.only_if_cached = true,
            14 if name.eq_ignore_ascii_case(b"stale-if-error") => {
                self.stale_if_error = least(self.stale_if_error, seconds);
            }
            _ => return,
        }
        self.any = true;
    }

    /// RFC 9111 section 5.2.1.2: without an argument any staleness will do. A malformed one grants nothing.
    fn add_max_stale(&mut self, argument: Argument<'_>) {
        let new = match (argument, argument.delta_seconds()) {
            (_, Some(limit)) => MaxStale::Within(limit),
            (Argument::None, None) => MaxStale::Any,
            _ => return,
        };
        self.max_stale = Some(match (self.max_stale, new) {
            (Some(MaxStale::Within(a)), MaxStale::Within(b)) => MaxStale::Within(a.min(b)),
            (Some(MaxStale::Within(a)), MaxStale::Any) => MaxStale::Within(a),
            (_, new) => new,
        });
    }

    /// RFC 9111 section 5.4: `Pragma: no-cache` of a request without Cache-Control means `Cache-Control: no-cache`.
    pub(crate) fn add_pragma(&mut self, line: &[u8]) {
        if syntax::directives(line).any(|(name, _)| name.eq_ignore_ascii_case(b"no-cache")) {
            self.no_cache = true;
            self.any = true;
        }
    }
}

/// The smaller of what is known and what is new; nothing new changes nothing.
fn least(known: Option<DeltaSeconds>, new: Option<DeltaSeconds>) -> Option<DeltaSeconds> {
    match (known, new) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (known, None) => known,
        (None, new) => new,
    }
}

/// More names than this in a qualified `private` or `no-cache` make it the unqualified one.
pub const FIELD_NAMES_MAX: usize = 32;

/// Lower-case field names out of a qualified directive.
pub type FieldNames = SmallVec<[Box<[u8]>; 2]>;

/// Which field the directives of a response were read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DirectiveSource {
    /// Cache-Control, together with Expires.
    #[default]
    CacheControl,
    /// A field meant for caches like this one (RFC 9213, or Surrogate-Control): Cache-Control and Expires are ignored.
    Targeted,
}

/// The directives of one response, all lines taken together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResponseDirectives {
    pub source: DirectiveSource,
    pub no_store: bool,
    /// Unqualified no-cache: never reused without successful validation.
    pub no_cache: bool,
    /// Fields of qualified no-cache: never sent without successful validation.
    pub no_cache_fields: FieldNames,
    /// Unqualified private: not for a shared cache.
    pub private: bool,
    /// Fields of qualified private: not stored by a shared cache.
    pub private_fields: FieldNames,
    pub public: bool,
    pub must_revalidate: bool,
    pub proxy_revalidate: bool,
    pub must_understand: bool,
    /// must-understand came without an argument, so that it may lift no-store (RFC 9111 section 5.2.2.3).
    pub must_understand_well_formed: bool,
    pub immutable: bool,
    /// Malformed counts as zero.
    pub max_age: Option<DeltaSeconds>,
    /// Malformed counts as zero.
    pub s_maxage: Option<DeltaSeconds>,
    /// Some max-age was malformed: nobody gave a lifetime, not even one of zero.
    pub max_age_malformed: bool,
    /// The same of s-maxage.
    pub s_maxage_malformed: bool,
    /// Malformed counts as zero.
    pub stale_while_revalidate: Option<DeltaSeconds>,
    /// Malformed counts as zero.
    pub stale_if_error: Option<DeltaSeconds>,
    /// A well-formed public, s-maxage or must-revalidate: a response to a request with Authorization may be stored
    /// (RFC 9111 section 3.5).
    pub permits_authorization: bool,
}

impl ResponseDirectives {
    /// Adds the directives of one Cache-Control line.
    pub fn add_line(&mut self, line: &[u8]) {
        for (name, argument) in syntax::directives(line) {
            self.add(name, argument);
        }
    }

    /// Adds one directive; says whether it is one that this cache knows.
    pub(crate) fn add(&mut self, name: &[u8], argument: Argument<'_>) -> bool {
        let bare = argument == Argument::None;
        match name.to_ascii_lowercase().as_slice() {
            b"max-age" => {
                restrict(&mut self.max_age, argument);
                self.max_age_malformed |= argument.delta_seconds().is_none();
            }
            b"s-maxage" => {
                restrict(&mut self.s_maxage, argument);
                self.s_maxage_malformed |= argument.delta_seconds().is_none();
                self.permits_authorization |= argument.delta_seconds().is_some();
            }
            b"no-store" => self.no_store = true,
            b"no-cache" => qualify(&mut self.no_cache, &mut self.no_cache_fields, argument),
            b"private" => qualify(&mut self.private, &mut self.private_fields, argument),
            b"public" => {
                self.public |= bare;
                self.permits_authorization |= bare;
            }
            b"must-revalidate" => {
                self.must_revalidate = true;
                self.permits_authorization |= bare;
            }
            b"proxy-revalidate" => self.proxy_revalidate = true,
            b"must-understand" => {
                self.must_understand = true;
                self.must_understand_well_formed |= bare;
            }
            b"immutable" => self.immutable |= bare,
            b"stale-while-revalidate" => restrict(&mut self.stale_while_revalidate, argument),
            b"stale-if-error" => restrict(&mut self.stale_if_error, argument),
            _ => return false,
        }
        true
    }
}

/// RFC 9111 section 4.2.1: of several values the most restrictive one counts, and an invalid one means stale.
fn restrict(known: &mut Option<DeltaSeconds>, argument: Argument<'_>) {
    *known = least(*known, Some(argument.delta_seconds().unwrap_or(DeltaSeconds::ZERO)));
}

/// Fields without which a stored response would be misread: a qualified directive that names one covers the whole.
const ESSENTIAL: [&[u8]; 9] = [
    b"age",
    b"cache-control",
    b"content-encoding",
    b"content-range",
    b"content-type",
    b"date",
    b"expires",
    b"location",
    b"vary",
];

/// RFC 9111 sections 5.2.2.4 and 5.2.2.7: with field names the directive covers those fields only. Anything that is
/// not a clean list of names makes it cover the whole response.
fn qualify(whole: &mut bool, fields: &mut FieldNames, argument: Argument<'_>) {
    let (Argument::Token(list) | Argument::Quoted(list) | Argument::Text(list)) = argument else {
        *whole = true;
        return;
    };
    let mut any = false;
    for name in list.split(|&b| b == b',').map(syntax::trim).filter(|name| !name.is_empty()) {
        let name = name.to_ascii_lowercase();
        if !is_token(&name) || fields.len() >= FIELD_NAMES_MAX || ESSENTIAL.contains(&name.as_slice()) {
            *whole = true;
            return;
        }
        fields.push(name.into_boxed_slice());
        any = true;
    }
    *whole |= !any;
}

#[cfg(test)]
mod tests;
