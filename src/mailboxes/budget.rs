//! The memory budget: one number that everything stored or being received is charged against.
//!
//! It counts what it is told, by the message; it measures nothing and evicts nothing.

use std::mem;
use std::sync::Arc;

use crate::limits::{ACCOUNT_ADVANCE_MAX_BYTES, ACCOUNT_ADVANCE_MIN_BYTES};
use crate::sync::atomic::{AtomicU64, Ordering};

use super::Padded;

/// How many bytes may be held altogether, and how many are.
///
/// Charged from every worker, without a lock.
#[derive(Debug)]
pub struct Budget {
    limit: u64,
    used: Padded<AtomicU64>,
}

impl Budget {
    /// A budget of `limit` bytes, of which nothing is used.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self {
            limit,
            used: Padded(AtomicU64::new(0)),
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

    /// Gives back `bytes` that were charged.
    pub fn release(&self, bytes: u64) {
        let used = self.used.0.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(bytes <= used, "more is given back than was charged");
    }

    /// Charges `bytes` for as long as the result lives: for a body that is still coming in. `None` if they aren't left.
    #[must_use]
    pub fn reserve(self: &Arc<Self>, bytes: u64) -> Option<Charge> {
        self.try_charge(bytes).then(|| Charge {
            budget: Arc::clone(self),
            bytes,
        })
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
        }
        fits
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.release(self.bytes);
    }
}

/// One shard's way to a [`Budget`]: charged in advance, so that shards don't contend for one counter with every message.
///
/// What is charged in advance is at most 1/512 of the budget for all shards together, and nothing where that is little.
#[derive(Debug)]
pub(super) struct Account {
    budget: Arc<Budget>,
    /// Charged to the budget, and to no message.
    credit: u64,
    /// How much is charged in advance when the credit is spent. It may come to twice as much by what is given back.
    advance: u64,
}

impl Account {
    pub(super) fn new(budget: Arc<Budget>, shards: usize) -> Self {
        let share = budget.limit() / 1024 / shards.max(1) as u64;
        Self {
            budget,
            credit: 0,
            advance: if share < ACCOUNT_ADVANCE_MIN_BYTES {
                0
            } else {
                share.min(ACCOUNT_ADVANCE_MAX_BYTES)
            },
        }
    }

    /// Charges `bytes` if that many are left, else nothing.
    pub(super) fn try_charge(&mut self, bytes: u64) -> bool {
        if bytes <= self.credit {
            self.credit -= bytes;
            return true;
        }
        let missing = bytes - self.credit;
        if self.budget.try_charge(missing.saturating_add(self.advance)) {
            self.credit = self.advance;
            true
        } else if self.budget.try_charge(missing) {
            self.credit = 0;
            true
        } else {
            false
        }
    }

    /// Gives back `bytes` that were charged, for other messages of this shard or, when it is more than those may need, for
    /// all.
    pub(super) fn release(&mut self, bytes: u64) {
        self.credit += bytes;
        if self.credit > 2 * self.advance {
            self.budget.release(self.credit - self.advance);
            self.credit = self.advance;
        }
    }

    /// Gives back what was charged in advance.
    pub(super) fn close(&mut self) {
        self.budget.release(mem::take(&mut self.credit));
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

    #[test]
    fn an_account_charges_in_advance_and_gives_back_what_it_does_not_need() {
        let limit = 1024 * ACCOUNT_ADVANCE_MAX_BYTES;
        let budget = Arc::new(Budget::new(limit));
        let mut account = Account::new(Arc::clone(&budget), 1);
        assert!(account.try_charge(500) && account.try_charge(500));
        assert_eq!(budget.used(), 500 + ACCOUNT_ADVANCE_MAX_BYTES);
        for _ in 0..1000 {
            assert!(account.try_charge(1000));
        }
        assert!((1_001_000..=1_001_000 + ACCOUNT_ADVANCE_MAX_BYTES).contains(&budget.used()));
        account.release(1_001_000);
        assert!(budget.used() <= 2 * ACCOUNT_ADVANCE_MAX_BYTES);
        account.close();
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn an_account_spends_what_it_has_when_the_budget_has_no_more() {
        let limit = 1024 * ACCOUNT_ADVANCE_MIN_BYTES;
        let budget = Arc::new(Budget::new(limit));
        let mut account = Account::new(Arc::clone(&budget), 1);
        assert!(account.try_charge(limit - 10));
        assert_eq!(budget.used(), limit - 10);
        assert!(!account.try_charge(11) && account.try_charge(10) && !account.try_charge(1));
        account.release(5);
        assert!(account.try_charge(5) && !account.try_charge(1));
        assert_eq!(budget.used(), limit);
    }

    #[test]
    fn with_a_small_budget_every_message_is_charged_by_itself() {
        let budget = Arc::new(Budget::new(1024 * ACCOUNT_ADVANCE_MIN_BYTES));
        let mut account = Account::new(Arc::clone(&budget), 2);
        assert!(account.try_charge(7));
        assert_eq!(budget.used(), 7);
        account.release(3);
        assert_eq!(budget.used(), 4);
    }
}
