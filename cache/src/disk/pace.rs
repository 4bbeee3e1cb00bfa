//! How fast is written: a bucket of bytes that fills by the time, as much as a second's worth.

/// The bucket.
#[derive(Debug)]
pub struct Pace {
    bytes_per_s: u64,
    /// What may be written now; below zero when a large record has been.
    left: i64,
    filled_at_us: u64,
}

impl Pace {
    pub fn new(bytes_per_s: u64, now_us: u64) -> Self {
        Pace { bytes_per_s, left: bytes_per_s.cast_signed(), filled_at_us: now_us }
    }

    /// How long to wait before something is written, in microseconds.
    pub fn wait_us(&mut self, now_us: u64) -> u64 {
        let elapsed = u128::from(now_us.saturating_sub(self.filled_at_us));
        let more = i64::try_from(elapsed * u128::from(self.bytes_per_s) / 1_000_000).unwrap_or(i64::MAX);
        if more > 0 {
            self.filled_at_us = now_us;
            self.left = self.left.saturating_add(more).min(self.bytes_per_s.cast_signed());
        }
        match u64::try_from(-self.left) {
            Ok(missing) if missing > 0 => missing * 1_000_000 / self.bytes_per_s + 1,
            _ => 0,
        }
    }

    /// So much was written.
    pub fn spend(&mut self, bytes: u64) {
        self.left = self.left.saturating_sub_unsigned(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_waits_for_its_time() {
        let mut pace = Pace::new(1000, 0);
        assert_eq!(pace.wait_us(0), 0);
        pace.spend(1500);
        assert_eq!(pace.wait_us(0), 500_001);
        assert_eq!(pace.wait_us(250_000), 250_001);
        assert_eq!(pace.wait_us(500_000), 0);
        pace.spend(100);
        assert_eq!(pace.wait_us(100_000_000), 0);
        pace.spend(1000);
        assert_eq!(pace.wait_us(100_000_000), 0, "a second's worth is kept, no more");
        pace.spend(1);
        assert_eq!(pace.wait_us(100_000_000), 1001);
    }
}
