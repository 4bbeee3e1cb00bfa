//! Which volume has a key: each by its share of all bytes, and as few keys as can be move when volumes come or go.
//!
//! Rendezvous hashing: every volume draws a number from the key's hash and its own path, weighted by its size; the
//! greatest has the key. A volume that fails keeps its keys: nobody else has an older response for them when it is back.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::VolumeSettings;

/// The volumes, in their order.
pub struct Spread {
    volumes: Box<[(u64, f64)]>,
}

/// The keys of one volume.
#[derive(Clone)]
pub struct Home {
    pub spread: Arc<Spread>,
    /// Of the volume.
    pub number: usize,
}

impl Home {
    pub fn has(&self, hash: u64) -> bool {
        self.spread.of(hash) == self.number
    }

    /// The same number as long as the same keys have their home here.
    pub fn identity(&self) -> u64 {
        let volumes = self.spread.volumes.iter();
        let each = volumes.flat_map(|(id, weight)| [id.to_le_bytes(), weight.to_bits().to_le_bytes()]);
        xxh3_64_with_seed(&each.flatten().collect::<Vec<u8>>(), self.number as u64)
    }
}

impl Spread {
    pub fn over(volumes: &[VolumeSettings]) -> Self {
        use std::os::unix::ffi::OsStrExt;
        let weighed = |volume: &VolumeSettings| {
            (xxh3_64_with_seed(volume.path.as_os_str().as_bytes(), 0), volume.size_bytes as f64)
        };
        Spread { volumes: volumes.iter().map(weighed).collect() }
    }

    /// The number of the volume that has a hash.
    pub fn of(&self, hash: u64) -> usize {
        if self.volumes.len() < 2 {
            return 0;
        }
        let drawn = |(id, weight): &(u64, f64)| {
            let drawn = xxh3_64_with_seed(&hash.to_le_bytes(), *id) >> 11;
            // Above 0 and below 1, so that its logarithm is negative.
            let share = (drawn as f64 + 0.5) / (1_u64 << 53) as f64;
            weight / -share.ln()
        };
        let scores = self.volumes.iter().map(drawn).enumerate();
        scores.max_by(|one, other| one.1.total_cmp(&other.1)).map_or(0, |(number, _)| number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volumes(sizes: &[u64]) -> Vec<VolumeSettings> {
        let of =
            |(number, size): (usize, &u64)| VolumeSettings { path: format!("/disk{number}").into(), size_bytes: *size };
        sizes.iter().enumerate().map(of).collect()
    }

    #[test]
    fn each_has_its_share_and_only_a_new_one_takes_keys() {
        let (before, after) = (Spread::over(&volumes(&[100, 300])), Spread::over(&volumes(&[100, 300, 400])));
        let mut counts = [0; 3];
        for hash in 0..8_000 {
            let now = after.of(hash);
            counts[now] += 1;
            assert!(now == 2 || now == before.of(hash));
        }
        for (count, expected) in counts.into_iter().zip([1000, 3000, 4000]) {
            assert!((expected - 250..expected + 250).contains(&count), "{counts:?}");
        }
    }
}
