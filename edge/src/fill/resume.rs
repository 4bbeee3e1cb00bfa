//! An origin that breaks off in the middle of a body is asked for the rest (RFC 9111 section 3.4, RFC 9110 sections
//! 13.1.5 and 14.2): its readers see a pause instead of a broken transfer, and what was received is not lost.
//!
//! Only what is known to be the same representation is joined: a 200 with a strong entity tag, continued by a 206 with
//! that very tag, that begins at the very byte which is missing, of a whole of the same length.

use headland_cache::conditional::remove_conditions;
use headland_cache::partial::ContentRange;
use headland_cache::{FillHead, etag};
use headland_origin::{FieldLines, RequestBody, Response, ResponseBody};
use http::{HeaderValue, StatusCode, header};

use crate::forward::{OwnedLines, Purpose};
use crate::node::Node;
use crate::plan::Plan;
use crate::renewal::Asked;

/// How often one fill asks for the rest.
const RESUMES_MAX: u32 = 3;

/// What it takes to continue a body.
pub struct Resume {
    tag: HeaderValue,
    /// Length of the whole, once it is known.
    total: Option<u64>,
    left: u32,
    /// The heads under which the rest came.
    pub rests: Vec<(FieldLines, Asked)>,
}

impl Resume {
    /// None when parts of the response could not be told to belong together.
    pub fn of(head: &FillHead) -> Option<Self> {
        let refused = head.head.get("accept-ranges").is_some_and(|ranges| ranges.eq_ignore_ascii_case(b"none"));
        let tag = head.head.etag().filter(|tag| etag::is_strong(tag))?;
        if head.head.status() != 200 || refused {
            return None;
        }
        Some(Resume {
            tag: HeaderValue::from_bytes(tag).ok()?,
            total: head.length,
            left: RESUMES_MAX,
            rests: Vec::new(),
        })
    }

    /// The body from byte `at` on; none when the origin does not continue it.
    pub async fn rest<F: OwnedLines>(&mut self, node: &Node, plan: &Plan<F>, at: u64) -> Option<ResponseBody> {
        // Without a first byte there is nothing to continue: that is a retry's business.
        if at == 0 {
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        let mut request = plan.request(Purpose::Fill, RequestBody::Empty);
        let mut fields = request.headers.to_map();
        remove_conditions(&mut fields);
        fields.insert(header::RANGE, HeaderValue::try_from(format!("bytes={at}-")).ok()?);
        fields.insert(header::IF_RANGE, self.tag.clone());
        request.headers = fields.into();
        let (born, request_time) = (node.ledger.epoch(), node.clock.now());
        let response = node.client.fetch(plan.group(), request, None).await.ok()?;
        let asked = Asked { born, request_time, response_time: node.clock.now() };
        self.continues(&response, at).then_some(())?;
        node.metrics.here().resumed.bump();
        self.rests.push((response.headers, asked));
        Some(response.body)
    }

    /// Whether a body of this length is the whole.
    pub fn is_whole(&self, length: u64) -> bool {
        self.total.is_none_or(|total| total == length)
    }

    fn continues(&mut self, response: &Response, at: u64) -> bool {
        let field = |name| response.headers.get(name);
        if response.status != StatusCode::PARTIAL_CONTENT || field("etag") != Some(self.tag.as_bytes()) {
            return false;
        }
        let Some((first, total)) = field("content-range").and_then(content_range) else { return false };
        let agrees = first == at && self.total.is_none_or(|known| known == total);
        self.total = Some(total);
        agrees
    }
}

/// First byte and length of the whole, where the part goes to the end. A part that ends before, or a whole of unknown
/// length, is not what was asked for.
fn content_range(value: &[u8]) -> Option<(u64, u64)> {
    let range = ContentRange::parse(value).filter(|range| range.last + 1 == range.total)?;
    Some((range.first, range.total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_says_where_it_begins_and_goes_to_the_end() {
        for (value, read) in [
            ("bytes 5-9/10", Some((5, 10))),
            ("bytes 5-8/10", None),
            ("bytes 5-9/*", None),
            ("bytes */10", None),
            ("bytes 9-5/10", None),
            ("bytes +5-9/10", None),
            ("bytes 5-18446744073709551615/0", None),
            ("items 5-9/10", None),
            ("bytes 5-9", None),
            ("bytes -9/10", None),
        ] {
            assert_eq!(content_range(value.as_bytes()), read, "{value}");
        }
    }
}
