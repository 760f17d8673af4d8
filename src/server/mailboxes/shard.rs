//! What is done to the mailboxes of one shard while its lock is held: map operations only.
//!
//! No lock, no clock: `now_millis` counts from the epoch of all shards.

mod sessions;
#[cfg(test)]
mod tests;

use std::mem;
use std::num::NonZeroU64;
use std::sync::Arc;

use crate::server::limits::{EXPIRIES_PER_LOCK, LIVE_ONLY_HOLD_SECONDS, MOVES_PER_LOCK};
use crate::server::timer_wheel::{Wheel, WheelStep};
use crate::server::token::SessionAddress;

use super::arena::NONE;
use super::blocks::Blocks;
use super::budget::Budget;
use super::dense::Dense;
use super::key::Key;
use super::lost::Lost;
use super::mailbox::Mailbox;
use super::message::{Deadline, LEAD_BYTES, Message};
use super::pool::Pool;
use super::slab::Slab;
use super::subscribers::Subscribers;
use super::table::Table;
use super::terms::{Caps, PostError, Retention, Room, Stats};
use super::warm;

/// Mailboxes by id, their messages, and when those expire.
pub(super) struct Shard {
    table: Table,
    /// What the table is charged.
    table_bytes: u64,
    mailboxes: Dense<Mailbox>,
    messages: Dense<Message>,
    blocks: Blocks,
    subscribers: Slab<Subscribers>,
    wheel: Wheel,
    lost: Lost,
    /// Messages that have expired, of all mailboxes that there have been.
    expired: u64,
    /// When [`Shard::expire`] was last called.
    swept_at_second: u32,
    sessions: u64,
    /// Places that have become vacant, and so moves that may be made.
    moves_due: usize,
    budget: Arc<Budget>,
    caps: Caps,
}

impl Shard {
    /// `lost_records`: mailboxes for which it is known how many messages expired.
    pub(super) fn new(caps: Caps, lost_records: usize, pool: &Arc<Pool>, budget: Arc<Budget>) -> Self {
        Self {
            table: Table::new(),
            table_bytes: 0,
            mailboxes: Dense::new(Arc::clone(pool)),
            messages: Dense::new(Arc::clone(pool)),
            blocks: Blocks::new(Arc::clone(pool)),
            subscribers: Slab::new(),
            wheel: Wheel::new(0),
            lost: Lost::new(lost_records),
            expired: 0,
            swept_at_second: 0,
            sessions: 0,
            moves_due: 0,
            budget,
            caps,
        }
    }

    /// [`super::Mailboxes::post`].
    pub(super) fn post(
        &mut self,
        key: &Key,
        body: &[u8],
        retention: Retention,
        now_millis: u64,
        wake: &mut Vec<SessionAddress>,
    ) -> Result<(), PostError> {
        let found = self.find(key);
        let (ttl, live_only) = match retention {
            Retention::LiveOnly | Retention::Seconds(0) => {
                if found.is_none_or(|index| self.mailboxes[index].subscribers == NONE) {
                    return Ok(());
                }
                (LIVE_ONLY_HOLD_SECONDS, true)
            }
            Retention::Seconds(ttl) => (ttl, false),
        };
        let admitted = self.admit(found, body.len(), now_millis);
        if admitted.is_ok() {
            let index = found.unwrap_or_else(|| self.create(key));
            self.append(index, body, Deadline::after(now_millis, ttl), live_only, wake);
        } else if let Some(index) = found {
            // Making room may have emptied it.
            self.free_if_idle(index);
        }
        self.settle();
        // With any other answer the sender would learn that a session is there.
        if live_only { Ok(()) } else { admitted }
    }

    /// [`super::Mailboxes::expire`].
    pub(super) fn expire(&mut self, now_millis: u64, budget: &mut usize) -> bool {
        let goes_on = self.expire_some(now_millis, budget);
        self.settle();
        if self.moves_due > 0 {
            // They take as long as a lock's share of steps.
            *budget = budget.saturating_sub(EXPIRIES_PER_LOCK);
            return true;
        }
        goes_on
    }

    fn expire_some(&mut self, now_millis: u64, budget: &mut usize) -> bool {
        let now_tick = whole_seconds(now_millis);
        self.swept_at_second = now_tick;
        self.lost.forget_stale(now_tick);
        for step in 0..EXPIRIES_PER_LOCK.min(*budget) {
            // Large bodies take their time too.
            if self.moves_due > MOVES_PER_LOCK {
                return true;
            }
            if step.is_multiple_of(warm::AHEAD) {
                let due = self.wheel.due(&self.messages, now_tick);
                warm::due(due, &self.messages, &self.mailboxes, &self.blocks);
            }
            match self.wheel.pop_expired(&mut self.messages, now_tick) {
                WheelStep::Expired(message) => {
                    let mailbox = self.messages[message].mailbox;
                    self.end_expired(message);
                    self.free_if_idle(mailbox);
                }
                WheelStep::Cascaded => {}
                WheelStep::Idle => return false,
            }
            *budget -= 1;
        }
        self.wheel.next_tick().is_some_and(|tick| tick <= now_tick)
    }

