//! Writing the chunked coding (RFC 9112 7.1). We never write extensions.

use http::HeaderMap;

/// Ends the data of a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";
/// Ends a body that has no trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// 16 hexadecimal digits and CRLF.
const CHUNK_SIZE_MAX: usize = 18;

/// The line that opens a chunk: its size and CRLF.
#[derive(Clone, Copy, Debug)]
pub struct ChunkSize {
    line: [u8; CHUNK_SIZE_MAX],
    start: usize,
}

impl ChunkSize {
    /// `size` must not be 0: that would be the last chunk.
    pub fn new(size: usize) -> Self {
        debug_assert!(size > 0, "an empty chunk ends the body");
        let mut line = *b"0000000000000000\r\n";
        let mut start = CHUNK_SIZE_MAX - CHUNK_END.len();
        let mut rest = size;
        while rest > 0 {
            start -= 1;
            line[start] = b"0123456789abcdef"[rest & 15];
            rest >>= 4;
        }
        Self { line, start }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.line[self.start..]
    }
}

/// Writes the last chunk and the trailer section. Which fields may trail is the caller's choice (`may_trail`).
pub fn encode_last_chunk(trailers: &HeaderMap, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_written_in_hexadecimal_without_leading_zeros() {
        for (size, line) in [(1, "1\r\n"), (15, "f\r\n"), (16, "10\r\n"), (0x1_0000, "10000\r\n")] {
            assert_eq!(ChunkSize::new(size).as_bytes(), line.as_bytes());
        }
        assert_eq!(ChunkSize::new(usize::MAX).as_bytes(), b"ffffffffffffffff\r\n");
    }

    #[test]
    fn a_last_chunk_without_trailers_is_the_constant() {
        let mut out = Vec::new();
        encode_last_chunk(&HeaderMap::new(), &mut out);
        assert_eq!(out, LAST_CHUNK);
    }
}
