//! The live sessions of one mailbox: how far each has been given its mail, and how far it has confirmed it.
//!
//! Positions only: the messages themselves, and when they go, are the shard's.

use crate::server::limits::{LAG_MAX_BYTES, LAG_MAX_MESSAGES, REMOVALS_PER_LOCK, WINDOW_MAX_MESSAGES};
use crate::server::token::SessionAddress;

use super::arena::NONE;
use super::dense::Dense;
use super::message::Message;
use super::sequence::Sequence;
use super::terms::Room;

/// What a mailbox keeps while at least one session is attached to it.
///
/// No position in here lies before the oldest message held ([`Subscribers::move_up`]), so positions compare by their
/// distance from that one, and wrapping does no harm.
#[derive(Debug)]
pub(super) struct Subscribers {
    all: Vec<Subscriber>,
    /// Everything before this has been acknowledged by a session, perhaps by one that has ended.
    had: Sequence,
    /// The first message that isn't before `had`, or [`NONE`].
    had_cursor: u32,
    /// Messages before `had`: all that they are kept for are sessions that haven't acknowledged them yet.
    kept: Room,
    /// Where the mailbox stood when the first session attached.
    opened_at: Sequence,
    next_key: u32,
}

/// How far one session has been given its mail, and how far it has confirmed it.
#[derive(Debug)]
pub(super) struct Subscriber {
    address: SessionAddress,
    /// The next message to give it, or [`NONE`] when it has been given everything.
    pub(super) cursor: u32,
    /// It has confirmed everything before this.
    confirmed: Sequence,
    /// The first message that came while it was there.
    attached_at: Sequence,
    key: u32,
    /// It has been notified of mail and hasn't yet taken the last of it.
    pub(super) notified: bool,
    /// It is too far behind another one: nothing is kept for it any more, and it is to be closed.
    pub(super) lags: bool,
    /// It has been given a suspect.
    care: Option<Care>,
}

/// How mail goes on after a suspect: in batches that double, each once all before it is acknowledged.
///
/// What ended a session may have been any message of those it left unacknowledged, and only the first is known as a
/// suspect. So each session acknowledges half of what stands before that one at least, however much that is.
#[derive(Debug, Clone, Copy)]
struct Care {
    batch: usize,
    /// Messages that may still be given of this batch.
    left: usize,
}

