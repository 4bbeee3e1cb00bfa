//! From a host name to its site: exact names, then the longest `*.` wildcard, then `*`.

use std::collections::HashMap;
use std::sync::Arc;

/// Hosts in lower case, without port or trailing dot, to sites. One lookup hashes the name once per label at most.
#[derive(Debug)]
pub struct Routes<S> {
    exact: HashMap<Box<[u8]>, Arc<S>>,
    /// Keyed by what follows the asterisk: `.example.com`.
    wildcard: HashMap<Box<[u8]>, Arc<S>>,
    fallback: Option<Arc<S>>,
}

impl<S> Default for Routes<S> {
    fn default() -> Self {
        Routes { exact: HashMap::new(), wildcard: HashMap::new(), fallback: None }
    }
}

impl<S> Routes<S> {
    /// Adds a host pattern; false when the very same pattern was there already.
    pub fn add(&mut self, pattern: &str, site: &Arc<S>) -> bool {
        let pattern = pattern.to_ascii_lowercase();
        if pattern == "*" {
            return self.fallback.replace(site.clone()).is_none();
        }
        if let Some(suffix) = pattern.strip_prefix('*') {
            return self.wildcard.insert(suffix.as_bytes().into(), site.clone()).is_none();
        }
        self.exact.insert(pattern.as_bytes().into(), site.clone()).is_none()
    }

    /// The site of `host`, which is canonical: lower case, without trailing dot. A port is not part of the name.
    pub fn find(&self, host: &[u8]) -> Option<&Arc<S>> {
        if self.exact.is_empty() && self.wildcard.is_empty() {
            return self.fallback.as_ref();
        }
        let name = without_port(host);
        self.exact.get(name).or_else(|| self.find_wildcard(name)).or(self.fallback.as_ref())
    }

    fn find_wildcard(&self, name: &[u8]) -> Option<&Arc<S>> {
        if self.wildcard.is_empty() {
            return None;
        }
        memchr::memchr_iter(b'.', name).find_map(|dot| self.wildcard.get(&name[dot..]))
    }
}

/// `host` of `host:port`; the brackets of an IPv6 literal stay.
pub fn without_port(host: &[u8]) -> &[u8] {
    match memchr::memrchr(b':', host) {
        Some(colon) if !host.ends_with(b"]") => &host[..colon],
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn routes(patterns: &[&str]) -> Routes<String> {
        let mut routes = Routes::default();
        for pattern in patterns {
            assert!(routes.add(pattern, &Arc::new((*pattern).to_owned())));
        }
        routes
    }

    #[test]
    fn exact_wins_over_the_longest_wildcard_which_wins_over_the_rest() {
        let routes = routes(&["www.example.com", "*.example.com", "*.img.example.com", "*"]);
        for (host, site) in [
            ("www.example.com", "www.example.com"),
            ("www.example.com:8080", "www.example.com"),
            ("a.example.com", "*.example.com"),
            ("a.img.example.com", "*.img.example.com"),
            ("example.com", "*"),
            ("[::1]:80", "*"),
        ] {
            assert_eq!(routes.find(host.as_bytes()).unwrap().as_str(), site, "{host}");
        }
    }

    #[test]
    fn an_unknown_host_has_no_site() {
        assert!(routes(&["www.example.com"]).find(b"other.example").is_none());
    }

    #[test]
    fn the_same_pattern_twice_is_told() {
        let mut routes = routes(&["*.example.com"]);
        assert!(!routes.add("*.Example.com", &Arc::new(String::new())));
    }
}
