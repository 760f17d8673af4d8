//! What is done to the mailboxes of one shard while its lock is held: map operations only.
//!
//! No lock, no clock: `now_millis` counts from the epoch of all shards.

use std::mem;
use std::num::NonZeroU64;
use std::sync::Arc;

use siphasher::sip::SipHasher13;

use crate::limits::{
    EXPIRIES_PER_LOCK, LIVE_ONLY_HOLD_SECONDS, MAILBOX_OVERHEAD_BYTES, MESSAGE_OVERHEAD_BYTES, MESSAGES_PER_TAKE,
    REMOVALS_PER_LOCK,
};
use crate::token::SessionAddress;
use crate::wheel::{Step, Wheel};

use super::audience::Audience;
use super::budget::Account;
use super::lost::Lost;
use super::mailbox::{Deadline, Mailbox, Message, Sequence};
use super::slab::{NONE, Slab};
use super::table::Table;
use super::{Caps, Delivery, Hold, Key, PostError, Room, Stats, TooManySessions, warm};

/// Mailboxes by id, their messages, and when those expire.
pub(super) struct Shard {
    table: Table,
    mailboxes: Slab<Mailbox>,
    messages: Slab<Message>,
    wheel: Wheel,
    lost: Lost,
    /// Messages that have expired unseen, of all mailboxes that there have been.
    expired: u64,
    /// When [`Shard::expire`] was last called.
    swept_at_second: u32,
    sessions: u64,
    hasher: SipHasher13,
    account: Account,
    caps: Caps,
}

impl Shard {
    /// `lost_records`: mailboxes for which it is known how many messages expired unseen.
    pub(super) fn new(caps: Caps, lost_records: usize, hasher: SipHasher13, account: Account) -> Self {
        Self {
            table: Table::new(),
            mailboxes: Slab::new(),
            messages: Slab::new(),
            wheel: Wheel::new(0),
            lost: Lost::new(lost_records),
            expired: 0,
            swept_at_second: 0,
            sessions: 0,
            hasher,
            account,
            caps,
        }
    }

    /// [`super::Mailboxes::post`].
    pub(super) fn post(
        &mut self,
        key: &Key,
        body: Arc<[u8]>,
        hold: Hold,
        now_millis: u64,
        wake: &mut Vec<SessionAddress>,
    ) -> Result<(), PostError> {
        let found = self.find(key);
        let (ttl, live_only) = match hold {
            Hold::LiveOnly | Hold::Store { ttl: 0 } => {
                if found.is_none_or(|index| self.mailboxes[index].audience.is_none()) {
                    return Ok(());
                }
                (LIVE_ONLY_HOLD_SECONDS, true)
            }
            Hold::Store { ttl } => (ttl, false),
        };
        if let Err(error) = self.admit(found, body.len(), now_millis) {
            if let Some(index) = found {
                // Making room may have emptied it.
                self.free_if_idle(index);
            }
            return Err(error);
        }
        let index = found.unwrap_or_else(|| self.create(key));
        self.append(index, body, Deadline::after(now_millis, ttl), live_only, wake);
        Ok(())
    }

    /// [`super::Mailboxes::attach`]; the index of the mailbox and the session's key in it.
    pub(super) fn attach(&mut self, key: &Key, address: SessionAddress) -> Result<(u32, u32), TooManySessions> {
        let found = self.find(key);
        let audience = found.and_then(|index| self.mailboxes[index].audience.as_deref());
        if audience.map_or(0, Audience::len) >= self.caps.sessions || self.mailboxes.is_full() {
            return Err(TooManySessions);
        }
        let index = found.unwrap_or_else(|| self.create(key));
        let mailbox = &mut self.mailboxes[index];
        let (head, oldest, next) = (mailbox.head, mailbox.oldest(&self.messages), mailbox.next_sequence);
        let cursor = mailbox.audience.as_ref().map_or(head, |audience| audience.had_cursor());
        let confirmed = mailbox.sequence_at(cursor, &self.messages);
        let audience = mailbox
            .audience
            .get_or_insert_with(|| Box::new(Audience::new(head, oldest, next)));
        self.sessions += 1;
        Ok((index, audience.attach(address, confirmed, next)))
    }

