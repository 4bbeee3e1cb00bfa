//! Fields that concern one connection and never pass a proxy (RFC 9110 7.6.1), beside those that frame a message.

/// Whether a field of this name, in any case, belongs to one connection whether Connection names it or not.
pub(crate) fn is_hop_by_hop(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 10] = [
        b"connection",
        b"http2-settings", // RFC 7540 3.2.1
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    ];
    // Lengths that no name above has are the rule.
    matches!(name.len(), 2 | 7 | 10 | 14 | 16..=19) && NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_in_any_case_and_nothing_else_is() {
        for name in ["TE", "Upgrade", "keep-alive", "Proxy-Connection", "Transfer-Encoding", "HTTP2-Settings"] {
            assert!(is_hop_by_hop(name.as_bytes()), "{name}");
        }
        for name in ["ta", "etag", "content-type", "content-length", "last-modified", ""] {
            assert!(!is_hop_by_hop(name.as_bytes()), "{name}");
        }
    }
}
