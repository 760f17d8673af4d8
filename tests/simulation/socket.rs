//! A TCP connection in memory: a bounded queue each way, edges like epoll's, short writes, resets and half-closes.
//!
//! What the server sends is kept only until the kernel has it: the peer hears it when it is offered, and counts what it
//! has read.

use npchat::server::connection::visit::Edges;
use testkit::Random;

use crate::sightings::{Sight, saw};

/// Both ends of one connection.
#[derive(Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each side of a socket ends in ways that combine freely"
)]
pub(crate) struct Socket {
    /// What the client has written and the server has not read.
    up: Vec<u8>,
    up_capacity: usize,
    up_ended: bool,
    /// Bytes that the server has read.
    pub(crate) given: usize,
    /// What the server has offered and the kernel has not taken.
    pending: Vec<u8>,
    /// Bytes that the kernel has taken from the server.
    pub(crate) taken: usize,
    /// Bytes that the client has read.
    pub(crate) read: usize,
    down_capacity: usize,
    /// The server met a full queue, so that room is news to it.
    room_is_news: bool,
    was_reset: bool,
    /// The server has ended its side.
    pub(crate) half_closed: bool,
    /// The server has closed the socket.
    pub(crate) is_gone: bool,
    edges: Edges,
    handshake: Handshake,
}

/// How far both sides are with what a client with TLS does first. It takes no part of the queues.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Handshake {
    /// The client has sent nothing.
    Silent,
    /// The client's first flight has come to the server's kernel.
    Begun,
    /// The server has read it: its answer has not left.
    Answering,
    /// The server's answer is with the client's kernel.
    Answered,
    /// The client's last flight has come to the server's kernel.
    Ending,
    /// It is over, or there was none.
    #[default]
    Done,
}

/// What came of reading.
pub(crate) enum Transfer {
    Bytes(usize),
    WouldBlock,
    End,
}

/// The peer has reset the connection.
pub(crate) struct WasReset;

impl Socket {
    pub(crate) fn new(up_capacity: usize, down_capacity: usize) -> Self {
        Self {
            up_capacity,
            down_capacity,
            ..Self::default()
        }
    }

    /// The same for a client with TLS.
    pub(crate) fn with_handshake(self) -> Self {
        Self {
            handshake: Handshake::Silent,
            ..self
        }
    }

