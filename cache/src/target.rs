//! One canonical form for hosts and request targets, used alike by key, rules, purge and the request to the origin.
//!
//! Two spellings that every server reads alike become one (RFC 3986 section 6.2.2); what servers are known to read
//! differently is refused rather than guessed: raw controls, spaces and bytes from 0x80, fragments, a backslash in the
//! path, encoded separators beside `..`. Encoded slashes, backslashes and NUL stay encoded. The result of every
//! function here is a fixed point of it, and most real targets already are: they pass in one scan and one copy.

use std::borrow::Cow;
use std::net::Ipv6Addr;
use std::sync::Arc;

use crate::key::Scheme;

/// Longest host name, in bytes (RFC 1035 section 2.3.4), port not included.
pub const HOST_NAME_BYTES_MAX: usize = 253;

/// Why a host or target is refused; every one is the client's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error("the scheme is neither http nor https")]
    Scheme,
    #[error("the host is empty")]
    HostEmpty,
    #[error("the host is longer than {HOST_NAME_BYTES_MAX} bytes")]
    HostTooLong,
    #[error("user information before the host")]
    UserInformation,
    #[error("the host is not a name or an address")]
    HostSyntax,
    #[error("the port is not a number from 1 to 65535")]
    Port,
    #[error("the target does not begin with a slash")]
    NoSlash,
    #[error("a fragment in the target")]
    Fragment,
    #[error("a byte that must be percent-encoded: 0x{0:02x}")]
    RawByte(u8),
    #[error("a percent sign without two hexadecimal digits in the path")]
    BrokenEscape,
    #[error("an encoded separator beside a dot segment")]
    EncodedTraversal,
}

/// A URL taken apart and brought into canonical form, as the purge API needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanonicalUrl {
    pub scheme: Scheme,
    /// Lower case, without the scheme's default port.
    pub host: String,
    /// Path and query; begins with a slash.
    pub target: String,
}

/// Reads an absolute `http` or `https` URL.
pub fn canonical_url(text: &str) -> Result<CanonicalUrl, TargetError> {
    let (scheme, rest) = text.split_once("://").ok_or(TargetError::Scheme)?;
    let scheme = Scheme::parse(scheme.as_bytes()).ok_or(TargetError::Scheme)?;
    let border = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, target) = rest.split_at(border);
    let host = canonical_host(host.as_bytes(), scheme)?.into_owned();
    // RFC 9110 section 4.2.3: an empty path is the path "/".
    let target = if target.starts_with('/') { Cow::Borrowed(target) } else { Cow::Owned(format!("/{target}")) };
    let mut canonical = Vec::with_capacity(target.len());
    canonical_target(target.as_bytes(), &mut canonical)?;
    let ascii = |bytes| String::from_utf8(bytes).expect("canonical forms are ASCII");
    Ok(CanonicalUrl { scheme, host: ascii(host), target: ascii(canonical) })
}

/// A host as key and rules want it: lower case, no trailing dot, no default port. Borrows when it already is.
pub fn canonical_host(raw: &[u8], scheme: Scheme) -> Result<Cow<'_, [u8]>, TargetError> {
    if raw.contains(&b'@') {
        return Err(TargetError::UserInformation);
    }
    let (name, port) = split_port(raw)?;
    let port = port.filter(|&port| port != scheme.default_port());
    let name = if name.first() == Some(&b'[') { canonical_ipv6(name)? } else { canonical_name(name)? };
    match port {
        None => Ok(name),
        Some(port) => Ok(with_port(raw, &name, port)),
    }
}

/// Name and port; `host:` is a host without port (RFC 3986 section 3.2.3).
fn split_port(raw: &[u8]) -> Result<(&[u8], Option<u16>), TargetError> {
    let after_address = raw.iter().rposition(|&b| b == b']').map_or(0, |at| at + 1);
    let Some(colon) = raw[after_address..].iter().position(|&b| b == b':') else {
        return Ok((raw, None));
    };
    let (name, port) = (&raw[..after_address + colon], &raw[after_address + colon + 1..]);
    if port.is_empty() {
        return Ok((name, None));
    }
    if port.len() > 5 || !port.iter().all(u8::is_ascii_digit) {
        return Err(TargetError::Port);
    }
    let port = port.iter().fold(0u32, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    match u16::try_from(port) {
        Ok(port) if port > 0 => Ok((name, Some(port))),
        _ => Err(TargetError::Port),
    }
}

fn canonical_name(name: &[u8]) -> Result<Cow<'_, [u8]>, TargetError> {
    let name = name.strip_suffix(b".").unwrap_or(name);
    if name.is_empty() {
        return Err(TargetError::HostEmpty);
    }
    if name.len() > HOST_NAME_BYTES_MAX {
        return Err(TargetError::HostTooLong);
    }
    let (mut upper, mut previous) = (false, b'.');
    for &byte in name {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => {}
            b'A'..=b'Z' => upper = true,
            b'.' if previous != b'.' => {}
            _ => return Err(TargetError::HostSyntax),
        }
        previous = byte;
    }
    if previous == b'.' {
        return Err(TargetError::HostSyntax);
    }
    Ok(if upper { Cow::Owned(name.to_ascii_lowercase()) } else { Cow::Borrowed(name) })
}

