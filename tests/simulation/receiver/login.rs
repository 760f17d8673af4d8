//! How a receiver comes to its session: the upgrade, the challenge and its solution, by part 1 or by npchat.2.

use testkit::{Challenge, OFFER, Opcode, Random, Response, upgrade_request_with, write_frame};

use super::{Manner, Phase, Receiver, mask};
use crate::identity;

/// The host that requests name.
const HOST: &str = "relay";
const CHALLENGE_REQUEST: &[u8] = br#"{"get":"challenge"}"#;

impl Receiver {
    /// Begins with the upgrade request.
    pub(crate) fn begin(&mut self, out: &mut Vec<u8>, random: &mut Random) {
        self.phase = Phase::Upgrading;
        let offer = if self.is_npchat_2 { OFFER } else { "" };
        let id = &identity::all()[self.identity].id;
        out.extend_from_slice(upgrade_request_with(HOST, id, offer).as_bytes());
        if self.manner == Manner::Hasty && !self.is_npchat_2 {
            self.ask(out, random);
        }
    }

    /// With npchat.2 a challenge comes without asking.
    pub(super) fn note_upgrade(&mut self, answer: &Response) {
        if answer.status == 101 {
            let is_npchat_2 = answer.header("Sec-WebSocket-Protocol") == Some("npchat.2");
            assert_eq!(is_npchat_2, self.is_npchat_2, "another subprotocol than was offered");
            self.challenges_wanted += u32::from(self.is_npchat_2);
            self.challenges_asked += u32::from(self.is_npchat_2);
        }
    }

    pub(super) fn ask(&mut self, out: &mut Vec<u8>, random: &mut Random) {
        self.challenges_wanted += 1;
        self.challenges_asked += 1;
        write_frame(out, Opcode::TEXT, CHALLENGE_REQUEST, mask(random));
    }

    pub(super) fn solve(&mut self, challenge: &Challenge, out: &mut Vec<u8>, random: &mut Random) {
        let everybody = identity::all();
        let (own, other) = (
            &everybody[self.identity],
            &everybody[(self.identity + 1) % everybody.len()],
        );
        let (owner, signer) = match self.manner {
            Manner::Mute => return,
            Manner::Plain | Manner::Hasty => (own, own),
            Manner::WrongKey => (other, other),
            Manner::WrongSolution => (own, other),
        };
        let signature = signer.signature(challenge, self.is_npchat_2.then_some(HOST));
        let solution = owner.answer(challenge, &signature);
        self.challenges_answered += 1;
        write_frame(out, Opcode::TEXT, solution.as_bytes(), mask(random));
    }
}

/// How many messages a frame reports as lost, if it does.
pub(super) fn lost_in(frame: &[u8]) -> Option<u64> {
    let frame = std::str::from_utf8(frame).ok()?;
    let count = frame.strip_prefix(r#"{"lost":{"expired":"#)?.strip_suffix("}}")?;
    count.parse().ok()
}
