//! What the origin side has done, counted without locks: written by all workers, read by metrics as plain values.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::eject::Cause;
use crate::error::FetchError;
use crate::pool::Retirement;

/// The words of [`crate::error::Fault::word`], each a label of the errors counter.
pub const FAULT_WORDS: [&str; 32] = [
    "connection_refused",
    "unreachable",
    "dns_error",
    "address_prohibited",
    "tls_certificate_error",
    "tls_alert_received",
    "tls_protocol_error",
    "queue_timeout",
    "dns_timeout",
    "connect_timeout",
    "first_byte_timeout",
    "between_bytes_timeout",
    "total_timeout",
    "reset",
    "stream_reset",
    "truncated",
    "malformed",
    "head_too_large",
    "too_many_interim",
    "framing_too_large",
    "trailers_too_large",
    "body_too_large",
    "queue_full",
    "overloaded",
    "no_server",
    "canceled",
    "client_disconnected",
    "client_body_malformed",
    "client_body_too_large",
    "client_body_too_short",
    "client_body_timeout",
    "io_error",
];

/// Why connections were closed.
pub const CLOSE_WORDS: [&str; 7] = ["idle", "lifetime", "surplus", "made_room", "drained", "broken", "dead"];

/// Upper bounds of the buckets of a histogram, in microseconds; above the last there is one more bucket.
pub const BUCKET_MICROS: [u64; 16] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 30_000_000, 60_000_000,
];

#[derive(Debug, Default)]
pub struct Counters {
    /// Requests that were asked for; retries are not.
    requests: AtomicU64,
    /// Exchanges on a connection opened for them.
    opened: AtomicU64,
    /// Exchanges on a connection that had served before.
    reused: AtomicU64,
    /// Connections opened before anybody asked.
    opened_ahead: AtomicU64,
    connects_failed: AtomicU64,
    retries: AtomicU64,
    /// Exchanges made again because a kept connection had died.
    refreshes: AtomicU64,
    retries_refused: AtomicU64,
    /// Requests that went out with a handshake, and that the server took.
    early_taken: AtomicU64,
    /// Likewise, but the server wanted them again after the handshake.
    early_refused: AtomicU64,
    /// Answers of 425 to what went out early, and exchanges that broke off over it.
    early_failed: AtomicU64,
    /// Requests asked of a second server as well.
    hedges: AtomicU64,
    /// Of these, those that the second server answered first.
    hedges_won: AtomicU64,
    /// By [`Cause::WORDS`].
    ejections: [AtomicU64; Cause::WORDS.len()],
    queued: AtomicU64,
    queue_refused: AtomicU64,
    closed: [AtomicU64; CLOSE_WORDS.len()],
    errors: [AtomicU64; FAULT_WORDS.len()],
    first_byte: Histogram,
    connect: Histogram,
}

/// The values at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub requests: u64,
    pub opened: u64,
    pub reused: u64,
    pub opened_ahead: u64,
    pub connects_failed: u64,
    pub retries: u64,
    pub refreshes: u64,
    pub retries_refused: u64,
    pub early_taken: u64,
    pub early_refused: u64,
    pub early_failed: u64,
    pub hedges: u64,
    pub hedges_won: u64,
    /// By [`Cause::WORDS`].
    pub ejections: [u64; Cause::WORDS.len()],
    pub queued: u64,
    pub queue_refused: u64,
    /// By [`CLOSE_WORDS`].
    pub closed: [u64; CLOSE_WORDS.len()],
    /// By [`FAULT_WORDS`]: failures that callers saw.
    pub errors: [u64; FAULT_WORDS.len()],
    /// From the request going out to the head of its answer.
    pub first_byte: HistogramSnapshot,
    /// To open a connection, name and TLS included.
    pub connect: HistogramSnapshot,
}

/// Something worth counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    Request,
    Opened,
    Reused,
    OpenedAhead,
    ConnectFailed,
    Retry,
    Refresh,
    RetryRefused,
    EarlyTaken,
    EarlyRefused,
    EarlyFailed,
    Hedge,
    HedgeWon,
    Queued,
    QueueRefused,
}