fn canonical_ipv6(name: &[u8]) -> Result<Cow<'_, [u8]>, TargetError> {
    let inner = name.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).ok_or(TargetError::HostSyntax)?;
    let text = std::str::from_utf8(inner).map_err(|_| TargetError::HostSyntax)?;
    let address: Ipv6Addr = text.parse().map_err(|_| TargetError::HostSyntax)?;
    Ok(Cow::Owned(format!("[{address}]").into_bytes()))
}

/// Puts a port that is not the default back, reusing `raw` when it already reads that way.
fn with_port<'a>(raw: &'a [u8], name: &[u8], port: u16) -> Cow<'a, [u8]> {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(port).as_bytes();
    let is_as_sent = raw.strip_prefix(name).and_then(|rest| rest.strip_prefix(b":")) == Some(digits);
    if is_as_sent {
        return Cow::Borrowed(raw);
    }
    Cow::Owned([name, b":", digits].concat())
}

/// What the scan of a target has to know about a byte.
#[derive(Clone, Copy, PartialEq)]
enum Class {
    /// Stands for itself.
    Plain,
    /// May need rewriting: the percent sign and the backslash.
    Special,
    /// Never allowed: controls, space, bytes from 0x80, and the number sign.
    Refused,
}

const CLASS: [Class; 256] = {
    let mut class = [Class::Refused; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        class[byte] = Class::Plain;
        byte += 1;
    }
    class[b'#' as usize] = Class::Refused;
    class[b'%' as usize] = Class::Special;
    class[b'\\' as usize] = Class::Special;
    class
};

/// Writes the canonical form of a target in origin form (path and query) to `out`, which is cleared first.
pub fn canonical_target(raw: &[u8], out: &mut Vec<u8>) -> Result<(), TargetError> {
    out.clear();
    if raw.first() != Some(&b'/') {
        return Err(TargetError::NoSlash);
    }
    if is_canonical(raw)? {
        out.extend_from_slice(raw);
        return Ok(());
    }
    let question = memchr::memchr(b'?', raw).unwrap_or(raw.len());
    canonical_path(&raw[..question], out)?;
    canonical_query(&raw[question..], out);
    Ok(())
}

/// Whether one scan finds nothing to rewrite; refuses what no form of it could carry.
fn is_canonical(raw: &[u8]) -> Result<bool, TargetError> {
    let (mut canonical, mut previous) = (true, 0);
    for &byte in raw {
        match CLASS[byte as usize] {
            Class::Plain => canonical &= !(byte == b'.' && previous == b'/'),
            Class::Special => canonical = false,
            Class::Refused if byte == b'#' => return Err(TargetError::Fragment),
            Class::Refused => return Err(TargetError::RawByte(byte)),
        }
        previous = byte;
    }
    Ok(canonical)
}

/// Normalises escapes segment by segment and removes dot segments (RFC 3986 section 5.2.4).
fn canonical_path(path: &[u8], out: &mut Vec<u8>) -> Result<(), TargetError> {
    let mut segments = path[1..].split(|&b| b == b'/').peekable();
    while let Some(segment) = segments.next() {
        let start = out.len();
        out.push(b'/');
        canonical_segment(segment, out)?;
        let up = match &out[start + 1..] {
            b"." => false,
            b".." => true,
            _ => continue,
        };
        out.truncate(start);
        if up {
            out.truncate(memchr::memrchr(b'/', out).unwrap_or(0));
        }
        if segments.peek().is_none() {
            out.push(b'/');
        }
    }
    Ok(())
}

