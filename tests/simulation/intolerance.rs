//! Mail that a client can't take, and how it ends its session when it meets some.

use crate::sightings::{Sight, saw};
use testkit::Random;
use testkit::{Opcode, write_frame};

/// The status of a Close for a message that is too big (1009).
const MESSAGE_TOO_BIG: [u8; 2] = 1009_u16.to_be_bytes();

/// What one kind of clients can't take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Intolerance {
    poison: Poison,
    pub(crate) end: End,
}

#[derive(Debug, Clone, Copy)]
enum Poison {
    /// More bytes than this.
    Longer(usize),
    /// One message in so many, whatever its length.
    OneIn(usize),
}

/// How the session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Close,
    /// Without a word.
    Cut,
}

impl Intolerance {
    /// Of messages of up to so many bytes, some are not taken.
    pub(crate) fn any(max_message_bytes: usize, random: &mut Random) -> Self {
        let poison = match random.below(3) {
            0 => Poison::Longer(max_message_bytes * random.within(60, 98) / 100),
            _ => Poison::OneIn(random.pick(&[2, 5, 9, 9, 17])),
        };
        let end = random.pick(&[End::Close, End::Close, End::Cut]);
        Self { poison, end }
    }

    pub(crate) fn is_met_by(self, message: usize, body: &[u8]) -> bool {
        match self.poison {
            Poison::Longer(bytes) => body.len() > bytes,
            Poison::OneIn(count) => message.is_multiple_of(count),
        }
    }

    /// Ends the session, as far as a frame does it.
    pub(crate) fn write_end(self, out: &mut Vec<u8>, mask: u32) {
        match self.end {
            End::Close => {
                saw(Sight::ClosedAtPoison);
                write_frame(out, Opcode::CLOSE, &MESSAGE_TOO_BIG, mask);
            }
            End::Cut => saw(Sight::CutAtPoison),
        }
    }
}
