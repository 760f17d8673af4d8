//! What mailboxes promise, said with plain lists and sets: for each id its messages, and who was given and had each.
//!
//! It doesn't know when an expired message is freed, only from when on it may be: so what is held lies between two
//! bounds, and so does what was lost, since a session that was sent a message may leave before it is freed, or after.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use npchat::server::limits::{
    LIVE_ONLY_HOLD_SECONDS, SEGMENT_MIN_BYTES, SUSPECT_FAILURES, SUSPECTS_PER_ATTACH, WINDOW_MAX_MESSAGES,
};
use npchat::server::mailboxes::{Caps, PostError, Retention, Taken};

pub(crate) struct Message {
    pub(crate) serial: u32,
    pub(crate) len: usize,
    mailbox: u8,
    deadline_millis: u64,
    live_only: bool,
    /// It is for these sessions whatever they confirm: they were there when it came, or came before any had it.
    meant_for: BTreeSet<u32>,
    given: BTreeSet<u32>,
    had: BTreeSet<u32>,
    /// Dropped for good, by confirmation or because it must not be stored.
    gone: bool,
    sight: Sight,
    /// Sessions in a row that ended with it as their first unconfirmed message.
    failures: u8,
}

/// Whether a message was seen before its time was over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sight {
    /// Its time isn't over, or it is on its way to a session that is there.
    Open,
    /// That session left, before or after it was freed.
    Doubtful,
    Unseen,
    /// Or it must not be stored.
    Seen,
}

impl Message {
    /// At the latest it is freed by who frees all that is due at this time.
    fn freed_by_millis(&self) -> u64 {
        self.deadline_millis.div_ceil(1000) * 1000
    }
}

pub(crate) struct Session {
    pub(crate) serial: u32,
    pub(crate) mailbox: u8,
    /// Whether a post must wake it: not known from its attaching to its first take.
    must_wake: Option<bool>,
    /// Since it was given a suspect: how many it is given before all is acknowledged, and how many of these are left.
    batch: Option<(usize, usize)>,
}

/// Segments are as small as they get, whatever the budget is.
const SEGMENT_BYTES: u64 = SEGMENT_MIN_BYTES as u64;
const SHARDS_MAX: u64 = 4;

/// Messages, bytes of bodies, blocks, and the mailboxes that they are in.
#[derive(Default)]
pub(crate) struct Held {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    blocks: u64,
    mailboxes: BTreeSet<u8>,
}

impl Held {
    fn add(&mut self, mailbox: u8, len: usize) {
        self.messages += 1;
        self.bytes += len as u64;
        self.blocks += blocks(len);
        self.mailboxes.insert(mailbox);
    }

    /// What is surely charged for it: its places and nothing else.
    pub(crate) fn least_cost(&self) -> u64 {
        64 * (self.messages + self.mailboxes.len() as u64) + 128 * self.blocks
    }

    /// What is charged at most, with the mailboxes that sessions have made: in each shard some segments of each kind
    /// are vacant, and more only for a while.
    pub(crate) fn most_cost(&self) -> u64 {
        let segments = (self.messages + self.messages / 8).div_ceil(7) + (self.blocks + self.blocks / 8).div_ceil(3);
        (segments + 8 * SHARDS_MAX) * SEGMENT_BYTES
    }

    fn fits(&self, len: usize, caps: Caps) -> bool {
        self.messages < u64::from(caps.mailbox_messages) && self.bytes + len as u64 <= u64::from(caps.mailbox_bytes)
    }
}

pub(crate) struct Model {
    pub(crate) now_millis: u64,
    pub(crate) sessions: Vec<Session>,
    messages: Vec<Message>,
    caps: Caps,
    limit: u64,
    /// Everything whose tick had come at this time was freed then.
    settled_millis: u64,
    /// What logins were told, by mailbox.
    told: BTreeMap<u8, u64>,
}

impl Model {
    pub(crate) fn new(caps: Caps, limit: u64) -> Self {
        Self {
            now_millis: 0,
            sessions: Vec::new(),
            messages: Vec::new(),
            caps,
            limit,
            settled_millis: 0,
            told: BTreeMap::new(),
        }
    }

    /// What is surely held, and what may be.
    pub(crate) fn held(&self) -> (Held, Held) {
        self.held_of(|_| true)
    }

