//! Which form of a response a client gets, where the node may change its content coding (RFC 9110 sections 8.4 and
//! 12.5.3; RFC 9111 sections 5.2.1.6 and 5.2.2.6 for no-transform).
//!
//! One representation is stored as the origin sent it. Another form of it is made from that one, at the edge, and is
//! the same representation in meaning only: its entity tag becomes weak, and it offers no ranges. What carries a digest
//! of its bytes, or says no-transform, is left alone (RFC 9530 section 3; RFC 9110 section 7.7).

use smallvec::SmallVec;

use crate::codings::AcceptedCodings;
use crate::facts::RequestFacts;
use crate::head::HeadError;
use crate::{Fields, StoredHead, etag, syntax};

/// A content coding that the node can make and undo, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    Identity,
    Gzip,
    Brotli,
    Zstd,
}

impl Form {
    /// All, in the order of their numbers.
    pub const ALL: [Form; 4] = [Form::Identity, Form::Gzip, Form::Brotli, Form::Zstd];

    /// The name in Content-Encoding.
    pub const fn name(self) -> &'static str {
        match self {
            Form::Identity => "identity",
            Form::Gzip => "gzip",
            Form::Brotli => "br",
            Form::Zstd => "zstd",
        }
    }

    /// Reads a coding's name in any case.
    pub fn parse(name: &[u8]) -> Option<Form> {
        // RFC 9110 section 8.4.1.3: x-gzip is the same as gzip.
        if name.eq_ignore_ascii_case(b"x-gzip") {
            return Some(Form::Gzip);
        }
        Form::ALL.into_iter().find(|form| name.eq_ignore_ascii_case(form.name().as_bytes()))
    }
}

/// What a site wants to be coded at the edge.
#[derive(Debug, Clone)]
pub struct RecodingRules {
    /// The codings it makes, the preferred one first.
    pub offered: Box<[Form]>,
    /// Media types worth coding, in lower case: `text/html`, or `text/*`.
    pub types: Box<[Box<str>]>,
    /// Shorter bodies are not coded, in bytes.
    pub bytes_min: u64,
}

/// What of a response head matters here.
#[derive(Debug, Default)]
struct Facts<'a> {
    media_type: Option<&'a [u8]>,
    codings: SmallVec<[&'a [u8]; 1]>,
    untouchable: bool,
}

impl<'a> Facts<'a> {
    fn of(head: &'a impl Fields) -> Self {
        let mut facts = Facts::default();
        for (name, value) in head.lines() {
            let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
            match name.len() {
                12 if is(b"content-type") => _ = facts.media_type.get_or_insert(value),
                13 if is(b"cache-control") => facts.untouchable |= forbids(value),
                16 if is(b"content-encoding") => facts.add_codings(value),
                6 | 11 | 13 | 14 => {
                    facts.untouchable |= is(b"digest")
                        || is(b"content-md5")
                        || is(b"repr-digest")
                        || is(b"content-range")
                        || is(b"content-digest");
                }
                _ => {}
            }
        }
        facts
    }

