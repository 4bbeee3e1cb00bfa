//! Purge tags: the names under which the origin files a response, so that it can be purged by them.
//!
//! Every spelling in use is read (Fastly, Cloudflare, Akamai, Bunny, Varnish, Symfony, Magento, Drupal). Tags are
//! bytes and case-sensitive. The set is kept as one sorted, length-prefixed block: an object without tags costs nothing.

use crate::Fields;
use crate::syntax;

/// Tags beyond this many are left out, and [`Tags::overflowed`] says so.
pub const TAGS_MAX: usize = 1_000;
/// A longer tag is left out, in bytes.
pub const TAG_BYTES_MAX: usize = 1_024;
/// All tags of an object together, in bytes.
pub const TAGS_BYTES_MAX: usize = 16 * 1_024;

/// The tags of one object: distinct and in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tags {
    /// For each tag its length (2 bytes, little-endian) and its bytes.
    block: Box<[u8]>,
    overflowed: bool,
}

/// The fields that carry tags, in lower case, with what separates tags in them.
const FIELDS: [(&str, Separator); 8] = [
    ("surrogate-key", Separator::Space),
    ("cache-tag", Separator::Comma),
    ("edge-cache-tag", Separator::Comma),
    ("cdn-tag", Separator::Comma),
    ("xkey", Separator::Either),
    ("x-cache-tags", Separator::Comma),
    ("x-magento-tags", Separator::Comma),
    ("purge-cache-tags", Separator::Space),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Separator {
    Space,
    Comma,
    Either,
}

impl Separator {
    fn splits(self, byte: u8) -> bool {
        match self {
            Separator::Space => syntax::is_ows(byte),
            Separator::Comma => byte == b',',
            Separator::Either => byte == b',' || syntax::is_ows(byte),
        }
    }
}

/// Whether `name`, in any case, is a field that carries tags. Such fields are not sent to clients.
pub fn is_tag_field(name: &[u8]) -> bool {
    separator_of(name).is_some()
}

fn separator_of(name: &[u8]) -> Option<Separator> {
    // Lengths that no name in the table has are the rule.
    if !matches!(name.len(), 4 | 7 | 9 | 12..=14 | 16) {
        return None;
    }
    FIELDS.iter().find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes())).map(|(_, separator)| *separator)
}

impl Tags {
    /// The tags in a response head.
    pub fn of(response: &impl Fields) -> Self {
        let mut found: Vec<&[u8]> = Vec::new();
        let mut overflowed = false;
        for (name, value) in response.lines() {
            let Some(separator) = separator_of(name) else { continue };
            for tag in value.split(|&byte| separator.splits(byte)).map(syntax::trim).filter(|tag| !tag.is_empty()) {
                if tag.len() > TAG_BYTES_MAX || found.len() > TAGS_BYTES_MAX {
                    overflowed = true;
                } else {
                    found.push(tag);
                }
            }
        }
        if found.is_empty() && !overflowed {
            return Tags::default();
        }
        Tags::bounded(found, overflowed)
    }

