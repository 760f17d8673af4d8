//! Names of connections, and of requests that wait: valid across workers, and seen to be stale when what they name is
//! gone.

/// A slot of a worker's slab and which of the slot's successive connections is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token {
    /// Index of the slot.
    pub index: u32,
    /// Counts the connections that the slot has held.
    pub generation: u32,
}

impl Token {
    /// Packs the token into the word that the poller carries.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "limits.rs asserts 64-bit words")]
    pub const fn to_word(self) -> usize {
        (((self.generation as u64) << 32) | self.index as u64) as usize
    }

    /// Unpacks [`Token::to_word`].
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the halves of a word")]
    pub const fn from_word(word: usize) -> Self {
        Self {
            index: word as u32,
            generation: (word as u64 >> 32) as u32,
        }
    }
}

/// Where a session lives: its worker and its connection there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionAddress {
    /// Index of the worker.
    pub worker: u32,
    /// The connection.
    pub token: Token,
}

/// A POST that is to be answered later: where its connection lives, and which of the worker's pending POSTs it is.
///
/// Only a context makes one. What is reported for it when its request has ended, or its connection, finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket {
    pub(crate) address: SessionAddress,
    pub(crate) number: u64,
}

impl Ticket {
    /// Where its connection lives.
    #[must_use]
    pub const fn address(self) -> SessionAddress {
        self.address
    }

    /// Its number, as [`Connection::note_posted`](crate::server::connection::Connection::note_posted) takes it.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.number
    }
}

/// The tickets of one worker, each with a number of its own.
#[derive(Debug, Default)]
pub struct Tickets(u64);

impl Tickets {
    /// A ticket for the connection at this address.
    pub(crate) fn make(&mut self, address: SessionAddress) -> Ticket {
        self.0 = self.0.wrapping_add(1);
        Ticket {
            address,
            number: self.0,
        }
    }
}