impl Subscribers {
    /// No subscribers, of a mailbox that holds `head` and the messages after it, and will give `next` to the next.
    pub(super) fn new(head: u32, oldest: Sequence, next: Sequence) -> Self {
        Self {
            all: Vec::with_capacity(1),
            had: oldest,
            had_cursor: head,
            kept: Room::NONE,
            opened_at: next,
            next_key: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn opened_at(&self) -> Sequence {
        self.opened_at
    }

    /// The first message that no session has acknowledged, or [`NONE`]: where a new session begins.
    pub(super) fn had_cursor(&self) -> u32 {
        self.had_cursor
    }

    /// Adds a session, which begins at [`Subscribers::had_cursor`], and names it by a key.
    ///
    /// `confirmed` is where that is, `next` what the mailbox will give to its next message.
    pub(super) fn attach(&mut self, address: SessionAddress, confirmed: Sequence, next: Sequence) -> u32 {
        while self.all.iter().any(|subscriber| subscriber.key == self.next_key) {
            self.next_key = self.next_key.wrapping_add(1);
        }
        let key = self.next_key;
        self.next_key = key.wrapping_add(1);
        self.all.push(Subscriber {
            address,
            cursor: self.had_cursor,
            confirmed,
            attached_at: next,
            key,
            notified: self.had_cursor != NONE,
            lags: false,
            care: None,
        });
        key
    }

    pub(super) fn detach(&mut self, key: u32) {
        self.all.retain(|subscriber| subscriber.key != key);
    }

    pub(super) fn subscriber(&mut self, key: u32) -> Option<&mut Subscriber> {
        self.all.iter_mut().find(|subscriber| subscriber.key == key)
    }

    /// Has every session be given the message at `index`, which is the newest, and wakes those that don't know of mail.
    pub(super) fn announce(&mut self, index: u32, wake: &mut Vec<SessionAddress>) {
        if self.had_cursor == NONE {
            self.had_cursor = index;
        }
        for subscriber in &mut self.all {
            // Of one that lags too: it isn't on its way to that one.
            if subscriber.cursor == NONE {
                subscriber.cursor = index;
            }
            if !subscriber.notified && !subscriber.lags {
                subscriber.notified = true;
                wake.push(subscriber.address);
            }
        }
    }

    /// The session `key` has acknowledged everything before `position`, which lies between `oldest` and its cursor.
    ///
    /// A session to come still begins where it did, until [`Subscribers::move_up_had`].
    pub(super) fn confirm(&mut self, key: u32, position: Sequence, oldest: Sequence) {
        if let Some(subscriber) = self.subscriber(key) {
            subscriber.confirmed = subscriber.confirmed.max_from(position, oldest);
        }
    }

    /// Brings what any session has acknowledged up to what the session `key` has, past [`REMOVALS_PER_LOCK`] messages
    /// at most; whether to go on.
    pub(super) fn move_up_had(&mut self, key: u32, oldest: Sequence, messages: &Dense<Message>) -> bool {
        let Some(confirmed) = self.subscriber(key).map(|subscriber| subscriber.confirmed) else {
            return false;
        };
        let mut left = REMOVALS_PER_LOCK;
        while let Some(message) = messages.get(self.had_cursor)
            && message.sequence.is_before(confirmed, oldest)
        {
            if left == 0 {
                return true;
            }
            left -= 1;
            self.kept.messages += 1;
            self.kept.bytes += message.len as usize;
            self.had = message.sequence.next();
            self.had_cursor = message.next;
        }
        self.had = self.had.max_from(confirmed, oldest);
        false
    }

    /// Has the session that is the furthest behind give up its mail if more is kept for it than a window, and wakes it
    /// to be closed; whether there was one. `last_bytes` is the size of the last message kept.
    pub(super) fn end_lag(&mut self, last_bytes: usize, oldest: Sequence, wake: &mut Vec<SessionAddress>) -> bool {
        let Room { messages, bytes } = self.kept;
        // A session's own window lets one message go beyond it: what has been given so is none to be closed for.
        if messages <= LAG_MAX_MESSAGES && bytes.saturating_sub(last_bytes) <= LAG_MAX_BYTES {
            return false;
        }
        let followed = self.all.iter_mut().filter(|subscriber| !subscriber.lags);
        let Some(last) = followed.min_by_key(|subscriber| subscriber.confirmed.since(oldest)) else {
            return false;
        };
        last.lags = true;
        wake.push(last.address);
        true
    }

    /// What is kept only for sessions that are behind another one: it counts for none of the mailbox's caps.
    pub(super) const fn kept(&self) -> Room {
        self.kept
    }

    /// The session `key`, which is leaving, needs nothing that another has acknowledged.
    pub(super) fn give_up(&mut self, key: u32, oldest: Sequence) {
        self.confirm(key, self.had, oldest);
    }

    /// Everything before this is needed by no session, nor by one to come.
    pub(super) fn needed_from(&self, oldest: Sequence) -> Sequence {
        let followed = self.all.iter().filter(|subscriber| !subscriber.lags);
        followed
            .map(|subscriber| subscriber.confirmed)
            .min_by_key(|position| position.since(oldest))
            .unwrap_or(self.had)
    }

    /// Whether a session has confirmed the message, or one after it.
    pub(super) fn has_had(&self, message: &Message, oldest: Sequence) -> bool {
        message.sequence.is_before(self.had, oldest)
    }

    /// Whether no session has confirmed the message, nor is it on its way to one that is there.
    pub(super) fn has_missed(&self, message: &Message, oldest: Sequence, messages: &Dense<Message>) -> bool {
        let is_ahead = |subscriber: &Subscriber| {
            messages
                .get(subscriber.cursor)
                .is_some_and(|next| !message.sequence.is_before(next.sequence, oldest))
        };
        !self.has_had(message, oldest) && self.all.iter().all(is_ahead)
    }

    /// Whether the session `key` has been given `message` and has acknowledged all before it, but not it.
    pub(super) fn ends_at(&self, key: u32, message: &Message, oldest: Sequence, messages: &Dense<Message>) -> bool {
        let position = message.sequence;
        let mut subscribers = self.all.iter();
        subscribers.any(|subscriber| {
            let next = messages.get(subscriber.cursor);
            subscriber.key == key
                && !subscriber.lags
                && subscriber.confirmed.since(oldest) <= position.since(oldest)
                && next.is_none_or(|next| position.is_before(next.sequence, oldest))
                && !position.is_before(self.had, oldest)
        })
    }

    /// The message that was at `from` is at `to` now.
    pub(super) fn note_move(&mut self, from: u32, to: u32) {
        let cursors = self.all.iter_mut().map(|subscriber| &mut subscriber.cursor);
        for cursor in cursors.chain([&mut self.had_cursor]) {
            if *cursor == from {
                *cursor = to;
            }
        }
    }

    /// The message at `index` is going.
    pub(super) fn pass_over(&mut self, index: u32, message: &Message, oldest: Sequence) {
        if message.sequence.is_before(self.had, oldest) {
            self.kept.messages -= 1;
            self.kept.bytes -= message.len as usize;
        }
        let successor = message.next;
        let cursors = self.all.iter_mut().map(|subscriber| &mut subscriber.cursor);
        for cursor in cursors.chain([&mut self.had_cursor]) {
            if *cursor == index {
                *cursor = successor;
            }
        }
    }

    /// The oldest message held is no more at `oldest`, but at `new_oldest`.
    pub(super) fn move_up(&mut self, oldest: Sequence, new_oldest: Sequence) {
        let positions = self
            .all
            .iter_mut()
            .flat_map(|subscriber| [&mut subscriber.confirmed, &mut subscriber.attached_at]);
        for position in positions.chain([&mut self.had, &mut self.opened_at]) {
            *position = position.max_from(new_oldest, oldest);
        }
    }
}

impl Subscriber {
    /// It has acknowledged all that it was given.
    pub(super) fn begin_batch(&mut self) {
        let Some(Care { batch, left }) = self.care else { return };
        if left < batch {
            let batch = 2 * batch;
            self.care = (batch <= WINDOW_MAX_MESSAGES).then_some(Care { batch, left: batch });
        }
    }

    /// Whether the next message must wait until all that was given is acknowledged.
    pub(super) fn awaits_acknowledgement(&self) -> bool {
        self.care.is_some_and(|care| care.left == 0)
    }

    /// The next message is given.
    pub(super) fn note_given(&mut self, is_suspect: bool) {
        match &mut self.care {
            // It is a batch by itself.
            care if is_suspect => *care = Some(Care { batch: 1, left: 0 }),
            Some(care) => care.left = care.left.saturating_sub(1),
            None => {}
        }
    }

    /// Whether the message is for this session: one that must not be stored is only for those that were attached.
    pub(super) fn is_given(&self, message: &Message, oldest: Sequence) -> bool {
        message.live_only == 0 || !message.sequence.is_before(self.attached_at, oldest)
    }
}