    /// Before this place in the queue everything has been had by a session, or must not be stored.
    fn had_to(&self, mailbox: u8) -> usize {
        let is_had = |message: &Message| message.mailbox == mailbox && !message.had.is_empty();
        self.messages.iter().rposition(is_had).map_or(0, |at| at + 1)
    }

    /// What one mailbox holds, as far as it counts against the caps: not what is kept for a session that is behind
    /// another one, nor what must not be stored and stands before that.
    fn counted(&self, mailbox: u8) -> (Held, Held) {
        let had_to = self.had_to(mailbox);
        let serials: Vec<u32> = self.messages[had_to..].iter().map(|message| message.serial).collect();
        let after = self.held_of(|message| message.mailbox == mailbox && serials.contains(&message.serial));
        let unhad = self.held_of(|message| message.mailbox == mailbox && message.had.is_empty());
        (after.0, unhad.1)
    }

    fn held_of(&self, is_meant: impl Fn(&Message) -> bool) -> (Held, Held) {
        let (mut least, mut most) = (Held::default(), Held::default());
        for message in self
            .messages
            .iter()
            .filter(|message| !message.gone && is_meant(message))
        {
            let is_expired = message.deadline_millis <= self.now_millis;
            if message.freed_by_millis() > self.settled_millis {
                most.add(message.mailbox, message.len);
            }
            // One that must not be stored may go sooner than when those who weren't there have had what is around it.
            if !is_expired && (!message.live_only || self.is_awaited(message)) {
                least.add(message.mailbox, message.len);
            }
        }
        (least, most)
    }

    /// Checks a post's outcome; the sessions that it must wake, and those it may.
    pub(crate) fn post(
        &mut self,
        serial: u32,
        mailbox: u8,
        len: usize,
        retention: Retention,
        outcome: Outcome,
    ) -> Wake {
        let Outcome { used, is_held, got } = outcome;
        let (ttl, live_only) = match retention {
            Retention::LiveOnly | Retention::Seconds(0) => (LIVE_ONLY_HOLD_SECONDS, true),
            Retention::Seconds(ttl) => (ttl, false),
        };
        let mut wake = Wake::default();
        if live_only && self.subscribers(mailbox).is_empty() {
            assert_eq!(got, Ok(()));
            return wake;
        }
        let (least, most) = self.counted(mailbox);
        let may_be_full = !most.fits(len, self.caps);
        let must_be_full = !least.fits(len, self.caps);
        let may_be_spent = used + (2 + blocks(len).div_ceil(3)) * SEGMENT_BYTES > self.limit;
        let mut all = self.held().0;
        all.add(mailbox, len);
        let must_be_spent = all.least_cost() > self.limit;
        if live_only && !is_held {
            assert_eq!(got, Ok(()), "the answer tells that a session is there");
            assert!(may_be_full || may_be_spent, "dropped though it fits");
            return wake;
        }
        match got {
            Ok(()) => assert!(!must_be_full && !must_be_spent, "taken over a cap"),
            Err(PostError::MailboxFull) => assert!(may_be_full, "refused below the caps"),
            Err(PostError::BudgetSpent) => assert!(may_be_spent && !must_be_full, "refused within the budget"),
        }
        if got.is_err() {
            return wake;
        }
        self.messages.push(Message {
            serial,
            len,
            mailbox,
            deadline_millis: self.now_millis + u64::from(ttl) * 1000,
            live_only,
            meant_for: self.subscribers(mailbox),
            given: BTreeSet::new(),
            had: BTreeSet::new(),
            gone: false,
            sight: if live_only { Sight::Seen } else { Sight::Open },
            failures: 0,
        });
        for session in self.sessions.iter_mut().filter(|session| session.mailbox == mailbox) {
            match session.must_wake.replace(false) {
                Some(true) => wake.must.push(session.serial),
                Some(false) => {}
                None => wake.may.push(session.serial),
            }
        }
        wake
    }