    /// [`super::Attachment`] dropped; whether to call this again, the session being attached until then.
    pub(super) fn detach(&mut self, index: u32, key: u32) -> bool {
        let mailbox = &mut self.mailboxes[index];
        let oldest = mailbox.oldest(&self.messages);
        if let Some(audience) = &mut mailbox.audience {
            audience.give_up(key, oldest);
        }
        if self.drop_had(index) {
            return true;
        }
        if let Some(audience) = &mut self.mailboxes[index].audience {
            audience.detach(key);
            self.sessions -= 1;
            if audience.is_empty() {
                self.drop_live_only(index);
                self.mailboxes[index].audience = None;
                self.free_if_idle(index);
            }
        }
        false
    }

    /// [`super::Attachment::take`].
    pub(super) fn take(&mut self, index: u32, key: u32, now_millis: u64, room: Room, into: &mut Vec<Delivery>) -> bool {
        let mut bytes_left = room.bytes;
        let mut is_first = true;
        for _ in 0..MESSAGES_PER_TAKE.min(room.messages) {
            let Some(next) = self.next_for(index, key) else {
                return false;
            };
            let message = &self.messages[next];
            if message.is_expired(now_millis) {
                self.end_expired(next);
                continue;
            }
            let mailbox = &mut self.mailboxes[index];
            let oldest = mailbox.oldest(&self.messages);
            let Some(listener) = mailbox.audience.as_mut().and_then(|audience| audience.listener(key)) else {
                return false;
            };
            if listener.is_given(message, oldest) {
                if message.body.len() > bytes_left && !is_first {
                    return true;
                }
                is_first = false;
                bytes_left = bytes_left.saturating_sub(message.body.len());
                into.push(Delivery {
                    body: Arc::clone(&message.body),
                    sequence: message.sequence,
                });
            }
            listener.cursor = message.next;
        }
        self.next_for(index, key).is_some()
    }

    /// [`super::Attachment::confirm`]; whether to call this again.
    pub(super) fn confirm(&mut self, index: u32, key: u32, upto: Sequence) -> bool {
        let mailbox = &mut self.mailboxes[index];
        let oldest = mailbox.oldest(&self.messages);
        let Some(listener) = mailbox.audience.as_mut().and_then(|audience| audience.listener(key)) else {
            return false;
        };
        let cursor = listener.cursor;
        let given = mailbox.sequence_at(cursor, &self.messages);
        if !upto.is_before(given, oldest) {
            return false;
        }
        if let Some(audience) = &mut mailbox.audience {
            audience.confirm(key, upto.next(), oldest);
        }
        // What goes takes the other walk's place: a session that is alone has nothing left to pass over.
        self.drop_had(index) || self.move_up_had(index, key)
    }

    /// [`super::Attachment::take_lost`].
    pub(super) fn take_lost(&mut self, index: u32, now_millis: u64) -> u64 {
        let mut budget = EXPIRIES_PER_LOCK;
        self.expire(now_millis, &mut budget);
        let key = self.key_of(index);
        let missed = mem::take(&mut self.mailboxes[index].missed);
        u64::from(missed).saturating_add(self.lost.take(&key, whole_seconds(now_millis)))
    }

