//! Which values of Host, and which authorities in a request target, name a host (RFC 9110 4.2 and 7.2).
//!
//! Narrower than the grammar of RFC 3986, which lets nearly anything be a registered name: letters, digits, `-`, `.`
//! and `_`, or an IPv6 address in brackets; then, if at all, a port from 1 to 65535. No user information.

use std::net::Ipv6Addr;
use std::str::FromStr;

use crate::limits::AUTHORITY_BYTES_MAX;

/// Whether the value is `host` or `host:port`.
pub(crate) fn is_authority(value: &[u8]) -> bool {
    if value.is_empty() || value.len() > AUTHORITY_BYTES_MAX {
        return false;
    }
    if value[0] == b'[' {
        return is_bracketed(value);
    }
    match value.iter().position(|&byte| byte == b':') {
        None => is_name(value),
        Some(colon) => is_name(&value[..colon]) && is_port(&value[colon + 1..]),
    }
}

/// Labels of at least one byte, parted by dots; one dot may end the name.
fn is_name(name: &[u8]) -> bool {
    let mut label_bytes = 0_usize;
    for &byte in name {
        match byte {
            b'.' if label_bytes == 0 => return false,
            b'.' => label_bytes = 0,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => label_bytes += 1,
            _ => return false,
        }
    }
    name.first().is_some_and(|&first| first != b'.')
}

/// `[address]` or `[address]:port`, without a zone.
fn is_bracketed(value: &[u8]) -> bool {
    let Some(close) = value.iter().position(|&byte| byte == b']') else { return false };
    let address = std::str::from_utf8(&value[1..close]).ok().and_then(|text| Ipv6Addr::from_str(text).ok());
    let port = match &value[close + 1..] {
        [] => true,
        [b':', port @ ..] => is_port(port),
        _ => false,
    };
    address.is_some() && port
}

/// One to five digits that stand for 1 to 65535.
fn is_port(digits: &[u8]) -> bool {
    if digits.is_empty() || digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let port = digits.iter().fold(0_u32, |port, digit| port * 10 + u32::from(digit - b'0'));
    (1..=65_535).contains(&port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_addresses_and_ports_are_hosts() {
        for good in ["a", "www.Example.com", "a.example.", "a_b.example", "127.0.0.1:8080", "h:1", "h:65535"] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for good in ["[::1]", "[2001:db8::1]:8443", "[::ffff:192.0.2.1]"] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
    }

    #[test]
    fn anything_else_is_not() {
        let long = "a".repeat(AUTHORITY_BYTES_MAX + 1);
        for bad in ["", ".", ".a", "a..b", "a..", "u@h", "h/x", "h?", "h#", "h\\", "h h", "h,g", "h%41", "h\u{e9}"] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
        for bad in ["h:", "h:0", "h:99999", "h:65536", "h:+1", "h:1:2", ":80", "h:1a", "h:000001", long.as_str()] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
        for bad in ["[::1", "[]", "[::1]x", "[::1]:", "[::1]:0", "[fe80::1%25eth0]", "[v1.a]", "::1", "[127.0.0.1]"] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
    }
}
