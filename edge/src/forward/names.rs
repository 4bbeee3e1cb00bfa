//! What becomes of a client's field line on its way to the origin, by its name alone.
//!
//! One look-up decides for each line of each request that is passed on, so it compares only with the few names of the
//! same length. Origins behind CGI read `_` in a name as `-`, some read `.` and others so too: every byte that is neither
//! letter nor digit counts as `-` here.

use std::sync::LazyLock;

use super::Purpose;
use super::client::{CLAIMS, OVERRIDES};
use crate::hop_by_hop;

/// What kind of line a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing special: passed on.
    Plain,
    /// Of this connection, or written by the node or the codec: dropped.
    Dropped,
    /// A condition, a range or the codings of one client: left out of a fill.
    Own,
    /// Says for whom a proxy asks: believed only of a trusted one.
    Claim,
}

const OWN: [&str; 7] =
    ["range", "if-range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "accept-encoding"];

/// Host and framing are the origin side's, Expect was answered, Max-Forwards was obeyed, the id is made anew, and what
/// peers say to each other concerns nobody else.
const WRITTEN_HERE: [&str; 6] = ["host", "content-length", "expect", "max-forwards", "x-request-id", "headland-peer"];

/// Every name that is not plain has at most so many bytes (but for `x-forwarded-*`).
const NAME_BYTES_MAX: usize = 24;

/// The names of one length.
#[derive(Default)]
struct Names {
    /// A bit for each letter that one of them begins with: most names of a request can be told apart by that.
    initials: u32,
    list: Vec<(&'static [u8], Kind)>,
}

type ByLength = [Names; NAME_BYTES_MAX + 1];

static NAMES: LazyLock<ByLength> = LazyLock::new(|| {
    let mut table = ByLength::default();
    let dropped = WRITTEN_HERE.iter().chain(&hop_by_hop::ALWAYS).chain(&OVERRIDES).map(|name| (*name, Kind::Dropped));
    let own = OWN.iter().map(|name| (*name, Kind::Own));
    let claims = CLAIMS.iter().map(|name| (*name, Kind::Claim));
    for (name, kind) in dropped.chain(own).chain(claims) {
        let names = &mut table[name.len()];
        names.initials |= initial(name.as_bytes());
        names.list.push((name.as_bytes(), kind));
    }
    table
});

/// The kind of a name, in any case.
pub(super) fn kind_of(name: &[u8]) -> Kind {
    let initial = initial(name);
    if let Some(names) = NAMES.get(name.len())
        && names.initials & initial != 0
        && let Some((_, kind)) = names.list.iter().find(|(known, _)| same(name, known))
    {
        return *kind;
    }
    match name.get(..X_FORWARDED.len()) {
        Some(start) if initial == self::initial(X_FORWARDED) && same(start, X_FORWARDED) => Kind::Claim,
        _ => Kind::Plain,
    }
}

/// The bit of a name's first letter, the same in both cases; other bytes share some letter's bit.
fn initial(name: &[u8]) -> u32 {
    name.first().map_or(0, |byte| 1 << (byte & 0x1f))
}

const X_FORWARDED: &[u8] = b"x-forwarded";

/// Whether `name` is `known` (in lower case, and of the same length) in any spelling.
fn same(name: &[u8], known: &[u8]) -> bool {
    // Setting this bit makes a letter lower case and leaves digits and `-` as they are.
    let alike = |byte: u8, known: u8| byte | 0x20 == known || known == b'-' && !byte.is_ascii_alphanumeric();
    name.iter().zip(known).all(|(&byte, &known)| alike(byte, known))
}

/// Whether a line of the client is passed on.
pub(super) fn passes(name: &[u8], purpose: Purpose, peer_trusted: bool) -> bool {
    match kind_of(name) {
        Kind::Plain => true,
        Kind::Dropped => false,
        Kind::Own => purpose == Purpose::Pass,
        Kind::Claim => peer_trusted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_the_table_is_found() {
        for (name, kind) in NAMES.iter().flat_map(|names| &names.list) {
            assert_eq!(kind_of(name), *kind);
            assert_eq!(kind_of(&name.to_ascii_uppercase()), *kind);
        }
    }

    #[test]
    fn a_name_is_known_in_every_spelling() {
        for (name, kind) in [
            ("Host", Kind::Dropped),
            ("transfer_encoding", Kind::Dropped),
            ("If-None-Match", Kind::Own),
            ("X-REAL-IP", Kind::Claim),
            ("x_forwarded_for", Kind::Claim),
            ("X-Forwarded-Something-Longer-Than-Any", Kind::Claim),
            ("X-Original_URL", Kind::Dropped),
            ("accept", Kind::Plain),
            ("x-forwarde", Kind::Plain),
            ("", Kind::Plain),
        ] {
            assert_eq!(kind_of(name.as_bytes()), kind, "{name}");
        }
    }
}
