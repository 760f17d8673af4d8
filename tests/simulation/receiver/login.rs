//! How a receiver comes to its session: the upgrade, the challenge and its solution, by part 1 or by npchat.2.

use super::{Manner, Phase, Random, Receiver, TEXT, mask, write_frame};
use crate::identity::{self, Challenge};
use crate::wire::{Answer, HOST, upgrade_request};

const CHALLENGE_REQUEST: &[u8] = br#"{"get":"challenge"}"#;

impl Receiver {
    /// Begins with the upgrade request.
    pub(crate) fn begin(&mut self, out: &mut Vec<u8>, random: &mut Random) {
        self.phase = Phase::Upgrading;
        out.extend_from_slice(&upgrade_request(&identity::all()[self.identity].id, self.is_npchat_2));
        if self.manner == Manner::Hasty && !self.is_npchat_2 {
            self.ask(out, random);
        }
    }

    /// With npchat.2 a challenge comes without asking.
    pub(super) fn note_upgrade(&mut self, answer: &Answer) {
        if answer.status == 101 {
            assert_eq!(
                answer.is_npchat_2, self.is_npchat_2,
                "another subprotocol than was offered"
            );
            self.challenges_wanted += u32::from(self.is_npchat_2);
            self.challenges_asked += u32::from(self.is_npchat_2);
        }
    }

    pub(super) fn ask(&mut self, out: &mut Vec<u8>, random: &mut Random) {
        self.challenges_wanted += 1;
        self.challenges_asked += 1;
        write_frame(out, TEXT, CHALLENGE_REQUEST, mask(random));
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
        let solution = owner.solution(signer, self.is_npchat_2.then_some(HOST), challenge);
        self.challenges_answered += 1;
        write_frame(out, TEXT, solution.as_bytes(), mask(random));
    }
}

/// How many messages a frame reports as lost, if it does.
pub(super) fn lost_in(frame: &[u8]) -> Option<u64> {
    let frame = std::str::from_utf8(frame).ok()?;
    let count = frame.strip_prefix(r#"{"lost":{"expired":"#)?.strip_suffix("}}")?;
    count.parse().ok()
}
