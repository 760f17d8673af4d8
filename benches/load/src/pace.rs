//! When messages are to be posted: as soon as an answer frees a place (closed loop), or at a rate that no answer slows
//! down (open loop).
//!
//! In the open loop a message that couldn't be posted in time is posted later and never left out, and its latency
//! counts from when it was to be posted, so that a server that stalls doesn't hide how long it did.

use std::time::{Duration, Instant};

use crate::latency_histogram::as_f64;

/// The schedule of one thread.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    per_second: Option<f64>,
    start: Instant,
    posted: u64,
}

impl Pace {
    /// Begins at `start`, with so many messages a second, or as many as there are places for.
    pub(crate) fn new(per_second: Option<f64>, start: Instant) -> Self {
        Self {
            per_second,
            start,
            posted: 0,
        }
    }

    pub(crate) fn is_open_loop(&self) -> bool {
        self.per_second.is_some()
    }

    /// When the next message is to be posted, if that is not after `now`. It counts as posted then.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Instant> {
        let due = match self.per_second {
            None => now,
            Some(per_second) => self.due(per_second),
        };
        (due <= now).then(|| {
            self.posted += 1;
            due
        })
    }

    /// How many should have been posted before `end` and were not.
    pub(crate) fn behind(&self, end: Instant) -> u64 {
        let Some(per_second) = self.per_second else { return 0 };
        let due = end.saturating_duration_since(self.start).as_secs_f64() * per_second;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, and far below 2^53"
        )]
        let due = due.ceil() as u64;
        due.saturating_sub(self.posted)
    }

    fn due(&self, per_second: f64) -> Instant {
        self.start + Duration::from_secs_f64(as_f64(self.posted) / per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_closed_loop_is_always_due() {
        let start = Instant::now();
        let mut pace = Pace::new(None, start);
        assert_eq!(pace.next(start + SECOND), Some(start + SECOND));
        assert_eq!(pace.next(start + SECOND), Some(start + SECOND));
        assert_eq!(pace.behind(start + 2 * SECOND), 0);
    }

    #[test]
    fn an_open_loop_is_due_at_its_rate_and_never_before() {
        let start = Instant::now();
        let mut pace = Pace::new(Some(10.0), start);
        assert_eq!(pace.next(start), Some(start));
        assert_eq!(pace.next(start + SECOND / 20), None);
        assert_eq!(pace.next(start + SECOND / 10), Some(start + SECOND / 10));
        assert_eq!(pace.next(start + SECOND / 10), None);
    }

    #[test]
    fn what_a_stall_held_up_is_posted_later_and_counts_from_when_it_was_due() {
        let start = Instant::now();
        let mut pace = Pace::new(Some(10.0), start);
        let late = start + SECOND;
        let due: Vec<_> = std::iter::from_fn(|| pace.next(late)).map(|due| late - due).collect();
        let expected: Vec<_> = (0..=10).rev().map(|tenths| tenths * SECOND / 10).collect();
        assert_eq!(due, expected);
    }

    #[test]
    fn what_was_not_posted_by_the_end_is_counted() {
        let start = Instant::now();
        let mut pace = Pace::new(Some(10.0), start);
        pace.next(start);
        assert_eq!(pace.behind(start + SECOND), 9);
    }
}
