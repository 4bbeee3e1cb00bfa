//! Accept-Language reduced to one of a few languages (RFC 9110 section 12.5.4, RFC 4647 section 3.4: lookup), so that a
//! site that speaks three of them has three variants, however many ways clients have to ask.

use smallvec::SmallVec;

use crate::syntax;

/// The language of `offered` that the client likes best; the first one when none fits. `offered` must not be empty.
pub fn best<'l, 'r>(offered: &'l [Box<str>], lines: impl Iterator<Item = &'r [u8]>) -> &'l str {
    let members = lines.flat_map(|line| line.split(|&byte| byte == b','));
    let mut ranges: SmallVec<[(u16, &[u8]); 8]> =
        members.map(|member| (syntax::weight(member), range(member))).collect();
    // Stable: of equal weights the one that was named first.
    ranges.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    let mut wanted = ranges.iter().take_while(|(weight, _)| *weight > 0);
    wanted.find_map(|(_, range)| look_up(offered, range)).unwrap_or(&offered[0])
}

/// A member without its weight.
fn range(member: &[u8]) -> &[u8] {
    let end = member.iter().position(|&byte| byte == b';').unwrap_or(member.len());
    syntax::trim(&member[..end])
}

/// RFC 4647 section 3.4: the range loses its last subtag until something is found; `*` finds nothing.
fn look_up<'l>(offered: &'l [Box<str>], mut range: &[u8]) -> Option<&'l str> {
    while !range.is_empty() {
        if let Some(found) = offered.iter().find(|language| language.as_bytes().eq_ignore_ascii_case(range)) {
            return Some(found);
        }
        range = &range[..range.iter().rposition(|&byte| byte == b'-').unwrap_or(0)];
        // A single letter or digit introduces what follows it, and means nothing alone.
        if let [shorter @ .., b'-', _] = range {
            range = shorter;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_language_is_found_by_weight_and_then_by_shortening() {
        let offered: [Box<str>; 4] = ["en".into(), "de".into(), "pt-BR".into(), "zh-Hant".into()];
        for (asked, language) in [
            ("de", "de"),
            ("de-CH, en;q=0.5", "de"),
            ("en;q=0.5, DE-ch;q=0.8", "de"),
            ("fr, de;q=0.2", "de"),
            ("fr", "en"),
            ("", "en"),
            ("*", "en"),
            ("de;q=0, fr", "en"),
            ("pt-br", "pt-BR"),
            ("pt", "en"),
            ("zh-Hant-CN-x-private1", "zh-Hant"),
            ("de,en", "de"),
            ("-", "en"),
            ("x-", "en"),
        ] {
            assert_eq!(best(&offered, [asked.as_bytes()].into_iter()), language, "{asked}");
        }
        assert_eq!(best(&offered, std::iter::empty()), "en");
        assert_eq!(best(&offered, [&b"fr"[..], &b"de;q=0.1"[..]].into_iter()), "de");
    }
}
