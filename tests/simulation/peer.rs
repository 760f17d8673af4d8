//! One client at its end of a socket: what poster and receiver have in common, which is habits and bytes.

use std::time::Instant;

use npchat::server::limits::READ_SCRATCH_BYTES;
use npchat::server::refusal::CloseReason;
use testkit::Random;

use crate::intolerance::Intolerance;
use crate::model::Model;
use crate::poster::Poster;
use crate::receiver::Receiver;
use crate::settings::DEADLINE_LATENESS;
use crate::sightings::{Sight, saw};
use crate::socket::Socket;

/// A client.
pub(crate) struct Peer {
    pub(crate) socket: Socket,
    pub(crate) role: Role,
    habit: Habit,
    /// What it has written and the socket has not taken.
    to_send: Vec<u8>,
    /// All bytes that it has ever written.
    written: usize,
    /// Since when the server reads what this peer writes, as of its last look, if it does.
    heard_since: Option<Instant>,
}

/// What it came for.
pub(crate) enum Role {
    Poster(Poster),
    Receiver(Box<Receiver>),
}

/// How it treats its socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Habit {
    /// Reads and writes, in pieces of any size.
    Sound,
    /// Reads and writes a few bytes now and then.
    Slow,
    /// Neither reads nor writes.
    Deaf,
    /// The same for ever, as if its network were gone: no end and no reset tells of it.
    BlackHole,
}

impl Peer {
    pub(crate) fn new(socket: Socket, role: Role, habit: Habit) -> Self {
        Self {
            socket,
            role,
            habit,
            to_send: Vec::new(),
            written: 0,
            heard_since: None,
        }
    }

    /// It can still be heard by the server, and hears it.
    pub(crate) fn is_there(&self) -> bool {
        !self.socket.was_reset() && !self.socket.is_gone
    }

    /// Something that it may do at any time.
    pub(crate) fn act(&mut self, model: &mut Model, random: &mut Random) {
        if !self.is_there() {
            return;
        }
        if random.once_in(25) && self.habit != Habit::BlackHole {
            self.habit = random.pick(&[Habit::Sound, Habit::Slow, Habit::Deaf]);
        }
        let most = match self.habit {
            Habit::Sound => random.pick(&[1, 40, 700, usize::MAX, usize::MAX]),
            Habit::Slow => random.below(8),
            Habit::Deaf | Habit::BlackHole => return,
        };
        if self.socket.has_finished() {
            self.socket.read(most);
            return;
        }
        if self.to_send.is_empty() {
            let before = self.to_send.len();
            match &mut self.role {
                Role::Poster(poster) => poster.write(self.written, &mut self.to_send, model, random),
                Role::Receiver(receiver) => receiver.write(self.written, &mut self.to_send, random),
            }
            self.written += self.to_send.len() - before;
        }
        self.exchange(most, random);
        match random.below(120) {
            0 => self.finish(),
            1 => self.reset(),
            2 => self.vanish(),
            _ => {}
        }
    }

    /// Writes its first request whole, if it is a receiver.
    pub(crate) fn begin(&mut self, random: &mut Random) {
        if let Role::Receiver(receiver) = &mut self.role {
            receiver.begin(&mut self.to_send, random);
            self.written += self.to_send.len();
        }
    }

    /// Reads all, answers what it must, and writes what it has begun to write; begins nothing.
    pub(crate) fn settle(&mut self, random: &mut Random) {
        if self.is_there() && !self.is_deaf() {
            self.exchange(usize::MAX, random);
        }
    }

    pub(crate) fn finish(&mut self) {
        if self.is_there() && !self.socket.has_finished() {
            saw(Sight::ClientHalfCloses);
            self.to_send.clear();
            self.socket.finish();
            if let Role::Receiver(receiver) = &mut self.role {
                receiver.misbehaves = true;
            }
        }
    }

    pub(crate) fn reset(&mut self) {
        if self.is_there() {
            saw(Sight::ClientResets);
            self.socket.reset();
        }
    }

    pub(crate) fn vanish(&mut self) {
        self.habit = Habit::BlackHole;
        if let Role::Receiver(receiver) = &mut self.role {
            receiver.is_gone = true;
        }
    }

    /// Whose mail it wants and can't take, if it has ended its session at that.
    pub(crate) fn ended_at(&self) -> Option<(usize, Intolerance)> {
        match &self.role {
            Role::Poster(_) => None,
            Role::Receiver(receiver) => receiver.ended_at(),
        }
    }

    pub(crate) fn is_receiver_of(&self, identity: usize) -> bool {
        matches!(&self.role, Role::Receiver(receiver) if receiver.is_of(identity))
    }

    /// Whether it is to confirm what it was sent, if only time passes.
    pub(crate) fn is_to_confirm(&self) -> bool {
        let can_hear = self.is_there() && !self.is_deaf() && !self.socket.has_finished();
        can_hear && matches!(&self.role, Role::Receiver(receiver) if receiver.is_to_confirm())
    }

    /// The server has dealt with what it has read, all of it or not, and counts so many messages more as confirmed.
    pub(crate) fn note_heard(&mut self, is_understood: bool, count: usize, now: Instant, model: &mut Model) {
        match &mut self.role {
            Role::Poster(_) => assert_eq!(count, 0, "mail is confirmed by who gets none"),
            Role::Receiver(receiver) => receiver.note_heard(self.socket.given, is_understood, count, now, model),
        }
    }

    /// From now on the server reads what this peer writes, or it doesn't.
    pub(crate) fn note_heard_from_now_on(&mut self, is_heard: bool, now: Instant) {
        let since = self.heard_since.unwrap_or(now);
        self.heard_since = is_heard.then_some(since);
    }

