//! Messages for the tests of the pure half: short to write, in the shape the decisions read.

use http::Method;

use crate::directives::ResponseDirectives;
use crate::facts::{RequestFacts, ResponseFacts};
use crate::object::Parts;
use crate::{Admitted, DeltaSeconds, Fields, Policy, Refusal, Time, admit};
use crate::{Body, CacheKey, Epoch, KeyBuffer, Scheme, StoredHead, Tags, VaryFacts, VarySpec};

/// 2027-01-15T08:00:00Z: the moment at which test responses arrive.
pub(crate) const NOW: Time = Time::from_secs(1_800_000_000);

/// Field lines, owned.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines(pub(crate) Vec<(String, Vec<u8>)>);

impl Lines {
    pub(crate) fn of(lines: &[(&str, &str)]) -> Self {
        Lines(lines.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect())
    }
}

impl Fields for Lines {
    fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_bytes(), value.as_slice()))
    }
}

/// A GET with these fields.
pub(crate) fn get(fields: &Lines) -> RequestFacts<'_> {
    RequestFacts::gather(&Method::GET, fields)
}

/// The verdict on a response to a plain GET that arrived at once.
pub(crate) fn admit_at_once(policy: &Policy, status: u16, lines: &[(&str, &str)]) -> Result<Admitted, Refusal> {
    admit(&get(&Lines::default()), policy, status, &Lines::of(lines), NOW, NOW)
}

pub(crate) fn directives(lines: &[(&str, &str)]) -> ResponseDirectives {
    ResponseFacts::gather(&Lines::of(lines)).directives
}

pub(crate) fn secs(secs: u64) -> DeltaSeconds {
    DeltaSeconds::saturating(secs)
}

/// The HTTP-date that lies this far from [`NOW`], in seconds.
pub(crate) fn date(offset: i64) -> String {
    crate::http_date::format(Time::from_secs(NOW.as_secs().saturating_add_signed(offset)))
}

/// The key of a target at a host, over https.
pub(crate) fn key(host: &str, target: &str) -> CacheKey {
    let mut buffer = KeyBuffer::new();
    buffer.begin(Scheme::Https, host.as_bytes(), target.as_bytes());
    buffer.key().into()
}

/// A stored response without tags or Vary, with a body of this many bytes, born before every purge.
pub(crate) fn parts(host: &str, target: &str, body_bytes: usize) -> Parts {
    let admitted = admit_at_once(&Policy::plain(), 200, &[("cache-control", "max-age=60")]).expect("it is storable");
    Parts {
        key: key(host, target),
        head: StoredHead::from_lines(200, [(&b"content-type"[..], &b"text/plain"[..])]).expect("it is small"),
        body: Body::copy_of(&vec![b'x'; body_bytes]),
        trailers: None,
        freshness: admitted.freshness,
        vary: VaryFacts::default(),
        tags: Tags::default(),
        born: Epoch(0),
        generation: 0,
    }
}

/// The same response for requests with this Accept-Language.
pub(crate) fn in_language(parts: Parts, language: &str) -> Parts {
    let spec = VarySpec::parse(&[b"accept-language"]).expect("it is a name");
    Parts { vary: VaryFacts::of(&spec, &Lines::of(&[("accept-language", language)])), ..parts }
}
