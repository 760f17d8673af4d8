//! A client that logs in and receives: it may be in a hurry, slow to answer, wrong, rude, or log in twice.
//!
//! It judges every frame when the server makes it, and answers what it has read.

use std::collections::VecDeque;
use std::time::Instant;

use crate::identity::{self, Challenge};
use crate::model::Model;
use crate::random::Random;
use crate::sightings::{Sight, saw};
use crate::wire::{Answer, BINARY, CLOSE, Frame, PING, PONG, TEXT, upgrade_request, write_frame};

const CHALLENGE_REQUEST: &[u8] = br#"{"get":"challenge"}"#;
const DONE: &[u8] = br#"{"message":"handshake done"}"#;
/// Few enough that none is ever too many, whatever the rate.
const PINGS_MAX: u32 = 40;
const CHALLENGES_MAX: u32 = 10;
/// The status of a Close that says that the relay stops (1012).
const SERVICE_RESTART: [u8; 2] = 1012_u16.to_be_bytes();

/// One receiver.
pub(crate) struct Receiver {
    identity: usize,
    manner: Manner,
    phase: Phase,
    heard: Vec<u8>,
    /// What was said and not yet read, each with where it ends in all that the server makes.
    unread: VecDeque<(usize, Said)>,
    /// Mail that the kernel doesn't have whole, each with where it ends.
    under_way: VecDeque<(usize, usize)>,
    /// Payloads of pings that were not answered.
    pings: VecDeque<Vec<u8>>,
    pings_sent: u32,
    challenges_wanted: u32,
    challenges_asked: u32,
    challenges_answered: u32,
    session: Option<usize>,
    /// The kernel took a part of its mail only, and no more of it has come since.
    is_behind: bool,
    /// It has done, or failed to do, something for which it may be closed.
    pub(crate) misbehaves: bool,
    /// The server has read the end of our side, and has let go of the session without a word.
    pub(crate) is_let_go: bool,
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
}

impl Receiver {
    pub(crate) fn new(identity: usize, manner: Manner) -> Self {
        Self {
            identity,
            manner,
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
            misbehaves: false,
            is_let_go: false,
        }
    }

