//! Cache groups (RFC 9875): responses of one origin that the origin names together, and invalidates together.
//!
//! A group is kept as a purge tag that only responses of the same scheme, host and port can carry by Cache-Groups, so that
//! invalidating it is one rule of the ledger, whatever is stored. The tag can be purged by name, too.

use std::fmt::Write as _;

use crate::Fields;
use crate::key::Scheme;
use crate::structured::strings;
use crate::tags::Tags;

/// Groups of one response, and groups that one response invalidates; RFC 9875 section 2 asks for 32 at least.
pub const GROUPS_MAX: usize = 128;

/// The tags of a response: those of the tag fields, and one for each group.
pub fn tags_of(response: &impl Fields, scheme: Scheme, host: &[u8]) -> Tags {
    let tags = Tags::of(response);
    let groups = named(response, "cache-groups", scheme, host);
    if groups.is_empty() { tags } else { tags.with(groups.iter().map(String::as_bytes)) }
}

/// The tags of the groups that a successful answer to an unsafe request invalidates (RFC 9875 section 3).
pub fn invalidated(response: &impl Fields, scheme: Scheme, host: &[u8]) -> Vec<String> {
    named(response, "cache-group-invalidation", scheme, host)
}

/// RFC 9875 section 2: a List of Strings. A field that is anything else names no group.
fn named(response: &impl Fields, field: &str, scheme: Scheme, host: &[u8]) -> Vec<String> {
    let lines: Vec<&[u8]> = response.named(field).collect();
    if lines.is_empty() {
        return Vec::new();
    }
    let names = strings(&lines).unwrap_or_default();
    names.iter().take(GROUPS_MAX).map(|name| tag(scheme, host, name)).collect()
}

/// What a tag cannot hold is written in percent escapes; groups are compared byte by byte, case included.
fn tag(scheme: Scheme, host: &[u8], name: &[u8]) -> String {
    let scheme = match scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    let mut tag = format!("group:{scheme}://{}:", String::from_utf8_lossy(host));
    for &byte in name {
        if byte.is_ascii_graphic() && !matches!(byte, b',' | b'%') {
            tag.push(char::from(byte));
        } else {
            // Writing into a String cannot fail.
            let _ = write!(tag, "%{byte:02x}");
        }
    }
    tag
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::Lines;
    use crate::purge_rule::{PurgeKind, PurgeMode, PurgeRule};
    use crate::time::Time;

    fn tags(value: &str) -> Vec<String> {
        let response = Lines::of(&[("Cache-Groups", value)]);
        let tags = tags_of(&response, Scheme::Https, b"h.example:8443");
        tags.iter().map(|tag| String::from_utf8_lossy(tag).into_owned()).collect()
    }

    #[test]
    fn each_string_is_a_group_of_its_origin() {
        let at = |name: &str| format!("group:https://h.example:8443:{name}");
        assert_eq!(tags("\"scripts\", \"a b\";x=1, \"c,\\\"%\""), [at("a%20b"), at("c%2c\"%25"), at("scripts")]);
        assert_eq!(tags("\"A\", \"a\", \"a\""), [at("A"), at("a")]);
    }

    #[test]
    fn a_field_that_is_no_list_of_strings_names_nothing() {
        for value in ["", "scripts", "\"a\", b", "\"a\" \"b\"", "\"a\",", "(\"a\" \"b\")", "\"open", "1", "?1"] {
            assert_eq!(tags(value), Vec::<String>::new(), "{value}");
        }
    }

    #[test]
    fn origins_do_not_share_groups_and_tag_fields_stand_beside_them() {
        let response =
            Lines::of(&[("Cache-Groups", "\"g\""), ("Surrogate-Key", "k"), ("Cache-Group-Invalidation", "\"i\"")]);
        let here = tags_of(&response, Scheme::Https, b"a");
        assert!(here.contains(b"k") && here.contains(b"group:https://a:g"));
        assert!(!tags_of(&response, Scheme::Http, b"a").contains(b"group:https://a:g"));
        assert!(!tags_of(&response, Scheme::Https, b"b").contains(b"group:https://a:g"));
        assert_eq!(invalidated(&response, Scheme::Https, b"a"), ["group:https://a:i"]);
    }

    #[test]
    fn every_group_makes_a_rule() {
        let response = Lines::of(&[("Cache-Group-Invalidation", "\" ~!,%\\\\\"")]);
        for tag in invalidated(&response, Scheme::Http, b"[::1]:80") {
            assert!(PurgeRule::new(PurgeKind::Tag, &tag, PurgeMode::Hard, Time::ZERO).is_ok(), "{tag}");
        }
    }
}
