//! The bodies of a shard's messages: chains of equal blocks, so that what one has left any other can use.
//!
//! What a body means, and which message it belongs to, is the shard's.

use std::sync::Arc;

use super::arena::{Arena, NONE};
use super::pool::Pool;
use super::segment::LINE_BYTES;

/// Lines of a block.
const BLOCK_LINES: usize = 2;
/// Bytes of a block.
pub(super) const BLOCK_BYTES: usize = BLOCK_LINES * LINE_BYTES;

/// Chains of blocks. Beside each block lies its link, so that a chain is freed without a look at what is in it.
pub(super) struct Blocks(Arena);

/// What stands before and after a block in its chain.
#[derive(Debug, Clone, Copy)]
struct Link {
    next: u32,
    /// The block before, or [`FIRST`] and the index of the message.
    previous: u32,
}

/// In [`Link::previous`]: this block is the first, and the other bits are the index of its message.
const FIRST: u32 = 1 << 31;

/// A block has moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moved {
    /// Where it is now.
    pub(super) to: u32,
    /// The message whose first block it is, if it is the first.
    pub(super) first_of: Option<u32>,
}

impl Link {
    const fn from_word(word: u64) -> Self {
        Self {
            next: (word & 0xffff_ffff) as u32,
            previous: (word >> 32) as u32,
        }
    }

    const fn to_word(self) -> u64 {
        (self.previous as u64) << 32 | self.next as u64
    }
}

impl Blocks {
    pub(super) fn new(pool: Arc<Pool>) -> Self {
        Self(Arena::new(pool, BLOCK_LINES, true))
    }

    /// Sees to it that a body of so many bytes can be stored; `false` if the budget has no room for it.
    pub(super) fn reserve(&mut self, bytes: usize) -> bool {
        u32::try_from(bytes.div_ceil(BLOCK_BYTES)).is_ok_and(|blocks| self.0.reserve(blocks))
    }

    /// Gives back what was reserved for nothing.
    pub(super) fn give_back_unused(&mut self) {
        self.0.give_back_unused();
    }

    /// Stores a body for which there is room, of the message at `owner`. Returns its first block, [`NONE`] if it is
    /// empty.
    pub(super) fn store(&mut self, owner: u32, body: &[u8]) -> u32 {
        let (whole, rest) = body.as_chunks::<BLOCK_BYTES>();
        let mut whole = whole.iter();
        let mut left = whole.len() + usize::from(!rest.is_empty());
        // A link is written once what comes after its block is known.
        let (mut first, mut last, mut previous) = (NONE, NONE, FIRST | owner);
        while left > 0 {
            for index in self.0.take_run(left) {
                let room: &mut [u8] = bytemuck::cast_slice_mut(self.0.lines_mut(index));
                match whole.next() {
                    Some(block) => room.copy_from_slice(block),
                    None => room[..rest.len()].copy_from_slice(rest),
                }
                if last == NONE {
                    first = index;
                } else {
                    *self.0.word_mut(last) = Link { next: index, previous }.to_word();
                    previous = last;
                }
                last = index;
                left -= 1;
            }
        }
        if last != NONE {
            *self.0.word_mut(last) = Link { next: NONE, previous }.to_word();
        }
        first
    }

    /// Appends a body of so many bytes that begins at `first`.
    pub(super) fn copy(&self, first: u32, bytes: usize, into: &mut Vec<u8>) {
        let (mut at, mut left) = (first, bytes);
        while left > 0 {
            let block: &[u8] = bytemuck::cast_slice(self.0.lines(at));
            let count = left.min(BLOCK_BYTES);
            into.extend_from_slice(&block[..count]);
            left -= count;
            at = self.link(at).next;
        }
    }

    /// Frees the chain that begins at `first`. Returns how many blocks it had.
    pub(super) fn free(&mut self, first: u32) -> usize {
        let (mut at, mut count) = (first, 0);
        while at != NONE {
            let next = self.link(at).next;
            self.0.put_back(at);
            (at, count) = (next, count + 1);
        }
        count
    }

    /// The message whose body begins at `first` has moved to `owner`.
    pub(super) fn set_owner(&mut self, first: u32, owner: u32) {
        if first != NONE {
            let previous = FIRST | owner;
            let link = Link {
                previous,
                ..self.link(first)
            };
            *self.0.word_mut(first) = link.to_word();
        }
    }

    /// While many blocks are vacant, moves one to the front. If it is a first one, its message must be shown.
    pub(super) fn move_one(&mut self) -> Option<Moved> {
        let (from, to) = self.0.next_move()?;
        let mut block = [super::segment::Line([0; 8]); BLOCK_LINES];
        block.copy_from_slice(self.0.lines(from));
        self.0.lines_mut(to).copy_from_slice(&block);
        let link = self.link(from);
        *self.0.word_mut(to) = link.to_word();
        if link.next != NONE {
            let next = Link {
                previous: to,
                ..self.link(link.next)
            };
            *self.0.word_mut(link.next) = next.to_word();
        }
        self.0.put_back(from);
        let is_first = link.previous & FIRST != 0;
        if !is_first {
            self.set_next(link.previous, to);
        }
        Some(Moved {
            to,
            first_of: is_first.then_some(link.previous & !FIRST),
        })
    }

    /// Reads the link of a block ahead of need; what it returns means nothing.
    pub(super) fn prefetch(&self, first: u32) -> u64 {
        if first == NONE { 0 } else { self.0.word(first) }
    }

    fn link(&self, index: u32) -> Link {
        Link::from_word(self.0.word(index))
    }

    fn set_next(&mut self, index: u32, next: u32) {
        let link = Link {
            next,
            ..self.link(index)
        };
        *self.0.word_mut(index) = link.to_word();
    }
}
