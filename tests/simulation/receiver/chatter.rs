//! What a receiver says that it needn't.

use testkit::{Opcode, Random, write_frame};

use super::{Receiver, mask, pongs};

/// Few enough that none is ever too many, whatever the rate.
const PINGS_MAX: u32 = 40;
const CHALLENGES_MAX: u32 = 10;
/// Pongs that nobody asked for: with the pings few enough as well.
const FORGERIES_MAX: u32 = 10;

impl Receiver {
    /// Pongs that nobody asked for, or asked for once only. A client that guesses what the next ping will say has
    /// confirmed its mail.
    pub(super) fn forge(&mut self, before: usize, out: &mut Vec<u8>, random: &mut Random) {
        if !self.forges || self.forgeries == FORGERIES_MAX || !random.once_in(5) {
            return;
        }
        self.forgeries += 1;
        let payload = pongs::forged(&self.last_asked, random);
        self.pong(&payload, before, out, random);
    }

    pub(super) fn chat(&mut self, out: &mut Vec<u8>, random: &mut Random) {
        match random.below(120) {
            0..6 if self.pings_sent < PINGS_MAX => {
                self.pings_sent += 1;
                let payload = vec![b'p'; random.below(20)];
                write_frame(out, Opcode::PING, &payload, mask(random));
                self.pings.push_back(payload);
            }
            6..9 => write_frame(out, Opcode::TEXT, br#"{"this":["is","not"],"for":"you"}"#, mask(random)),
            9..12 => write_frame(out, Opcode::BINARY, &[0xff; 200], mask(random)),
            15 | 16 => {
                for _ in 0..300 {
                    write_frame(out, Opcode::TEXT, b"{}", mask(random));
                }
            }
            // The relay holds one challenge for a connection: a second request makes the first one void.
            12 if self.challenges_asked < CHALLENGES_MAX && self.challenges_answered == self.challenges_asked => {
                self.ask(out, random);
            }
            13 => {
                self.misbehaves = true;
                write_frame(out, Opcode::CLOSE, &1000_u16.to_be_bytes(), mask(random));
            }
            14 => {
                self.misbehaves = true;
                out.extend_from_slice(b"\x81\x05no mask");
            }
            _ => {}
        }
    }
}