    /// [`super::Mailboxes::expire`].
    pub(super) fn expire(&mut self, now_millis: u64, budget: &mut usize) -> bool {
        let now_tick = whole_seconds(now_millis);
        self.swept_at_second = now_tick;
        self.lost.forget_stale(now_tick);
        for step in 0..EXPIRIES_PER_LOCK.min(*budget) {
            if step.is_multiple_of(warm::AHEAD) {
                let due = self.wheel.due(&self.messages, now_tick);
                warm::due(due, &self.messages, &self.mailboxes);
            }
            match self.wheel.pop_expired(&mut self.messages, now_tick) {
                Step::Expired(message) => {
                    let mailbox = self.messages[message].mailbox;
                    self.end_expired(message);
                    self.free_if_idle(mailbox);
                }
                Step::Cascaded => {}
                Step::Idle => return false,
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

    /// Messages that have expired unseen, of all mailboxes that there have been.
    pub(super) fn expired(&self) -> u64 {
        self.expired
    }

    fn find(&self, key: &Key) -> Option<u32> {
        self.table.find(key.hash, |index| self.mailboxes[index].id == key.id)
    }

    fn create(&mut self, key: &Key) -> u32 {
        let index = self.mailboxes.insert(Mailbox::new(key.id));
        self.table.insert(key.hash, index);
        index
    }

    fn free_if_idle(&mut self, index: u32) {
        if self.mailboxes[index].is_idle() {
            self.note_missed(index);
            let key = self.key_of(index);
            self.table.remove(key.hash, index);
            self.mailboxes.remove(index);
        }
    }

    /// Puts a mailbox's count of missed messages where it outlives the mailbox.
    fn note_missed(&mut self, index: u32) {
        let missed = mem::take(&mut self.mailboxes[index].missed);
        if let Some(missed) = NonZeroU64::new(missed.into()) {
            self.lost.add(self.key_of(index), missed, self.swept_at_second);
        }
    }

    /// Hashed anew: a mailbox with its hash beside its id would be an eighth larger.
    fn key_of(&self, index: u32) -> Key {
        let id = self.mailboxes[index].id;
        Key::new(id, self.hasher.hash(id.as_bytes()))
    }

    /// Charges the budget for one more message of `len` bytes, in this mailbox or in a new one.
    fn admit(&mut self, index: Option<u32>, len: usize, now_millis: u64) -> Result<(), PostError> {
        if !self.has_room(index, len) {
            if let Some(index) = index {
                self.make_room(index, len, now_millis);
            }
            if !self.has_room(index, len) {
                return Err(PostError::MailboxFull);
            }
        }
        let has_slots = !self.messages.is_full() && !self.mailboxes.is_full();
        let is_only = index.is_none_or(|index| self.mailboxes[index].count == 0);
        if has_slots && self.account.try_charge(cost(len, is_only)) {
            Ok(())
        } else {
            Err(PostError::BudgetSpent)
        }
    }

    fn has_room(&self, index: Option<u32>, len: usize) -> bool {
        let mailbox = index.and_then(|index| self.mailboxes.get(index));
        let (count, bytes) = mailbox.map_or((0, 0), |mailbox| (mailbox.count, mailbox.bytes));
        count < self.caps.mailbox_messages
            && len <= (self.caps.mailbox_bytes - bytes) as usize
            && !mailbox.is_some_and(|mailbox| mailbox.spans_too_much(&self.messages))
    }

    fn append(
        &mut self,
        index: u32,
        body: Arc<[u8]>,
        deadline: Deadline,
        live_only: bool,
        wake: &mut Vec<SessionAddress>,
    ) {
        let mailbox = &mut self.mailboxes[index];
        let message = Message::new(index, body, deadline, live_only);
        let message = mailbox.append(message, &mut self.messages);
        self.wheel.insert(&mut self.messages, message, deadline.tick);
        if let Some(audience) = &mut mailbox.audience {
            audience.announce(message, wake);
        }
    }

    /// The message at the session's cursor. If there is none, the session will have to be woken for the next one.
    fn next_for(&mut self, index: u32, key: u32) -> Option<u32> {
        let listener = self.mailboxes[index].audience.as_mut()?.listener(key)?;
        listener.notified = listener.cursor != NONE;
        listener.notified.then_some(listener.cursor)
    }

    /// Drops what every session has confirmed, or, when the only one gives up, what any has had: at most
    /// [`REMOVALS_PER_LOCK`] messages; whether more are to go.
    fn drop_had(&mut self, index: u32) -> bool {
        let mailbox = &self.mailboxes[index];
        let oldest = mailbox.oldest(&self.messages);
        let Some(needed_from) = mailbox.audience.as_ref().map(|audience| audience.needed_from(oldest)) else {
            return false;
        };
        self.drop_head_while(index, REMOVALS_PER_LOCK, |message| {
            message.sequence.is_before(needed_from, oldest)
        })
    }

    fn move_up_had(&mut self, index: u32, key: u32) -> bool {
        let mailbox = &mut self.mailboxes[index];
        let oldest = mailbox.oldest(&self.messages);
        let audience = mailbox.audience.as_mut();
        audience.is_some_and(|audience| audience.move_up_had(key, oldest, &self.messages))
    }

    /// Room for a message of `len` bytes in a mailbox that is full: drops what has expired, as far as it is first in line
    /// and no more than it takes. One lock's share must do: the wheel comes for the rest.
    fn make_room(&mut self, index: u32, len: usize, now_millis: u64) {
        for _ in 0..EXPIRIES_PER_LOCK {
            let head = self.mailboxes[index].head;
            let is_expired = self
                .messages
                .get(head)
                .is_some_and(|message| message.is_expired(now_millis));
            if !is_expired || self.has_room(Some(index), len) {
                return;
            }
            self.end_expired(head);
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
                    warm::queue(head, &goes, &self.messages);
                }
                self.remove(head);
            }
        }
        true
    }

    /// Drops what must not be stored, now that the last session has gone.
    ///
    /// It all came while that session or one before it was there, so the walk passes only over what came since the first.
    fn drop_live_only(&mut self, index: u32) {
        let mailbox = &mut self.mailboxes[index];
        let oldest = mailbox.oldest(&self.messages);
        let Some(audience) = mailbox.audience.as_ref().filter(|_| mailbox.holds_live_only) else {
            return;
        };
        let opened_at = audience.opened_at();
        mailbox.holds_live_only = false;
        let mut cursor = mailbox.tail;
        while let Some(message) = self.messages.get(cursor)
            && !message.sequence.is_before(opened_at, oldest)
        {
            let (this, live_only) = (cursor, message.live_only);
            let is_first = cursor == self.mailboxes[index].head;
            cursor = if is_first { NONE } else { message.prev };
            if live_only {
                self.remove(this);
            }
        }
    }

    /// Ends a message whose time is over, and counts it if nobody has seen it. Its mailbox stays, even if it's idle now.
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

    /// Whether no session has confirmed the message, nor is it on its way to one. One that must not be stored isn't missed.
    fn is_unseen(&self, index: u32) -> bool {
        let message = &self.messages[index];
        let mailbox = &self.mailboxes[message.mailbox];
        let oldest = mailbox.oldest(&self.messages);
        let audience = mailbox.audience.as_ref();
        !message.live_only && audience.is_none_or(|audience| audience.has_missed(message, oldest, &self.messages))
    }

    /// Ends a message, whatever the reason. Its mailbox stays, even if it's idle now.
    fn remove(&mut self, index: u32) {
        self.wheel.cancel(&mut self.messages, index);
        let mailbox = self.messages[index].mailbox;
        let mailbox = &mut self.mailboxes[mailbox];
        if let Some(message) = mailbox.unlink(index, &mut self.messages) {
            self.account.release(cost(message.body.len(), mailbox.count == 0));
        }
        if self.messages.len() == 0 {
            self.account.close();
        }
    }
}

/// The wheel's tick, and the resolution of what is kept for weeks.
fn whole_seconds(millis: u64) -> u32 {
    u32::try_from(millis / 1000).unwrap_or(u32::MAX)
}

/// What a message with a body of `len` bytes is charged. The only one in its mailbox is charged for the mailbox, which
/// costs nothing without: what is left then is a session's, as its connection is.
const fn cost(len: usize, is_only: bool) -> u64 {
    let mailbox = if is_only { MAILBOX_OVERHEAD_BYTES } else { 0 };
    (len as u64).saturating_add(MESSAGE_OVERHEAD_BYTES + mailbox)
}

#[cfg(test)]
mod tests {
    use crate::identity::RecipientId;
    use crate::mailboxes::Budget;

