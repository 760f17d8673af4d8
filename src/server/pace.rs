//! The pace of a transfer in either direction, and when it is too slow.

use std::time::{Duration, Instant};

use crate::server::limits::MIN_RATE_BYTES_PER_SECOND;

/// A transfer's pace, from which an absolute deadline follows that a trickle can't push away.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    since: Instant,
    last_progress: Instant,
    bytes: u64,
}

impl Pace {
    /// A transfer that starts now.
    #[must_use]
    pub fn starting(now: Instant) -> Self {
        Self {
            since: now,
            last_progress: now,
            bytes: 0,
        }
    }

    /// Counts bytes that went through.
    pub fn progress(&mut self, bytes: usize, now: Instant) {
        if bytes > 0 {
            self.last_progress = now;
        }
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// When the transfer started, later by what it was postponed.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.since
    }

    /// The transfer could not go on for so long, and through no fault of the peer.
    pub fn postpone(&mut self, pause: Duration) {
        self.since += pause;
        self.last_progress += pause;
    }

    /// When the transfer is too slow: the grace plus the time that its bytes take at [`MIN_RATE_BYTES_PER_SECOND`].
    /// What went fast earns no right to silence: never more than the grace after the last byte.
    #[must_use]
    pub fn deadline(&self, grace: Duration) -> Instant {
        let earned = Duration::from_millis(self.bytes.saturating_mul(1000) / MIN_RATE_BYTES_PER_SECOND);
        (self.since + earned).min(self.last_progress) + grace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trickle_does_not_push_the_deadline_away() {
        let start = Instant::now();
        let mut pace = Pace::starting(start);
        let grace = Duration::from_secs(10);
        pace.progress(10, start + Duration::from_secs(9));
        assert!(pace.deadline(grace) < start + Duration::from_millis(10_010));
        pace.progress(1014, start + Duration::from_secs(9));
        assert_eq!(pace.deadline(grace), start + Duration::from_secs(11));
    }

    #[test]
    fn what_went_fast_earns_no_right_to_silence() {
        let start = Instant::now();
        let mut pace = Pace::starting(start);
        pace.progress(1 << 30, start + Duration::from_secs(1));
        assert_eq!(pace.deadline(Duration::from_secs(10)), start + Duration::from_secs(11));
    }
}
