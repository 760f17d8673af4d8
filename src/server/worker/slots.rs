//! A slab of connections whose tokens carry a generation, so that an event for a connection that is gone is seen as
//! such.

use crate::server::timer_wheel::{Node, Nodes};
use crate::server::token::Token;

/// A slab. A freed slot is used again with its next generation.
///
/// It grows by blocks that stay where they are: to move all connections because one more has come would hold up all
/// of them.
///
/// The crate `slab` does none of what this is for. Its indices have no generations, and a generation must outlive the
/// value: an event of this turn would reach the connection that has come into the slot since. The node of the wheel of
/// deadlines lies beside the value, since the wheel follows its links from slot to slot and knows no connection. And a
/// slab is one array that doubles: at a hundred thousand connections it would copy 30 MB in the middle of a turn (an
/// entry has 296 bytes). With all of that laid over it, the crate would do no more than `vacant` does.
#[derive(Debug)]
pub(super) struct Slots<T> {
    blocks: Vec<Box<[SlotEntry<T>]>>,
    /// The one to be taken next is the last.
    vacant: Vec<u32>,
}

/// Entries of each block.
const BLOCK: usize = 256;

#[derive(Debug)]
struct SlotEntry<T> {
    value: Option<T>,
    generation: u32,
    /// The connection's place in the worker's wheel of deadlines.
    deadline: Node,
}

impl<T> Slots<T> {
    pub(super) fn new() -> Self {
        Self {
            blocks: Vec::new(),
            vacant: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.blocks.len() * BLOCK == self.vacant.len()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.blocks.len() * BLOCK - self.vacant.len()
    }

    /// The token that the next [`Slots::insert`] gives. `None` when there are as many slots as a token can name.
    pub(super) fn next_token(&mut self) -> Option<Token> {
        if self.vacant.is_empty() {
            self.grow()?;
        }
        let index = *self.vacant.last()?;
        let generation = self.entry(index)?.generation;
        Some(Token { index, generation })
    }

    /// Puts a value where [`Slots::next_token`] said.
    pub(super) fn insert(&mut self, value: T) {
        let index = self.vacant.pop();
        if let Some(entry) = index.and_then(|index| self.entry_mut(index)) {
            entry.value = Some(value);
        }
    }

    pub(super) fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        self.named_by(token)?.value.as_mut()
    }

    pub(super) fn remove(&mut self, token: Token) -> Option<T> {
        let entry = self.named_by(token)?;
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.vacant.push(token.index);
        Some(value)
    }

    /// The token of the connection that is in this slot now.
    pub(super) fn token_at(&self, index: u32) -> Option<Token> {
        self.entry(index)
            .filter(|entry| entry.value.is_some())
            .map(|entry| Token {
                index,
                generation: entry.generation,
            })
    }

    /// The tokens of all connections.
    pub(super) fn tokens(&self) -> impl Iterator<Item = Token> + '_ {
        (0..)
            .zip(self.blocks.iter().flatten())
            .filter(|(_, entry)| entry.value.is_some())
            .map(|(index, entry)| Token {
                index,
                generation: entry.generation,
            })
    }

    fn grow(&mut self) -> Option<()> {
        let start = self.blocks.len() * BLOCK;
        let fresh = u32::try_from(start).ok()?..u32::try_from(start + BLOCK).ok()?;
        let vacant = || SlotEntry {
            value: None,
            generation: 0,
            deadline: Node::new(),
        };
        self.blocks.push((0..BLOCK).map(|_| vacant()).collect());
        self.vacant.extend(fresh.rev());
        Some(())
    }

    fn entry(&self, index: u32) -> Option<&SlotEntry<T>> {
        let (block, place) = place_of(index);
        self.blocks.get(block)?.get(place)
    }

    fn entry_mut(&mut self, index: u32) -> Option<&mut SlotEntry<T>> {
        let (block, place) = place_of(index);
        self.blocks.get_mut(block)?.get_mut(place)
    }

    /// The entry that the token names, if that is still there.
    fn named_by(&mut self, token: Token) -> Option<&mut SlotEntry<T>> {
        self.entry_mut(token.index)
            .filter(|entry| entry.generation == token.generation)
    }
}

const fn place_of(index: u32) -> (usize, usize) {
    (index as usize / BLOCK, index as usize % BLOCK)
}

impl<T> Nodes for Slots<T> {
    fn node(&self, index: u32) -> &Node {
        let (block, place) = place_of(index);
        &self.blocks[block][place].deadline
    }

    fn node_mut(&mut self, index: u32) -> &mut Node {
        let (block, place) = place_of(index);
        &mut self.blocks[block][place].deadline
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_a_connection_that_is_gone_finds_nothing() {
        let mut slots = Slots::new();
        let first = slots.next_token().unwrap();
        slots.insert("first");
        assert_eq!(slots.get_mut(first), Some(&mut "first"));
        assert_eq!(slots.remove(first), Some("first"));
        assert!(slots.is_empty());
        let second = slots.next_token().unwrap();
        slots.insert("second");
        assert_eq!(second.index, first.index);
        assert_eq!(slots.get_mut(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.token_at(0), Some(second));
        assert_eq!(slots.tokens().collect::<Vec<_>>(), [second]);
    }

    #[test]
    fn tokens_count_on_from_block_to_block() {
        let mut slots = Slots::new();
        let tokens: Vec<Token> = (0..=2 * BLOCK)
            .map(|number| {
                let token = slots.next_token().unwrap();
                slots.insert(number);
                token
            })
            .collect();
        assert!(slots.tokens().eq(tokens.iter().copied()));
        for (number, &token) in tokens.iter().enumerate() {
            assert_eq!(token.index as usize, number);
            assert_eq!(slots.remove(token), Some(number));
        }
        assert!(slots.is_empty());
        assert_eq!(slots.next_token().map(|token| token.generation), Some(1));
    }
}
