//! How far a fetch may run ahead of the client that it was begun for.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// Parts that a fetch may be ahead of its client.
const PARTS_AHEAD: usize = 4;

/// The client's end: each part that it has taken lets the fetch go one further. Dropping it stops the fetch at the end
/// of the part it is in.
#[derive(Debug)]
pub struct Pace(Arc<Semaphore>);

/// The fetch's end.
#[derive(Debug)]
pub struct Leash(Arc<Semaphore>);

/// Both ends.
pub fn pace() -> (Pace, Leash) {
    let steps = Arc::new(Semaphore::new(PARTS_AHEAD));
    (Pace(steps.clone()), Leash(steps))
}

impl Pace {
    /// A part was taken.
    pub fn step(&self) {
        self.0.add_permits(1);
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Leash {
    /// Whether one more part may be begun at once.
    pub fn try_step(&self) -> bool {
        self.0.try_acquire().map(tokio::sync::SemaphorePermit::forget).is_ok()
    }

    /// Waits until one more part may be begun; false when the client has left.
    pub async fn step(&self) -> bool {
        self.0.acquire().await.map(tokio::sync::SemaphorePermit::forget).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_fetch_stays_a_few_parts_ahead_and_stops_with_its_client() {
        let (pace, leash) = pace();
        assert!((0..PARTS_AHEAD).all(|_| leash.try_step()));
        assert!(!leash.try_step());
        pace.step();
        assert!(leash.step().await);
        assert!(!leash.try_step());
        drop(pace);
        assert!(!leash.step().await);
    }
}