    /// Exactly these tags, within the bounds; for rules that add tags and for objects read back.
    pub fn from_list<'a>(tags: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let all: Vec<&[u8]> = tags.into_iter().filter(|tag| !tag.is_empty()).collect();
        let long = all.iter().any(|tag| tag.len() > TAG_BYTES_MAX);
        Tags::bounded(all.into_iter().filter(|tag| tag.len() <= TAG_BYTES_MAX).collect(), long)
    }

    /// These tags and some more, within the bounds.
    #[must_use]
    pub fn with<'a>(&'a self, more: impl Iterator<Item = &'a [u8]>) -> Self {
        let (fitting, long): (Vec<&[u8]>, Vec<&[u8]>) =
            self.iter().chain(more).partition(|tag| tag.len() <= TAG_BYTES_MAX);
        Tags::bounded(fitting, self.overflowed || !long.is_empty())
    }

    fn bounded(mut found: Vec<&[u8]>, mut overflowed: bool) -> Self {
        found.sort_unstable();
        found.dedup();
        let mut block = Vec::new();
        let mut bytes = 0;
        for (count, tag) in found.into_iter().enumerate() {
            bytes += tag.len();
            if count >= TAGS_MAX || bytes > TAGS_BYTES_MAX {
                overflowed = true;
                break;
            }
            block.extend_from_slice(&(tag.len() as u16).to_le_bytes());
            block.extend_from_slice(tag);
        }
        Tags { block: block.into_boxed_slice(), overflowed }
    }

    /// The tags in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &*self.block;
        std::iter::from_fn(move || {
            let (len, behind) = rest.split_first_chunk::<2>()?;
            let (tag, behind) = behind.split_at(usize::from(u16::from_le_bytes(*len)));
            rest = behind;
            Some(tag)
        })
    }

    pub fn contains(&self, tag: &[u8]) -> bool {
        self.iter().any(|known| known == tag)
    }

    pub fn is_empty(&self) -> bool {
        self.block.is_empty()
    }

    /// Whether the origin sent more than the bounds allow. A purge by a tag that was left out would miss the object,
    /// so the caller should not store it.
    pub fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.block.len()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fixtures::Lines;

    fn of(lines: &[(&str, &str)]) -> Vec<String> {
        Tags::of(&Lines::of(lines)).iter().map(|tag| String::from_utf8(tag.to_vec()).unwrap()).collect()
    }

    #[test]
    fn every_spelling_is_read_with_its_own_separator() {
        assert_eq!(of(&[("Surrogate-Key", "b a\tc,d")]), ["a", "b", "c,d"]);
        assert_eq!(of(&[("purge-cache-tags", "b a")]), ["a", "b"]);
        for name in ["Cache-Tag", "EDGE-CACHE-TAG", "CDN-Tag", "X-Cache-Tags", "x-magento-tags"] {
            assert_eq!(of(&[(name, "b , a,c d,,")]), ["a", "b", "c d"], "{name}");
        }
        assert_eq!(of(&[("xkey", "b a,c")]), ["a", "b", "c"]);
        assert_eq!(of(&[("X-Tags", "a"), ("Cache-Tags", "b")]), Vec::<String>::new());
    }

    #[test]
    fn tags_of_all_fields_and_lines_form_one_set_with_case() {
        let lines = [("Surrogate-Key", "b a"), ("Cache-Tag", "a, B"), ("Surrogate-Key", "c")];
        assert_eq!(of(&lines), ["B", "a", "b", "c"]);
        let tags = Tags::of(&Lines::of(&lines));
        assert!(tags.contains(b"B") && !tags.contains(b"C") && !tags.contains(b""));
        assert_eq!(tags, Tags::from_list([&b"c"[..], b"b", b"", b"a", b"B", b"b"]));
    }

    #[test]
    fn bounds_cut_and_say_so() {
        let fits = |text: &str| !Tags::of(&Lines::of(&[("Surrogate-Key", text)])).overflowed();
        let numbered = |count: usize| (0..count).map(|number| number.to_string()).collect::<Vec<_>>().join(" ");
        assert!(fits(&numbered(TAGS_MAX)));
        assert!(!fits(&numbered(TAGS_MAX + 1)));
        assert!(fits(&"x".repeat(TAG_BYTES_MAX)));
        assert!(!fits(&"x".repeat(TAG_BYTES_MAX + 1)));
        let long = |count: usize| (0..count).map(|n| format!("{n:0>1024}")).collect::<Vec<_>>().join(" ");
        assert!(fits(&long(16)));
        assert!(!fits(&long(17)));
        assert!(fits(&"x ".repeat(TAGS_BYTES_MAX)));
        assert!(fits(""));
    }

    #[test]
    fn no_tags_cost_nothing() {
        let tags = Tags::of(&Lines::of(&[("Content-Type", "text/html"), ("Surrogate-Key", " ")]));
        assert!(tags.is_empty() && tags.heap_bytes() == 0 && !tags.overflowed());
    }

    #[test]
    fn every_field_in_the_table_passes_the_length_filter() {
        assert!(FIELDS.iter().all(|(name, _)| is_tag_field(name.to_uppercase().as_bytes())));
        assert!(!is_tag_field(b"x-magento-tagz"));
    }
}
