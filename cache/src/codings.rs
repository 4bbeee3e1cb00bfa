//! Accept-Encoding as a small set (RFC 9110 section 12.5.3): which of the codings known here a client accepts.
//!
//! There are at most 2^8 + 1 such sets and a handful in practice, so no client can split a key at will. Preference
//! between accepted codings is not part of the set. A coding unknown here counts as not offered; that is sound
//! because a response in an unknown coding that varies on Accept-Encoding is not stored (see [`crate::admit`]).

use crate::Fields;
use crate::syntax::{self, is_ows};

/// The coding that is acceptable unless refused.
const IDENTITY: u8 = 1 << 0;

/// What a request's Accept-Encoding allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AcceptedCodings(u8);

impl AcceptedCodings {
    /// Reads the Accept-Encoding lines of a request.
    pub fn of(request: &impl Fields) -> Self {
        let mut tally = Tally::default();
        for line in request.named("accept-encoding") {
            tally.add_line(line);
        }
        tally.accepted()
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

/// The bit of a coding. RFC 9110 section 8.4.1: names are case-insensitive; x-gzip and x-compress are the same as the
/// plain names.
fn bit_of(coding: &[u8]) -> Option<u8> {
    // Told apart by length, because this runs on every hit that varies on the field.
    let candidates: &[(&[u8], u8)] = match coding.len() {
        2 => &[(b"br", 1 << 2)],
        3 => &[(b"dcb", 1 << 6), (b"dcz", 1 << 7)],
        4 => &[(b"gzip", 1 << 1), (b"zstd", 1 << 3)],
        6 => &[(b"x-gzip", 1 << 1)],
        7 => &[(b"deflate", 1 << 4)],
        8 => &[(b"identity", IDENTITY), (b"compress", 1 << 5)],
        10 => &[(b"x-compress", 1 << 5)],
        _ => &[],
    };
    candidates.iter().find(|(name, _)| coding.eq_ignore_ascii_case(name)).map(|(_, bit)| *bit)
}

/// What the members read so far say.
#[derive(Default)]
struct Tally {
    accepted: u8,
    refused: u8,
    star: Option<bool>,
}

impl Tally {
    /// One pass over the bytes; a member ends at a comma.
    fn add_line(&mut self, mut line: &[u8]) {
        while !line.is_empty() {
            let end = line.iter().position(|&b| b == b',').unwrap_or(line.len());
            self.add_member(syntax::trim(&line[..end]));
            line = line.get(end + 1..).unwrap_or_default();
        }
    }

    fn add_member(&mut self, member: &[u8]) {
        let name_end = member.iter().position(|&b| b == b';' || is_ows(b)).unwrap_or(member.len());
        let (name, parameters) = member.split_at(name_end);
        let allowed = !parameters.split(|&b| b == b';').map(syntax::trim).any(is_zero_weight);
        if name == b"*" {
            self.star = Some(allowed);
        } else if let Some(bit) = bit_of(name) {
            // Of two words about one coding the refusal counts.
            *(if allowed { &mut self.accepted } else { &mut self.refused }) |= bit;
        }
    }

    fn accepted(&self) -> AcceptedCodings {
        let accepted = match self.star {
            Some(true) => u8::MAX,
            // RFC 9110 section 12.5.3: identity is acceptable unless refused by name or by `*;q=0`.
            Some(false) => self.accepted,
            None => self.accepted | IDENTITY,
        };
        AcceptedCodings(accepted & !self.refused)
    }
}

/// RFC 9110 section 12.4.2: `q=0`, with up to three zeros behind the point, means "not acceptable".
fn is_zero_weight(parameter: &[u8]) -> bool {
    let [b'q' | b'Q', b'=', weight @ ..] = parameter else { return false };
    matches!(weight, b"0" | b"0." | b"0.0" | b"0.00" | b"0.000")
}
