//! A client that logs in and receives: it may be in a hurry, slow to answer, wrong, rude, or log in twice.
//!
//! It judges every frame when the server makes it, and answers what it has read.

mod chatter;
mod login;

use std::collections::VecDeque;
use std::time::Instant;

use testkit::{Challenge, Frame, Opcode, Random, Response, write_frame};

use crate::intolerance::{End, Intolerance};
use crate::ledger::Ledger;
use crate::model::Model;
use crate::pongs::{self, Answering};
use crate::sightings::{Sight, saw};

const DONE: &[u8] = br#"{"message":"handshake done"}"#;
/// The status of a Close that says that the relay stops (1012).
const SERVICE_RESTART: [u8; 2] = 1012_u16.to_be_bytes();

/// One receiver.
#[expect(
    clippy::struct_excessive_bools,
    reason = "what it does and what becomes of it combine freely"
)]
pub(crate) struct Receiver {
    identity: usize,
    manner: Manner,
    is_npchat_2: bool,
    answering: Answering,
    /// It sends pongs that nobody asked for.
    forges: bool,
    /// What it can't take.
    intolerance: Option<Intolerance>,
    /// It has met that.
    has_met_poison: bool,
    forgeries: u32,
    /// What it was sent, and has confirmed.
    ledger: Ledger,
    /// Payloads of the server's pings that it will answer later.
    owed: VecDeque<Vec<u8>>,
    /// The payload of the server's last ping that it has read.
    last_asked: Vec<u8>,
    phase: Phase,
    heard: Vec<u8>,
    /// What was said and not yet read, each with where it ends in all that the server makes.
    unread: VecDeque<(usize, Said)>,
    /// Where mail ends that the kernel doesn't have whole.
    under_way: VecDeque<usize>,
    /// Payloads of pings that were not answered.
    pings: VecDeque<Vec<u8>>,
    pings_sent: u32,
    challenges_wanted: u32,
    challenges_asked: u32,
    challenges_answered: u32,
    session: Option<usize>,
    /// The kernel took a part of its mail only, and no more of it has come since.
    is_behind: bool,
    /// Its session was closed for want of a pong.
    is_timed_out: bool,
    /// It has vanished without a word.
    pub(crate) is_gone: bool,
    /// It has done, or failed to do, something for which it may be closed.
    pub(crate) misbehaves: bool,
    /// The server has read the end of our side, and has let go of the session without a word.
    is_let_go: bool,
}

/// How it goes about its login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Plain,
    /// Asks for the challenge before it knows that it is upgraded.
    Hasty,
    /// Never answers the challenge.
    Mute,
    /// Says that it is somebody else, with a good signature.
    WrongKey,
    /// Has somebody else sign for it.
    WrongSolution,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Silent,
    Upgrading,
    Frames,
    /// It was refused, or told of a Close: nothing may follow.
    Over,
}

enum Said {
    Upgraded,
    Challenge(Challenge),
    Ping(Vec<u8>),
    /// Mail that this client can't take.
    Poison(Intolerance),
}

impl Receiver {
    pub(crate) fn new(identity: usize, manner: Manner) -> Self {
        Self {
            identity,
            manner,
            is_npchat_2: false,
            answering: Answering::AtOnce,
            forges: false,
            intolerance: None,
            has_met_poison: false,
            forgeries: 0,
            ledger: Ledger::default(),
            owed: VecDeque::new(),
            last_asked: Vec::new(),
            phase: Phase::Silent,
            heard: Vec::new(),
            unread: VecDeque::new(),
            under_way: VecDeque::new(),
            pings: VecDeque::new(),
            pings_sent: 0,
            challenges_wanted: 0,
            challenges_asked: 0,
            challenges_answered: 0,
            session: None,
            is_behind: false,
            is_timed_out: false,
            is_gone: false,
            misbehaves: false,
            is_let_go: false,
        }
    }

    /// The same, but that it answers pings in this way, and may send pongs that nobody asked for.
    pub(crate) fn answering(self, answering: Answering, forges: bool) -> Self {
        Self {
            answering,
            forges,
            ..self
        }
    }

    /// The same, but that it speaks npchat.2, if so.
    pub(crate) fn speaking_npchat_2(self, is_npchat_2: bool) -> Self {
        Self { is_npchat_2, ..self }
    }

