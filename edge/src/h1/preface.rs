//! Telling HTTP/2 with prior knowledge from HTTP/1.1 on a clear-text port by its first bytes (RFC 9113 3.3).

/// What every HTTP/2 client sends first (RFC 9113 3.4).
const H2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Whether a connection opens with HTTP/2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preface {
    /// The whole preface is there.
    Yes,
    /// Something else is spoken.
    No,
    /// So far it could be either.
    NeedMore,
}

/// Compares the first bytes of a connection with the HTTP/2 preface.
pub fn looks_like_h2_preface(prefix: &[u8]) -> Preface {
    let seen = prefix.len().min(H2_PREFACE.len());
    if prefix[..seen] != H2_PREFACE[..seen] {
        Preface::No
    } else if seen == H2_PREFACE.len() {
        Preface::Yes
    } else {
        Preface::NeedMore
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_split_of_the_preface_waits_for_the_rest() {
        for end in 0..H2_PREFACE.len() {
            assert_eq!(looks_like_h2_preface(&H2_PREFACE[..end]), Preface::NeedMore);
        }
        assert_eq!(looks_like_h2_preface(&[H2_PREFACE.as_slice(), b"\0\0\0\x04"].concat()), Preface::Yes);
    }

    #[test]
    fn http_1_is_told_at_the_first_byte_that_differs() {
        assert_eq!(looks_like_h2_preface(b"G"), Preface::No);
        assert_eq!(looks_like_h2_preface(b"PRI * HTTP/1.1\r\n"), Preface::No);
        assert_eq!(looks_like_h2_preface(b"PO"), Preface::No);
    }
}
