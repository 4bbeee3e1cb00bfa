//! What a successful unsafe request makes invalid (RFC 9111 section 4.4).
//!
//! The target itself, and what Location and Content-Location point to on the same host. The caller canonicalises the
//! targets found here as it does those of requests, and purges them.

use http::Method;
use smallvec::SmallVec;

use crate::Fields;
use crate::syntax;

/// Whether the exchange invalidates what is stored under its target: a method that is not known to be safe (RFC 9110
/// section 9.2.1), answered without an error.
pub fn invalidates(method: &Method, status: u16) -> bool {
    !is_safe(method) && (200..400).contains(&status)
}

fn is_safe(method: &Method) -> bool {
    // RFC 9110 section 9.2.1, and the two WebDAV methods that RFC 4918, RFC 3253 and RFC 5323 define as safe.
    method.is_safe() || matches!(method.as_str(), "PROPFIND" | "REPORT" | "SEARCH" | "QUERY")
}

/// Path and query of one other target to invalidate, as the response spells it, without fragment.
pub type OtherTargets = SmallVec<[Vec<u8>; 2]>;

/// The targets on this host that Location and Content-Location name, besides the request's own.
///
/// RFC 9111 section 4.4: only those of the same origin, so that nobody can purge for others. `target` is path and query
/// of the request, `host` the canonical authority as the key has it (with the port where it is not the scheme's own).
pub fn other_targets(https: bool, host: &[u8], target: &[u8], response: &impl Fields) -> OtherTargets {
    let references = ["location", "content-location"].map(|name| response.first(name));
    let resolved = references.into_iter().flatten().filter_map(|reference| resolve(https, host, target, reference));
    let mut targets = OtherTargets::new();
    for other in resolved.filter(|other| other != target) {
        if !targets.contains(&other) {
            targets.push(other);
        }
    }
    targets
}

/// Whether a response says that its content is what a GET for its own target would get (RFC 9110 section 8.7).
pub fn is_representation_of(https: bool, host: &[u8], target: &[u8], response: &impl Fields) -> bool {
    let mut named = response.named("content-location");
    let (Some(reference), None) = (named.next(), named.next()) else { return false };
    resolve(https, host, target, reference).is_some_and(|resolved| resolved == target)
}

/// What a reference is relative to.
enum Reference<'a> {
    /// `scheme://` or `//` is off: authority, path and query.
    Authority(&'a [u8]),
    /// Relative to the request's target.
    Relative(&'a [u8]),
    /// Of another scheme.
    Foreign,
}

/// RFC 3986 section 5.2 as far as it is needed: the result is path and query, dot segments left for the caller.
fn resolve(https: bool, host: &[u8], target: &[u8], reference: &[u8]) -> Option<Vec<u8>> {
    let reference = syntax::trim(reference);
    let reference = &reference[..memchr::memchr(b'#', reference).unwrap_or(reference.len())];
    match classify(https, reference) {
        Reference::Foreign => None,
        Reference::Authority(hierarchy) => {
            let end = hierarchy.iter().position(|&b| matches!(b, b'/' | b'?')).unwrap_or(hierarchy.len());
            let (authority, rest) = hierarchy.split_at(end);
            same_host(https, authority, host).then_some(())?;
            Some(if rest.starts_with(b"/") { rest.to_vec() } else { [b"/", rest].concat() })
        }
        Reference::Relative(reference) => {
            let path = &target[..memchr::memchr(b'?', target).unwrap_or(target.len())];
            let directory = memchr::memrchr(b'/', path).map_or(0, |slash| slash + 1);
            match reference.first()? {
                b'/' => Some(reference.to_vec()),
                b'?' => Some([path, reference].concat()),
                _ => Some([&path[..directory], reference].concat()),
            }
        }
    }
}

fn classify(https: bool, reference: &[u8]) -> Reference<'_> {
    if let Some(hierarchy) = reference.strip_prefix(b"//") {
        return Reference::Authority(hierarchy);
    }
    let mark = reference.iter().position(|&b| matches!(b, b':' | b'/' | b'?'));
    let Some(colon) = mark.filter(|&at| reference[at] == b':') else { return Reference::Relative(reference) };
    let expected: &[u8] = if https { b"https" } else { b"http" };
    match reference[colon + 1..].strip_prefix(b"//") {
        Some(hierarchy) if reference[..colon].eq_ignore_ascii_case(expected) => Reference::Authority(hierarchy),
        _ => Reference::Foreign,
    }
}

/// Authorities without user information, in any case, with or without the scheme's own port.
fn same_host(https: bool, authority: &[u8], host: &[u8]) -> bool {
    let port: &[u8] = if https { b":443" } else { b":80" };
    let plain = |name: &[u8]| name.strip_suffix(port).unwrap_or(name).to_ascii_lowercase();
    !host.is_empty() && plain(authority) == plain(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::Lines;

    #[test]
    fn only_unsafe_methods_that_succeed_invalidate() {
        let method = |name: &str| Method::from_bytes(name.as_bytes()).expect("a token");
        for (name, status, expected) in [
            ("POST", 200, true),
            ("PUT", 204, true),
            ("DELETE", 303, true),
            ("PATCH", 200, true),
            ("M-SEARCH", 200, true),
            ("POST", 404, false),
            ("POST", 500, false),
            ("POST", 100, false),
            ("GET", 200, false),
            ("HEAD", 200, false),
            ("OPTIONS", 200, false),
            ("TRACE", 200, false),
            ("PROPFIND", 207, false),
        ] {
            assert_eq!(invalidates(&method(name), status), expected, "{name} {status}");
        }
    }

    #[test]
    fn references_on_the_same_host_are_resolved_and_others_are_left() {
        for (reference, expected) in [
            ("/x", Some("/x")),
            ("/x?y#z", Some("/x?y")),
            ("y", Some("/a/y")),
            ("?q", Some("/a/b?q")),
            ("../c", Some("/a/../c")),
            ("http://example.com/x", Some("/x")),
            ("HTTP://EXAMPLE.com:80/x", Some("/x")),
            ("http://example.com", Some("/")),
            ("http://example.com?q", Some("/?q")),
            ("//example.com/x", Some("/x")),
            ("https://example.com/x", None),
            ("http://example.com:8080/x", None),
            ("http://other.example/x", None),
            ("http://example.com@other.example/x", None),
            ("mailto:a@example.com", None),
            ("x:y", None),
            ("", None),
            ("#f", None),
            ("/a/b?c", None), // the request's own target
        ] {
            let response = Lines::of(&[("Location", reference)]);
            let found = other_targets(false, b"example.com", b"/a/b?c", &response);
            let expected: Vec<Vec<u8>> = expected.iter().map(|target| target.as_bytes().to_vec()).collect();
            assert_eq!(found.as_slice(), expected, "{reference}");
        }
    }

    #[test]
    fn location_and_content_location_count_once_each() {
        let response = Lines::of(&[("Location", "/x"), ("Content-Location", "/y")]);
        assert_eq!(other_targets(true, b"h:8443", b"/", &response).as_slice(), [b"/x".to_vec(), b"/y".to_vec()]);
        let response = Lines::of(&[("Location", "/x"), ("Content-Location", "https://H:8443/x")]);
        assert_eq!(other_targets(true, b"h:8443", b"/", &response).as_slice(), [b"/x".to_vec()]);
    }
}
