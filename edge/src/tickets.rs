//! TLS tickets (RFC 8446 section 4.6.1) for TCP and QUIC, that every worker reads, and the process after a restart, too.
//!
//! A ticket is sealed under a key of its period; keys follow from the node's secret and the number of the period. One of
//! the present period or of the one before is taken. Handshakes that resume still exchange fresh keys, so what a ticket
//! protects is who may resume, not what was said.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use rustls::server::ProducesTickets;

use crate::secret::Secret;

/// How long tickets are sealed under one key.
const PERIOD: Duration = Duration::from_secs(6 * 3600);
/// The period's number stands before the sealed part.
const PERIOD_BYTES: usize = 8;

/// Seals and opens tickets.
#[derive(Debug)]
pub struct Tickets {
    secret: Arc<Secret>,
}

impl Tickets {
    pub fn new(secret: Arc<Secret>) -> Self {
        Tickets { secret }
    }

    fn seal(&self, period: u64, plain: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        let aad = Aad::from(period.to_be_bytes());
        self.key(period)?.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed).ok()?;
        Some([&period.to_be_bytes()[..], &nonce, &sealed].concat())
    }

    fn open(&self, now: u64, ticket: &[u8]) -> Option<Vec<u8>> {
        let (period, rest) = ticket.split_first_chunk::<PERIOD_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let number = u64::from_be_bytes(*period);
        if number != now && number.checked_add(1) != Some(now) {
            return None;
        }
        let mut plain = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.key(number)?.open_in_place(nonce, Aad::from(*period), &mut plain).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }

    fn key(&self, period: u64) -> Option<LessSafeKey> {
        let bytes = self.secret.derive(&[b"tls ticket", &period.to_be_bytes()]);
        Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &bytes).ok()?))
    }
}

fn period() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs() / PERIOD.as_secs()
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        PERIOD.as_secs() as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(period(), plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.open(period(), cipher)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn tickets() -> Tickets {
        let secret = Secret::default();
        secret.keep([3; 32]);
        Tickets::new(Arc::new(secret))
    }

    #[test]
    fn a_ticket_is_read_by_whoever_has_the_secret_for_two_periods() {
        let ticket = tickets().seal(10, b"session").unwrap();
        for (now, wanted) in [(9, None), (10, Some(&b"session"[..])), (11, Some(b"session")), (12, None)] {
            assert_eq!(tickets().open(now, &ticket).as_deref(), wanted, "in period {now}");
        }
        assert!(Tickets::new(Arc::default()).open(10, &ticket).is_none());
    }

    #[test]
    fn a_ticket_that_was_changed_anywhere_is_none() {
        let ticket = tickets().seal(10, b"session").unwrap();
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert!(tickets().open(10, &changed).is_none(), "byte {at}");
            assert!(tickets().open(10, &ticket[..at]).is_none(), "cut at {at}");
        }
    }
}
