//! A worker's share in freeing what has expired: its shards, one after the other, within the budget of a turn.

use std::time::{Duration, Instant};

use crate::server::limits::{EXPIRIES_PER_TURN, EXPIRY_TICK_MILLIS};
use crate::server::store::Store;

/// Where a worker stands in its sweeps. A busy worker sweeps every second; an idle one sleeps up to the clean period.
#[derive(Debug)]
pub(super) struct Sweep {
    first_shard: usize,
    stride: usize,
    /// The shard where the sweep under way goes on.
    at: Option<usize>,
    started: Instant,
    longest_pause: Duration,
}

impl Sweep {
    /// The share of worker `index` of `workers`.
    pub(super) fn new(index: usize, workers: usize, clean_period: Duration, now: Instant) -> Self {
        let tick = Duration::from_millis(EXPIRY_TICK_MILLIS);
        Self {
            first_shard: index,
            stride: workers.max(1),
            at: None,
            started: now,
            // The wheel's own tick is a part of the period.
            longest_pause: clean_period.saturating_sub(tick).max(tick),
        }
    }

    /// Whether the last turn's budget left something over.
    pub(super) fn is_under_way(&self) -> bool {
        self.at.is_some()
    }

    /// When the worker must be awake for the next sweep, whatever else happens.
    pub(super) fn latest_start(&self) -> Instant {
        self.started + self.longest_pause
    }

    /// Frees expired messages, if it is time, which is that of mail. Returns whether a sweep has begun.
    pub(super) fn run(&mut self, store: &Store, now: Instant) -> bool {
        let begins = self.at.is_none();
        if begins {
            if now < self.started + Duration::from_millis(EXPIRY_TICK_MILLIS) {
                return false;
            }
            self.started = now;
            self.at = Some(self.first_shard);
            if self.first_shard == 0 {
                store.trim();
            }
        }
        let mut budget = EXPIRIES_PER_TURN;
        while let Some(shard) = self.at.filter(|shard| *shard < store.shards()) {
            if budget == 0 {
                return begins;
            }
            if !store.expire(shard, now, &mut budget) {
                self.at = Some(shard + self.stride);
            }
        }
        self.at = None;
        begins
    }
}
