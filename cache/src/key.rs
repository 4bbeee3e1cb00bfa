//! The key under which a response is stored: scheme, host, target and the header values a site adds.
//!
//! A key is a byte string in which every part carries its length, so no host, query or header value can imitate the
//! border between two parts. Its XXH3-128 hash finds entries; equality always compares the full bytes as well, so two
//! keys that share a hash never share a response.
//!
//! Layout, lengths as little-endian u32: `scheme(1) host_len target_len host target`, then per further part
//! `name_len name present(1)` and, when present, `value_len value`. `cache/key.py` computes the same bytes.

use std::fmt;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

/// Scheme byte and two lengths.
const PREFIX_BYTES: usize = 9;

/// The scheme of a request target. Both are keyed: the same path over either is two resources (RFC 9110 section 4.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub const fn word(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// The port that is left out of a canonical host.
    pub const fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }

    /// Reads a scheme in any case.
    pub fn parse(word: &[u8]) -> Option<Scheme> {
        [Scheme::Http, Scheme::Https].into_iter().find(|scheme| word.eq_ignore_ascii_case(scheme.word().as_bytes()))
    }

    const fn byte(self) -> u8 {
        match self {
            Scheme::Http => 1,
            Scheme::Https => 2,
        }
    }
}

/// Where a connection builds its keys, one request after the other, without allocating.
#[derive(Debug, Default)]
pub struct KeyBuffer {
    bytes: Vec<u8>,
}

impl KeyBuffer {
    #[must_use]
    pub fn new() -> Self {
        KeyBuffer::default()
    }

    /// Starts a new key. `host` and `target` must be in the form that [`crate::target`] makes.
    pub fn begin(&mut self, scheme: Scheme, host: &[u8], target: &[u8]) {
        self.bytes.clear();
        self.bytes.push(scheme.byte());
        self.length(host);
        self.length(target);
        self.bytes.extend_from_slice(host);
        self.bytes.extend_from_slice(target);
    }

    /// Adds one more part; an absent value differs from an empty one.
    pub fn part(&mut self, name: &[u8], value: Option<&[u8]>) {
        self.length(name);
        self.bytes.extend_from_slice(name);
        self.bytes.push(u8::from(value.is_some()));
        if let Some(value) = value {
            self.length(value);
            self.bytes.extend_from_slice(value);
        }
    }

    /// Starts a new key with all the parts of another.
    pub fn begin_from(&mut self, key: KeyRef<'_>) {
        self.bytes.clear();
        self.bytes.extend_from_slice(key.bytes);
    }

    /// The key as built so far; hashes it, so ask once per request.
    pub fn key(&self) -> KeyRef<'_> {
        assert!(self.bytes.len() >= PREFIX_BYTES, "begin() comes before key()");
        KeyRef { hash: xxh3_128(&self.bytes), bytes: &self.bytes }
    }

    fn length(&mut self, part: &[u8]) {
        let length = u32::try_from(part.len()).expect("message parts are bounded far below 4 GiB");
        self.bytes.extend_from_slice(&length.to_le_bytes());
    }
}

/// A key that is borrowed from a buffer or from a stored object.
#[derive(Clone, Copy)]
pub struct KeyRef<'a> {
    hash: u128,
    bytes: &'a [u8],
}

impl<'a> KeyRef<'a> {
    /// XXH3-128 over [`KeyRef::bytes`].
    pub fn hash(self) -> u128 {
        self.hash
    }

    /// The low half of the hash, for tables.
    pub fn short_hash(self) -> u64 {
        self.hash as u64
    }

    /// The whole key.
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    pub fn scheme(self) -> Scheme {
        if self.bytes[0] == Scheme::Https.byte() { Scheme::Https } else { Scheme::Http }
    }

    pub fn host(self) -> &'a [u8] {
        &self.bytes[PREFIX_BYTES..PREFIX_BYTES + self.length_at(1)]
    }

    /// Path and query.
    pub fn target(self) -> &'a [u8] {
        let start = PREFIX_BYTES + self.length_at(1);
        &self.bytes[start..start + self.length_at(5)]
    }

    /// Host and target with their lengths: equal for both schemes and whatever other parts there are.
    pub(crate) fn resource(self) -> &'a [u8] {
        &self.bytes[1..PREFIX_BYTES + self.length_at(1) + self.length_at(5)]
    }

    /// Host and path: equal for all targets that differ in their query alone.
    pub(crate) fn host_and_path(self) -> (&'a [u8], &'a [u8]) {
        let target = self.target();
        (self.host(), &target[..memchr::memchr(b'?', target).unwrap_or(target.len())])
    }

    /// Whether the keys are equal but for their targets.
    pub(crate) fn equals_but_target(self, other: KeyRef<'_>) -> bool {
        self.scheme() == other.scheme() && self.host() == other.host() && self.parts() == other.parts()
    }

    /// What follows the target.
    fn parts(self) -> &'a [u8] {
        &self.bytes[PREFIX_BYTES + self.length_at(1) + self.length_at(5)..]
    }

    /// Whether it is the key of a form of a response ([`crate::recoding`]), which is made of the response anew when it is
    /// needed. A key that looks like one by chance is treated as one.
    pub(crate) fn is_form(self) -> bool {
        memchr::memmem::find(self.parts(), b"\x05\0\0\0:form").is_some()
    }

    fn length_at(self, at: usize) -> usize {
        let length = self.bytes[at..at + 4].try_into().expect("four bytes");
        u32::from_le_bytes(length) as usize
    }
}

