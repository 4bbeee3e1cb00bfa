//! Surrogate-Control (W3C Edge Architecture note): the older way to talk to a surrogate apart from other caches.
//!
//! It stands below CDN-Cache-Control and above Cache-Control. Its grammar is that of Cache-Control with three
//! additions: `no-store-remote`, `content="..."` (ignored here), and `max-age=FRESH+STALE`, where STALE is how long
//! it may be served after FRESH has passed. A directive with a `;target` speaks to one named surrogate, and this node
//! has no such name, so it is ignored unless it restricts.

use crate::directives::{DirectiveSource, ResponseDirectives};
use crate::syntax::{self, Argument};

/// The directives in these lines; `None` when there is nothing in them that this cache knows.
pub(crate) fn directives(lines: &[&[u8]]) -> Option<ResponseDirectives> {
    let mut found = ResponseDirectives { source: DirectiveSource::Targeted, ..ResponseDirectives::default() };
    let mut any = false;
    for (name, argument) in lines.iter().flat_map(|line| syntax::directives(line)) {
        any |= add(&mut found, name, argument);
    }
    any.then_some(found)
}

fn add(found: &mut ResponseDirectives, name: &[u8], argument: Argument<'_>) -> bool {
    if name.eq_ignore_ascii_case(b"no-store-remote") {
        // The note means it for surrogates that are not next to the origin; an edge is the remote kind.
        return found.add(b"no-store", Argument::None);
    }
    if name.eq_ignore_ascii_case(b"max-age")
        && let Argument::Token(value) = argument
        && let Some(plus) = memchr::memchr(b'+', value)
    {
        let (fresh, stale) = (&value[..plus], &value[plus + 1..]);
        found.add(b"stale-while-revalidate", Argument::Token(stale));
        return found.add(b"max-age", Argument::Token(fresh));
    }
    found.add(name, argument)
}
