//! Header fields, whichever protocol brought them.
//!
//! The cache reads fields through this trait so that a request over HTTP/1.1 can stay the flat list it arrived as,
//! and one over HTTP/2 the map that its codec made. Names may come in any case; values are raw bytes.

use http::HeaderMap;

/// The field lines of one message, in the order they were received.
pub trait Fields {
    /// Every field line as (name in any case, value without surrounding white space).
    fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])>;

    /// The values of the field lines called `name` (given in lower case), in order.
    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.lines().filter(move |(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, v)| v)
    }

    /// The value of the first field line called `name` (given in lower case).
    fn first<'a>(&'a self, name: &'a str) -> Option<&'a [u8]> {
        self.named(name).next()
    }
}

impl Fields for HeaderMap {
    fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.iter().map(|(n, v)| (n.as_str().as_bytes(), v.as_bytes()))
    }

    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.get_all(name).iter().map(http::HeaderValue::as_bytes)
    }
}

impl<F: Fields> Fields for &F {
    fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        (**self).lines()
    }
}
