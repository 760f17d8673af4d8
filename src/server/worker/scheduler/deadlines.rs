//! The deadlines of connections: armed after each visit, reached within the budget of a turn.

use super::Scheduler;
use crate::server::connection::visit::{Cause, Io};
use crate::server::limits::DEADLINES_PER_TURN;
use crate::server::service::Service;
use crate::server::timer_wheel::{Nodes, WheelStep};
use crate::server::token::Token;
use crate::server::worker::clock::Clock;
use crate::server::worker::inbox::Wake;

impl<I: Io, S: Service, C: Clock, W: Wake> Scheduler<I, S, C, W> {
    /// Arms lazily: a deadline that moved away is looked at when the old one comes.
    pub(super) fn arm_deadline(&mut self, token: Token) {
        let Some(slot) = self.slots.get_mut(token) else { return };
        let Some(deadline) = slot.wired.deadline(&self.shared.timeouts) else {
            return;
        };
        // Never for the tick that is being served: whatever a connection does, it is visited once a tick at most.
        let tick = self.time.tick_before(deadline).max(self.time.tick).saturating_add(1);
        let node = self.slots.node(token.index);
        if node.is_linked() {
            if node.tick() <= tick {
                return;
            }
            self.deadlines.cancel(&mut self.slots, token.index);
        }
        self.deadlines.insert(&mut self.slots, token.index, tick);
        self.next_deadline = self.next_deadline.min(tick);
    }

    pub(super) fn reach_deadlines(&mut self) {
        if self.time.tick < self.next_deadline {
            return;
        }
        for _ in 0..DEADLINES_PER_TURN {
            match self.deadlines.pop_expired(&mut self.slots, self.time.tick) {
                WheelStep::Idle => break,
                WheelStep::Cascaded => {}
                WheelStep::Expired(index) => {
                    if let Some(token) = self.slots.token_at(index) {
                        self.serve(token, Cause::Deadline, None);
                    }
                }
            }
        }
        self.next_deadline = self.deadlines.next_tick().unwrap_or(u32::MAX);
    }
}
