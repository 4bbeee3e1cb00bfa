//! The node's secret: what its own tokens are made with, the same for every worker and, where it is kept, after a restart.
//!
//! Keys for one purpose are derived from it by HKDF, so that none tells anything of another.

use arc_swap::ArcSwap;
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk, Salt};
use aws_lc_rs::rand;

/// Bytes of the secret, and of every key that is derived from it.
pub const SECRET_BYTES: usize = 32;

/// 32 bytes that nobody else knows.
pub struct Secret(ArcSwap<[u8; SECRET_BYTES]>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Default for Secret {
    /// One that lasts as long as the process.
    fn default() -> Self {
        let mut bytes = [0; SECRET_BYTES];
        rand::fill(&mut bytes).expect("the system gives random bytes");
        Secret(ArcSwap::from_pointee(bytes))
    }
}

impl Secret {
    /// Takes over a secret that outlasts the process; before anything is served.
    pub fn keep(&self, bytes: [u8; SECRET_BYTES]) {
        self.0.store(bytes.into());
    }

    /// The key for a purpose.
    pub fn derive(&self, purpose: &[&[u8]]) -> [u8; SECRET_BYTES] {
        let mut key = [0; SECRET_BYTES];
        let expanded = self.prk().expand(purpose, HKDF_SHA256).and_then(|expanded| expanded.fill(&mut key));
        expanded.expect("32 bytes are what this hash gives");
        key
    }

    /// The same for what expands on its own.
    pub fn prk_for(&self, purpose: &[&[u8]]) -> Prk {
        Salt::new(HKDF_SHA256, b"headland").extract(&self.derive(purpose))
    }

    fn prk(&self) -> Prk {
        Salt::new(HKDF_SHA256, b"headland").extract(&self.0.load()[..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_secret_gives_the_same_keys_each_for_one_purpose() {
        let (first, second, other) = (Secret::default(), Secret::default(), Secret::default());
        first.keep([7; SECRET_BYTES]);
        second.keep([7; SECRET_BYTES]);
        assert_eq!(first.derive(&[b"a"]), second.derive(&[b"a"]));
        assert_ne!(first.derive(&[b"a"]), first.derive(&[b"b"]));
        assert_ne!(first.derive(&[b"a"]), other.derive(&[b"a"]));
    }
}
