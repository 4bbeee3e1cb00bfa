//! What is to be written to an HTTP/1.1 client: some text (head, chunk size), then data that is shared, not copied.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// Data up to this size is copied behind the text: one plain write of the whole costs the kernel less than a vectored
/// one of two parts, by more than the copy costs here.
const COPIED_BYTES_MAX: usize = 4 << 10;

/// Room for text that is kept between answers; a stream of small pieces may have needed more.
const TEXT_KEPT_BYTES_MAX: usize = 16 << 10;

/// Bytes waiting to be written: the text first, then the data, in order.
#[derive(Debug, Default)]
pub struct Outgoing {
    text: Vec<u8>,
    text_sent: usize,
    data: VecDeque<Bytes>,
    data_bytes: usize,
}

impl Outgoing {
    /// Whether all that waits is in one piece.
    pub fn is_one_piece(&self) -> bool {
        self.data.is_empty()
    }

    /// The text to append to; only while no data waits behind it.
    pub fn text(&mut self) -> &mut Vec<u8> {
        debug_assert!(self.data.is_empty(), "text goes before data");
        &mut self.text
    }

    /// Appends data behind the text.
    pub fn push(&mut self, data: Bytes) {
        if self.data.is_empty() && data.len() <= COPIED_BYTES_MAX {
            self.text.extend_from_slice(&data);
        } else if !data.is_empty() {
            self.data_bytes += data.len();
            self.data.push_back(data);
        }
    }
}

impl Buf for Outgoing {
    fn remaining(&self) -> usize {
        self.text.len() - self.text_sent + self.data_bytes
    }

    fn chunk(&self) -> &[u8] {
        if self.text_sent < self.text.len() {
            return &self.text[self.text_sent..];
        }
        self.data.front().map_or(&[], |data| data)
    }

    fn chunks_vectored<'a>(&'a self, dst: &mut [IoSlice<'a>]) -> usize {
        let text = &self.text[self.text_sent..];
        let parts =
            Some(text).filter(|text| !text.is_empty()).into_iter().chain(self.data.iter().map(|data| &data[..]));
        let mut filled = 0;
        for (slot, part) in dst.iter_mut().zip(parts) {
            *slot = IoSlice::new(part);
            filled += 1;
        }
        filled
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.remaining(), "more was written than was there");
        let text = count.min(self.text.len() - self.text_sent);
        self.text_sent += text;
        count -= text;
        if self.text_sent == self.text.len() {
            self.text.clear();
            self.text.shrink_to(TEXT_KEPT_BYTES_MAX);
            self.text_sent = 0;
        }
        self.data_bytes -= count;
        while count > 0 {
            let front = self.data.front_mut().expect("data_bytes counts what is in data");
            if count < front.len() {
                front.advance(count);
                return;
            }
            count -= front.len();
            self.data.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_leaves_in_order_however_it_is_split() {
        for step in 1..12 {
            let mut outgoing = Outgoing::default();
            outgoing.text().extend_from_slice(b"head");
            for data in ["a", "", "bcd", "ef"] {
                outgoing.push(Bytes::from_static(data.as_bytes()));
            }
            let mut seen = Vec::new();
            while outgoing.has_remaining() {
                let mut slices = [IoSlice::new(&[]); 8];
                let filled = outgoing.chunks_vectored(&mut slices);
                let all: Vec<u8> = slices[..filled].iter().flat_map(|s| s.to_vec()).collect();
                assert_eq!(all.len(), outgoing.remaining());
                let count = step.min(all.len());
                seen.extend_from_slice(&all[..count]);
                outgoing.advance(count);
            }
            assert_eq!(seen, b"headabcdef", "in steps of {step}");
        }
    }
}
