//! What npchat says over a WebSocket: challenge, login, deliver, confirm (PROTOCOL.md part 1, Receiving; part 2, npchat.2).
//!
//! Texts in, frames and reasons out. Frames as such are [`crate::websocket`]'s, mail is the relay's.

use crate::auth::{self, Challenge};
use crate::connection::Turn;
use crate::handshake::{self, Handshake, HandshakeError, Solution};
use crate::host::Host;
use crate::http::upgrade::SUBPROTOCOL;
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
    /// From the upgrade (npchat.2) or the first challenge on, until it is done: an idle session owns none of it.
    login: Option<Box<Login>>,
    challenges_issued: u8,
    /// The subprotocol is npchat.2: text is the relay's, binary is mail, and a login is bound to a host.
    is_npchat_2: bool,
    /// Mail waits in the mailbox that this session has not taken.
    mail_waits: bool,
}

/// A login under way.
#[derive(Debug, Default)]
struct Login {
    /// The challenge that this connection holds, until it is answered.
    challenge: Option<Challenge>,
    bond: Bond,
}

/// What a solution is over, beside the challenge.
#[derive(Debug, Default)]
enum Bond {
    /// Nothing.
    #[default]
    None,
    Host(Host),
    /// A host that isn't one of the relay's.
    OtherHost,
}

impl Session {
    /// Somebody who claims to be `id`, and speaks as part 1 has it.
    #[must_use]
    pub fn new(id: RecipientId) -> Self {
        Self {
            id,
            attachment: None,
            login: None,
            challenges_issued: 0,
            is_npchat_2: false,
            mail_waits: false,
        }
    }

    /// Somebody who claims to be `id`, and speaks npchat.2. `None`: by way of a host that isn't one of the relay's.
    #[must_use]
    pub fn bound_to_host(id: RecipientId, host: Option<Host>) -> Self {
        let bond = host.map_or(Bond::OtherHost, Bond::Host);
        Self {
            login: Some(Box::new(Login { challenge: None, bond })),
            is_npchat_2: true,
            ..Self::new(id)
        }
    }

    /// The upgrade: with npchat.2 the challenge comes without asking.
    fn open(&mut self, turn: &mut Turn<'_>) -> Result<Heard, CloseReason> {
        match self.login.as_deref() {
            // Told before a signature is made: no solution could be right.
            Some(Login {
                bond: Bond::OtherHost, ..
            }) => Err(CloseReason::WrongHost),
            Some(_) => self.issue_challenge(turn),
            None => Ok(Heard::Done),
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
        // Its host is forgotten at the login, so that an idle session holds none.
        let is_over = self.is_npchat_2 && self.is_logged_in();
        if is_over || self.challenges_issued == CHALLENGES_PER_CONNECTION {
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
        self.login.get_or_insert_default().challenge = Some(challenge);
        Ok(Heard::Done)
    }

    fn check_solution(&mut self, solution: &Solution, turn: &mut Turn<'_>) -> Result<Heard, CloseReason> {
        let held = self.login.as_ref().and_then(|login| login.challenge.as_ref());
        if held != Some(&solution.challenge) {
            return Err(CloseReason::UnknownChallenge);
        }
        if solution.public_key.id() != self.id {
            return Err(CloseReason::WrongKey);
        }
        if !turn.take_login_step() {
            return Ok(Heard::Postponed);
        }
        // No challenge can be answered twice.
        let bond = self.login.take().map(|login| login.bond);
        if !bond.is_some_and(|bond| bond.is_met_by(solution)) {
            return Err(CloseReason::WrongSolution);
        }
        if self.attachment.is_none() {
            self.attachment = Some(turn.relay.attach(&self.id, turn.address)?);
            self.mail_waits = true;
        }
        turn.counters.logins.add(1);
        welcome(turn);
        Ok(Heard::Done)
    }
}

impl Bond {
    fn is_met_by(&self, answer: &Solution) -> bool {
        let (key, text) = (&answer.public_key, &answer.challenge.text);
        match self {
            Self::None => auth::verify(key, text, &answer.solution),
            Self::Host(host) => auth::verify_for_host(key, host, text, &answer.solution),
            Self::OtherHost => false,
        }
    }
}

impl Conversation for Session {
    fn subprotocol(&self) -> Option<&'static str> {
        self.is_npchat_2.then_some(SUBPROTOCOL)
    }

    fn hear(&mut self, event: &Event, turn: &mut Turn<'_>) -> Result<Heard, CloseReason> {
        match event {
            Event::Open => self.open(turn),
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
            let is_text = !self.is_npchat_2 && std::str::from_utf8(&delivery.body).is_ok();
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

/// What the relay says of itself to who has logged in, before any mail.
fn welcome(turn: &mut Turn<'_>) {
    write_frame(&mut turn.out.bytes, Opcode::Text, handshake::DONE);
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