    /// What this shard holds.
    pub(super) fn stats(&self) -> Stats {
        Stats {
            mailboxes: u64::from(self.mailboxes.len()),
            messages: u64::from(self.messages.len()),
            sessions: self.sessions,
        }
    }

    /// Messages that have expired, of all mailboxes that there have been.
    pub(super) fn expired(&self) -> u64 {
        self.expired
    }

    fn find(&self, key: &Key) -> Option<u32> {
        self.table.find(key.hash, |index| self.mailboxes[index].is_of(key))
    }

    /// Makes a mailbox, for which there is a place.
    fn create(&mut self, key: &Key) -> u32 {
        let index = self.mailboxes.insert(Mailbox::new(key));
        self.table.insert(key.hash, index);
        self.charge_table();
        index
    }

    fn free_if_idle(&mut self, index: u32) {
        if self.mailboxes[index].is_idle() {
            self.note_missed(index);
            self.table.remove(self.mailboxes[index].key().hash, index);
            self.mailboxes.remove(index);
            self.charge_table();
        }
    }

    /// Charges the table for what it takes now, which has been reserved as far as it could be known.
    fn charge_table(&mut self) {
        let bytes = self.table.charged_bytes();
        if bytes != self.table_bytes {
            self.budget.charge(bytes.saturating_sub(self.table_bytes));
            self.budget.make_way();
            self.budget.release(self.table_bytes.saturating_sub(bytes));
            self.table_bytes = bytes;
        }
    }

    /// Puts a mailbox's count of missed messages where it outlives the mailbox.
    fn note_missed(&mut self, index: u32) {
        let mailbox = &mut self.mailboxes[index];
        let missed = mem::take(&mut mailbox.missed);
        if let Some(missed) = NonZeroU64::new(missed.into()) {
            self.lost.add(mailbox.key(), missed, self.swept_at_second);
        }
    }

    /// Sees to it that one more message of `len` bytes fits, in this mailbox or in a new one.
    fn admit(&mut self, index: Option<u32>, len: usize, now_millis: u64) -> Result<(), PostError> {
        if !self.has_room(index, len) {
            if let Some(index) = index {
                self.make_room(index, len, now_millis);
            }
            if !self.has_room(index, len) {
                return Err(PostError::MailboxFull);
            }
        }
        if self.reserve(index.is_none(), len) {
            Ok(())
        } else {
            self.blocks.give_back_unused();
            self.messages.give_back_unused();
            self.mailboxes.give_back_unused();
            Err(PostError::BudgetSpent)
        }
    }

    /// Memory for a message, and for a mailbox if it is the first one there.
    fn reserve(&mut self, with_mailbox: bool, len: usize) -> bool {
        self.blocks.reserve(len.saturating_sub(LEAD_BYTES))
            && self.messages.reserve()
            && self.may_add_mailbox()
            && (!with_mailbox || self.mailboxes.reserve())
    }

    /// Whether the budget has room for one more mailbox. Asked for every message: if one to a mailbox that there is
    /// were taken without it, its sender would learn that there is one.
    fn may_add_mailbox(&self) -> bool {
        let bytes = self.mailboxes.missing_bytes() + self.table.growth_bytes();
        bytes == 0 || self.budget.has_room(bytes)
    }

    fn has_room(&self, index: Option<u32>, len: usize) -> bool {
        let Some(mailbox) = index.and_then(|index| self.mailboxes.get(index)) else {
            return len <= self.caps.mailbox_bytes as usize && self.caps.mailbox_messages > 0;
        };
        let subscribers = self.subscribers.get(mailbox.subscribers);
        let kept = subscribers.map_or(Room::NONE, Subscribers::kept);
        mailbox.count as usize - kept.messages < self.caps.mailbox_messages as usize
            && mailbox.bytes as usize - kept.bytes + len <= self.caps.mailbox_bytes as usize
            // What no cap counts is counted too, and the highest cap leaves no room for it.
            && u32::try_from(mailbox.bytes as usize + len).is_ok()
            && !mailbox.spans_too_much(&self.messages)
    }

    fn append(&mut self, index: u32, body: &[u8], deadline: Deadline, live_only: bool, wake: &mut Vec<SessionAddress>) {
        let at = self.messages.insert(Message::new(index, deadline, live_only));
        let (lead, rest) = body.split_at(body.len().min(LEAD_BYTES));
        let first_block = self.blocks.store(at, rest);
        let message = &mut self.messages[at];
        message.lead[..lead.len()].copy_from_slice(lead);
        message.first_block = first_block;
        // A mailbox's cap is a `u32`, and no body is over it.
        message.len = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let mailbox = &mut self.mailboxes[index];
        mailbox.append(at, &mut self.messages);
        self.wheel.insert(&mut self.messages, at, deadline.tick);
        if let Some(subscribers) = self.subscribers.get_mut(mailbox.subscribers) {
            subscribers.announce(at, wake);
        }
    }

