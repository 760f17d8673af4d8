//! One session's stream: what was sent and waits for a pong, which ping is under way, and which pongs the server has
//! read.
//!
//! A pong is told apart from the server's notion of it by where its frame ends in all that the client writes. What the
//! server holds in its own buffer may be dealt with or not, so some pongs *may* have counted and others *must* have.
//! How wide the window is in bytes depends on how long earlier pongs took; here it lies between its least and its most.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use npchat::server::config::Timeouts;
use npchat::server::limits::{PING_SPACING_MILLIS, WINDOW_MAX_BYTES, WINDOW_MAX_MESSAGES, WINDOW_MIN_BYTES};

use crate::sightings::{Sight, saw};

/// What one session has been sent, and how far its client has proved to have read it.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Messages, each with the length of its body, in the order in which they were sent.
    unconfirmed: VecDeque<(usize, usize)>,
    unconfirmed_bytes: usize,
    /// How many of them no ping follows yet.
    unasked: usize,
    unasked_bytes: usize,
    ping: Option<Ping>,
    /// Of all pings that ever were.
    payloads: HashSet<Vec<u8>>,
    pinged_at: Option<Instant>,
    /// Since when the first of those waits that no ping follows.
    unasked_since: Option<Instant>,
    /// Since when there is no ping under way.
    idle_since: Option<Instant>,
    /// Payloads of the client's pongs, each with where its frame ends, but for those that are surely dealt with.
    pongs: VecDeque<(usize, Vec<u8>)>,
    /// Bytes of the client's that the server has read.
    given: usize,
    /// So many of them it has surely dealt with.
    understood: usize,
    /// The same before the turn at hand.
    understood_before: usize,
    /// Messages that the server counts as confirmed in the turn at hand, and that are not yet told apart.
    uncounted: usize,
    /// So many have come to it, whether it has read them or not.
    arrived: usize,
}

struct Ping {
    payload: Vec<u8>,
    /// Messages before it, of those that are unconfirmed.
    covers: usize,
    /// A pong that ends here or before was surely dealt with before there was this ping,
    possible_after: usize,
    /// and one that ends after this surely was not.
    certain_after: usize,
    /// When the kernel had taken it, and all else.
    left_at: Option<Instant>,
}