    /// The server's turn with this peer is over, the connection is not; whether there will be another one without news.
    pub(crate) fn check_visited(&self, comes_again: bool) {
        if let Role::Receiver(receiver) = &self.role {
            receiver.check_visited(comes_again);
        }
    }

    /// The server offers bytes to its kernel.
    pub(crate) fn hear(&mut self, unsent: &[u8], now: Instant, is_draining: bool, model: &mut Model) {
        let heard = self.socket.offered();
        let fresh = self.socket.offer(unsent);
        match &mut self.role {
            Role::Poster(poster) => {
                let awaited = poster.awaited(model);
                poster.hear(fresh, self.socket.given, is_draining, now, model);
                if awaited.is_some_and(|message| !model.is_awaited(message)) && self.socket.has_finished() {
                    saw(Sight::AnsweredAfterHalfClose);
                }
            }
            Role::Receiver(receiver) => {
                // A reset has thrown away what was on its way, and the server doesn't know of it yet.
                let is_cut = !self.to_send.is_empty() || !self.socket.is_drained() || self.socket.was_reset();
                receiver.misbehaves |= is_cut && fresh.ends_with(b"message_timeout");
                receiver.note_arrived(self.socket.arrived());
                receiver.hear(fresh, heard, is_draining, now, model);
            }
        }
    }

    /// The server has read the end of this peer's side.
    pub(crate) fn note_end_read(&mut self, now: Instant, model: &mut Model) {
        if let Role::Receiver(receiver) = &mut self.role {
            receiver.let_go(now, model);
        }
    }

    /// The kernel has taken some of them.
    pub(crate) fn note_taken(&mut self, now: Instant) {
        match &mut self.role {
            Role::Poster(poster) => {
                let waiting = self.socket.given.saturating_sub(poster.answered_up_to());
                let bound = READ_SCRATCH_BYTES + poster.longest_request();
                assert!(waiting <= bound, "{waiting} bytes of requests wait");
            }
            Role::Receiver(receiver) => receiver.note_taken(self.socket.taken, self.socket.pending() == 0, now),
        }
    }

    /// The server ends its side. It has answered what it was asked, but for what came when it was stopping.
    pub(crate) fn end_stream(&mut self, is_draining: bool, model: &Model) {
        if let Role::Poster(poster) = &self.role {
            assert_eq!(poster.awaited(model), None, "ended while a post is pending");
            if !is_draining {
                poster.check_answered(self.socket.given);
            }
        }
        self.socket.half_closed = true;
    }

    /// The server frees the connection, for this reason.
    pub(crate) fn check_end(&mut self, reason: CloseReason, now: Instant, model: &mut Model) {
        self.check_end_of_stream(reason, model);
        if let Role::Receiver(receiver) = &mut self.role {
            receiver.let_go(now, model);
        }
    }

    fn check_end_of_stream(&self, reason: CloseReason, model: &Model) {
        if matches!(&self.role, Role::Receiver(receiver) if receiver.has_mail_under_way()) {
            saw(Sight::DetachInDelivery);
        }
        match reason {
            CloseReason::Reset if self.socket.was_reset() => return,
            CloseReason::ConnectionMemory => {
                saw(Sight::Evicted);
                return;
            }
            CloseReason::Stalled => {
                assert!(self.socket.pending() > 0, "stalled with nothing to send");
                return;
            }
            _ => {}
        }
        assert_eq!(
            self.socket.pending(),
            0,
            "closed before its last output went: {reason:?}"
        );
        let is_between = match &self.role {
            Role::Poster(poster) => {
                assert_eq!(poster.awaited(model), None, "closed while a post is pending");
                if !self.socket.half_closed && reason != CloseReason::Restart {
                    poster.check_answered(self.socket.given);
                }
                poster.is_between_answers()
            }
            Role::Receiver(receiver) => {
                assert!(!receiver.is_sound_session(), "a sound session is closed: {reason:?}");
                receiver.is_between_frames()
            }
        };
        assert!(is_between, "closed in the middle of an answer: {reason:?}");
    }

    /// Everything that could move has: whatever was asked must have been answered, whatever is due must be here.
    pub(crate) fn check_settled(&self, now: Instant, model: &Model) {
        if let Role::Receiver(receiver) = &self.role
            && self.is_there()
        {
            let now = now.checked_sub(DEADLINE_LATENESS).unwrap_or(now);
            let is_heard = self.heard_since.is_some_and(|since| since <= now);
            receiver.check_deadlines(is_heard, now, model);
        }
        let is_blocked = self.socket.read < self.socket.taken || self.socket.pending() > 0;
        if !self.is_there() || self.socket.has_finished() || self.socket.half_closed || self.is_deaf() {
            return;
        }
        if let Role::Poster(poster) = &self.role
            && let Some(message) = poster.awaited(model)
        {
            model.check_in_time(message, now);
            return;
        }
        assert!(
            !is_blocked && self.socket.is_drained() && self.to_send.is_empty(),
            "bytes are stuck"
        );
        match &self.role {
            Role::Poster(poster) => poster.check_settled(),
            Role::Receiver(receiver) => receiver.check_settled(now, model),
        }
    }

    fn is_deaf(&self) -> bool {
        matches!(self.habit, Habit::Deaf | Habit::BlackHole)
    }

    fn exchange(&mut self, most: usize, random: &mut Random) {
        let count = self.socket.write(&self.to_send[..self.to_send.len().min(most)]);
        self.to_send.drain(..count);
        self.socket.read(most);
        if let Role::Receiver(receiver) = &mut self.role
            && !self.socket.has_finished()
        {
            let before = self.to_send.len();
            receiver.react(self.socket.read, self.written - before, &mut self.to_send, random);
            self.written += self.to_send.len() - before;
            if receiver.cuts() {
                self.reset();
            }
        }
    }
}