    /// Once under each lock that removes something: moves what lies behind many vacant places to the front, so that
    /// segments become empty. No more than as many as have become vacant, for that is enough. What is beyond one lock's
    /// share is done under the next ones.
    fn settle(&mut self) {
        for _ in 0..self.moves_due.min(MOVES_PER_LOCK) {
            let has_moved = self.move_message();
            if !self.move_block() && !has_moved {
                self.moves_due = 0;
                return;
            }
            self.moves_due -= 1;
        }
    }

    fn move_message(&mut self) -> bool {
        let Some((from, to)) = self.messages.move_one() else {
            return false;
        };
        self.wheel.note_move(&mut self.messages, from, to);
        let Message {
            mailbox, first_block, ..
        } = self.messages[to];
        let mailbox = &mut self.mailboxes[mailbox];
        mailbox.note_move(from, to, &mut self.messages);
        if let Some(subscribers) = self.subscribers.get_mut(mailbox.subscribers) {
            subscribers.note_move(from, to);
        }
        self.blocks.set_owner(first_block, to);
        true
    }

    fn move_block(&mut self) -> bool {
        let Some(moved) = self.blocks.move_one() else {
            return false;
        };
        if let Some(message) = moved.first_of {
            self.messages[message].first_block = moved.to;
        }
        true
    }

    /// Room for a message of `len` bytes in a mailbox that is full: drops what has expired, as far as it is the first
    /// that counts against the caps, and no more than it takes. One lock's share must do: the wheel comes for the rest.
    fn make_room(&mut self, index: u32, len: usize, now_millis: u64) {
        for _ in 0..EXPIRIES_PER_LOCK {
            let mailbox = &self.mailboxes[index];
            let subscribers = self.subscribers.get(mailbox.subscribers);
            let first = subscribers.map_or(mailbox.head, Subscribers::had_cursor);
            let is_expired = self
                .messages
                .get(first)
                .is_some_and(|message| message.is_expired(now_millis));
            if !is_expired || self.has_room(Some(index), len) {
                return;
            }
            self.end_expired(first);
        }
    }

    /// Drops from the front what `goes`, at most `most` messages; whether the next one goes too.
    fn drop_head_while(&mut self, index: u32, most: usize, goes: impl Fn(&Message) -> bool) -> bool {
        for left in (0..=most).rev() {
            let head = self.mailboxes[index].head;
            if !self.messages.get(head).is_some_and(&goes) {
                return false;
            }
            if left > 0 {
                if (most - left).is_multiple_of(warm::AHEAD) {
                    warm::queue(head, &goes, &self.messages, &self.blocks);
                }
                self.remove(head);
            }
        }
        true
    }

    /// Ends a message whose time is over, and counts it if no session has acknowledged it. Its mailbox stays, even if
    /// it's idle now.
    fn end_expired(&mut self, index: u32) {
        if self.is_unseen(index) {
            self.expired += 1;
            let mailbox = self.messages[index].mailbox;
            if self.mailboxes[mailbox].missed == u16::MAX {
                self.note_missed(mailbox);
            }
            self.mailboxes[mailbox].missed += 1;
        }
        self.remove(index);
    }

    /// Whether no session has confirmed the message, nor is it on its way to one. One that must not be stored isn't
    /// missed.
    fn is_unseen(&self, index: u32) -> bool {
        let message = &self.messages[index];
        let mailbox = &self.mailboxes[message.mailbox];
        let oldest = mailbox.oldest(&self.messages);
        let subscribers = self.subscribers.get(mailbox.subscribers);
        message.live_only == 0
            && subscribers.is_none_or(|subscribers| subscribers.has_missed(message, oldest, &self.messages))
    }

    /// Ends a message, whatever the reason. Its mailbox stays, even if it's idle now.
    fn remove(&mut self, index: u32) {
        self.wheel.cancel(&mut self.messages, index);
        let message = self.messages[index];
        let mailbox = &mut self.mailboxes[message.mailbox];
        if let Some(subscribers) = self.subscribers.get_mut(mailbox.subscribers) {
            let oldest = mailbox.oldest(&self.messages);
            mailbox.unlink(index, &mut self.messages);
            subscribers.pass_over(index, &message, oldest);
            let new_oldest = mailbox.oldest(&self.messages);
            if new_oldest != oldest {
                subscribers.move_up(oldest, new_oldest);
            }
        } else {
            mailbox.unlink(index, &mut self.messages);
        }
        self.messages.remove(index);
        self.moves_due += 1 + self.blocks.free(message.first_block);
    }
}

/// The wheel's tick, and the resolution of what is kept for weeks.
fn whole_seconds(millis: u64) -> u32 {
    u32::try_from(millis / 1000).unwrap_or(u32::MAX)
}