    /// Whether there was room for another session.
    pub(crate) fn attach(&mut self, serial: u32, mailbox: u8) -> bool {
        if self.subscribers(mailbox).len() == self.caps.sessions {
            return false;
        }
        if self.subscribers(mailbox).is_empty() {
            self.put_suspects_last(mailbox);
        }
        let waiting = self
            .messages
            .iter_mut()
            .filter(|message| message.mailbox == mailbox && !message.gone);
        for message in waiting.filter(|message| !message.live_only && message.had.is_empty()) {
            message.meant_for.insert(serial);
        }
        self.sessions.push(Session {
            serial,
            mailbox,
            must_wake: None,
            batch: None,
        });
        true
    }

    pub(crate) fn detach(&mut self, at: usize) {
        let Session { serial, mailbox, .. } = self.sessions.remove(at);
        self.drop_had(mailbox);
        let first = self.first_held(mailbox);
        if let Some(first) = first.map(|at| &mut self.messages[at])
            && first.given.contains(&serial)
            && first.had.is_empty()
        {
            first.failures += 1;
        }
        self.judge(Sight::Doubtful);
    }

    pub(crate) fn advance(&mut self, millis: u64) {
        self.now_millis += millis;
        self.judge(Sight::Unseen);
    }

    /// A login to this mailbox was told that so many messages were lost.
    pub(crate) fn tell(&mut self, mailbox: u8, lost: u64) {
        *self.told.entry(mailbox).or_default() += lost;
        let most = *self.lost(Some(mailbox)).end();
        assert!(self.told[&mailbox] <= most, "told of what wasn't lost");
    }

    /// Checks what all logins were told, each mailbox having just been told the last of it.
    pub(crate) fn check_told(&self, expired: u64) {
        for (mailbox, told) in &self.told {
            assert!(self.lost(Some(*mailbox)).contains(told), "told too little");
        }
        assert_eq!(
            self.told.values().sum::<u64>(),
            expired,
            "told another number than was counted"
        );
    }

    /// Bounds of what has expired unseen and been freed, in one mailbox or all.
    pub(crate) fn lost(&self, mailbox: Option<u8>) -> RangeInclusive<u64> {
        let (mut least, mut most) = (0, 0);
        for message in &self.messages {
            if mailbox.is_none_or(|mailbox| mailbox == message.mailbox) {
                least += u64::from(message.sight == Sight::Unseen && message.freed_by_millis() <= self.settled_millis);
                most += u64::from(matches!(message.sight, Sight::Unseen | Sight::Doubtful));
            }
        }
        least..=most
    }

    /// Whether the session has been given something that is still held, and that it hasn't confirmed.
    pub(crate) fn owes(&self, at: usize) -> bool {
        let session = self.sessions[at].serial;
        let held = self.messages.iter().filter(|message| !message.gone);
        held.into_iter()
            .any(|message| message.given.contains(&session) && !message.had.contains(&session))
    }

    /// Serials that the session must now be given, and what is left then.
    pub(crate) fn take(&mut self, at: usize, max_bytes: usize, is_all_acknowledged: bool) -> (Vec<u32>, Taken) {
        let now = self.now_millis;
        let had_to = self.had_to(self.sessions[at].mailbox);
        let session = &mut self.sessions[at];
        let mut room = max_bytes;
        let mut serials = Vec::new();
        if let Some((size, left)) = session.batch
            && is_all_acknowledged
            && left < size
        {
            session.batch = (2 * size <= WINDOW_MAX_MESSAGES).then_some((2 * size, 2 * size));
        }
        for (place, message) in self.messages.iter_mut().enumerate() {
            let is_due = message.meant_for.contains(&session.serial) && !message.given.contains(&session.serial);
            if !is_due || message.gone || message.deadline_millis <= now {
                continue;
            }
            let is_suspect = message.failures > 0;
            let is_batch_over = session.batch.is_some_and(|(_, left)| left == 0);
            let is_proven = place < had_to;
            let waits = is_batch_over || is_suspect && !(serials.is_empty() && is_all_acknowledged);
            if waits && !is_proven {
                session.must_wake = Some(false);
                return (serials, Taken::AwaitsAcknowledgement);
            }
            if message.len > room && !serials.is_empty() {
                session.must_wake = Some(false);
                return (serials, Taken::More);
            }
            session.batch = match session.batch {
                batch if is_proven => batch,
                _ if is_suspect => Some((1, 0)),
                batch => batch.map(|(size, left)| (size, left - 1)),
            };
            room = room.saturating_sub(message.len);
            message.given.insert(session.serial);
            serials.push(message.serial);
        }
        session.must_wake = Some(true);
        (serials, Taken::All)
    }

