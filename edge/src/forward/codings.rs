//! Accept-Encoding of a fill: the set of codings that the client accepts, in one fixed spelling. Clients with equal sets
//! share what is stored, so the origin must not be able to tell them apart (P8).

use headland_cache::Fields;
use headland_cache::codings::AcceptedCodings;
use http::HeaderValue;

/// The codings that are named to origins. The others known to the cache are not worth a variant.
const OFFERED: [&str; 4] = ["br", "zstd", "gzip", "deflate"];

/// The value to send; none if the client sent none.
pub(super) fn accept_encoding(fields: &impl Fields) -> Option<HeaderValue> {
    fields.first("accept-encoding")?;
    let codings = AcceptedCodings::of(fields);
    let mut value = String::with_capacity(32);
    for name in OFFERED.into_iter().filter(|name| codings.accepts(name.as_bytes())) {
        if !value.is_empty() {
            value.push_str(", ");
        }
        value.push_str(name);
    }
    match (value.is_empty(), codings.accepts(b"identity")) {
        (true, true) => value.push_str("identity"),
        (false, true) => {}
        (true, false) => value.push_str("identity;q=0"),
        (false, false) => value.push_str(", identity;q=0"),
    }
    HeaderValue::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use http::HeaderMap;

    fn sent(value: &str) -> String {
        let headers = HeaderMap::from_iter([(http::header::ACCEPT_ENCODING, HeaderValue::from_str(value).unwrap())]);
        accept_encoding(&headers).unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn equal_sets_have_one_spelling() {
        assert_eq!(sent("gzip, deflate, br, zstd"), "br, zstd, gzip, deflate");
        assert_eq!(sent("zstd;q=0.1,br;q=1.0, GZIP ,deflate, nonsense"), "br, zstd, gzip, deflate");
        assert_eq!(sent("gzip;q=0, nonsense"), "identity");
        assert_eq!(sent(""), "identity");
        assert_eq!(sent("gzip, identity;q=0"), "gzip, identity;q=0");
    }

    #[test]
    fn none_stays_none() {
        assert_eq!(accept_encoding(&HeaderMap::new()), None);
    }
}
