//! A trace: requests in their order, each a key and the size of its body.
//!
//! On disk it is 12 bytes a request, little endian: the key as u64, the size in bytes as u32. Here keys are numbered
//! from zero in the order of their first request, so that tables are plain vectors. A key keeps its first size.

use std::collections::HashMap;
use std::io;
use std::path::Path;

pub(crate) const RECORD_BYTES: usize = 12;
pub(crate) const NEVER: usize = usize::MAX;

#[derive(Debug, Default)]
pub(crate) struct Trace {
    /// The number of the key of every request.
    pub(crate) requests: Vec<u32>,
    /// The size of every key's body, in bytes.
    pub(crate) sizes: Vec<u32>,
}

impl Trace {
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let bytes = std::fs::read(path)?;
        if bytes.len() % RECORD_BYTES != 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the last record is not whole"));
        }
        Ok(Self::of(bytes.chunks_exact(RECORD_BYTES).map(|record| {
            let (key, size) = record.split_at(8);
            let key = u64::from_le_bytes(key.try_into().expect("eight bytes"));
            (key, u32::from_le_bytes(size.try_into().expect("four bytes")))
        })))
    }

    pub(crate) fn of(requests: impl Iterator<Item = (u64, u32)>) -> Self {
        let mut trace = Self::default();
        let mut numbers: HashMap<u64, u32> = HashMap::new();
        for (key, size) in requests {
            let number = *numbers.entry(key).or_insert_with(|| {
                trace.sizes.push(size);
                (trace.sizes.len() - 1) as u32
            });
            trace.requests.push(number);
        }
        trace
    }

    /// For every request the place of the next one for the same key, or `NEVER`.
    pub(crate) fn next_uses(&self) -> Vec<usize> {
        let mut next = vec![NEVER; self.requests.len()];
        let mut seen = vec![NEVER; self.sizes.len()];
        for (place, key) in self.requests.iter().enumerate().rev() {
            next[place] = std::mem::replace(&mut seen[*key as usize], place);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_numbered_and_next_uses_found() {
        let trace = Trace::of([(7, 10), (9, 20), (7, 99), (8, 30), (9, 20)].into_iter());
        assert_eq!(trace.requests, [0, 1, 0, 2, 1]);
        assert_eq!(trace.sizes, [10, 20, 30]);
        assert_eq!(trace.next_uses(), [2, 4, NEVER, NEVER, NEVER]);
    }
}
