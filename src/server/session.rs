//! What npchat says over a WebSocket: challenge, login, deliver, confirm (PROTOCOL.md part 1, Receiving; part 2,
//! npchat.2).
//!
//! Texts in, frames and reasons out. Frames as such are [`crate::server::websocket`]'s, mail is the relay's.

mod window;

use std::time::{Duration, Instant};

use self::window::{Window, jittered};
use crate::protocol::host::Host;
use crate::protocol::id::RecipientId;
use crate::protocol::login::{self, Challenge, Handshake, HandshakeError, SUBPROTOCOL, Solution};
use crate::protocol::signature;
use crate::server::config::Timeouts;
use crate::server::context::Context;
use crate::server::limits::CHALLENGES_PER_CONNECTION;
use crate::server::mailboxes::{Attachment, Room, Taken};
use crate::server::refusal::CloseReason;
use crate::server::service::{Handled, Handler, Service};
use crate::server::websocket::{Event, Opcode, write_frame};

/// One WebSocket's side of the login and, after it, of the mail.
#[derive(Debug)]
pub struct Session {
    id: RecipientId,
    /// There from the login on.
    live: Option<Box<Live>>,
    /// The challenge that this connection holds, until it is answered.
    challenge: Option<Box<Challenge>>,
    /// With npchat.2, the host that a solution is bound to; `None`: one that isn't the relay's.
    host: Option<Host>,
    /// The subprotocol is npchat.2: text is the relay's, binary is mail, and a solution is bound to a host.
    is_npchat_2: bool,
    challenges_issued: u8,
    /// Mail waits in the mailbox that this session has not taken.
    mail_waits: bool,
    /// The next of it is taken once all before it is acknowledged.
    is_held: bool,
}

/// What a session has that is logged in.
#[derive(Debug)]
struct Live {
    /// Its mail stays in the mailbox until it is confirmed, so dropping it loses nothing.
    attachment: Attachment,
    window: Window,
    /// The jitter of its pings.
    jitter_seed: u32,
}

impl Session {
    /// A client that claims to be `id`, and speaks as part 1 has it.
    #[must_use]
    pub fn new(id: RecipientId) -> Self {
        Self {
            id,
            live: None,
            challenge: None,
            host: None,
            is_npchat_2: false,
            challenges_issued: 0,
            mail_waits: false,
            is_held: false,
        }
    }

    /// A client that claims to be `id`, and speaks npchat.2. `None`: by way of a host that isn't one of the relay's.
    #[must_use]
    pub fn bound_to_host(id: RecipientId, host: Option<Host>) -> Self {
        Self {
            host,
            is_npchat_2: true,
            ..Self::new(id)
        }
    }

    /// The upgrade: with npchat.2 the challenge comes without asking.
    fn open<S>(&mut self, context: &mut Context<'_, S>) -> Result<Handled, CloseReason> {
        if !self.is_npchat_2 {
            return Ok(Handled::Done);
        }
        // Refused before a signature is made: no solution could be right.
        if self.host.is_none() {
            return Err(CloseReason::WrongHost);
        }
        self.issue_challenge(context)
    }

    /// A text from the client.
    ///
    /// # Errors
    /// Why the connection is to be closed: before the login anything but a step of it, afterwards only a bad step.
    fn hear_text<S>(&mut self, text: &str, context: &mut Context<'_, S>) -> Result<Handled, CloseReason> {
        match login::parse(text.as_bytes()) {
            Ok(Some(Handshake::ChallengeRequest)) => self.issue_challenge(context),
            Ok(Some(Handshake::Solution(solution))) => self.check_solution(&solution, context),
            // A client may push what it likes up the socket once it is logged in; npchat-web does.
            Ok(None) | Err(HandshakeError::Malformed) if self.is_logged_in() => Ok(Handled::Done),
            Ok(None) => Err(CloseReason::BadHandshake),
            Err(error) => Err(reason_of(error)),
        }
    }