    /// The same, but that there is mail at which it ends its session.
    pub(crate) fn unable_to_take(self, intolerance: Option<Intolerance>) -> Self {
        Self { intolerance, ..self }
    }

    pub(crate) fn is_of(&self, identity: usize) -> bool {
        self.identity == identity
    }

    /// Whose mail it wants, and what it can't take of that, if this has ended its session.
    pub(crate) fn ended_at(&self) -> Option<(usize, Intolerance)> {
        let intolerance = self.intolerance.filter(|_| self.has_met_poison)?;
        Some((self.identity, intolerance))
    }

    /// Whether it cuts the connection now.
    pub(crate) fn cuts(&self) -> bool {
        self.has_met_poison && self.intolerance.is_some_and(|it| it.end == End::Cut)
    }

    /// The model's number of its session, once it is logged in and until it is told of its end.
    pub(crate) fn session(&self) -> Option<usize> {
        self.session.filter(|_| self.phase == Phase::Frames)
    }

    /// The model's number of its session that is over.
    pub(crate) fn ended_session(&self) -> Option<usize> {
        self.session.filter(|_| self.phase == Phase::Over)
    }

    /// The same until the server has let go of it.
    fn live_session(&self) -> Option<usize> {
        self.session().filter(|_| !self.is_let_go)
    }

    /// Whether it is logged in and has given no reason to be closed.
    pub(crate) fn is_sound_session(&self) -> bool {
        self.session().is_some() && !self.misbehaves
    }

    pub(crate) fn is_between_frames(&self) -> bool {
        self.heard.is_empty()
    }

    /// Nothing is on its way in either direction: an honest login is done, and everything due has been said.
    pub(crate) fn check_settled(&self, now: Instant, model: &Model) {
        if self.misbehaves || self.phase == Phase::Silent || self.phase == Phase::Over {
            return;
        }
        assert!(self.pings.is_empty(), "a ping without its pong");
        if let Some(session) = self.session {
            let has_room = self.ledger.has_room();
            assert!(
                self.ledger.may_have_room() || self.answering != Answering::AtOnce,
                "mail waits for no pong"
            );
            if has_room {
                model.check_has_all(session, now);
            }
        } else {
            let is_honest = matches!(self.manner, Manner::Plain | Manner::Hasty);
            assert!(!is_honest, "an honest login comes to a stop");
        }
    }

    /// The server has looked at all deadlines, and listens to this client or waits for it to take what it was sent.
    pub(crate) fn check_deadlines(&self, is_heard: bool, now: Instant, model: &Model) {
        if self.live_session().is_some() {
            self.ledger.check_deadlines(is_heard, &model.timeouts, now);
        }
    }

    /// Whether a ping is still to come that it will answer, and so confirm what it was sent.
    pub(crate) fn is_to_confirm(&self) -> bool {
        let is_willing = self.is_sound_session() && self.answering == Answering::AtOnce;
        is_willing && self.live_session().is_some() && self.ledger.has_unconfirmed()
    }

    /// Begins, or says something that it needn't.
    ///
    /// `out` goes behind the first `before` bytes of all that it writes.
    pub(crate) fn write(&mut self, before: usize, out: &mut Vec<u8>, random: &mut Random) {
        if self.phase == Phase::Silent {
            self.begin(out, random);
        } else if self.session().is_some() && !self.misbehaves {
            self.chat(out, random);
            self.forge(before, out, random);
        }
        if !self.owed.is_empty()
            && random.once_in(6)
            && let Some(payload) = self.owed.pop_front()
        {
            self.pong(&payload, before, out, random);
        }
    }

    /// Answers what ends in the first `read` bytes of all that the server made; `out` goes behind the first `before`
    /// bytes of all that it writes.
    pub(crate) fn react(&mut self, read: usize, before: usize, out: &mut Vec<u8>, random: &mut Random) {
        while self.unread.front().is_some_and(|(end, _)| *end <= read)
            && let Some((_, said)) = self.unread.pop_front()
        {
            match said {
                _ if self.misbehaves => {}
                Said::Upgraded if self.manner == Manner::Hasty => {}
                // The challenge comes without asking.
                Said::Upgraded if self.is_npchat_2 => {}
                Said::Upgraded => self.ask(out, random),
                Said::Challenge(challenge) => self.solve(&challenge, out, random),
                Said::Ping(payload) => self.answer(payload, before, out, random),
                Said::Poison(intolerance) => {
                    self.has_met_poison = true;
                    self.misbehaves = true;
                    self.owed.clear();
                    intolerance.write_end(out, mask(random));
                }
            }
        }
    }

