//! Counters that each worker owns, and their sums. No message, id or peer is ever part of one.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::server::refusal::{CloseReason, Refusal};

/// A counter with one writer, its worker, and any number of readers.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the owning worker calls this, so a plain load and store is enough.
    pub fn add(&self, n: u64) {
        self.0.store(self.get().wrapping_add(n), Ordering::Relaxed);
    }

    /// The value now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one worker counts. Aligned, so that no two workers write to one cache line.
#[derive(Debug)]
#[repr(align(128))]
pub struct Counters {
    /// Connections accepted.
    pub accepted: Counter,
    /// Connections ended.
    pub ended: Counter,
    /// Messages taken: stored, or handed to a live session.
    pub posted: Counter,
    /// Messages that clients have confirmed, one for each session that had the message.
    pub delivered: Counter,
    /// Logins that succeeded.
    pub logins: Counter,
    refusals: [Counter; Refusal::ALL.len()],
    closes: [Counter; CloseReason::ALL.len()],
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            accepted: Counter::default(),
            ended: Counter::default(),
            posted: Counter::default(),
            delivered: Counter::default(),
            logins: Counter::default(),
            refusals: std::array::from_fn(|_| Counter::default()),
            closes: std::array::from_fn(|_| Counter::default()),
        }
    }
}

impl Counters {
    /// Counts a refusal.
    pub fn refused(&self, refusal: Refusal) {
        self.refusals[refusal as usize].add(1);
    }

    /// Counts the end of a connection.
    pub fn closed(&self, reason: CloseReason) {
        self.ended.add(1);
        self.closes[reason as usize].add(1);
    }
}

/// The sums of all workers at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections open now.
    pub open: u64,
    /// Messages taken.
    pub posted: u64,
    /// Messages confirmed, once for each session.
    pub delivered: u64,
    /// Logins that succeeded.
    pub logins: u64,
    /// Messages that expired.
    pub expired: u64,
    /// How often resident memory has passed its bound, see
    /// [`Relay::times_over_bound`](crate::server::store::Store::times_over_bound).
    pub over_bound: u64,
    /// Refusals by kind, in the order of [`Refusal::ALL`].
    pub refusals: [u64; Refusal::ALL.len()],
    /// Ends of connections by reason, in the order of [`CloseReason::ALL`].
    pub closes: [u64; CloseReason::ALL.len()],
}

impl Totals {
    /// Sums what the workers have counted so far. What has expired is counted where it is kept, see
    /// [`Mailboxes::expired`](crate::server::mailboxes::Mailboxes::expired). `over_bound` is 0: the relay counts that.
    #[must_use]
    pub fn of(workers: &[Counters], expired: u64) -> Self {
        let sum = |pick: &dyn Fn(&Counters) -> u64| workers.iter().map(pick).sum::<u64>();
        let accepted = sum(&|counters| counters.accepted.get());
        Self {
            accepted,
            open: accepted.saturating_sub(sum(&|counters| counters.ended.get())),
            posted: sum(&|counters| counters.posted.get()),
            delivered: sum(&|counters| counters.delivered.get()),
            logins: sum(&|counters| counters.logins.get()),
            expired,
            over_bound: 0,
            refusals: std::array::from_fn(|kind| sum(&|counters| counters.refusals[kind].get())),
            closes: std::array::from_fn(|kind| sum(&|counters| counters.closes[kind].get())),
        }
    }

    /// How many requests were refused for this reason.
    #[must_use]
    pub fn refused(&self, refusal: Refusal) -> u64 {
        self.refusals[refusal as usize]
    }

    /// How many connections ended for this reason.
    #[must_use]
    pub fn closed(&self, reason: CloseReason) -> u64 {
        self.closes[reason as usize]
    }
}

/// One line of `name=value` pairs; kinds that never occurred are left out.
impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "accepted={} open={} posted={} delivered={} logins={} expired={}",
            self.accepted, self.open, self.posted, self.delivered, self.logins, self.expired
        )?;
        if self.over_bound > 0 {
            write!(f, " over_bound={}", self.over_bound)?;
        }
        for (refusal, count) in Refusal::ALL.iter().zip(self.refusals).filter(|(_, count)| *count > 0) {
            write!(f, " refused.{}={count}", refusal.code())?;
        }
        for (reason, count) in CloseReason::ALL.iter().zip(self.closes).filter(|(_, count)| *count > 0) {
            write!(f, " closed.{}={count}", reason.code())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_sum_the_workers_and_name_only_what_occurred() {
        let workers = [Counters::default(), Counters::default()];
        workers[0].accepted.add(2);
        workers[1].accepted.add(1);
        workers[1].closed(CloseReason::Idle);
        workers[0].refused(Refusal::BadId);
        let mut totals = Totals::of(&workers, 7);
        assert_eq!((totals.accepted, totals.open), (3, 2));
        assert_eq!(
            totals.to_string(),
            "accepted=3 open=2 posted=0 delivered=0 logins=0 expired=7 refused.bad_id=1 closed.idle=1"
        );
        totals.over_bound = 2;
        assert!(
            totals.to_string().contains(" expired=7 over_bound=2 refused."),
            "{totals}"
        );
    }
}
