//! A worker's time: read at the beginning of a turn, for all that is decided in it, as an instant, as a tick of its deadlines,
//! and as the `Date` of its answers.
//!
//! The wall clock decides nothing but what `Date` says.

use std::time::{Duration, Instant, SystemTime};

use crate::http::HttpDate;
use crate::limits::DEADLINE_TICK_MILLIS;

/// The moment of a turn.
#[derive(Debug)]
pub(super) struct Clock {
    /// What ticks count from.
    epoch: Instant,
    pub(super) now: Instant,
    /// The last tick that is over.
    pub(super) tick: u32,
    pub(super) date: HttpDate,
    date_until: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        let now = Instant::now();
        Self {
            epoch: now,
            now,
            tick: 0,
            date: HttpDate::at(SystemTime::now()),
            date_until: now,
        }
    }

    pub(super) fn begin_turn(&mut self) {
        self.now = Instant::now();
        self.tick = self.tick_before(self.now);
        if self.now >= self.date_until {
            self.date = HttpDate::at(SystemTime::now());
            self.date_until = self.now + Duration::from_secs(1);
        }
    }

    /// The last tick that is over at that time.
    pub(super) fn tick_before(&self, at: Instant) -> u32 {
        let since = at.saturating_duration_since(self.epoch);
        let within_second = u64::from(since.subsec_millis()) / DEADLINE_TICK_MILLIS;
        let ticks = since.as_secs().saturating_mul(1000 / DEADLINE_TICK_MILLIS) + within_second;
        u32::try_from(ticks).unwrap_or(u32::MAX)
    }

    pub(super) fn instant_of(&self, tick: u32) -> Instant {
        self.epoch + Duration::from_millis(u64::from(tick) * DEADLINE_TICK_MILLIS)
    }
}