    fn add_codings(&mut self, line: &'a [u8]) {
        let codings = line.split(|&byte| byte == b',').map(syntax::trim);
        self.codings.extend(codings.filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity")));
    }

    /// The form it has; none when it is coded more than once, or in a way that is not known here.
    fn form(&self) -> Option<Form> {
        match &*self.codings {
            [] => Some(Form::Identity),
            [coding] => Form::parse(coding),
            _ => None,
        }
    }
}

/// RFC 9111 sections 5.2.1.6 and 5.2.2.6.
fn forbids(cache_control: &[u8]) -> bool {
    syntax::directives(cache_control).any(|(name, _)| name.eq_ignore_ascii_case(b"no-transform"))
}

/// Answers that are a representation in whole. A redirect's or an error's text is rarely worth it.
const fn is_whole(status: u16) -> bool {
    matches!(status, 200 | 203 | 403 | 404 | 410)
}

impl RecodingRules {
    /// The form to make of a response for this request; none to send it as it is.
    pub fn wanted(
        &self,
        request: &impl Fields,
        facts: &RequestFacts<'_>,
        head: &impl Fields,
        status: u16,
        length: Option<u64>,
    ) -> Option<Form> {
        // RFC 9110 section 14.2: a range is of the representation that its validator and its offsets belong to.
        if facts.range.is_some() || !is_whole(status) {
            return None;
        }
        let response = Facts::of(head);
        if response.untouchable || request.named("cache-control").any(forbids) {
            return None;
        }
        match response.form()? {
            Form::Identity if self.is_worth_it(&response, length) => self.preferred(request),
            Form::Identity => None,
            coded => {
                let accepted = AcceptedCodings::of(request);
                let decode = !accepted.accepts(coded.name().as_bytes()) && accepted.accepts(b"identity");
                decode.then_some(Form::Identity)
            }
        }
    }

    /// The form that a stored or passed head says its body has; none when it is none of these.
    pub fn form_of(head: &impl Fields) -> Option<Form> {
        Facts::of(head).form()
    }

    /// Whether what is sent depends on Accept-Encoding, so that Vary has to say so (RFC 9110 section 12.5.5).
    pub fn depends(&self, head: &impl Fields, status: u16, length: Option<u64>) -> bool {
        let response = Facts::of(head);
        let coded = || response.form().is_some_and(|form| form != Form::Identity);
        is_whole(status) && !response.untouchable && (self.is_worth_it(&response, length) || coded())
    }

    /// A line of Vary to add to a response head, unless it says as much.
    pub fn vary_line(
        &self,
        head: &impl Fields,
        status: u16,
        length: Option<u64>,
    ) -> Option<(&'static [u8], &'static [u8])> {
        let members = head.named("vary").flat_map(|line| line.split(|&byte| byte == b',')).map(syntax::trim);
        let mut members = members.filter(|name| *name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding"));
        let said = members.next().is_some();
        (!said && self.depends(head, status, length)).then_some((b"vary", b"accept-encoding"))
    }

    fn is_worth_it(&self, response: &Facts<'_>, length: Option<u64>) -> bool {
        let long = length.is_none_or(|length| length >= self.bytes_min);
        let is_uncoded = response.codings.is_empty();
        long && is_uncoded && response.media_type.is_some_and(|media_type| self.has_type(media_type))
    }

    fn has_type(&self, media_type: &[u8]) -> bool {
        let end = media_type.iter().position(|&byte| byte == b';' || syntax::is_ows(byte)).unwrap_or(media_type.len());
        let media_type = &media_type[..end];
        self.types.iter().any(|known| match known.strip_suffix('*') {
            Some(prefix) => media_type
                .get(..prefix.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()) && media_type.len() > prefix.len()),
            None => media_type.eq_ignore_ascii_case(known.as_bytes()),
        })
    }