    fn issue_challenge<S>(&mut self, context: &mut Context<'_, S>) -> Result<Handled, CloseReason> {
        if self.challenges_issued == CHALLENGES_PER_CONNECTION {
            return Err(CloseReason::TooManyChallenges);
        }
        if !context.take_login_step() {
            return Ok(Handled::Postponed);
        }
        self.challenges_issued += 1;
        let challenge = context.signer.issue().map_err(|_| CloseReason::Internal)?;
        let mut text = Vec::with_capacity(192);
        login::write_challenge(&mut text, &challenge);
        write_frame(context.out, Opcode::Text, &text);
        self.challenge = Some(Box::new(challenge));
        Ok(Handled::Done)
    }

    fn check_solution<S>(&mut self, solution: &Solution, context: &mut Context<'_, S>) -> Result<Handled, CloseReason> {
        if self.challenge.as_deref() != Some(&solution.challenge) {
            return Err(CloseReason::UnknownChallenge);
        }
        if solution.public_key.id() != self.id {
            return Err(CloseReason::WrongKey);
        }
        if !context.take_login_step() {
            return Ok(Handled::Postponed);
        }
        // No challenge can be answered twice.
        self.challenge = None;
        if !self.is_solved_by(solution) {
            return Err(CloseReason::WrongSolution);
        }
        if self.live.is_none() {
            let attachment = context.store.attach(&self.id, context.address)?;
            self.live = Some(Box::new(Live::new(attachment, context)));
            self.mail_waits = true;
        }
        context.counters.logins.add(1);
        self.welcome(context);
        Ok(Handled::Done)
    }

    /// What the relay sends after a login, before any mail. Part 1 has no text for what expired, but a login is a
    /// login: the next one gets what has expired since.
    fn welcome<S>(&self, context: &mut Context<'_, S>) {
        write_frame(context.out, Opcode::Text, login::DONE);
        let live = self.live.as_ref();
        let lost = live.map_or(0, |live| live.attachment.take_lost(context.mail_now));
        if self.is_npchat_2 && lost > 0 {
            let mut text = Vec::with_capacity(48);
            login::write_lost(&mut text, lost);
            write_frame(context.out, Opcode::Text, &text);
        }
    }

    fn is_solved_by(&self, answer: &Solution) -> bool {
        let (key, text) = (&answer.public_key, &answer.challenge.text);
        match &self.host {
            Some(host) => signature::verify_for_host(key, host, text, &answer.solution),
            None => !self.is_npchat_2 && signature::verify(key, text, &answer.solution),
        }
    }
}

