//! A memory budget: one number that everything of a kind is charged against.
//!
//! It counts what is charged and released; it measures nothing and evicts nothing.

use std::sync::Arc;

use crossbeam_queue::SegQueue;

use super::padded::Padded;
use super::segment::{LINE_BYTES, Segment};
use crate::server::sync::atomic::{AtomicU64, Ordering};

/// How many bytes may be held altogether, and how many are.
///
/// Charged from every worker, without a lock. Segments of mail that no shard holds wait here for the next one, charged
/// for nothing, and go when something else needs their place: together with what is charged they never stay over the
/// limit.
#[derive(Debug)]
pub struct Budget {
    limit: u64,
    used: Padded<AtomicU64>,
    vacant: SegQueue<Segment>,
    vacant_bytes: AtomicU64,
}

impl Budget {
    /// A budget of `limit` bytes, of which nothing is used.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self {
            limit,
            used: Padded(AtomicU64::new(0)),
            vacant: SegQueue::new(),
            vacant_bytes: AtomicU64::new(0),
        }
    }

    /// Charges `bytes` if that many are left, else nothing. [`Budget::release`] gives them back.
    #[must_use]
    pub fn try_charge(&self, bytes: u64) -> bool {
        // The count guards no other memory, so no ordering is needed beyond its own.
        self.used
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|&sum| sum <= self.limit)
            })
            .is_ok()
    }

    /// Charges `bytes` that are held already, whether they are left or not: [`Budget::is_over`] reports it then.
    pub fn charge(&self, bytes: u64) {
        self.used.0.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Whether more is charged than may be.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.used() > self.limit
    }

    /// Gives back `bytes` that were charged.
    pub fn release(&self, bytes: u64) {
        let used = self.used.0.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(bytes <= used, "more is given back than was charged");
    }

    /// Charges `bytes` for as long as the result lives: for a body that is still coming in. `None` if they aren't left.
    #[must_use]
    pub fn reserve(self: &Arc<Self>, bytes: u64) -> Option<Charge> {
        self.try_charge(bytes).then(|| {
            self.make_way();
            Charge {
                budget: Arc::clone(self),
                bytes,
            }
        })
    }

    /// A vacant segment, if there is one.
    pub(super) fn take_vacant(&self) -> Option<Segment> {
        let segment = self.vacant.pop()?;
        self.vacant_bytes.fetch_sub(bytes_of(&segment), Ordering::Relaxed);
        Some(segment)
    }

    /// Keeps a segment that no shard holds, and that is no longer charged.
    pub(super) fn keep_vacant(&self, segment: Segment) {
        self.vacant_bytes.fetch_add(bytes_of(&segment), Ordering::Relaxed);
        self.vacant.push(segment);
    }

    /// Gives up to `count` vacant segments back to the allocator.
    pub(super) fn drop_vacant(&self, count: usize) {
        for _ in 0..count {
            if self.take_vacant().is_none() {
                return;
            }
        }
    }

    /// How many segments are vacant.
    pub(super) fn vacant(&self) -> usize {
        self.vacant.len()
    }

    /// Gives back vacant segments whose place has been charged for something that doesn't lie in segments.
    pub(super) fn make_way(&self) {
        while self.used() + self.vacant_bytes.load(Ordering::Relaxed) > self.limit && self.take_vacant().is_some() {}
    }

    /// Whether `bytes` are left now, which the next charge by another thread may change.
    #[must_use]
    pub fn has_room(&self, bytes: u64) -> bool {
        self.used().saturating_add(bytes) <= self.limit
    }

    /// Bytes charged now.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.0.load(Ordering::Relaxed)
    }

    /// Bytes that may be charged.
    #[must_use]
    pub const fn limit(&self) -> u64 {
        self.limit
    }
}

fn bytes_of(segment: &Segment) -> u64 {
    (segment.len() * LINE_BYTES) as u64
}

/// Bytes charged to a [`Budget`], given back when this is dropped.
#[derive(Debug)]
pub struct Charge {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Charge {
    /// How many bytes are charged.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Charges as much more as makes it `bytes`, if it is less; `false`, and nothing more charged, if that isn't left.
    #[must_use]
    pub fn grow_to(&mut self, bytes: u64) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let fits = self.budget.try_charge(more);
        if fits {
            self.bytes += more;
            self.budget.make_way();
        }
        fits
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.release(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_charge_over_the_limit_charges_nothing() {
        let budget = Budget::new(10);
        assert!(budget.try_charge(10));
        assert!(!budget.try_charge(1));
        assert!(!budget.try_charge(u64::MAX));
        budget.release(4);
        assert!(!budget.try_charge(5));
        assert_eq!((budget.used(), budget.limit()), (6, 10));
    }

    #[test]
    fn a_reservation_ends_when_it_is_dropped() {
        let budget = Arc::new(Budget::new(10));
        let mut charge = budget.reserve(7).unwrap();
        assert!(budget.reserve(4).is_none());
        assert!(!charge.grow_to(11) && charge.grow_to(9) && charge.grow_to(3));
        assert_eq!((charge.bytes(), budget.used()), (9, 9));
        drop(charge);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn workers_that_charge_at_once_never_pass_the_limit_nor_lose_an_update() {
        let budget = Budget::new(100);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5000 {
                        if budget.try_charge(30) {
                            assert!(budget.used() <= budget.limit());
                            budget.release(30);
                        }
                    }
                });
            }
        });
        assert_eq!(budget.used(), 0);
    }
}
