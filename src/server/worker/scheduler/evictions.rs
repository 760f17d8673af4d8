//! What connections hold between turns, charged to the budget for them, and the end of the largest when that is spent.

use super::Scheduler;
use crate::server::connection::visit::{Cause, Io};
use crate::server::limits::EVICTIONS_PER_TURN;
use crate::server::service::Service;
use crate::server::token::Token;
use crate::server::worker::clock::Clock;
use crate::server::worker::inbox::Wake;

impl<I: Io, S: Service, C: Clock, W: Wake> Scheduler<I, S, C, W> {
    /// Charges what the connection holds after its visit.
    pub(super) fn settle(&mut self, token: Token) {
        let Some(slot) = self.slots.get_mut(token) else { return };
        let (charged, held) = (slot.charged_bytes, slot.wired.held_bytes());
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
        self.publish_highest_class();
    }

    /// Whether connections hold more than they may.
    pub(super) fn is_over_budget(&self) -> bool {
        self.shared.store.connection_budget().is_over()
    }

    /// Closes those that hold the most, until connections hold no more than they may. Where another worker has a larger
    /// one, that worker is woken for it.
    pub(super) fn evict_holders(&mut self) {
        for _ in 0..EVICTIONS_PER_TURN {
            if !self.is_over_budget() {
                return;
            }
            let class = self.holders.highest_class();
            if let Some(other) = self.shared.highest_classes.worker_above(class) {
                self.shared.inboxes[other].wake();
                return;
            }
            if class == 0 {
                return;
            }
            if let Some(token) = self.holders.take_largest(&mut self.slots) {
                self.serve(token, Cause::Evict, None);
            }
            // Only now, when its memory has been released: others would close theirs before that.
            self.publish_highest_class();
        }
    }

    /// Whether [`Scheduler::evict_holders`] has something to do here.
    pub(super) fn must_evict(&self) -> bool {
        if !self.is_over_budget() {
            return false;
        }
        let class = self.holders.highest_class();
        class > 0 && self.shared.highest_classes.worker_above(class).is_none()
    }

    fn publish_highest_class(&self) {
        let class = self.holders.highest_class();
        self.shared.highest_classes.publish(self.index as usize, class);
    }
}
