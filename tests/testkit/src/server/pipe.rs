//! What stands for a connection's socket in tests: its input is at hand, and its kernel takes as much as a test says.

use std::io;

use npchat::server::connection::visit::{Io, Received, Scratch, Sent};

/// Both directions of one connection, in memory.
#[derive(Debug, Default)]
pub struct Pipe {
    /// What the peer has sent and the server has not read.
    pub input: Vec<u8>,
    /// The peer has ended its side.
    pub input_ended: bool,
    /// What the kernel has taken.
    pub sent: Vec<u8>,
    /// Most bytes that each send may take, over and over; with none given, all.
    pub send_sizes: Vec<usize>,
    /// Unless 0, a send takes at least one in so many of its bytes: many sends teach no more of much than of little.
    pub least_share: usize,
    /// Most bytes that a send was given.
    pub largest_send: usize,
    sends: usize,
    /// Our side of the stream has ended.
    pub half_closed: bool,
}

impl Pipe {
    fn send_size(&self) -> usize {
        let count = self.send_sizes.len();
        if count == 0 {
            usize::MAX
        } else {
            self.send_sizes[self.sends % count]
        }
    }
}

impl Io for Pipe {
    fn receive<'s>(&mut self, scratch: &'s mut Scratch) -> io::Result<Received<'s>> {
        if self.input.is_empty() {
            return Ok(if self.input_ended {
                Received::End
            } else {
                Received::WouldBlock
            });
        }
        let room = scratch.received.len();
        let count = self.input.len().min(room);
        scratch.received[..count].copy_from_slice(&self.input[..count]);
        self.input.drain(..count);
        Ok(Received::Input {
            bytes: &scratch.received[..count],
            received: count,
            drained: count < room,
        })
    }

    fn send(&mut self, bytes: &[u8], _: &mut Scratch) -> io::Result<Sent> {
        assert!(!self.half_closed, "sent after the end");
        let least = bytes.len().checked_div(self.least_share).unwrap_or(0);
        let count = self.send_size().max(least).min(bytes.len());
        self.largest_send = self.largest_send.max(bytes.len());
        self.sends += 1;
        self.sent.extend_from_slice(&bytes[..count]);
        Ok(Sent {
            count,
            blocked: count < bytes.len(),
        })
    }

    fn half_close(&mut self) {
        assert!(!self.half_closed, "ended twice");
        self.half_closed = true;
    }

    fn close(&mut self) {}
}