impl Handler for Session {
    fn subprotocol(&self) -> Option<&'static str> {
        self.is_npchat_2.then_some(SUBPROTOCOL)
    }

    fn handle<S: Service>(&mut self, event: &Event, context: &mut Context<'_, S>) -> Result<Handled, CloseReason> {
        match event {
            Event::Open => self.open(context),
            Event::Text(text) => self.hear_text(text, context),
            Event::Binary(_) if !self.is_logged_in() => Err(CloseReason::UnexpectedBinary),
            Event::Pong(payload) => {
                let Some(live) = &mut self.live else {
                    return Ok(Handled::Done);
                };
                let heard = live.hear_pong(payload, context);
                // What was held may follow now, or asks again.
                self.is_held = false;
                Ok(heard)
            }
            Event::Binary(_) | Event::Ping | Event::Close => Ok(Handled::Done),
        }
    }

    fn is_logged_in(&self) -> bool {
        self.live.is_some()
    }

    fn has_mail(&self) -> bool {
        self.mail_waits && !self.is_held && self.live.as_ref().is_some_and(|live| live.window.room().is_some())
    }

    fn note_mail(&mut self) -> Result<(), CloseReason> {
        let Some(live) = &self.live else { return Ok(()) };
        // With mail left, or no room for any, this session has not been waiting for a post to wake it.
        if (self.mail_waits || live.window.room().is_none()) && live.attachment.is_lagging() {
            return Err(CloseReason::FellBehind);
        }
        self.mail_waits = true;
        Ok(())
    }

    fn deliver<S: Service>(&mut self, room: usize, context: &mut Context<'_, S>) -> Result<(), CloseReason> {
        let Some(live) = &mut self.live else { return Ok(()) };
        let Some(window) = live.window.room() else {
            return Ok(());
        };
        context.deliveries.clear();
        let room = Room {
            bytes: room.min(window.bytes),
            ..window
        };
        let is_all_acknowledged = live.window.is_all_acknowledged();
        let taken = live
            .attachment
            .take(context.mail_now, room, is_all_acknowledged, context.deliveries);
        self.mail_waits = matches!(taken, Taken::More | Taken::AwaitsAcknowledgement);
        self.is_held = taken == Taken::AwaitsAcknowledgement;
        for delivery in context.deliveries.iter() {
            let is_text = !self.is_npchat_2 && std::str::from_utf8(delivery.body).is_ok();
            let opcode = if is_text { Opcode::Text } else { Opcode::Binary };
            write_frame(context.out, opcode, delivery.body);
            live.window
                .note_message(delivery.sequence, delivery.body.len(), context.now);
        }
        if taken == Taken::Lagging {
            return Err(CloseReason::FellBehind);
        }
        if self.is_held {
            live.window.ask_soon(context.now);
        }
        live.ping_if_due(context);
        Ok(())
    }

    fn deadline(&self, is_heard: bool, timeouts: &Timeouts) -> Option<Instant> {
        let window = &self.live.as_ref()?.window;
        let deadline = window.deadline(timeouts.pong);
        deadline.filter(|_| is_heard || !window.is_asking())
    }

    fn reach_deadline<S: Service>(&mut self, is_heard: bool, context: &mut Context<'_, S>) -> Result<(), CloseReason> {
        let Some(live) = &mut self.live else { return Ok(()) };
        if is_heard && live.window.is_overdue(context.now, context.timeouts.pong) {
            return Err(CloseReason::PongTimeout);
        }
        live.ping_if_due(context);
        Ok(())
    }

    fn note_flushed(&mut self, now: Instant) {
        if let Some(live) = &mut self.live {
            live.window.note_flushed(now);
        }
    }
}

impl Live {
    fn new<S>(attachment: Attachment, context: &Context<'_, S>) -> Self {
        let jitter_seed = context.address.token.index;
        Self {
            attachment,
            window: Window::new(context.now, jittered(context.timeouts.ping, jitter_seed)),
            jitter_seed,
        }
    }

    fn hear_pong<S>(&mut self, payload: &[u8], context: &mut Context<'_, S>) -> Handled {
        let interval = self.next_ping_interval(context);
        let Some(confirmed) = self.window.pong(payload, context.now, interval) else {
            return Handled::Done;
        };
        if let Some(upto) = confirmed.upto {
            self.attachment.confirm(upto, context.wake);
            context.counters.delivered.add(confirmed.messages as u64);
        }
        // Much may have been sent behind the ping.
        self.ping_if_due(context);
        Handled::AskedFor
    }

    fn next_ping_interval<S>(&mut self, context: &Context<'_, S>) -> Duration {
        // Odd, so that it comes round to every value.
        self.jitter_seed = self.jitter_seed.wrapping_add(0x1001);
        jittered(context.timeouts.ping, self.jitter_seed)
    }

    fn ping_if_due<S>(&mut self, context: &mut Context<'_, S>) {
        if self.window.is_ping_due(context.now) {
            let payload = self.window.ping(context.now);
            write_frame(context.out, Opcode::Ping, &payload);
        }
    }
}

/// Reports a failed login in a text frame, so that a browser, which doesn't see why, can say it.
pub fn write_failure(out: &mut Vec<u8>, reason: CloseReason) {
    let mut text = Vec::with_capacity(64);
    login::write_error(&mut text, reason.code());
    write_frame(out, Opcode::Text, &text);
}

fn reason_of(error: HandshakeError) -> CloseReason {
    match error {
        HandshakeError::Malformed => CloseReason::BadHandshake,
        HandshakeError::BadChallenge => CloseReason::UnknownChallenge,
        HandshakeError::BadKey => CloseReason::WrongKey,
        HandshakeError::BadSolution => CloseReason::WrongSolution,
    }
}