    /// The client writes; how much of it went. Its part of a handshake goes first, and its last flight with what
    /// follows.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> usize {
        if self.was_reset || self.up_ended || self.is_gone || !self.shake() {
            return 0;
        }
        let count = bytes.len().min(self.up_capacity - self.up.len());
        self.up.extend_from_slice(&bytes[..count]);
        self.edges.readable |= count > 0;
        count
    }

    /// The client does its part of a handshake. Returns whether its own bytes may follow.
    fn shake(&mut self) -> bool {
        let next = match self.handshake {
            Handshake::Silent => Handshake::Begun,
            Handshake::Answered => Handshake::Ending,
            Handshake::Begun | Handshake::Answering => return false,
            Handshake::Ending | Handshake::Done => return true,
        };
        self.handshake = next;
        self.edges.readable = true;
        next == Handshake::Ending
    }

    pub(crate) fn handshake(&self) -> Handshake {
        self.handshake
    }

    /// The server reads what there is of a handshake. Returns whether there was something.
    pub(crate) fn receive_handshake(&mut self) -> Result<bool, WasReset> {
        let next = match self.handshake {
            _ if self.was_reset => return Err(WasReset),
            Handshake::Begun => Handshake::Answering,
            Handshake::Ending => Handshake::Done,
            Handshake::Silent | Handshake::Answering | Handshake::Answered | Handshake::Done => return Ok(false),
        };
        self.handshake = next;
        Ok(true)
    }

    /// The server sends its answer in a handshake. Returns whether the kernel takes it: if not, it will soon.
    pub(crate) fn send_handshake(&mut self, random: &mut Random) -> Result<bool, WasReset> {
        if self.was_reset {
            return Err(WasReset);
        }
        if random.once_in(3) {
            self.edges.writable = true;
            return Ok(false);
        }
        self.handshake = Handshake::Answered;
        Ok(true)
    }

    /// The client reads up to `most` bytes; how many it got.
    pub(crate) fn read(&mut self, most: usize) -> usize {
        if self.was_reset {
            return 0;
        }
        let count = most.min(self.taken - self.read);
        self.read += count;
        if count > 0 && std::mem::take(&mut self.room_is_news) {
            self.edges.writable = true;
        }
        count
    }

    /// The client ends its side.
    pub(crate) fn finish(&mut self) {
        self.up_ended = true;
        self.edges.readable = true;
        self.edges.read_closed = true;
    }

    /// The client resets the connection: all that is in the queues is gone.
    pub(crate) fn reset(&mut self) {
        self.was_reset = true;
        self.up.clear();
        self.edges = Edges {
            readable: true,
            read_closed: true,
            writable: true,
        };
    }

    pub(crate) fn was_reset(&self) -> bool {
        self.was_reset
    }

    pub(crate) fn has_finished(&self) -> bool {
        self.up_ended
    }

    /// Whether there is nothing of the client's on its way to the server.
    pub(crate) fn is_drained(&self) -> bool {
        self.up.is_empty()
    }

    /// Bytes of the client's that have reached the server's kernel.
    pub(crate) fn arrived(&self) -> usize {
        self.given + self.up.len()
    }

    /// What has become ready since this was last asked.
    pub(crate) fn take_edges(&mut self) -> Option<Edges> {
        let edges = std::mem::take(&mut self.edges);
        (edges.readable || edges.writable).then_some(edges)
    }

    pub(crate) fn has_edges(&self) -> bool {
        self.edges.readable || self.edges.writable
    }

    /// The server reads. A count below the scratch's length means that the queue is drained, as with `recv`.
    pub(crate) fn receive(&mut self, scratch: &mut [u8]) -> Result<Transfer, WasReset> {
        if self.was_reset {
            return Err(WasReset);
        }
        if self.up.is_empty() {
            return Ok(if self.up_ended {
                Transfer::End
            } else {
                Transfer::WouldBlock
            });
        }
        let count = self.up.len().min(scratch.len());
        for (into, byte) in scratch.iter_mut().zip(self.up.drain(..count)) {
            *into = byte;
        }
        self.given += count;
        Ok(Transfer::Bytes(count))
    }

    /// Takes note of what the server wants to send, and returns what of it is new.
    ///
    /// What was offered before and not taken must come again, unchanged.
    pub(crate) fn offer<'a>(&mut self, unsent: &'a [u8]) -> &'a [u8] {
        assert!(
            unsent.starts_with(&self.pending),
            "what the kernel did not take was offered again, changed"
        );
        let fresh = &unsent[self.pending.len()..];
        assert!(
            fresh.is_empty() || !self.half_closed,
            "sent after the end of the stream"
        );
        self.pending.extend_from_slice(fresh);
        fresh
    }

    /// The kernel takes a part of what was offered, all if there is room, seldom less.
    pub(crate) fn send(&mut self, random: &mut Random) -> Result<usize, WasReset> {
        if self.was_reset {
            return Err(WasReset);
        }
        let room = self.down_capacity - (self.taken - self.read);
        let mut count = self.pending.len().min(room);
        if count > 0 && random.once_in(12) {
            count = random.within(1, count);
            self.edges.writable |= count < self.pending.len();
            saw(Sight::ShortWrite);
        }
        self.room_is_news = count < self.pending.len();
        if self.pending.len() > room {
            saw(Sight::FullQueue);
        }
        self.pending.drain(..count);
        self.taken += count;
        Ok(count)
    }

    /// Bytes that wait in the server for the kernel.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Bytes that the server has made so far.
    pub(crate) fn offered(&self) -> usize {
        self.taken + self.pending.len()
    }
}
