//! What must have become of each message, from what clients see alone: answers and frames.
//!
//! It is given the time as connections see it. Mail is older than that by all that the relay was kept from running.
//!
//! A message is *confirmed* once the server has read the pong of a ping that followed it in the stream, on a session
//! that was not over. Which pong that is, and when it has been read, is the ledger's to say; here is what follows from
//! it.

mod deferrals;
mod records;
mod suspects;

use std::time::{Duration, Instant};

use npchat::server::config::{Config, Timeouts};
use npchat::server::limits::{
    LAG_MAX_BYTES, LAG_MAX_MESSAGES, LIVE_ONLY_HOLD_SECONDS, MESSAGES_PER_TAKE, OUTBOUND_HIGH_WATER_BYTES,
    SEGMENT_MIN_BYTES,
};

use self::records::{Fate, Line, Message, Session, Suspicion, Terms};
use crate::identity;
use crate::sightings::{Sight, saw};
use testkit::Random;

/// With less than this memory may run out.
const AMPLE_BYTES: u64 = 64 * 1024 * 1024;
/// Segments that one mailbox may leave vacant, of the largest size that a run has.
const SLACK_BYTES: u64 = 16 * 32 * SEGMENT_MIN_BYTES as u64;

/// All messages and sessions of a run.
pub(crate) struct Model {
    messages: Vec<Message>,
    /// One for each identity.
    lines: Vec<Line>,
    sessions: Vec<Session>,
    mailbox_messages: usize,
    mailbox_bytes: usize,
    /// Memory may run out.
    is_tight: bool,
    /// The length of the shortest message that was refused for want of memory.
    spent_at: Option<usize>,
    /// Counts what matters for order: messages taken, confirmed, and logins.
    moment: u64,
    /// For so long the relay was kept from running, which counts for mail and not for connections.
    pub(crate) kept_from_running: Duration,
    /// Connections may be refused because all places are taken.
    pub(crate) has_few_places: bool,
    pub(crate) timeouts: Timeouts,
    pub(crate) counts: Counts,
}

/// What the relay's counters must say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) posted: u64,
    pub(crate) delivered: u64,
    pub(crate) logins: u64,
}

/// Why the relay doesn't have a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    MailboxFull,
    RelayFull,
    TooLate,
    /// The storage behind the service has refused it.
    ByStorage,
    /// All places for connections were taken.
    NoPlace,
}

