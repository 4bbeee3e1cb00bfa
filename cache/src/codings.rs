//! Accept-Encoding as a small set (RFC 9110 section 12.5.3): which of the codings known here a client accepts.
//!
//! There are at most 2^8 + 1 such sets and a handful in practice, so no client can split a key at will. Preference
//! between accepted codings is not part of the set. A coding unknown here counts as not offered; that is sound
//! because a response in an unknown coding that varies on Accept-Encoding is not stored (see [`crate::admit`]).

use crate::Fields;
use crate::syntax;

/// The codings, in the order of their bits. `identity` is bit 0.
const NAMES: [&[u8]; 8] = [b"identity", b"gzip", b"br", b"zstd", b"deflate", b"compress", b"dcb", b"dcz"];
const IDENTITY: u8 = 1;

/// What a request's Accept-Encoding allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AcceptedCodings(u8);

impl AcceptedCodings {
    /// Reads the Accept-Encoding lines of a request.
    pub fn of(request: &impl Fields) -> Self {
        let (mut accepted, mut refused, mut star) = (0_u8, 0_u8, None);
        for (name, allowed) in request.named("accept-encoding").flat_map(members) {
            if name == b"*" {
                star = Some(allowed);
            } else if let Some(bit) = bit_of(name) {
                // Of two words about one coding the refusal counts.
                *(if allowed { &mut accepted } else { &mut refused }) |= bit;
            }
        }
        accepted &= !refused;
        match star {
            Some(true) => accepted |= !refused,
            // RFC 9110 section 12.5.3: identity is acceptable unless refused by name or by `*;q=0`.
            Some(false) => {}
            None => accepted |= IDENTITY & !refused,
        }
        AcceptedCodings(accepted)
    }

    /// One byte that is equal for equal sets.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether a content coding, by its name in any case, is accepted.
    pub fn accepts(self, coding: &[u8]) -> bool {
        bit_of(coding).is_some_and(|bit| self.0 & bit != 0)
    }
}

/// Whether every coding in these Content-Encoding lines is known here.
pub(crate) fn all_known(content_encoding: &[&[u8]]) -> bool {
    let codings = content_encoding.iter().flat_map(|line| line.split(|&b| b == b','));
    codings.map(syntax::trim).filter(|coding| !coding.is_empty()).all(|coding| bit_of(coding).is_some())
}

fn bit_of(coding: &[u8]) -> Option<u8> {
    // RFC 9110 section 8.4.1: names are case-insensitive; x-gzip and x-compress are equivalent to the plain names.
    let plain = match coding {
        [b'x' | b'X', b'-', plain @ ..] if matches!(plain.len(), 4 | 8) => plain,
        _ => coding,
    };
    NAMES.iter().position(|name| plain.eq_ignore_ascii_case(name)).map(|bit| 1 << bit)
}

/// Each member of one line: the coding, and whether its weight allows it.
fn members(line: &[u8]) -> impl Iterator<Item = (&[u8], bool)> {
    line.split(|&b| b == b',').map(|member| {
        let mut parts = member.split(|&b| b == b';').map(syntax::trim);
        let name = parts.next().unwrap_or_default();
        (name, !parts.any(is_zero_weight))
    })
}

/// RFC 9110 section 12.4.2: `q=0`, with up to three zeros behind the point, means "not acceptable".
fn is_zero_weight(parameter: &[u8]) -> bool {
    let [b'q' | b'Q', b'=', weight @ ..] = parameter else { return false };
    matches!(weight, b"0" | b"0." | b"0.0" | b"0.00" | b"0.000")
}
