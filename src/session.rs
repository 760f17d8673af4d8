//! What npchat says over a WebSocket: challenge, login, deliver, confirm (PROTOCOL.md part 1, Receiving).
//!
//! Texts in, frames and reasons out. Frames as such are [`crate::websocket`]'s, mail is the relay's.

use crate::auth::{self, Challenge};
use crate::connection::Turn;
use crate::handshake::{self, Handshake, HandshakeError, Solution};
use crate::identity::RecipientId;
use crate::limits::{CHALLENGES_PER_CONNECTION, HANDSHAKE_MAX_BYTES};
use crate::mailboxes::{Attachment, Sequence};
use crate::refusal::CloseReason;
use crate::service::{Conversation, Heard};
use crate::websocket::{Event, Opcode, write_frame};

/// One WebSocket's side of the login and, after it, of the mail.
#[derive(Debug)]
pub struct Session {
    id: RecipientId,
    /// There from the login on. Its mail stays in the mailbox until it is confirmed, so dropping it loses nothing.
    attachment: Option<Attachment>,
    /// The challenge that this connection holds, until it is answered.
    challenge: Option<Box<Challenge>>,
    challenges_issued: u8,
    /// Mail waits in the mailbox that this session has not taken.
    mail_waits: bool,
}

impl Session {
    /// Somebody who claims to be `id`.
    #[must_use]
    pub fn new(id: RecipientId) -> Self {
        Self {
            id,
            attachment: None,
            challenge: None,
            challenges_issued: 0,
            mail_waits: false,
        }
    }

    /// A text from the client.
    ///
    /// # Errors
    /// Why the connection is to be closed: before the login anything but a step of it, afterwards only a bad step.
    fn hear_text(&mut self, text: &str, turn: &mut Turn<'_>) -> Result<Heard, CloseReason> {
        if self.is_logged_in() && text.len() > HANDSHAKE_MAX_BYTES {
            return Ok(Heard::Done);
        }
        match handshake::parse(text.as_bytes()) {
            Ok(Some(Handshake::ChallengeRequest)) => self.issue_challenge(turn),
            Ok(Some(Handshake::Solution(solution))) => self.check_solution(&solution, turn),
            // A client may push what it likes up the socket once it is logged in; npchat-web does.
            Ok(None) | Err(HandshakeError::Malformed) if self.is_logged_in() => Ok(Heard::Done),
            Ok(None) => Err(CloseReason::BadHandshake),
            Err(error) => Err(reason_of(error)),
        }
    }

    fn issue_challenge(&mut self, turn: &mut Turn<'_>) -> Result<Heard, CloseReason> {
        if self.challenges_issued == CHALLENGES_PER_CONNECTION {
            return Err(CloseReason::TooManyChallenges);
        }
        if !turn.take_login_step() {
            return Ok(Heard::Postponed);
        }
        self.challenges_issued += 1;
        let challenge = turn.signer.issue().map_err(|_| CloseReason::Internal)?;
        let mut text = Vec::with_capacity(192);
        handshake::write_challenge(&mut text, &challenge);
        write_frame(&mut turn.out.bytes, Opcode::Text, &text);
        self.challenge = Some(Box::new(challenge));
        Ok(Heard::Done)
    }

    fn check_solution(&mut self, solution: &Solution, turn: &mut Turn<'_>) -> Result<Heard, CloseReason> {
        if self.challenge.as_deref() != Some(&solution.challenge) {
            return Err(CloseReason::UnknownChallenge);
        }
        if solution.public_key.id() != self.id {
            return Err(CloseReason::WrongKey);
        }
        if !turn.take_login_step() {
            return Ok(Heard::Postponed);
        }
        // No challenge can be answered twice.
        self.challenge = None;
        if !auth::verify(&solution.public_key, &solution.challenge.text, &solution.solution) {
            return Err(CloseReason::WrongSolution);
        }
        if self.attachment.is_none() {
            self.attachment = Some(turn.relay.attach(&self.id, turn.address)?);
            self.mail_waits = true;
        }
        turn.counters.logins.add(1);
        write_frame(&mut turn.out.bytes, Opcode::Text, handshake::DONE);
        Ok(Heard::Done)
    }
}

impl Conversation for Session {
    fn hear(&mut self, event: &Event, turn: &mut Turn<'_>) -> Result<Heard, CloseReason> {
        match event {
            Event::Text(text) => self.hear_text(text, turn),
            Event::Binary(_) if !self.is_logged_in() => Err(CloseReason::UnexpectedBinary),
            Event::Binary(_) | Event::Ping | Event::Pong(_) | Event::Close => Ok(Heard::Done),
        }
    }

    fn is_logged_in(&self) -> bool {
        self.attachment.is_some()
    }

    fn has_mail(&self) -> bool {
        self.mail_waits
    }

    fn note_mail(&mut self) {
        self.mail_waits = self.is_logged_in();
    }

    fn deliver(&mut self, room: usize, turn: &mut Turn<'_>) {
        let Some(attachment) = &self.attachment else { return };
        turn.deliveries.clear();
        self.mail_waits = attachment.take(turn.now, room, turn.deliveries);
        for delivery in turn.deliveries.drain(..) {
            let is_text = std::str::from_utf8(&delivery.body).is_ok();
            let opcode = if is_text { Opcode::Text } else { Opcode::Binary };
            write_frame(&mut turn.out.bytes, opcode, &delivery.body);
            turn.out.mark(delivery.sequence);
        }
    }

    fn confirm(&mut self, upto: Sequence) {
        if let Some(attachment) = &self.attachment {
            attachment.confirm(upto);
        }
    }
}

/// Tells a failed login in a text frame, so that a browser, which doesn't see why, can say it.
pub fn write_failure(out: &mut Vec<u8>, reason: CloseReason) {
    let mut text = Vec::with_capacity(64);
    handshake::write_error(&mut text, reason.code());
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
