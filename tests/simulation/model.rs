//! What must have become of each message, from what clients see alone: answers, frames, and what the kernel took.
//!
//! A message is *confirmed* once the kernel has taken all of its frame on a session that has not been told of its end.
//! That is the one notion here which belongs to the relay's way of confirming.

use std::time::{Duration, Instant};

use npchat::limits::LIVE_ONLY_HOLD_SECONDS;

use crate::random::Random;

/// All messages and sessions of a run.
#[derive(Default)]
pub(crate) struct Model {
    messages: Vec<Message>,
    sessions: Vec<Session>,
    /// Counts what matters for order: messages taken, confirmed, and logins.
    moment: u64,
    pub(crate) counts: Counts,
}

/// What the relay's counters must say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) posted: u64,
    pub(crate) delivered: u64,
    pub(crate) logins: u64,
}

struct Message {
    identity: usize,
    body: Vec<u8>,
    fate: Fate,
    /// When a session's kernel had it whole.
    confirmed: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Not answered: the relay doesn't have it.
    Posted,
    /// The relay has said that it doesn't have it.
    Refused,
    Accepted {
        moment: u64,
        deadline: Instant,
        live_only: bool,
    },
}

struct Session {
    identity: usize,
    since: u64,
    /// Messages that it was given, in the order in which it was.
    had: Vec<usize>,
    last: u64,
}

impl Model {
    /// A new message of about this length for an identity; its number.
    ///
    /// Its body tells the number, so that no two are alike, and isn't always UTF-8.
    pub(crate) fn write(&mut self, identity: usize, length: usize, random: &mut Random) -> usize {
        let number = self.messages.len();
        let mut body = format!("m{number}:").into_bytes();
        let filler = random.pick(&[b'a', b'z', 0xff]);
        body.resize(length.max(body.len()), filler);
        self.messages.push(Message {
            identity,
            body,
            fate: Fate::Posted,
            confirmed: None,
        });
        number
    }

    pub(crate) fn body(&self, message: usize) -> &[u8] {
        &self.messages[message].body
    }

    /// The relay has answered that it took the message, for so many seconds.
    pub(crate) fn accept(&mut self, message: usize, ttl_seconds: u64, now: Instant) {
        let live_only = ttl_seconds == 0;
        let seconds = if live_only {
            u64::from(LIVE_ONLY_HOLD_SECONDS)
        } else {
            ttl_seconds
        };
        self.counts.posted += 1;
        let moment = self.next_moment();
        let message = &mut self.messages[message];
        assert_eq!(message.fate, Fate::Posted, "answered twice");
        message.fate = Fate::Accepted {
            moment,
            deadline: now + Duration::from_secs(seconds),
            live_only,
        };
    }

    /// The relay has answered that it did not take the message.
    pub(crate) fn refuse(&mut self, message: usize) {
        assert_eq!(self.messages[message].fate, Fate::Posted, "answered twice");
        self.messages[message].fate = Fate::Refused;
    }

    /// A session has been told that it is logged in; its number.
    pub(crate) fn log_in(&mut self, identity: usize) -> usize {
        let since = self.next_moment();
        self.sessions.push(Session {
            identity,
            since,
            had: Vec::new(),
            last: 0,
        });
        self.sessions.len() - 1
    }

    /// A session was sent a frame of mail. Returns the message that it is.
    pub(crate) fn deliver(&mut self, session: usize, body: &[u8], now: Instant) -> usize {
        let number = number_of(body).filter(|number| *number < self.messages.len());
        assert!(
            number.is_some(),
            "mail that nobody wrote: {:?}",
            String::from_utf8_lossy(body)
        );
        let number = number.unwrap_or(0);
        let (session, message) = (&mut self.sessions[session], &self.messages[number]);
        assert_eq!(
            message.identity, session.identity,
            "message {number} came to another id"
        );
        assert!(message.body == body, "message {number} came changed");
        let fate = message.fate;
        let Fate::Accepted {
            moment,
            deadline,
            live_only,
        } = fate
        else {
            panic!("message {number} came, but it is {fate:?}");
        };
        assert!(now < deadline, "message {number} came {:?} late", now - deadline);
        assert!(
            !session.had.contains(&number),
            "message {number} came twice to one session"
        );
        assert!(
            moment > session.last,
            "message {number} came after one that was posted later"
        );
        assert!(
            !live_only || moment > session.since,
            "message {number} must not be stored, but came to a later login"
        );
        assert!(
            message.confirmed.is_none_or(|confirmed| confirmed > session.since),
            "message {number} was had by one session, and came to a later login"
        );
        session.last = moment;
        session.had.push(number);
        number
    }

    /// The kernel has taken the whole frame of a message.
    pub(crate) fn hand_over(&mut self, message: usize, session_is_live: bool) {
        self.counts.delivered += 1;
        if session_is_live {
            let moment = self.next_moment();
            self.messages[message].confirmed.get_or_insert(moment);
        }
    }

    /// The session takes what it is sent, and nothing is on its way: it must have been given all that is its own.
    pub(crate) fn check_has_all(&self, session: usize, now: Instant) {
        let Session {
            identity, since, had, ..
        } = &self.sessions[session];
        for (number, message) in self.messages.iter().enumerate() {
            let Fate::Accepted {
                moment,
                deadline,
                live_only,
            } = message.fate
            else {
                continue;
            };
            let is_stored = !live_only && message.confirmed.is_none_or(|confirmed| confirmed > *since);
            let is_due = message.identity == *identity && now < deadline && (moment > *since || is_stored);
            assert!(
                !is_due || had.contains(&number),
                "message {number} is lost to session {session}, or waits without a wake-up"
            );
        }
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