fn canonical_segment(segment: &[u8], out: &mut Vec<u8>) -> Result<(), TargetError> {
    let start = out.len();
    let mut at = 0;
    while at < segment.len() {
        match segment[at] {
            b'\\' => return Err(TargetError::RawByte(b'\\')),
            b'%' => {
                push_escape(escape_at(segment, at).ok_or(TargetError::BrokenEscape)?, out);
                at += 3;
            }
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
    if hides_dot_segment(&out[start..]) { Err(TargetError::EncodedTraversal) } else { Ok(()) }
}

/// Whether a server that decodes `%2F` or `%5C` first would find `..` in this segment.
fn hides_dot_segment(segment: &[u8]) -> bool {
    let mut rest = segment;
    let mut separators = 0;
    while let Some(at) = memchr::memchr_iter(b'%', rest).find(|&at| matches!(&rest[at..at + 3], b"%2F" | b"%5C")) {
        if &rest[..at] == b".." {
            return true;
        }
        separators += 1;
        rest = &rest[at + 3..];
    }
    separators > 0 && rest == b".."
}

/// The query keeps its separators and order. Browsers send a lone `%` or a backslash here, so these are encoded
/// rather than refused; the origin reads the same either way.
fn canonical_query(query: &[u8], out: &mut Vec<u8>) {
    let mut at = 0;
    while at < query.len() {
        match (query[at], escape_at(query, at)) {
            (b'%', Some(byte)) => {
                push_escape(byte, out);
                at += 2;
            }
            (byte @ (b'%' | b'\\'), _) => push_encoded(byte, out),
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
}

/// The byte that the escape at `at` stands for.
fn escape_at(text: &[u8], at: usize) -> Option<u8> {
    let digit = |offset: usize| text.get(at + offset).and_then(|&b| (b as char).to_digit(16));
    Some((digit(1)? << 4 | digit(2)?) as u8)
}

/// RFC 3986 section 6.2.2: unreserved characters are decoded, everything else keeps its escape in upper case.
fn push_escape(byte: u8, out: &mut Vec<u8>) {
    if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
        out.push(byte);
    } else {
        push_encoded(byte, out);
    }
}

fn push_encoded(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

/// What a site keys and forwards of the query. Parameters are separated by `&` alone: `;` belongs to a value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum QueryPolicy {
    /// The query as it came.
    #[default]
    Keep,
    /// Sorted by name; parameters with one name keep their order.
    Sort,
    /// Only the named parameters.
    Allow(Names),
    /// All but the named parameters.
    Drop(Names),
    /// No query at all.
    Ignore,
}

/// Parameter names; one that ends in `*` stands for every name that begins so.
pub type Names = Arc<[Box<[u8]>]>;

/// Applies a policy to a canonical target. Does nothing to a target without a query.
pub fn apply_query(target: &mut Vec<u8>, policy: &QueryPolicy) {
    let Some(question) = memchr::memchr(b'?', target) else { return };
    match policy {
        QueryPolicy::Keep => {}
        QueryPolicy::Ignore => target.truncate(question),
        QueryPolicy::Allow(names) => retain_parameters(target, question, |name| listed(names, name)),
        QueryPolicy::Drop(names) => retain_parameters(target, question, |name| !listed(names, name)),
        QueryPolicy::Sort => sort_parameters(target, question),
    }
}

fn parameters(query: &[u8]) -> impl Iterator<Item = &[u8]> {
    query.split(|&b| b == b'&')
}

fn name_of(parameter: &[u8]) -> &[u8] {
    memchr::memchr(b'=', parameter).map_or(parameter, |end| &parameter[..end])
}

fn listed(names: &Names, name: &[u8]) -> bool {
    names.iter().any(|listed| match listed.split_last() {
        Some((b'*', prefix)) => name.starts_with(prefix),
        _ => **listed == *name,
    })
}

fn retain_parameters(target: &mut Vec<u8>, question: usize, keep: impl Fn(&[u8]) -> bool) {
    let query = target.split_off(question);
    for parameter in parameters(&query[1..]).filter(|parameter| keep(name_of(parameter))) {
        target.push(if target.len() == question { b'?' } else { b'&' });
        target.extend_from_slice(parameter);
    }
}

fn sort_parameters(target: &mut Vec<u8>, question: usize) {
    if parameters(&target[question + 1..]).is_sorted_by_key(name_of) {
        return;
    }
    let query = target.split_off(question + 1);
    let mut sorted: Vec<&[u8]> = parameters(&query).collect();
    sorted.sort_by_key(|parameter| name_of(parameter));
    target.extend_from_slice(&sorted.join(&b'&'));
}

#[cfg(test)]
mod tests;
