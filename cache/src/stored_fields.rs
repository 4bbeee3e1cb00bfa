//! Which fields of a response are kept in the store (RFC 9111 section 3.1).
//!
//! Not kept: what belongs to one connection or one exchange, what speaks to this cache only, what is worked out anew
//! for every answer, and cookies, always. The stored head can then be sent as it is.

use smallvec::SmallVec;

use crate::directives::FieldNames;
use crate::{Fields, syntax, tags};

/// Fields that are never stored, in lower case, grouped by length; the reason stands beside each group.
const NEVER: [(&[u8], Why); 26] = [
    (b"te", Why::Hop),
    (b"age", Why::Exchange),
    (b"trailer", Why::Hop),
    (b"upgrade", Why::Hop),
    (b"alt-svc", Why::Exchange),
    (b"tracestate", Why::Exchange),
    (b"traceparent", Why::Exchange),
    (b"connection", Why::Hop),
    (b"keep-alive", Why::Hop),
    (b"set-cookie", Why::Cookie),
    (b"x-request-id", Why::Exchange),
    (b"cache-status", Why::Exchange),
    (b"proxy-status", Why::Exchange),
    (b"server-timing", Why::Exchange),
    (b"content-length", Why::Framing),
    (b"proxy-connection", Why::Hop),
    (b"transfer-encoding", Why::Framing),
    (b"surrogate-control", Why::Ours),
    (b"proxy-authenticate", Why::Hop),
    (b"proxy-authorization", Why::Hop),
    (b"cache-group-invalidation", Why::Exchange),
    (b"proxy-authentication-info", Why::Hop),
    (b"headland-cdn-cache-control", Why::Ours),
    (b"http2-settings", Why::Hop),
    (b"x-cache", Why::Exchange),
    (b"x-cache-hits", Why::Exchange),
];

/// Why a field is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// RFC 9110 section 7.6.1 and RFC 9111 section 3.1: it belongs to one connection.
    Hop,
    /// The message's framing; the length is that of the stored body.
    Framing,
    /// It tells about one exchange, and would be untrue of the next.
    Exchange,
    /// It changes one client's state, and must not be replayed to others.
    Cookie,
    /// It is meant for this cache and goes no further (RFC 9213 section 2.1 for the own target).
    Ours,
}

/// Connection may not take these away: a response must not lose its caching rules to a stray nomination.
const UNNOMINATABLE: [&[u8]; 9] = [
    b"cache-control",
    b"cdn-cache-control",
    b"content-encoding",
    b"content-type",
    b"date",
    b"etag",
    b"expires",
    b"last-modified",
    b"vary",
];

/// Whether a field of this name, in any case, is ever stored.
pub fn is_storable(name: &[u8]) -> bool {
    !tags::is_tag_field(name) && !NEVER.iter().any(|(never, _)| name.eq_ignore_ascii_case(never))
}

/// Whether the field carries a client's state: it passes to the client that caused the exchange and to no other.
pub fn is_personal(name: &[u8]) -> bool {
    NEVER.iter().any(|(never, why)| *why == Why::Cookie && name.eq_ignore_ascii_case(never))
}

/// The lines of a response head that are stored: without those above, those that Connection nominates, and those that
/// the response itself withholds ([`crate::Admitted::withheld`]).
pub fn storable<'a, F: Fields>(
    response: &'a F,
    withheld: &'a FieldNames,
) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a, F> {
    let nominated = nominated(response);
    response.lines().filter(move |(name, _)| {
        let named = |names: &[&[u8]]| names.iter().any(|known| name.eq_ignore_ascii_case(known));
        is_storable(name)
            && !withheld.iter().any(|known| name.eq_ignore_ascii_case(known))
            && (!named(&nominated) || named(&UNNOMINATABLE))
    })
}

/// RFC 9110 section 7.6.1: the names in Connection.
fn nominated(response: &impl Fields) -> SmallVec<[&[u8]; 4]> {
    let lines = response.named("connection");
    lines.flat_map(|line| line.split(|&b| b == b',')).map(syntax::trim).filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::Lines;

    fn stored(lines: &[(&str, &str)], withheld: &[&str]) -> Vec<String> {
        let withheld = withheld.iter().map(|name| name.as_bytes().into()).collect();
        let response = Lines::of(lines);
        storable(&response, &withheld).map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect()
    }

    #[test]
    fn what_belongs_to_one_connection_or_one_client_is_not_stored() {
        let lines: Vec<(&str, &str)> =
            NEVER.iter().map(|(name, _)| (std::str::from_utf8(name).expect("names are ASCII"), "1")).collect();
        assert_eq!(stored(&lines, &[]), Vec::<String>::new());
        let upper: Vec<String> = lines.iter().map(|(name, _)| name.to_uppercase()).collect();
        let upper: Vec<(&str, &str)> = upper.iter().map(|name| (name.as_str(), "1")).collect();
        assert_eq!(stored(&upper, &[]), Vec::<String>::new());
    }

    #[test]
    fn tags_and_withheld_and_nominated_fields_are_not_stored() {
        let lines =
            [("Surrogate-Key", "a"), ("X-User", "1"), ("A", "1"), ("B", "2"), ("Connection", "a, close"), ("C", "3")];
        assert_eq!(stored(&lines, &["x-user"]), ["B", "C"]);
    }

    #[test]
    fn connection_cannot_take_away_what_rules_caching() {
        let lines = [("Connection", "Cache-Control, Vary, Set-Cookie"), ("Cache-Control", "no-cache"), ("Vary", "a")];
        assert_eq!(stored(&lines, &[]), ["Cache-Control", "Vary"]);
    }

    #[test]
    fn cdn_cache_control_goes_on_to_caches_behind() {
        assert_eq!(stored(&[("CDN-Cache-Control", "max-age=1"), ("Via", "1.1 a")], &[]), ["CDN-Cache-Control", "Via"]);
    }
}
