//! What connections hold between turns, charged to the budget for them; and which of them hold the most.

use super::Worker;
use super::slot::{Slot, Visit};
use super::slots::Slots;
use crate::server::limits::EVICTIONS_PER_TURN;
use crate::server::service::Service;
use crate::server::token::Token;

/// Connections that hold something, in lists by the power of two that it reaches.
///
/// A connection is put on a list when what it holds grows to a higher class than that of the list it is on. It is looked
/// at again when it is to be evicted, and only then is what has become of it meanwhile known.
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

impl Holders {
    fn note<S: Service>(&mut self, token: Token, slots: &mut Slots<Slot<S>>) {
        let Some(slot) = slots.get_mut(token) else { return };
        let class = class_of(slot.held_bytes());
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

    fn drop_stale<S: Service>(&mut self, slots: &mut Slots<Slot<S>>) {
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

    /// One of the largest, which is then on no list. Up to `looks` entries are looked at.
    fn take_largest<S: Service>(&mut self, slots: &mut Slots<Slot<S>>, looks: &mut usize) -> Option<Token> {
        while *looks > 0 {
            let class = self.classes.iter().rposition(|tokens| !tokens.is_empty())?;
            let token = self.classes[class].pop()?;
            self.entries -= 1;
            *looks -= 1;
            let Some(slot) = slots.get_mut(token) else { continue };
            if usize::from(slot.holder_class) != class {
                continue;
            }
            slot.holder_class = 0;
            if usize::from(class_of(slot.held_bytes())) == class {
                return Some(token);
            }
            self.note(token, slots);
        }
        None
    }
}

impl<S: Service> Worker<S> {
    /// Charges what the connection holds after its visit.
    pub(super) fn settle(&mut self, token: Token) {
        let Some(slot) = self.slots.get_mut(token) else { return };
        let (charged, held) = (slot.charged_bytes, slot.held_bytes());
        if charged == held {
            return;
        }
        slot.charged_bytes = held;
        let budget = self.shared.store.connection_budget();
        if held > charged {
            budget.charge((held - charged) as u64);
        } else {
            budget.release((charged - held) as u64);
        }
        self.holders.note(token, &mut self.slots);
    }

    /// Whether connections hold more than they may.
    pub(super) fn is_over_budget(&self) -> bool {
        self.shared.store.connection_budget().is_over()
    }

    /// Closes those that hold the most, until connections hold no more than they may.
    pub(super) fn evict_holders(&mut self) {
        let mut looks = EVICTIONS_PER_TURN;
        while self.is_over_budget() {
            let Some(token) = self.holders.take_largest(&mut self.slots, &mut looks) else {
                return;
            };
            self.serve(token, Visit::Evict);
        }
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
}