    /// The server has read the first `given` bytes, and counts so many messages more as confirmed.
    pub(crate) fn note_heard(
        &mut self,
        given: usize,
        is_understood: bool,
        count: usize,
        now: Instant,
        model: &mut Model,
    ) {
        self.ledger.note_heard(given, is_understood, count);
        self.confirm(now, model);
    }

    fn confirm(&mut self, now: Instant, model: &mut Model) {
        let is_unread = self.ledger.asked() != Some(&self.last_asked[..]);
        let confirmed = self.ledger.confirm(now);
        if is_unread && !confirmed.is_empty() {
            saw(Sight::GuessedPong);
        }
        for message in confirmed {
            let session = self.live_session().expect("what is over confirms nothing");
            model.confirm(session, message, now);
        }
    }

    /// The first `arrived` bytes have come, whether the server has read them or not.
    pub(crate) fn note_arrived(&mut self, arrived: usize) {
        self.ledger.note_arrived(arrived);
    }

    /// The server has done what it does in one turn, and may or may not look at this connection again without news.
    pub(crate) fn check_visited(&self, comes_again: bool) {
        if self.live_session().is_some() {
            assert!(comes_again, "nobody looks whether a live session is still there");
            self.ledger.check_heard();
        }
    }

    /// The server has let go of the session.
    pub(crate) fn let_go(&mut self, now: Instant, model: &mut Model) {
        self.is_let_go = true;
        if let Some(session) = self.session {
            model.leave(session, now);
        }
    }

    /// The server makes `fresh`, after the first `before` bytes.
    pub(crate) fn hear(&mut self, fresh: &[u8], before: usize, is_draining: bool, now: Instant, model: &mut Model) {
        let start = before - self.heard.len();
        self.heard.extend_from_slice(fresh);
        let heard = std::mem::take(&mut self.heard);
        self.misbehaves |= is_draining;
        let mut done = 0;
        while done < heard.len() {
            assert!(self.phase != Phase::Over, "said after the last word");
            let Some(length) = self.hear_one(&heard[done..], start + done, now, model) else {
                break;
            };
            done += length;
        }
        self.heard = heard[done..].to_vec();
    }

    /// The kernel has taken the first `taken` bytes of all that the server made, and `all` if there are no more.
    pub(crate) fn note_taken(&mut self, taken: usize, all: bool, now: Instant) {
        self.under_way.retain(|end| *end > taken);
        self.is_behind |= self.has_mail_under_way();
        if all {
            self.ledger.note_flushed(now);
        }
    }