    use super::*;

    fn shard() -> Shard {
        let caps = Caps {
            mailbox_messages: 10,
            mailbox_bytes: 10,
            sessions: 1,
        };
        let account = Account::new(Arc::new(Budget::new(10_000)), 1);
        Shard::new(caps, 1, SipHasher13::new(), account)
    }

    /// Posts an empty message to the one mailbox, at the start of time.
    fn post(shard: &mut Shard, ttl: u32) -> Result<(), PostError> {
        let key = Key::new(RecipientId::from_bytes([1; 32]), 1);
        shard.post(&key, Arc::new([]), Hold::Store { ttl }, 0, &mut Vec::new())
    }

    #[test]
    fn a_queue_never_spans_more_sequences_than_can_be_told_apart() {
        let mut shard = shard();
        assert_eq!(post(&mut shard, 1), Ok(()));
        let mailbox = &mut shard.mailboxes[0];
        let oldest = mailbox.oldest(&shard.messages);
        // As if four billion short-lived messages had come and gone behind the first.
        mailbox.next_sequence = Sequence((oldest.0 & !0xffff) - 1);
        assert_eq!(post(&mut shard, 1), Ok(()));
        assert_eq!(post(&mut shard, 1), Err(PostError::MailboxFull));
    }

    #[test]
    fn no_missed_message_is_left_out_when_the_mailbox_can_count_no_further() {
        let mut shard = shard();
        // The last one keeps the mailbox.
        for ttl in [1, 1, 100] {
            assert_eq!(post(&mut shard, ttl), Ok(()));
        }
        shard.mailboxes[0].missed = u16::MAX - 1;
        assert!(!shard.expire(10_000, &mut 10));
        assert_eq!(shard.mailboxes[0].missed, 1);
        assert_eq!(shard.take_lost(0, 10_000), u64::from(u16::MAX) + 1);
    }
}
