//! What sessions do to the mailboxes of one shard: attach, take, confirm, fall behind, leave.
//!
//! How messages come and expire is in [`super`].

use std::mem;
use std::ops::ControlFlow;

use crate::server::limits::{
    EXPIRIES_PER_LOCK, MESSAGES_PER_TAKE, MOVES_PER_LOCK, REMOVALS_PER_LOCK, SUSPECT_FAILURES, SUSPECTS_PER_ATTACH,
};
use crate::server::token::SessionAddress;

use super::{Shard, whole_seconds};
use crate::server::mailboxes::arena::NONE;
use crate::server::mailboxes::deliveries::Deliveries;
use crate::server::mailboxes::key::Key;
use crate::server::mailboxes::message::LEAD_BYTES;
use crate::server::mailboxes::sequence::Sequence;
use crate::server::mailboxes::subscribers::Subscribers;
use crate::server::mailboxes::terms::{Room, Taken, TooManySessions};

/// What one call of [`Shard::take`] has given so far.
struct Batch {
    /// Room for further bodies.
    bytes_left: usize,
    /// No message has been given yet: one is, whatever its size.
    is_empty: bool,
    /// The session has acknowledged all that it was given before.
    is_all_acknowledged: bool,
}

impl Shard {
    /// [`super::super::Mailboxes::attach`]; the index of the mailbox and the session's key in it.
    pub(in crate::server::mailboxes) fn attach(
        &mut self,
        key: &Key,
        address: SessionAddress,
    ) -> Result<(u32, u32), TooManySessions> {
        let found = self.find(key);
        let sessions = found.and_then(|index| self.subscribers.get(self.mailboxes[index].subscribers));
        if sessions.map_or(0, Subscribers::len) >= self.caps.sessions {
            return Err(TooManySessions);
        }
        // A login has to be possible when no memory is left.
        if found.is_none() && !self.mailboxes.reserve_beyond_budget() {
            return Err(TooManySessions);
        }
        let index = found.unwrap_or_else(|| self.create(key));
        if self.mailboxes[index].subscribers == NONE {
            self.put_suspects_last(index);
            let mailbox = &mut self.mailboxes[index];
            let (oldest, next) = (mailbox.oldest(&self.messages), mailbox.next_sequence);
            mailbox.subscribers = self.subscribers.insert(Subscribers::new(mailbox.head, oldest, next));
        }
        let mailbox = &self.mailboxes[index];
        let subscribers = &mut self.subscribers[mailbox.subscribers];
        let confirmed = mailbox.sequence_at(subscribers.had_cursor(), &self.messages);
        self.sessions += 1;
        Ok((index, subscribers.attach(address, confirmed, mailbox.next_sequence)))
    }

    /// [`super::super::Attachment`] dropped; whether to call this again, the session being attached until then.
    pub(in crate::server::mailboxes) fn detach(&mut self, index: u32, key: u32) -> bool {
        let mailbox = &self.mailboxes[index];
        let oldest = mailbox.oldest(&self.messages);
        if let Some(subscribers) = self.subscribers.get_mut(mailbox.subscribers) {
            subscribers.give_up(key, oldest);
        }
        if self.drop_had(index) {
            self.settle();
            return true;
        }
        self.note_failure(index, key);
        let number = self.mailboxes[index].subscribers;
        if let Some(subscribers) = self.subscribers.get_mut(number) {
            subscribers.detach(key);
            self.sessions -= 1;
            if subscribers.is_empty() {
                self.drop_live_only(index);
                self.subscribers.remove(number);
                self.mailboxes[index].subscribers = NONE;
                self.free_if_idle(index);
            }
        }
        self.settle();
        false
    }

    /// [`super::super::Attachment::take`].
    pub(in crate::server::mailboxes) fn take(
        &mut self,
        index: u32,
        key: u32,
        now_millis: u64,
        room: Room,
        is_all_acknowledged: bool,
        into: &mut Deliveries,
    ) -> Taken {
        // First, since there are many ways out. What this makes due itself is done under the next lock.
        self.settle();
        if is_all_acknowledged {
            self.begin_batch(index, key);
        }
        let mut batch = Batch {
            bytes_left: room.bytes,
            is_empty: true,
            is_all_acknowledged,
        };
        for _ in 0..MESSAGES_PER_TAKE.min(room.messages) {
            let Some(next) = self.next_for(index, key) else {
                return self.end_of_mail(index, key);
            };
            if self.messages[next].is_expired(now_millis) {
                self.end_expired(next);
                // Large bodies take their time too.
                if self.moves_due > MOVES_PER_LOCK {
                    return Taken::More;
                }
            } else if let ControlFlow::Break(left) = self.give(index, key, next, &mut batch, into) {
                return left;
            }
        }
        match self.next_for(index, key) {
            Some(_) => Taken::More,
            None => self.end_of_mail(index, key),
        }
    }

