//! Fields that concern one connection and never pass a proxy (RFC 9110 7.6.1).
//!
//! A sender may name more of them in Connection. That is a request, not an order: fields that frame, route, identify
//! or govern caching stay whatever Connection says, or a client could strip what our answer depends on (K1, O4).

use http::header::{self, HeaderMap, HeaderName};

/// Never removed because Connection names them.
const NEVER_NOMINATED: [&str; 19] = [
    "age",
    "authorization",
    "cache-control",
    "cdn-cache-control",
    "cdn-loop", // RFC 8586 2
    "cookie",
    "date",
    "etag",
    "expires",
    "host",
    "last-modified",
    "location",
    "pragma",
    "range",
    "set-cookie",
    "surrogate-control",
    "vary",
    "via",
    "www-authenticate",
];

/// Hop-by-hop whether Connection names them or not (RFC 9110 7.6.1; HTTP2-Settings is RFC 7540 3.2.1).
pub(crate) const ALWAYS: [&str; 10] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Whether a field belongs to one connection by its name alone.
#[inline]
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    is_named_hop_by_hop(name.as_str())
}

/// The same for a name in lower case.
#[inline]
pub fn is_named_hop_by_hop(name: &str) -> bool {
    ALWAYS.contains(&name)
}

/// Whether Connection may make a field (given in lower case) hop-by-hop.
pub fn may_be_nominated(name: &str) -> bool {
    !name.starts_with("content-") && !name.starts_with("if-") && !NEVER_NOMINATED.contains(&name)
}

/// Removes what belongs to the connection that a message came by.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    for name in nominated(headers) {
        headers.remove(name);
    }
    for name in ALWAYS {
        headers.remove(name);
    }
}

/// The names in Connection that may be there.
fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok())
        .filter(|name| may_be_nominated(name.as_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn stripped(lines: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for &(name, value) in lines {
            headers.append(name, HeaderValue::from_static(value));
        }
        strip_hop_by_hop(&mut headers);
        headers.keys().map(|name| name.as_str().to_owned()).collect()
    }

    #[test]
    fn fields_of_the_connection_are_removed() {
        for name in ["connection", "keep-alive", "te", "trailer", "upgrade", "http2-settings", "proxy-connection"] {
            assert!(stripped(&[(name, "x")]).is_empty(), "{name}");
        }
    }

    #[test]
    fn nominated_fields_are_removed() {
        assert!(
            stripped(&[("connection", "close, X-A"), ("connection", "x-b"), ("x-a", "1"), ("x-b", "2")]).is_empty()
        );
    }

    #[test]
    fn fields_that_answers_depend_on_stay() {
        for name in
            ["host", "content-length", "cookie", "authorization", "cache-control", "set-cookie", "if-none-match"]
        {
            let connection = ("connection", name);
            assert_eq!(stripped(&[connection, (name, "1")]), [name], "{name}");
        }
    }
}
