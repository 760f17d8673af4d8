//! The net under the budgets: while the process takes more memory than its options account for, no mail is taken.
//!
//! It measures nothing: the reading is given.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::server::limits::{NET_LOG_SECONDS, NET_LOOK_MILLIS};

/// What was found at the last look.
#[derive(Debug)]
pub(super) struct Net {
    bound_bytes: u64,
    epoch: Instant,
    is_over: AtomicBool,
    /// Milliseconds since the epoch, at which the next look is due.
    next_look: AtomicU64,
    /// Milliseconds since the epoch, before which nothing is logged.
    next_log: AtomicU64,
    times_over: AtomicU64,
}

impl Net {
    pub(super) fn new(bound_bytes: u64, epoch: Instant) -> Self {
        Self {
            bound_bytes,
            epoch,
            is_over: AtomicBool::new(false),
            next_look: AtomicU64::new(0),
            next_log: AtomicU64::new(0),
            times_over: AtomicU64::new(0),
        }
    }

    /// Whether no mail is to be taken.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// How often the bound was passed.
    pub(super) fn times_over(&self) -> u64 {
        self.times_over.load(Ordering::Relaxed)
    }

    /// Looks, if it is time and no other worker does. Returns whether it has looked and found too much.
    pub(super) fn look(&self, now: Instant, resident_bytes: impl FnOnce() -> Option<u64>) -> bool {
        if is_due(
            &self.next_look,
            self.millis(now),
            Duration::from_millis(NET_LOOK_MILLIS),
        ) && let Some(bytes) = resident_bytes()
        {
            self.judge(bytes, now);
            return self.is_over();
        }
        false
    }

    fn judge(&self, resident_bytes: u64, now: Instant) {
        let is_over = resident_bytes > self.bound_bytes;
        if self.is_over.swap(is_over, Ordering::Relaxed) || !is_over {
            return;
        }
        self.times_over.fetch_add(1, Ordering::Relaxed);
        if is_due(&self.next_log, self.millis(now), Duration::from_secs(NET_LOG_SECONDS)) {
            let bound_bytes = self.bound_bytes;
            tracing::warn!(
                resident_bytes,
                bound_bytes,
                "no mail is taken: too much memory is resident"
            );
        }
    }

    fn millis(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.epoch);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// Whether `at` has come; if so, it is moved on by `pause`, and no other thread gets the same answer.
fn is_due(at: &AtomicU64, now_millis: u64, pause: Duration) -> bool {
    let due = at.load(Ordering::Relaxed);
    let next = now_millis.saturating_add(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
    now_millis >= due
        && at
            .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_is_refused_from_the_look_that_finds_too_much_to_the_one_that_finds_less() {
        let start = Instant::now();
        let net = Net::new(1000, start);
        let mut now = start;
        for (bytes, is_over) in [(1000, false), (1001, true), (2000, true), (1000, false), (1001, true)] {
            net.look(now, || Some(bytes));
            assert_eq!(net.is_over(), is_over, "{bytes}");
            now += Duration::from_millis(NET_LOOK_MILLIS);
        }
        assert_eq!(net.times_over(), 2);
    }

    #[test]
    fn it_looks_no_more_often_than_it_has_to_and_a_reading_that_fails_changes_nothing() {
        let start = Instant::now();
        let net = Net::new(1000, start);
        net.look(start, || Some(1001));
        net.look(start + Duration::from_millis(NET_LOOK_MILLIS - 1), || {
            panic!("too early")
        });
        net.look(start + Duration::from_millis(NET_LOOK_MILLIS), || None);
        assert!(net.is_over());
    }
}
