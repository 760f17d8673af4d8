//! Which connections hold the most between turns.

use std::sync::atomic::{AtomicU8, Ordering};

use super::slot::Slot;
use super::slots::Slots;
use crate::server::connection::visit::Io;
use crate::server::service::Service;
use crate::server::token::Token;

/// Connections that hold something, in lists by the power of two that it reaches.
///
/// A connection is put on a list when what it holds grows to a higher class than that of the list it is on. It is
/// looked at again when it is to be evicted, and only then is what has become of it meanwhile known.
#[derive(Debug, Default)]
pub(super) struct Holders {
    classes: [Vec<Token>; CLASSES],
    /// Entries in all lists, of which some may be of connections that are gone or in a higher class.
    entries: usize,
}

/// Holding from 1 KiB on, from 2 KiB on, and so on; class 0 is for less, and is no list.
const CLASSES: usize = 16;

fn class_of(held_bytes: usize) -> u8 {
    let digits = usize::BITS - (held_bytes / 1024).leading_zeros();
    u8::try_from((digits as usize).min(CLASSES - 1)).unwrap_or(0)
}

/// The highest list of each worker that isn't empty, so that a worker leaves a connection open while another worker has
/// one that holds more.
#[derive(Debug)]
pub(crate) struct HighestClasses(Vec<AtomicU8>);

impl HighestClasses {
    pub(crate) fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| AtomicU8::new(0)).collect())
    }

    pub(super) fn publish(&self, worker: usize, class: u8) {
        // All of them share a line that every worker reads: it is written when something changes, not with every visit.
        if let Some(own) = self.0.get(worker)
            && own.load(Ordering::Relaxed) != class
        {
            own.store(class, Ordering::Release);
        }
    }

    /// The worker ends, and closes no more connections.
    pub(super) fn withdraw(&self, worker: usize) {
        self.publish(worker, 0);
    }

    /// A worker that has a higher class than this one.
    pub(super) fn worker_above(&self, class: u8) -> Option<usize> {
        self.0.iter().position(|other| other.load(Ordering::Acquire) > class)
    }
}

impl Holders {
    /// The highest list that isn't empty, or 0.
    pub(super) fn highest_class(&self) -> u8 {
        let class = self.classes.iter().rposition(|tokens| !tokens.is_empty());
        class.and_then(|class| u8::try_from(class).ok()).unwrap_or(0)
    }

    pub(super) fn note<I: Io, S: Service>(&mut self, token: Token, slots: &mut Slots<Slot<I, S>>) {
        let Some(slot) = slots.get_mut(token) else { return };
        let class = class_of(slot.wired.held_bytes());
        if class <= slot.holder_class {
            return;
        }
        slot.holder_class = class;
        self.classes[usize::from(class)].push(token);
        self.entries += 1;
        // What is stale is dropped when it may be the larger part, so that each entry is looked at a few times at most.
        if self.entries > 2 * slots.len() + 64 {
            self.drop_stale(slots);
        }
    }

    fn drop_stale<I: Io, S: Service>(&mut self, slots: &mut Slots<Slot<I, S>>) {
        self.entries = 0;
        for (class, tokens) in self.classes.iter_mut().enumerate() {
            tokens.retain(|token| {
                slots
                    .get_mut(*token)
                    .is_some_and(|slot| usize::from(slot.holder_class) == class)
            });
            self.entries += tokens.len();
        }
    }

    /// Looks at one entry of the highest list, which is then on no list. `None`: it holds less by now, or has gone.
    pub(super) fn take_largest<I: Io, S: Service>(&mut self, slots: &mut Slots<Slot<I, S>>) -> Option<Token> {
        let class = usize::from(self.highest_class());
        let token = self.classes[class].pop()?;
        self.entries -= 1;
        let slot = slots.get_mut(token)?;
        if usize::from(slot.holder_class) != class {
            return None;
        }
        slot.holder_class = 0;
        if usize::from(class_of(slot.wired.held_bytes())) == class {
            return Some(token);
        }
        self.note(token, slots);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_a_power_of_two() {
        let classes = [0, 1023, 1024, 2047, 2048, 65_535, 65_536, usize::MAX].map(class_of);
        assert_eq!(classes, [0, 0, 1, 1, 2, 6, 7, 15]);
    }

    #[test]
    fn the_worker_with_the_largest_holders_is_above_all_others_and_below_none() {
        let highest = HighestClasses::new(3);
        assert_eq!(highest.worker_above(0), None);
        highest.publish(1, 7);
        highest.publish(2, 5);
        assert_eq!(
            [0, 5, 7].map(|class| highest.worker_above(class)),
            [Some(1), Some(1), None]
        );
        highest.publish(1, 0);
        assert_eq!([0, 5].map(|class| highest.worker_above(class)), [Some(2), None]);
    }
}
