//! The fields of an origin's response, as this node reads and takes them over.
//!
//! They stay the text they came as; whoever edits them makes a map of them first ([`crate::answer::Answer::edit`]).

use headland_cache::{Fields, Time, tags};
use headland_origin::FieldLines;
use http::{HeaderValue, header};

/// The origin's lines, for the cache to read.
#[derive(Debug, Clone, Copy)]
pub struct OriginFields<'a>(pub &'a FieldLines);

impl Fields for OriginFields<'_> {
    fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter()
    }
}

/// Makes an origin's fields our own: what speaks only to this cache goes no further, and there is a Date.
pub fn take_over(fields: &mut FieldLines, now: impl FnOnce() -> Time) {
    let (mut addressed, mut dated) = (false, false);
    for (name, _) in fields.iter() {
        addressed |= is_for_this_cache(name);
        dated |= name == b"date";
    }
    if addressed {
        fields.retain(|name| !is_for_this_cache(name));
    }
    // RFC 9110 section 6.6.1: who has a clock and passes on a response without Date adds one.
    if !dated && let Ok(date) = HeaderValue::from_bytes(&crate::clock::http_date(now())) {
        fields.push(&header::DATE, &date);
    }
}

/// RFC 9213 section 2.2, and the tag fields, whose only reader is the cache that they tag for; the name in lower case.
fn is_for_this_cache(name: &[u8]) -> bool {
    match name.len() {
        17 if name == b"surrogate-control" => true,
        26 if name == b"headland-cdn-cache-control" => true,
        _ => tags::is_tag_field(name),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn taken_over(lines: &[(&'static str, &'static str)]) -> String {
        let map: HeaderMap = lines
            .iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let mut fields = FieldLines::from(&map);
        take_over(&mut fields, || Time::from_millis(0));
        String::from_utf8_lossy(fields.text()).into_owned()
    }

    #[test]
    fn what_speaks_to_this_cache_goes_no_further() {
        let date = ("date", "Thu, 01 Jan 1970 00:00:01 GMT");
        let lines =
            [date, ("surrogate-key", "a"), ("surrogate-control", "b"), ("headland-cdn-cache-control", "c"), ("x", "y")];
        assert_eq!(taken_over(&lines), "date: Thu, 01 Jan 1970 00:00:01 GMT\r\nx: y\r\n");
    }

    #[test]
    fn a_response_without_a_date_gets_the_time_of_its_arrival() {
        assert_eq!(taken_over(&[("x", "y")]), "x: y\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n");
    }
}