impl PartialEq for KeyRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.bytes == other.bytes
    }
}

impl Eq for KeyRef<'_> {}

impl fmt::Debug for KeyRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = String::from_utf8_lossy(self.host());
        let target = String::from_utf8_lossy(self.target());
        write!(f, "{}://{host}{target}#{:032x}", self.scheme().word(), self.hash)
    }
}

/// A key that an object or a fill owns. Cloning shares the bytes.
#[derive(Clone)]
pub struct CacheKey {
    hash: u128,
    bytes: Arc<[u8]>,
}

impl CacheKey {
    #[allow(clippy::should_implement_trait)] // AsRef cannot return a struct that borrows
    pub fn as_ref(&self) -> KeyRef<'_> {
        KeyRef { hash: self.hash, bytes: &self.bytes }
    }

    pub fn hash(&self) -> u128 {
        self.hash
    }

    /// A key from its bytes, as a disk keeps them; none when they are no key.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let length = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize);
        let resource = length(1)?.checked_add(length(5)?)?.checked_add(PREFIX_BYTES)?;
        let known = [Scheme::Http, Scheme::Https].iter().any(|scheme| bytes.first() == Some(&scheme.byte()));
        (known && resource <= bytes.len()).then(|| CacheKey { hash: xxh3_128(bytes), bytes: bytes.into() })
    }
}

impl From<KeyRef<'_>> for CacheKey {
    fn from(key: KeyRef<'_>) -> Self {
        CacheKey { hash: key.hash, bytes: key.bytes.into() }
    }
}

impl PartialEq for CacheKey {
    fn eq(&self, other: &Self) -> bool {
        self.as_ref() == other.as_ref()
    }
}

impl Eq for CacheKey {}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    type Parts = Vec<(Vec<u8>, Option<Vec<u8>>)>;

    fn build(scheme: Scheme, host: &[u8], target: &[u8], parts: &Parts) -> CacheKey {
        let mut buffer = KeyBuffer::new();
        buffer.begin(scheme, host, target);
        for (name, value) in parts {
            buffer.part(name, value.as_deref());
        }
        buffer.key().into()
    }

    #[test]
    fn a_key_gives_back_what_it_was_built_from() {
        let key = build(Scheme::Https, b"example.com", b"/a?b", &vec![(b"x".to_vec(), None)]);
        assert_eq!(key.as_ref().scheme(), Scheme::Https);
        assert_eq!(key.as_ref().host(), b"example.com");
        assert_eq!(key.as_ref().target(), b"/a?b");
    }

    #[test]
    fn two_hosts_or_schemes_with_one_path_never_share_a_key() {
        let key = build(Scheme::Http, b"a.example", b"/", &vec![]);
        assert_ne!(key, build(Scheme::Http, b"b.example", b"/", &vec![]));
        assert_ne!(key, build(Scheme::Https, b"a.example", b"/", &vec![]));
    }

    #[test]
    fn a_shared_hash_alone_does_not_make_keys_equal() {
        let (a, b) = (KeyRef { hash: 7, bytes: b"one" }, KeyRef { hash: 7, bytes: b"two" });
        assert_ne!(a, b);
    }

    #[test]
    fn an_absent_part_differs_from_an_empty_one() {
        let absent = build(Scheme::Http, b"h", b"/", &vec![(b"x".to_vec(), None)]);
        assert_ne!(absent, build(Scheme::Http, b"h", b"/", &vec![(b"x".to_vec(), Some(vec![]))]));
    }

    fn small() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(b'|'), Just(b'/')], 0..6)
    }

    fn parts() -> impl Strategy<Value = Parts> {
        proptest::collection::vec((small(), proptest::option::of(small())), 0..3)
    }

    proptest! {
        #[test]
        fn different_inputs_give_different_bytes(
            a in (small(), small(), parts()), b in (small(), small(), parts()),
        ) {
            let left = build(Scheme::Http, &a.0, &a.1, &a.2);
            let right = build(Scheme::Http, &b.0, &b.1, &b.2);
            prop_assert_eq!(a == b, left == right);
        }
    }
}