    /// Gives the session the message at `next`, where its cursor stands, or passes over one that isn't meant for it;
    /// breaks off where that message has to wait.
    #[inline]
    fn give(
        &mut self,
        index: u32,
        key: u32,
        next: u32,
        batch: &mut Batch,
        into: &mut Deliveries,
    ) -> ControlFlow<Taken> {
        let message = &self.messages[next];
        let mailbox = &self.mailboxes[index];
        let oldest = mailbox.oldest(&self.messages);
        let subscribers = &mut self.subscribers[mailbox.subscribers];
        // What another session has acknowledged ends none, and this one must not be held up until it is behind.
        let is_proven = subscribers.has_had(message, oldest);
        let Some(subscriber) = subscribers.subscriber(key) else {
            return ControlFlow::Break(Taken::All);
        };
        if subscriber.is_given(message, oldest) {
            let len = message.len as usize;
            // A suspect goes alone: what ended a session may have been any of what it was sent.
            let waits = subscriber.awaits_acknowledgement()
                || message.is_suspect() && !(batch.is_empty && batch.is_all_acknowledged);
            if waits && !is_proven {
                return ControlFlow::Break(Taken::AwaitsAcknowledgement);
            }
            if len > batch.bytes_left && !batch.is_empty {
                return ControlFlow::Break(Taken::More);
            }
            if !is_proven {
                subscriber.note_given(message.is_suspect());
            }
            batch.is_empty = false;
            batch.bytes_left = batch.bytes_left.saturating_sub(len);
            into.push(message.sequence, |bytes| {
                bytes.extend_from_slice(&message.lead[..len.min(LEAD_BYTES)]);
                self.blocks
                    .copy(message.first_block, len.saturating_sub(LEAD_BYTES), bytes);
            });
        }
        subscriber.cursor = message.next;
        ControlFlow::Continue(())
    }

    /// [`super::super::Attachment::confirm`]; whether to call this again.
    pub(in crate::server::mailboxes) fn confirm(
        &mut self,
        index: u32,
        key: u32,
        upto: Sequence,
        wake: &mut Vec<SessionAddress>,
    ) -> bool {
        let mailbox = &self.mailboxes[index];
        let oldest = mailbox.oldest(&self.messages);
        let Some(subscribers) = self.subscribers.get_mut(mailbox.subscribers) else {
            return false;
        };
        let Some(subscriber) = subscribers.subscriber(key) else {
            return false;
        };
        let given = mailbox.sequence_at(subscriber.cursor, &self.messages);
        if !upto.is_before(given, oldest) {
            return false;
        }
        subscribers.confirm(key, upto.next(), oldest);
        // What goes takes the other walk's place: a session that is alone has nothing left to pass over.
        let goes_on = self.drop_had(index) || self.move_up_had(index, key) || self.end_lag(index, wake);
        self.settle();
        goes_on
    }

    /// [`super::super::Attachment::is_lagging`].
    pub(in crate::server::mailboxes) fn is_lagging(&mut self, index: u32, key: u32) -> bool {
        let subscribers = self.subscribers.get_mut(self.mailboxes[index].subscribers);
        let subscriber = subscribers.and_then(|subscribers| subscribers.subscriber(key));
        subscriber.is_some_and(|subscriber| subscriber.lags)
    }

    /// [`super::super::Attachment::take_lost`].
    pub(in crate::server::mailboxes) fn take_lost(&mut self, index: u32, now_millis: u64) -> u64 {
        let mut budget = EXPIRIES_PER_LOCK;
        self.expire(now_millis, &mut budget);
        let mailbox = &mut self.mailboxes[index];
        let (key, missed) = (mailbox.key(), mem::take(&mut mailbox.missed));
        u64::from(missed).saturating_add(self.lost.take(&key, whole_seconds(now_millis)))
    }

    /// Before the first of a mailbox's sessions: messages that sessions have kept ending with go behind all others, in
    /// their order, with their deadlines.
    fn put_suspects_last(&mut self, index: u32) {
        let mailbox = &mut self.mailboxes[index];
        for _ in 0..SUSPECTS_PER_ATTACH.min(mailbox.count as usize) {
            let head = mailbox.head;
            if self.messages[head].failures < SUSPECT_FAILURES || mailbox.spans_too_much(&self.messages) {
                return;
            }
            mailbox.unlink(head, &mut self.messages);
            mailbox.append(head, &mut self.messages);
        }
    }

