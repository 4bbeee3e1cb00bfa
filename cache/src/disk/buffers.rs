//! Memory that is read into: used again and again, so that it is warm, and neither zeroed nor faulted in for every read.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::record::PIECE_BYTES;

/// Bytes of one buffer: a piece, and the head before it.
pub const BUFFER_BYTES: usize = PIECE_BYTES + (8 << 10);
/// Buffers that are kept while nobody uses them.
const FREE_MAX: usize = 64;

/// The buffers that are free.
#[derive(Default)]
pub struct Buffers {
    free: Mutex<Vec<Box<[u8]>>>,
}

/// One buffer, given back when dropped.
pub struct Buffer {
    bytes: Box<[u8]>,
    home: Arc<Buffers>,
}

impl Buffers {
    pub fn take(self: &Arc<Self>) -> Buffer {
        let free = self.free.lock().pop();
        Buffer { bytes: free.unwrap_or_else(|| vec![0; BUFFER_BYTES].into()), home: self.clone() }
    }
}

impl Buffer {
    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Its bytes to be shared; the buffer is free again when nobody has them.
    pub fn share(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut free = self.home.free.lock();
        if free.len() < FREE_MAX {
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_free_again_when_nobody_has_its_bytes() {
        let buffers = Arc::new(Buffers::default());
        let mut buffer = buffers.take();
        buffer.bytes()[0] = 7;
        let bytes = buffer.share();
        let part = bytes.slice(..1);
        drop(bytes);
        assert!(buffers.free.lock().is_empty());
        assert_eq!(&part[..], [7]);
        drop(part);
        assert_eq!(buffers.free.lock().len(), 1);
        drop(buffers.take());
        assert_eq!(buffers.free.lock().len(), 1);
    }
}
