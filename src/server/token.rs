//! Names of connections: valid across workers, and seen to be stale when the connection is gone.

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