    /// A session is leaving: if it has been given the first message of the queue, and has acknowledged nothing from
    /// there on, that may be what it has ended with. What must not be stored goes anyway, and is passed over.
    fn note_failure(&mut self, index: u32, key: u32) {
        let mailbox = &self.mailboxes[index];
        let oldest = mailbox.oldest(&self.messages);
        let Some(subscribers) = self.subscribers.get(mailbox.subscribers) else {
            return;
        };
        let mut first = mailbox.head;
        for _ in 0..SUSPECTS_PER_ATTACH {
            match self.messages.get(first) {
                Some(message) if message.live_only != 0 => first = message.next,
                _ => break,
            }
        }
        let Some(message) = self.messages.get(first) else {
            return;
        };
        if message.live_only == 0 && subscribers.ends_at(key, message, oldest, &self.messages) {
            let message = &mut self.messages[first];
            message.failures = message.failures.saturating_add(1);
        }
    }

    fn begin_batch(&mut self, index: u32, key: u32) {
        let subscribers = self.subscribers.get_mut(self.mailboxes[index].subscribers);
        if let Some(subscriber) = subscribers.and_then(|subscribers| subscribers.subscriber(key)) {
            subscriber.begin_batch();
        }
    }

    /// The message at the session's cursor. If there is none, the session will have to be woken for the next one.
    fn next_for(&mut self, index: u32, key: u32) -> Option<u32> {
        let subscribers = self.subscribers.get_mut(self.mailboxes[index].subscribers)?;
        let subscriber = subscribers.subscriber(key).filter(|subscriber| !subscriber.lags)?;
        subscriber.notified = subscriber.cursor != NONE;
        subscriber.notified.then_some(subscriber.cursor)
    }

    /// What a session has that is given nothing more.
    fn end_of_mail(&mut self, index: u32, key: u32) -> Taken {
        if self.is_lagging(index, key) {
            Taken::Lagging
        } else {
            Taken::All
        }
    }

    /// Drops what every session has confirmed, or, when the only one gives up, what any has acknowledged: at most
    /// [`REMOVALS_PER_LOCK`] messages; whether more are to go.
    fn drop_had(&mut self, index: u32) -> bool {
        let mailbox = &self.mailboxes[index];
        let oldest = mailbox.oldest(&self.messages);
        let Some(subscribers) = self.subscribers.get(mailbox.subscribers) else {
            return false;
        };
        let needed_from = subscribers.needed_from(oldest);
        self.drop_head_while(index, REMOVALS_PER_LOCK, |message| {
            message.sequence.is_before(needed_from, oldest)
        })
    }

    fn move_up_had(&mut self, index: u32, key: u32) -> bool {
        let mailbox = &self.mailboxes[index];
        let oldest = mailbox.oldest(&self.messages);
        let subscribers = self.subscribers.get_mut(mailbox.subscribers);
        subscribers.is_some_and(|subscribers| subscribers.move_up_had(key, oldest, &self.messages))
    }

    fn end_lag(&mut self, index: u32, wake: &mut Vec<SessionAddress>) -> bool {
        let mailbox = &self.mailboxes[index];
        let oldest = mailbox.oldest(&self.messages);
        let subscribers = self.subscribers.get_mut(mailbox.subscribers);
        let Some(subscribers) = subscribers.filter(|subscribers| subscribers.kept() != Room::NONE) else {
            return false;
        };
        // The last message kept stands before the first that no session has acknowledged.
        let last = match self.messages.get(subscribers.had_cursor()) {
            Some(message) => message.prev,
            None => mailbox.tail,
        };
        let last_bytes = self.messages[last].len as usize;
        subscribers.end_lag(last_bytes, oldest, wake)
    }

    /// Drops what must not be stored, now that the last session has gone.
    ///
    /// It all came while that session or one before it was there, so the walk passes only over what came since the
    /// first.
    fn drop_live_only(&mut self, index: u32) {
        let mailbox = &mut self.mailboxes[index];
        let oldest = mailbox.oldest(&self.messages);
        let subscribers = self.subscribers.get(mailbox.subscribers);
        let Some(subscribers) = subscribers.filter(|_| mailbox.holds_live_only != 0) else {
            return;
        };
        let opened_at = subscribers.opened_at();
        mailbox.holds_live_only = 0;
        let mut cursor = mailbox.tail;
        while let Some(message) = self.messages.get(cursor)
            && !message.sequence.is_before(opened_at, oldest)
        {
            let (this, live_only) = (cursor, message.live_only != 0);
            let is_first = cursor == self.mailboxes[index].head;
            cursor = if is_first { NONE } else { message.prev };
            if live_only {
                self.remove(this);
            }
        }
    }
}