    /// RFC 9110 section 12.5.3: the coding with the highest weight; of equal ones the first that the site offers. None
    /// when the client likes the identity better, or accepts nothing that is offered.
    fn preferred(&self, request: &impl Fields) -> Option<Form> {
        let lines: SmallVec<[&[u8]; 2]> = request.named("accept-encoding").collect();
        if lines.is_empty() {
            // Nothing said means anything goes; in practice such clients decode nothing.
            return None;
        }
        let mut best = (weight_of(&lines, b"identity").unwrap_or(0), None);
        for &form in &self.offered {
            let weight = weight_of(&lines, form.name().as_bytes()).unwrap_or(0);
            let better = if best.1.is_none() { weight >= best.0 } else { weight > best.0 };
            if weight > 0 && better {
                best = (weight, Some(form));
            }
        }
        best.1
    }
}

/// The weight of a coding in thousandths, by name or else by `*`; none when it is not mentioned.
fn weight_of(lines: &[&[u8]], coding: &[u8]) -> Option<u16> {
    let mut star = None;
    for member in lines.iter().flat_map(|line| line.split(|&byte| byte == b',')) {
        let end = member.iter().position(|&byte| byte == b';').unwrap_or(member.len());
        let name = syntax::trim(&member[..end]);
        if name.eq_ignore_ascii_case(coding) || (coding == b"gzip" && name.eq_ignore_ascii_case(b"x-gzip")) {
            return Some(syntax::weight(member));
        }
        if name == b"*" && coding != b"identity" {
            star = Some(syntax::weight(member));
        }
    }
    star
}

/// The head of a response in another form. RFC 9110 section 8.8.1: a strong validator must change with the bytes, so
/// the tag becomes a weak one, good for all forms; a tag that cannot be made weak goes.
pub fn recoded_head(head: &StoredHead, form: Form) -> Result<StoredHead, HeadError> {
    let tag = head.etag().and_then(weakened);
    let coding = (form != Form::Identity).then_some((b"content-encoding".as_slice(), form.name().as_bytes()));
    let kept = head.lines().filter(|(name, _)| !is_replaced(name));
    let tag = tag.as_deref().map(|tag| (b"etag".as_slice(), tag));
    StoredHead::from_lines(head.status(), kept.chain(tag).chain(coding))
}

/// Fields that another form says anew or not at all.
pub fn is_replaced(name: &[u8]) -> bool {
    match name.len() {
        4 => name.eq_ignore_ascii_case(b"etag"),
        13 => name.eq_ignore_ascii_case(b"accept-ranges"),
        14 => name.eq_ignore_ascii_case(b"content-length"),
        16 => name.eq_ignore_ascii_case(b"content-encoding"),
        _ => false,
    }
}

/// The weak tag that goes with a tag; none for what is no tag.
pub fn weakened(tag: &[u8]) -> Option<Vec<u8>> {
    if etag::is_strong(tag) {
        return Some([b"W/", tag].concat());
    }
    tag.strip_prefix(b"W/").is_some_and(etag::is_strong).then(|| tag.to_vec())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http::Method;

    use super::*;
    use crate::fixtures::{Lines, get};

    fn rules() -> RecodingRules {
        RecodingRules {
            offered: [Form::Zstd, Form::Brotli, Form::Gzip].into(),
            types: ["text/*".into(), "application/json".into()].into(),
            bytes_min: 100,
        }
    }

    fn html(more: &[(&str, &str)]) -> Lines {
        let mut lines = vec![("content-type", "text/html; charset=utf-8")];
        lines.extend_from_slice(more);
        Lines::of(&lines)
    }

    fn wanted(accepts: &str, head: &Lines) -> Option<Form> {
        let request = Lines::of(&[("accept-encoding", accepts)]);
        rules().wanted(&request, &get(&request), head, 200, Some(1000))
    }

    #[test]
    fn the_highest_weight_wins_and_then_the_sites_order() {
        let head = html(&[]);
        for (accepts, form) in [
            ("gzip, br, zstd", Some(Form::Zstd)),
            ("gzip;q=1, br;q=0.9", Some(Form::Gzip)),
            ("gzip;Q=0.5, br;q=0.50", Some(Form::Brotli)),
            ("x-gzip", Some(Form::Gzip)),
            ("*", Some(Form::Zstd)),
            ("*;q=0.1, zstd;q=0", Some(Form::Brotli)),
            ("identity, gzip", Some(Form::Gzip)),
            ("identity;q=1, gzip;q=0.5", None),
            ("gzip;q=0", None),
            ("deflate", None),
            ("", None),
        ] {
            assert_eq!(wanted(accepts, &head), form, "{accepts}");
        }
        let nothing = Lines::default();
        assert_eq!(rules().wanted(&nothing, &get(&nothing), &head, 200, Some(1000)), None);
    }

    #[test]
    fn what_is_not_worth_it_or_must_not_be_touched_stays_as_it_is() {
        assert_eq!(wanted("gzip", &html(&[])), Some(Form::Gzip));
        for line in [
            ("cache-control", "max-age=1, no-transform"),
            ("repr-digest", "sha-256=:a:"),
            ("content-digest", "sha-256=:a:"),
            ("content-md5", "a"),
            ("content-encoding", "gzip"),
            ("content-encoding", "compress"),
        ] {
            assert_eq!(wanted("gzip", &html(&[line])), None, "{line:?}");
        }
        assert_eq!(wanted("gzip", &Lines::of(&[("content-type", "image/png")])), None);
        assert_eq!(wanted("gzip", &Lines::of(&[("content-type", "text/")])), None);
        assert_eq!(wanted("gzip", &Lines::of(&[("content-type", "Application/JSON")])), Some(Form::Gzip));
        assert_eq!(wanted("gzip", &Lines::default()), None);
        let request = Lines::of(&[("accept-encoding", "gzip")]);
        let of = |status, length| rules().wanted(&request, &get(&request), &html(&[]), status, length);
        assert_eq!(of(200, Some(99)), None);
        assert_eq!(of(200, None), Some(Form::Gzip));
        assert_eq!(of(206, Some(1000)), None);
        let request = Lines::of(&[("accept-encoding", "gzip"), ("cache-control", "no-transform")]);
        assert_eq!(rules().wanted(&request, &get(&request), &html(&[]), 200, None), None);
    }

    #[test]
    fn a_range_is_of_the_identity() {
        let request = Lines::of(&[("accept-encoding", "gzip"), ("range", "bytes=0-1")]);
        let facts = RequestFacts::gather(&Method::GET, &request);
        assert_eq!(rules().wanted(&request, &facts, &html(&[]), 200, None), None);
    }

    #[test]
    fn a_coding_that_the_client_does_not_know_is_undone() {
        let coded = |coding| html(&[("content-encoding", coding)]);
        assert_eq!(wanted("br", &coded("gzip")), Some(Form::Identity));
        assert_eq!(wanted("", &coded("zstd")), Some(Form::Identity));
        assert_eq!(wanted("gzip, identity;q=0", &coded("br")), None);
        assert_eq!(wanted("gzip", &coded("gzip, br")), None);
        assert_eq!(wanted("gzip", &coded("identity")), Some(Form::Gzip));
    }

    #[test]
    fn vary_names_the_field_where_the_answer_depends_on_it() {
        let line = |head: &Lines| rules().vary_line(head, 200, Some(1000)).is_some();
        assert!(line(&html(&[])));
        assert!(line(&html(&[("vary", "cookie"), ("content-encoding", "br")])));
        assert!(!line(&html(&[("vary", "cookie, Accept-Encoding")])));
        assert!(!line(&html(&[("vary", "*")])));
        assert!(!line(&Lines::of(&[("content-type", "image/png")])));
        assert!(!line(&html(&[("cache-control", "no-transform")])));
    }

    #[test]
    fn another_form_has_a_weak_tag_and_no_ranges() {
        let lines = [("etag", "\"a\""), ("accept-ranges", "bytes"), ("date", "d"), ("content-encoding", "br")];
        let head = StoredHead::from_lines(200, lines.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes()))).unwrap();
        let gzip = recoded_head(&head, Form::Gzip).unwrap();
        assert_eq!(&gzip.wire()[..], b"date: d\r\netag: W/\"a\"\r\ncontent-encoding: gzip\r\n");
        assert_eq!(gzip.etag(), Some(&b"W/\"a\""[..]));
        let plain = recoded_head(&head, Form::Identity).unwrap();
        assert_eq!(&plain.wire()[..], b"date: d\r\netag: W/\"a\"\r\n");
        assert_eq!(weakened(b"W/\"a\"").unwrap(), b"W/\"a\"");
        assert_eq!(weakened(b"a"), None);
    }
}