impl Counters {
    pub(crate) fn count(&self, what: Count) {
        let counter = match what {
            Count::Request => &self.requests,
            Count::Opened => &self.opened,
            Count::Reused => &self.reused,
            Count::OpenedAhead => &self.opened_ahead,
            Count::ConnectFailed => &self.connects_failed,
            Count::Retry => &self.retries,
            Count::Refresh => &self.refreshes,
            Count::RetryRefused => &self.retries_refused,
            Count::EarlyTaken => &self.early_taken,
            Count::EarlyRefused => &self.early_refused,
            Count::EarlyFailed => &self.early_failed,
            Count::Hedge => &self.hedges,
            Count::HedgeWon => &self.hedges_won,
            Count::Queued => &self.queued,
            Count::QueueRefused => &self.queue_refused,
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(crate) fn ejected(&self, why: Cause) {
        self.ejections[why as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn closed(&self, why: Retirement) {
        let place = match why {
            Retirement::Idle => 0,
            Retirement::Lifetime => 1,
            Retirement::Surplus => 2,
            Retirement::MadeRoom => 3,
            Retirement::Drained => 4,
            Retirement::Broken => 5,
        };
        self.closed[place].fetch_add(1, Relaxed);
    }

    /// A kept connection was found dead before it was used.
    pub(crate) fn found_dead(&self) {
        self.closed[6].fetch_add(1, Relaxed);
    }

    pub(crate) fn failed(&self, error: &FetchError) {
        let word = error.word();
        // Every fault has its word in the table, as a test holds.
        if let Some(place) = FAULT_WORDS.iter().position(|&other| other == word) {
            self.errors[place].fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn first_byte(&self, micros: u64) {
        self.first_byte.observe(micros);
    }

    pub(crate) fn connect(&self, micros: u64) {
        self.connect.observe(micros);
    }

    pub fn snapshot(&self) -> Snapshot {
        let load = |counter: &AtomicU64| counter.load(Relaxed);
        Snapshot {
            requests: load(&self.requests),
            opened: load(&self.opened),
            reused: load(&self.reused),
            opened_ahead: load(&self.opened_ahead),
            connects_failed: load(&self.connects_failed),
            retries: load(&self.retries),
            refreshes: load(&self.refreshes),
            retries_refused: load(&self.retries_refused),
            early_taken: load(&self.early_taken),
            early_refused: load(&self.early_refused),
            early_failed: load(&self.early_failed),
            hedges: load(&self.hedges),
            hedges_won: load(&self.hedges_won),
            ejections: self.ejections.each_ref().map(load),
            queued: load(&self.queued),
            queue_refused: load(&self.queue_refused),
            closed: self.closed.each_ref().map(load),
            errors: self.errors.each_ref().map(load),
            first_byte: self.first_byte.snapshot(),
            connect: self.connect.snapshot(),
        }
    }
}

#[derive(Debug, Default)]
struct Histogram {
    buckets: [AtomicU64; BUCKET_MICROS.len() + 1],
    sum_micros: AtomicU64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistogramSnapshot {
    /// By [`BUCKET_MICROS`], not cumulative.
    pub buckets: [u64; BUCKET_MICROS.len() + 1],
    pub sum_micros: u64,
}

impl Histogram {
    fn observe(&self, micros: u64) {
        let place = BUCKET_MICROS.partition_point(|&bound| bound < micros);
        self.buckets[place].fetch_add(1, Relaxed);
        self.sum_micros.fetch_add(micros, Relaxed);
    }

    fn snapshot(&self) -> HistogramSnapshot {
        HistogramSnapshot {
            buckets: self.buckets.each_ref().map(|bucket| bucket.load(Relaxed)),
            sum_micros: self.sum_micros.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{BodyFault, Deadline, Excess, Fault, Phase, TlsFault};

    #[test]
    fn every_fault_has_its_counter() {
        use Fault as F;
        let faults = [
            F::Refused,
            F::Unreachable,
            F::Dns,
            F::Prohibited,
            F::Tls(TlsFault::Certificate),
            F::Tls(TlsFault::Alert),
            F::Tls(TlsFault::Protocol),
            F::Timeout(Deadline::Queue),
            F::Timeout(Deadline::Resolve),
            F::Timeout(Deadline::Connect),
            F::Timeout(Deadline::FirstByte),
            F::Timeout(Deadline::BetweenBytes),
            F::Timeout(Deadline::Total),
            F::Reset,
            F::StreamReset,
            F::Truncated,
            F::Malformed("reason"),
            F::TooLarge(Excess::Head),
            F::TooLarge(Excess::Interim),
            F::TooLarge(Excess::Framing),
            F::TooLarge(Excess::Trailers),
            F::TooLarge(Excess::Body),
            F::QueueFull,
            F::Overloaded,
            F::NoServer,
            F::Canceled,
            F::ClientBody(BodyFault::Disconnected),
            F::ClientBody(BodyFault::Malformed("reason")),
            F::ClientBody(BodyFault::TooLarge),
            F::ClientBody(BodyFault::TooShort),
            F::ClientBody(BodyFault::Timeout),
            F::Io(std::io::ErrorKind::Other),
        ];
        let counters = Counters::default();
        for fault in faults {
            counters.failed(&FetchError::new(fault, Phase::Head));
        }
        let errors = counters.snapshot().errors;
        assert!(errors.iter().all(|&count| count == 1), "{errors:?}");
    }

    #[test]
    fn a_bucket_holds_what_is_at_most_its_bound() {
        let histogram = Histogram::default();
        for micros in [500, 501, 70_000_000] {
            histogram.observe(micros);
        }
        let snapshot = histogram.snapshot();
        assert_eq!((snapshot.buckets[0], snapshot.buckets[1], snapshot.buckets[16]), (1, 1, 1));
        assert_eq!(snapshot.sum_micros, 70_001_001);
    }
}