    /// The session has had everything that it was given, up to this serial.
    pub(crate) fn confirm(&mut self, at: usize, serial: u32) {
        let Session {
            serial: session,
            mailbox,
            ..
        } = self.sessions[at];
        let upto = self.messages.iter().position(|message| message.serial == serial);
        for message in self.messages.iter_mut().take(upto.map_or(0, |at| at + 1)) {
            if message.given.contains(&session) {
                message.had.insert(session);
            }
        }
        self.drop_had(mailbox);
    }

    /// Whether the mailbox may hold a message whose time is over.
    pub(crate) fn has_overdue(&self, mailbox: u8) -> bool {
        let mut held = self.messages.iter().filter(|message| message.mailbox == mailbox);
        held.any(|message| {
            message.deadline_millis <= self.now_millis && message.freed_by_millis() > self.settled_millis
        })
    }

    /// The first message of a mailbox that is not live only, all that is due having been expired.
    fn first_held(&self, mailbox: u8) -> Option<usize> {
        let settled = self.settled_millis;
        self.messages.iter().position(|message| {
            let is_held = !message.gone && message.freed_by_millis() > settled;
            message.mailbox == mailbox && is_held && !message.live_only
        })
    }

    fn put_suspects_last(&mut self, mailbox: u8) {
        let count = self.held_of(|message| message.mailbox == mailbox).1.messages;
        for _ in 0..count.min(SUSPECTS_PER_ATTACH as u64) {
            match self.first_held(mailbox) {
                Some(first) if self.messages[first].failures >= SUSPECT_FAILURES => {
                    let message = self.messages.remove(first);
                    self.messages.push(message);
                }
                _ => return,
            }
        }
    }

    /// Everything that is due has been expired.
    pub(crate) fn settle(&mut self) {
        self.settled_millis = self.now_millis;
        for message in &mut self.messages {
            if message.sight == Sight::Open && message.freed_by_millis() <= self.now_millis {
                message.sight = Sight::Seen;
            }
        }
    }

    /// Finds expired messages that no session has confirmed and that are on their way to none that is there.
    fn judge(&mut self, verdict: Sight) {
        let live: BTreeSet<u32> = self.sessions.iter().map(|session| session.serial).collect();
        for message in &mut self.messages {
            let is_open = message.sight == Sight::Open && !message.gone && message.had.is_empty();
            if is_open && message.deadline_millis <= self.now_millis && message.given.is_disjoint(&live) {
                message.sight = verdict;
            }
        }
    }

    fn drop_had(&mut self, mailbox: u8) {
        let subscribers = self.subscribers(mailbox);
        for message in self.messages.iter_mut().filter(|message| message.mailbox == mailbox) {
            let is_awaited = message
                .meant_for
                .iter()
                .any(|one| subscribers.contains(one) && !message.had.contains(one));
            message.gone |= if message.live_only {
                subscribers.is_empty()
            } else {
                !message.had.is_empty() && !is_awaited
            };
        }
    }

    fn is_awaited(&self, message: &Message) -> bool {
        let mut sessions = self.sessions.iter().map(|session| session.serial);
        sessions.any(|session| message.meant_for.contains(&session) && !message.had.contains(&session))
    }

    fn subscribers(&self, mailbox: u8) -> BTreeSet<u32> {
        let sessions = self.sessions.iter().filter(|session| session.mailbox == mailbox);
        sessions.map(|session| session.serial).collect()
    }
}

/// Blocks of a body of which a part lies in the message itself.
fn blocks(len: usize) -> u64 {
    len.saturating_sub(24).div_ceil(128) as u64
}

/// What came of a post.
#[derive(Clone, Copy)]
pub(crate) struct Outcome {
    /// Bytes that the budget had charged before it.
    pub(crate) used: u64,
    /// The message is there, of which the answer says nothing where it must not be stored.
    pub(crate) is_held: bool,
    pub(crate) got: Result<(), PostError>,
}

/// Sessions that a post wakes.
#[derive(Default)]
pub(crate) struct Wake {
    pub(crate) must: Vec<u32>,
    pub(crate) may: Vec<u32>,
}