impl Ledger {
    /// The session begins.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.idle_since = Some(now);
    }

    /// The session is sent a message.
    pub(crate) fn note_sent(&mut self, message: usize, length: usize, now: Instant) {
        // One message may go beyond the window in bytes, and after it what adds none.
        let fits = self.may_have_room() || (length == 0 && self.unconfirmed.len() < WINDOW_MAX_MESSAGES);
        assert!(fits, "message {message} is sent to a session whose window is full");
        self.unconfirmed.push_back((message, length));
        self.unconfirmed_bytes += length;
        self.unasked += 1;
        self.unasked_bytes += length;
        self.unasked_since.get_or_insert(now);
        if self.unconfirmed.len() == WINDOW_MAX_MESSAGES {
            saw(Sight::WindowFullOfMessages);
        } else if !self.has_room() {
            saw(Sight::WindowFullOfBytes);
        }
    }

    /// The session is sent a ping.
    pub(crate) fn note_ping(&mut self, payload: &[u8], now: Instant) {
        if let Some(ping) = &self.ping {
            let is_answered = ping.covers == 0 && self.is_answered(ping.possible_after, self.given);
            assert!(is_answered, "a second ping is sent before the pong of the first");
        }
        assert!(
            self.payloads.insert(payload.to_vec()),
            "a ping is like an earlier one: {payload:?}"
        );
        let is_spaced = self
            .pinged_at
            .is_none_or(|at| now >= at + Duration::from_millis(PING_SPACING_MILLIS));
        assert!(
            is_spaced || self.is_half_full(WINDOW_MIN_BYTES),
            "a ping too soon after the last"
        );
        match self.unasked_since {
            None => saw(Sight::IdlePing),
            Some(_) if self.is_half_full(WINDOW_MIN_BYTES) => saw(Sight::PingAtHalfWindow),
            Some(_) => {}
        }
        self.pongs.retain(|(end, _)| *end > self.understood_before);
        self.ping = Some(Ping {
            payload: payload.to_vec(),
            covers: self.unconfirmed.len(),
            // What is read in one turn may be dealt with before the ping is written or after it.
            possible_after: self.understood_before,
            certain_after: self.given,
            left_at: None,
        });
        self.pinged_at = Some(now);
        self.unasked_since = None;
        (self.unasked, self.unasked_bytes) = (0, 0);
        self.idle_since = None;
    }

    /// The client writes a pong that ends after so many of its bytes.
    pub(crate) fn note_pong(&mut self, end: usize, payload: &[u8]) {
        self.pongs.push_back((end, payload.to_vec()));
    }

    /// The kernel has taken all that the server made.
    pub(crate) fn note_flushed(&mut self, now: Instant) {
        if let Some(ping) = &mut self.ping {
            ping.left_at.get_or_insert(now);
        }
    }

    /// The server has read so many of the client's bytes, and counts so many messages more as confirmed. Said before
    /// what the server says in the same turn; [`Ledger::confirm`] follows, and follows each ping.
    pub(crate) fn note_heard(&mut self, given: usize, is_understood: bool, count: usize) {
        assert_eq!(self.uncounted, 0, "messages are confirmed by no ping");
        let understood = if is_understood { given } else { self.understood };
        self.look_for_strays(understood, count);
        self.understood_before = self.understood;
        self.understood = understood;
        self.given = given;
        self.uncounted = count;
    }

    /// What the ping under way has confirmed by now, if the server has read its pong.
    pub(crate) fn confirm(&mut self, now: Instant) -> Vec<usize> {
        let Some(ping) = &self.ping else {
            return Vec::new();
        };
        let covers = ping.covers;
        if self.uncounted > 0 {
            assert!(covers <= self.uncounted, "a pong confirms only a part");
            let may_be = self.is_answered(ping.possible_after, self.given);
            assert!(may_be, "messages are confirmed without the pong of their ping");
        } else if covers > 0 || !self.is_answered(ping.certain_after, self.understood) {
            return Vec::new();
        }
        if covers > 1 {
            saw(Sight::PongConfirmsMany);
        }
        self.ping = None;
        self.idle_since = Some(now);
        self.uncounted -= covers;
        let confirmed: Vec<_> = self.unconfirmed.drain(..covers).collect();
        self.unconfirmed_bytes -= confirmed.iter().map(|(_, length)| length).sum::<usize>();
        confirmed.into_iter().map(|(message, _)| message).collect()
    }

    /// So many of the client's bytes have come to the server's kernel.
    pub(crate) fn note_arrived(&mut self, arrived: usize) {
        self.arrived = arrived;
    }

    /// The turn is over, and the session is not.
    pub(crate) fn check_heard(&self) {
        assert_eq!(self.uncounted, 0, "messages are confirmed by no ping");
        if let Some(ping) = &self.ping {
            assert!(
                !self.is_answered(ping.certain_after, self.understood),
                "a pong was read and {} messages are not confirmed",
                ping.covers
            );
        }
    }

    /// The session is told that its pong is too late. Returns what was sent in vain.
    pub(crate) fn time_out(&self, timeouts: &Timeouts, now: Instant) -> impl Iterator<Item = usize> + '_ {
        let left_at = self.ping.as_ref().and_then(|ping| ping.left_at);
        let is_late = left_at.is_some_and(|at| now >= at + timeouts.pong);
        assert!(is_late, "a session is closed before its pong is late");
        if let Some(ping) = &self.ping {
            let is_there = self.is_answered(ping.certain_after, self.given.max(self.arrived));
            assert!(
                !is_there,
                "a session is closed for want of a pong that is there and was not looked at"
            );
        }
        self.unconfirmed.iter().map(|(message, _)| *message)
    }

    /// All deadlines up to now have been looked at: what should be asked has been, who should have answered is gone.
    pub(crate) fn check_deadlines(&self, is_heard: bool, timeouts: &Timeouts, now: Instant) {
        if let Some(ping) = &self.ping {
            let is_late = ping.left_at.is_some_and(|at| now >= at + timeouts.pong);
            let may_be_answered = self.is_answered(ping.possible_after, self.given);
            // Who isn't listened to can't be too late; its output has a deadline of its own.
            let is_over = is_late && is_heard && !may_be_answered;
            assert!(!is_over, "a session outlives its pong's deadline");
            return;
        }
        assert!(
            !self.is_half_full(WINDOW_MAX_BYTES),
            "half of the window is full, and no ping is under way"
        );
        let spaced = self.pinged_at.map(|at| at + Duration::from_millis(PING_SPACING_MILLIS));
        let is_unasked = self.unasked_since.is_some() && spaced.is_none_or(|spaced| now >= spaced);
        assert!(!is_unasked, "no ping follows a message");
        let is_forgotten = self.idle_since.is_some_and(|at| now >= at + timeouts.ping);
        assert!(!is_forgotten, "an idle session isn't asked whether it is there");
    }

    /// Whether more may be sent.
    pub(crate) fn may_have_room(&self) -> bool {
        self.unconfirmed.len() < WINDOW_MAX_MESSAGES && self.unconfirmed_bytes < WINDOW_MAX_BYTES
    }

    /// Whether more must be sent.
    pub(crate) fn has_room(&self) -> bool {
        self.unconfirmed.len() < WINDOW_MAX_MESSAGES && self.unconfirmed_bytes < WINDOW_MIN_BYTES
    }

    pub(crate) fn has_unconfirmed(&self) -> bool {
        !self.unconfirmed.is_empty()
    }

    /// Payload of the last ping, if it is under way.
    pub(crate) fn asked(&self) -> Option<&[u8]> {
        self.ping.as_ref().map(|ping| &ping.payload[..])
    }

    fn is_answered(&self, after: usize, upto: usize) -> bool {
        let asked = self.asked();
        let mut pongs = self.pongs.iter();
        pongs.any(|(end, payload)| *end > after && *end <= upto && Some(&payload[..]) == asked)
    }

    /// Of a window of so many bytes.
    fn is_half_full(&self, bytes: usize) -> bool {
        self.unasked >= WINDOW_MAX_MESSAGES / 2 || self.unasked_bytes >= bytes / 2
    }

    fn look_for_strays(&self, understood: usize, count: usize) {
        if count > 0 {
            return;
        }
        let fresh = self
            .pongs
            .iter()
            .filter(|(end, _)| *end > self.understood && *end <= understood);
        for (_, payload) in fresh.filter(|(_, payload)| Some(&payload[..]) != self.asked()) {
            saw(if self.payloads.contains(payload) {
                Sight::StalePongIgnored
            } else {
                Sight::ForgedPongIgnored
            });
        }
    }
}