    /// Whether the kernel doesn't have all of its mail.
    pub(crate) fn has_mail_under_way(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// An answer or a frame that begins at `start`; how long it is.
    fn hear_one(&mut self, bytes: &[u8], start: usize, now: Instant, model: &mut Model) -> Option<usize> {
        if self.phase == Phase::Upgrading {
            let (answer, length) = Response::parse(bytes)?;
            let may_be_refused = self.misbehaves || model.has_few_places;
            let may_fail = answer.closes() && (answer.status == 408 || (answer.status == 503 && may_be_refused));
            assert!(answer.status == 101 || may_fail, "{answer:?}");
            self.phase = if answer.closes() { Phase::Over } else { Phase::Frames };
            self.note_upgrade(&answer);
            self.unread.push_back((start + length, Said::Upgraded));
            return Some(length);
        }
        let (frame, length) = Frame::parse(bytes)?;
        let end = start + length;
        match frame.opcode {
            Opcode::TEXT | Opcode::BINARY => self.hear_data(&frame, end, now, model),
            Opcode::PING => {
                assert!(self.session.is_some(), "a ping before the login");
                self.ledger.note_ping(&frame.payload, now);
                self.confirm(now, model);
                self.unread.push_back((end, Said::Ping(frame.payload)));
            }
            Opcode::PONG => assert_eq!(self.pings.pop_front(), Some(frame.payload), "a stray pong"),
            Opcode::CLOSE => {
                self.hear_close(&frame.payload, now, model);
                self.phase = Phase::Over;
                self.let_go(now, model);
            }
            _ => panic!("an opcode that there isn't: {frame:?}"),
        }
        Some(length)
    }

    fn hear_data(&mut self, frame: &Frame, end: usize, now: Instant, model: &mut Model) {
        if frame.payload == DONE {
            let is_entitled = matches!(self.manner, Manner::Plain | Manner::Hasty);
            assert!(is_entitled, "logged in without proof");
            model.counts.logins += 1;
            if self.session.is_none() {
                self.session = Some(model.log_in(self.identity, now));
                self.ledger.begin(now);
            }
        } else if let Some(challenge) = Challenge::parse(&frame.payload) {
            assert!(self.challenges_wanted > 0, "a challenge that nobody asked for");
            self.challenges_wanted -= 1;
            self.unread.push_back((end, Said::Challenge(challenge)));
        } else if frame.payload.starts_with(br#"{"error":""#) {
            assert!(
                !self.is_sound_session(),
                "a sound session is told of an error: {frame:?}"
            );
        } else if let Some(count) = login::lost_in(&frame.payload) {
            assert!(
                self.is_npchat_2 && frame.opcode == Opcode::TEXT,
                "expired mail is reported in part 1"
            );
            model.note_lost(self.session.expect("it is reported after the login"), count, now);
        } else {
            let Some(session) = self.session else {
                panic!("mail before the login: {frame:?}");
            };
            let is_text = !self.is_npchat_2 && std::str::from_utf8(&frame.payload).is_ok();
            assert_eq!(frame.opcode == Opcode::TEXT, is_text, "the wrong kind of frame");
            let message = model.deliver(session, &frame.payload, now);
            self.ledger.note_sent(message, frame.payload.len(), now);
            if let Some(intolerance) = self.intolerance.filter(|it| it.is_met_by(message, &frame.payload)) {
                self.unread.push_back((end, Said::Poison(intolerance)));
            }
            if frame.payload.is_empty() {
                saw(Sight::EmptyDelivered);
            }
            if !self.has_mail_under_way() && std::mem::take(&mut self.is_behind) {
                saw(Sight::DeliveryGoesOn);
            }
            self.under_way.push_back(end);
        }
    }

    fn hear_close(&mut self, payload: &[u8], now: Instant, model: &mut Model) {
        if payload.ends_with(b"pong_timeout") {
            self.is_timed_out = true;
            saw(if self.is_gone {
                Sight::BlackHoleTimedOut
            } else {
                Sight::SilentTimedOut
            });
            for message in self.ledger.time_out(&model.timeouts, now) {
                model.note_in_vain(message);
            }
            return;
        }
        if payload.ends_with(b"fell_behind") {
            let may_have_been_behind = self.session.is_some_and(|session| model.may_have_been_behind(session));
            assert!(
                may_have_been_behind,
                "a session is closed that isn't far behind another one"
            );
            saw(Sight::FellBehind);
            return;
        }
        assert!(
            !self.is_sound_session(),
            "a sound session is told of its end: {:?}",
            String::from_utf8_lossy(payload)
        );
        if payload.starts_with(&SERVICE_RESTART) {
            if self.has_mail_under_way() {
                saw(Sight::DrainInDelivery);
            }
            if self.ledger.has_unconfirmed() {
                saw(Sight::DrainUnconfirmed);
            }
        }
    }

    fn answer(&mut self, payload: Vec<u8>, before: usize, out: &mut Vec<u8>, random: &mut Random) {
        self.last_asked.clone_from(&payload);
        match self.answering {
            Answering::Never => {}
            Answering::Some if random.once_in(3) => {}
            Answering::AtOnce | Answering::Some => self.pong(&payload, before, out, random),
            Answering::Late => self.owed.push_back(payload),
        }
    }

    fn pong(&mut self, payload: &[u8], before: usize, out: &mut Vec<u8>, random: &mut Random) {
        if self.is_timed_out {
            saw(Sight::PongTooLate);
        }
        write_frame(out, Opcode::PONG, payload, mask(random));
        self.ledger.note_pong(before + out.len(), payload);
    }
}

fn mask(random: &mut Random) -> u32 {
    (random.next() & 0xffff_ffff) as u32
}