    /// The model's number of its session, once it is logged in and until it is told of its end.
    pub(crate) fn session(&self) -> Option<usize> {
        self.session.filter(|_| self.phase == Phase::Frames)
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
            model.check_has_all(session, now);
        } else {
            let is_honest = matches!(self.manner, Manner::Plain | Manner::Hasty);
            assert!(!is_honest, "an honest login comes to a stop");
        }
    }

    /// Begins, or says something that it needn't.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>, random: &mut Random) {
        if self.phase == Phase::Silent {
            self.begin(out, random);
        } else if self.session().is_some() && !self.misbehaves {
            self.chat(out, random);
        }
    }

    /// Begins with the upgrade request.
    pub(crate) fn begin(&mut self, out: &mut Vec<u8>, random: &mut Random) {
        self.phase = Phase::Upgrading;
        out.extend_from_slice(&upgrade_request(&identity::all()[self.identity].id));
        if self.manner == Manner::Hasty {
            self.ask(out, random);
        }
    }

    /// Answers what ends in the first `read` bytes of all that the server made.
    pub(crate) fn react(&mut self, read: usize, out: &mut Vec<u8>, random: &mut Random) {
        while self.unread.front().is_some_and(|(end, _)| *end <= read)
            && let Some((_, said)) = self.unread.pop_front()
        {
            match said {
                _ if self.misbehaves => {}
                Said::Upgraded if self.manner == Manner::Hasty => {}
                Said::Upgraded => self.ask(out, random),
                Said::Challenge(challenge) => self.solve(&challenge, out, random),
                Said::Ping(payload) => write_frame(out, PONG, &payload, mask(random)),
            }
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

    /// The kernel has taken the first `taken` bytes of all that the server made.
    pub(crate) fn note_taken(&mut self, taken: usize, model: &mut Model) {
        while self.under_way.front().is_some_and(|(end, _)| *end <= taken)
            && let Some((_, message)) = self.under_way.pop_front()
        {
            // Once it is told of the end, the server has let go of the session.
            model.hand_over(message, self.phase == Phase::Frames && !self.is_let_go);
        }
        self.is_behind |= self.has_mail_under_way();
    }

    /// Whether the kernel doesn't have all of its mail.
    pub(crate) fn has_mail_under_way(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// An answer or a frame that begins at `start`; how long it is.
    fn hear_one(&mut self, bytes: &[u8], start: usize, now: Instant, model: &mut Model) -> Option<usize> {
        if self.phase == Phase::Upgrading {
            let answer = Answer::parse(bytes)?;
            let may_fail = answer.closes && (answer.status == 408 || (answer.status == 503 && self.misbehaves));
            assert!(answer.status == 101 || may_fail, "{answer:?}");
            self.phase = if answer.closes { Phase::Over } else { Phase::Frames };
            self.unread.push_back((start + answer.length, Said::Upgraded));
            return Some(answer.length);
        }
        let frame = Frame::parse(bytes)?;
        let end = start + frame.length;
        match frame.opcode {
            TEXT | BINARY => self.hear_data(&frame, end, now, model),
            PING => self.unread.push_back((end, Said::Ping(frame.payload.to_vec()))),
            PONG => assert_eq!(self.pings.pop_front().as_deref(), Some(frame.payload), "a stray pong"),
            CLOSE => {
                let is_sound = self.is_sound_session();
                assert!(!is_sound, "a sound session is told of its end: {frame:?}");
                if self.has_mail_under_way() && frame.payload.starts_with(&SERVICE_RESTART) {
                    saw(Sight::DrainInDelivery);
                }
                self.phase = Phase::Over;
            }
            _ => panic!("an opcode that there isn't: {frame:?}"),
        }
        Some(frame.length)
    }

    fn hear_data(&mut self, frame: &Frame<'_>, end: usize, now: Instant, model: &mut Model) {
        if frame.payload == DONE {
            let is_entitled = matches!(self.manner, Manner::Plain | Manner::Hasty);
            assert!(is_entitled, "logged in without proof");
            model.counts.logins += 1;
            self.session.get_or_insert_with(|| model.log_in(self.identity, now));
        } else if let Some(challenge) = Challenge::read(frame.payload) {
            assert!(self.challenges_wanted > 0, "a challenge that nobody asked for");
            self.challenges_wanted -= 1;
            self.unread.push_back((end, Said::Challenge(challenge)));
        } else if frame.payload.starts_with(br#"{"error":""#) {
            assert!(
                !self.is_sound_session(),
                "a sound session is told of an error: {frame:?}"
            );
        } else {
            let Some(session) = self.session else {
                panic!("mail before the login: {frame:?}");
            };
            let is_text = std::str::from_utf8(frame.payload).is_ok();
            assert_eq!(frame.opcode == TEXT, is_text, "the wrong kind of frame");
            let message = model.deliver(session, frame.payload, now);
            if frame.payload.is_empty() {
                saw(Sight::EmptyDelivered);
            }
            if !self.has_mail_under_way() && std::mem::take(&mut self.is_behind) {
                saw(Sight::DeliveryGoesOn);
            }
            self.under_way.push_back((end, message));
        }
    }

    fn ask(&mut self, out: &mut Vec<u8>, random: &mut Random) {
        self.challenges_wanted += 1;
        self.challenges_asked += 1;
        write_frame(out, TEXT, CHALLENGE_REQUEST, mask(random));
    }

    fn solve(&mut self, challenge: &Challenge, out: &mut Vec<u8>, random: &mut Random) {
        let everybody = identity::all();
        let (own, other) = (
            &everybody[self.identity],
            &everybody[(self.identity + 1) % everybody.len()],
        );
        let solution = match self.manner {
            Manner::Mute => return,
            Manner::Plain | Manner::Hasty => own.solution(own, challenge),
            Manner::WrongKey => other.solution(other, challenge),
            Manner::WrongSolution => own.solution(other, challenge),
        };
        self.challenges_answered += 1;
        write_frame(out, TEXT, solution.as_bytes(), mask(random));
    }

    fn chat(&mut self, out: &mut Vec<u8>, random: &mut Random) {
        match random.below(120) {
            0..6 if self.pings_sent < PINGS_MAX => {
                self.pings_sent += 1;
                let payload = vec![b'p'; random.below(20)];
                write_frame(out, PING, &payload, mask(random));
                self.pings.push_back(payload);
            }
            6..9 => write_frame(out, TEXT, br#"{"this":["is","not"],"for":"you"}"#, mask(random)),
            9..12 => write_frame(out, BINARY, &[0xff; 200], mask(random)),
            15 | 16 => {
                for _ in 0..300 {
                    write_frame(out, TEXT, b"{}", mask(random));
                }
            }
            // The relay holds one challenge for a connection: a second request makes the first one void.
            12 if self.challenges_asked < CHALLENGES_MAX && self.challenges_answered == self.challenges_asked => {
                self.ask(out, random);
            }
            13 => {
                self.misbehaves = true;
                write_frame(out, CLOSE, &1000_u16.to_be_bytes(), mask(random));
            }
            14 => {
                self.misbehaves = true;
                out.extend_from_slice(b"\x81\x05no mask");
            }
            _ => {}
        }
    }
}

fn mask(random: &mut Random) -> u32 {
    (random.next() & 0xffff_ffff) as u32
}