impl Model {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            messages: Vec::new(),
            lines: vec![Line::default(); identity::all().len()],
            sessions: Vec::new(),
            mailbox_messages: config.mailbox_messages as usize,
            mailbox_bytes: config.mailbox_bytes as usize,
            is_tight: config.memory < AMPLE_BYTES,
            spent_at: None,
            moment: 0,
            kept_from_running: Duration::ZERO,
            has_few_places: false,
            timeouts: config.timeouts,
            counts: Counts::default(),
        }
    }

    /// A new message of about this length for an identity; its number.
    ///
    /// Its body tells the number, so that no two are alike, and isn't always UTF-8. One for each identity may be empty.
    pub(crate) fn write(&mut self, identity: usize, length: usize, random: &mut Random) -> usize {
        let number = self.messages.len();
        let mut body = Vec::new();
        let empty = &mut self.lines[identity].empty;
        if length > 0 || *empty.get_or_insert(number) != number {
            body.extend_from_slice(format!("m{number}:").as_bytes());
            let filler = random.pick(&[b'a', b'z', 0xff]);
            body.resize(length.max(body.len()), filler);
        }
        self.messages.push(Message {
            identity,
            body,
            fate: Fate::Posted,
            deferral: None,
            confirmed: None,
            was_delivered: false,
            was_in_vain: false,
            suspicion: Suspicion::default(),
        });
        number
    }

    pub(crate) fn body(&self, message: usize) -> &[u8] {
        &self.messages[message].body
    }

    /// The relay has answered that it took the message, for so many seconds.
    pub(crate) fn accept(&mut self, message: usize, ttl_seconds: u64, now: Instant) {
        self.counts.posted += 1;
        if !self.answer_deferred(message, true) {
            self.store(message, ttl_seconds, now);
        }
    }

    /// The relay has answered that it did not take the message.
    pub(crate) fn refuse(&mut self, message: usize, why: Refused, now: Instant) {
        if !self.answer_deferred(message, false) {
            self.turn_down(message, why, now);
        }
    }

    /// The relay takes the message, for so many seconds.
    pub(crate) fn store(&mut self, message: usize, ttl_seconds: u64, now: Instant) {
        let now = now + self.kept_from_running;
        let live_only = ttl_seconds == 0;
        let seconds = if live_only {
            u64::from(LIVE_ONLY_HOLD_SECONDS)
        } else {
            ttl_seconds
        };
        let moment = self.next_moment();
        let number = message;
        let may_be_dropped = live_only && self.may_not_fit(number, now);
        let message = &mut self.messages[number];
        assert_eq!(message.fate, Fate::Posted, "answered twice");
        let (identity, line) = (message.identity, &mut self.lines[message.identity]);
        message.fate = Fate::Accepted(Terms {
            moment,
            place: line.numbers.len(),
            deadline: now + Duration::from_secs(seconds),
            live_only,
            may_be_dropped,
        });
        line.numbers.push(number);
        line.bytes += message.body.len();
        if self.spent_at.is_some_and(|length| length <= message.body.len()) {
            saw(Sight::MemoryFreed);
        }
        self.check_caps(identity, now);
    }

    /// The relay does not take the message.
    pub(crate) fn turn_down(&mut self, message: usize, why: Refused, now: Instant) {
        let now = now + self.kept_from_running;
        let (identity, length) = (self.messages[message].identity, self.messages[message].body.len());
        let fate = std::mem::replace(&mut self.messages[message].fate, Fate::Refused);
        assert_eq!(fate, Fate::Posted, "answered twice");
        match why {
            Refused::MailboxFull => {
                // What has expired and is the first that counts makes room, unless it may have been put last.
                let counted = self.counted_at_most(identity, now);
                let first = counted
                    .iter()
                    .position(|number| !self.messages[*number].is_expired(now));
                let first = first.unwrap_or(counted.len());
                let held = counted
                    .iter()
                    .enumerate()
                    .filter(|(index, number)| *index >= first || self.messages[**number].suspicion.is_unplaced);
                let held: Vec<_> = held.map(|(_, number)| *number).collect();
                assert!(
                    held.len() >= self.mailbox_messages || self.bytes_of(&held) + length > self.mailbox_bytes,
                    "a mailbox that has room is said to be full"
                );
            }
            Refused::RelayFull => self.spent_at = Some(self.spent_at.unwrap_or(usize::MAX).min(length)),
            Refused::TooLate | Refused::ByStorage | Refused::NoPlace => {}
        }
    }

    /// A session has been told that it is logged in; its number.
    pub(crate) fn log_in(&mut self, identity: usize, now: Instant) -> usize {
        let now = now + self.kept_from_running;
        self.put_suspects_last(identity, now);
        let session = Session {
            identity,
            since: self.next_moment(),
            next: 0,
            confirmed_to: 0,
            passed: Vec::new(),
            unconfirmed: Vec::new(),
            behind: None,
            is_given_batches: false,
            is_over: false,
        };
        let due = self.lines[identity].numbers.iter().copied();
        let due: Vec<_> = due
            .filter(|number| session.is_due(&self.messages[*number], now))
            .collect();
        if due.len() > MESSAGES_PER_TAKE {
            saw(Sight::LoginToMoreThanOneTake);
        }
        if self.bytes_of(&due) > OUTBOUND_HIGH_WATER_BYTES {
            saw(Sight::LoginToMoreThanHighWater);
        }
        self.sessions.push(session);
        self.sessions.len() - 1
    }

    /// A session is told that so many messages for it have expired: no more than have, and none of them twice.
    pub(crate) fn note_lost(&mut self, session: usize, count: u64, now: Instant) {
        let now = now + self.kept_from_running;
        let identity = self.sessions[session].identity;
        let expired = self.held(identity, |message| message.is_stored() && message.is_expired(now));
        let line = &mut self.lines[identity];
        line.reported_expired += count;
        let is_possible = count > 0 && line.reported_expired <= expired.len() as u64;
        assert!(is_possible, "{count} messages are reported as expired, of {expired:?}");
        saw(Sight::ExpiredReported);
    }

    /// A session was sent a frame of mail. Returns the message that it is.
    pub(crate) fn deliver(&mut self, session: usize, body: &[u8], now: Instant) -> usize {
        let now = now + self.kept_from_running;
        let number = if body.is_empty() {
            self.lines[self.sessions[session].identity].empty
        } else {
            number_of(body).filter(|number| *number < self.messages.len())
        };
        let Some(number) = number else {
            panic!("mail that nobody wrote: {:?}", String::from_utf8_lossy(body));
        };
        assert!(self.messages[number].body == body, "message {number} came changed");
        let place = self.check_delivery(&self.sessions[session], number, now);
        let passed = self.passed_over(&self.sessions[session], place, now);
        self.note_suspect(session, number, place, now);
        let session = &mut self.sessions[session];
        session.passed.retain(|other| *other != place);
        session.passed.extend(passed);
        session.next = session.next.max(place + 1);
        session.unconfirmed.push(place);
        if std::mem::replace(&mut self.messages[number].was_delivered, true) {
            saw(Sight::DeliveredAgain);
        }
        if self.messages[number].was_in_vain {
            saw(Sight::DeliveredAfterPongTimeout);
        }
        number
    }

    /// A session has confirmed a message.
    pub(crate) fn confirm(&mut self, session: usize, message: usize, now: Instant) {
        let now = now + self.kept_from_running;
        self.counts.delivered += 1;
        let moment = self.next_moment();
        let session = &mut self.sessions[session];
        assert!(
            !session.is_over,
            "message {message} is confirmed by a session that is over"
        );
        if let Fate::Accepted(terms) = self.messages[message].fate {
            session.confirmed_to = session.confirmed_to.max(terms.place + 1);
            session.unconfirmed.retain(|place| *place != terms.place);
        }
        if self.messages[message].is_expired(now) {
            saw(Sight::ConfirmedAfterExpiry);
        }
        if self.messages[message].suspicion.was_put_last {
            saw(Sight::PutLastConfirmed);
        }
        if *self.messages[message].confirmed.get_or_insert(moment) < moment {
            saw(Sight::ConfirmedByTwo);
        }
    }

    /// Whether the session may have been closed for being behind: another one has been given more than a window of what
    /// came for both. It may have confirmed some of that when it was too late.
    pub(crate) fn may_have_been_behind(&self, session: usize) -> bool {
        let this = &self.sessions[session];
        let others = self.sessions.iter().enumerate();
        let others = others.filter(|(number, other)| *number != session && other.identity == this.identity);
        let given_to = others.map(|(_, other)| other.next).max().unwrap_or(0);
        let line = self.lines[this.identity].numbers[..given_to].iter();
        let lengths: Vec<_> = line
            .map(|number| &self.messages[*number])
            .filter(|message| this.may_stand_at(message))
            .map(|message| message.body.len())
            .collect();
        lengths.len() > LAG_MAX_MESSAGES || lengths.len() > 1 && lengths.iter().sum::<usize>() > LAG_MAX_BYTES
    }

    /// A session that was sent the message is closed for want of a pong.
    pub(crate) fn note_in_vain(&mut self, message: usize) {
        self.messages[message].was_in_vain = true;
    }

    /// The session takes what it is sent, and nothing is on its way: it must have been given all that is its own.
    pub(crate) fn check_has_all(&self, session: usize, now: Instant) {
        let now = now + self.kept_from_running;
        let missing = self.next_due(&self.sessions[session], now);
        if missing.is_some_and(|missing| self.may_wait(&self.sessions[session], missing)) {
            return;
        }
        assert!(
            missing.is_none(),
            "message {missing:?} is lost to session {session}, or waits without a wake-up"
        );
    }

    /// What is held is what no session has confirmed, and what a live one has yet to. What is over may be held or not.
    ///
    /// Memory may be taken by more than messages as long as there are connections.
    pub(crate) fn check_held(&self, count: u64, bytes: u64, has_connections: bool, now: Instant) {
        let now = now + self.kept_from_running;
        let (mut most, mut least) = ((0, 0), (0, 0));
        for identity in 0..self.lines.len() {
            let held = self.held_at_most(identity, now);
            most = (
                most.0 + held.len() as u64,
                most.1 + 2 * self.least_charge_of(&held) + SLACK_BYTES,
            );
            let held = self.held_at_least(identity, now);
            least = (least.0 + held.len() as u64, least.1 + self.least_charge_of(&held));
        }
        let has_memory = bytes >= least.1 && (has_connections || bytes <= most.1);
        assert!(
            (least.0..=most.0).contains(&count) && has_memory,
            "{count} messages are held in {bytes} bytes, but {least:?} must be and {most:?} may be"
        );
        if least.0 > 0 && !has_connections {
            saw(Sight::HeldForNobody);
        }
    }

    /// Whether the session may be given the message now, and where it stands.
    fn check_delivery(&self, session: &Session, number: usize, now: Instant) -> usize {
        let message = &self.messages[number];
        assert_eq!(
            message.identity, session.identity,
            "message {number} came to another id"
        );
        let Fate::Accepted(terms) = message.fate else {
            panic!("message {number} came, but it is {:?}", message.fate);
        };
        let deadline = terms.deadline;
        assert!(now < deadline, "message {number} came {:?} late", now - deadline);
        assert!(
            terms.place >= session.next || session.passed.contains(&terms.place),
            "message {number} came twice to one session, or after one that was posted later"
        );
        if terms.live_only {
            assert!(
                terms.moment > session.since,
                "message {number} must not be stored, but came to a later login"
            );
            saw(Sight::LiveOnlyDelivered);
        }
        assert!(
            session.is_due(message, now),
            "message {number} was had by one session, and came to a later login"
        );
        terms.place
    }

    /// What the session must be given next.
    fn next_due(&self, session: &Session, now: Instant) -> Option<usize> {
        let line = &self.lines[session.identity].numbers;
        let ahead = (session.next..line.len()).chain(session.passed.iter().copied());
        ahead
            .map(|place| line[place])
            .find(|number| session.must_be_given(&self.messages[*number], now))
    }

    /// Whether what must not be stored may be dropped for want of room.
    fn may_not_fit(&self, number: usize, now: Instant) -> bool {
        let Message { identity, body, .. } = &self.messages[number];
        let held = self.counted_at_most(*identity, now);
        self.is_tight || held.len() >= self.mailbox_messages || self.bytes_of(&held) + body.len() > self.mailbox_bytes
    }

    /// What may be in the mailbox and count against its caps: nothing that a session has confirmed.
    fn counted_at_most(&self, identity: usize, now: Instant) -> Vec<usize> {
        let mut held = self.held_at_most(identity, now);
        held.retain(|number| self.messages[*number].confirmed.is_none());
        held
    }

    /// What is held for an identity is within the caps of one mailbox.
    fn check_caps(&self, identity: usize, now: Instant) {
        let line = &self.lines[identity];
        if line.numbers.len() <= self.mailbox_messages && line.bytes <= self.mailbox_bytes {
            return;
        }
        // What is kept for a session that is behind another one doesn't count.
        let mut held = self.held_at_least(identity, now);
        held.retain(|number| self.messages[*number].is_stored());
        assert!(
            held.len() <= self.mailbox_messages && self.bytes_of(&held) <= self.mailbox_bytes,
            "a mailbox takes more than its cap"
        );
        if self.held(identity, Message::is_stored).len() > self.mailbox_messages {
            saw(Sight::RoomByExpiry);
        }
    }

    /// What must be in the mailbox: what is stored and unconfirmed, or on its way to a live session.
    fn held_at_least(&self, identity: usize, now: Instant) -> Vec<usize> {
        // Nothing is kept for a session that is to be closed for being behind, whether it has been told or not.
        let live = self.sessions.iter().enumerate().filter(|(number, session)| {
            !session.is_over && session.identity == identity && !self.may_have_been_behind(*number)
        });
        let live: Vec<_> = live.map(|(_, session)| session).collect();
        let is_needed = |message: &Message| {
            let mut waiting = live.iter().filter(|session| !session.has_confirmed(message));
            waiting.any(|session| session.must_be_given(message, now))
        };
        self.held(identity, |message| {
            !message.is_expired(now) && (message.is_stored() || is_needed(message))
        })
    }

    /// What may be in the mailbox: the same, what is over included, and what stands in line behind the last that a live
    /// session has confirmed, whether it is for that session or not.
    fn held_at_most(&self, identity: usize, now: Instant) -> Vec<usize> {
        self.held(identity, |message| {
            message.is_stored() || self.is_needed(message, now, |session, message, _| session.may_stand_at(message))
        })
    }

    fn held(&self, identity: usize, is_held: impl Fn(&Message) -> bool) -> Vec<usize> {
        let line = self.lines[identity].numbers.iter().copied();
        line.filter(|number| is_held(&self.messages[*number])).collect()
    }

    fn is_needed(&self, message: &Message, now: Instant, by: impl Fn(&Session, &Message, Instant) -> bool) -> bool {
        let mut live = self
            .sessions
            .iter()
            .filter(|session| !session.is_over && session.identity == message.identity);
        live.any(|session| !session.has_confirmed(message) && by(session, message, now))
    }

    /// What is surely charged: places, and blocks for what doesn't lie in them.
    fn least_charge_of(&self, numbers: &[usize]) -> u64 {
        let blocks = |number: &usize| self.messages[*number].body.len().saturating_sub(24).div_ceil(128);
        let blocks: usize = numbers.iter().map(blocks).sum();
        (64 * numbers.len() + 128 * blocks) as u64
    }

    fn bytes_of(&self, numbers: &[usize]) -> usize {
        numbers.iter().map(|number| self.messages[*number].body.len()).sum()
    }

    fn next_moment(&mut self) -> u64 {
        self.moment += 1;
        self.moment
    }
}

fn number_of(body: &[u8]) -> Option<usize> {
    let digits = body.strip_prefix(b"m")?;
    let end = digits.iter().position(|byte| *byte == b':')?;
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}
