//! A slab of connections whose tokens carry a generation, so that an event for a connection that is gone is seen as such.

use crate::token::Token;
use crate::wheel::{Node, Nodes};

/// A slab. A freed slot is used again with its next generation.
///
/// It grows by blocks that stay where they are: to move all connections because one more has come would hold up all of them.
#[derive(Debug)]
pub(super) struct Slots<T> {
    /// Each of [`BLOCK`] entries, but for the last one, which may have fewer.
    blocks: Vec<Vec<Entry<T>>>,
    vacant: Vec<u32>,
}

/// Entries of a block.
const BLOCK: usize = 256;

#[derive(Debug)]
struct Entry<T> {
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
        self.len() == self.vacant.len()
    }

    /// The token that the next [`Slots::insert`] gives. `None` when there are as many slots as a token can name.
    pub(super) fn next_token(&self) -> Option<Token> {
        match self.vacant.last() {
            Some(&index) => Some(Token {
                index,
                generation: self.entry(index).map_or(0, |entry| entry.generation),
            }),
            None => u32::try_from(self.len())
                .ok()
                .map(|index| Token { index, generation: 0 }),
        }
    }

    /// Puts a value where [`Slots::next_token`] said.
    pub(super) fn insert(&mut self, value: T) {
        match self.vacant.pop() {
            Some(index) => self.entry_at(index).value = Some(value),
            None => self.push(Entry {
                value: Some(value),
                generation: 0,
                deadline: Node::new(),
            }),
        }
    }

    pub(super) fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        self.entry_mut(token)?.value.as_mut()
    }

    pub(super) fn remove(&mut self, token: Token) -> Option<T> {
        let entry = self.entry_mut(token)?;
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

    /// How many there are, vacant ones included.
    fn len(&self) -> usize {
        let last = self.blocks.last().map_or(BLOCK, Vec::len);
        self.blocks.len() * BLOCK + last - BLOCK
    }

    fn push(&mut self, entry: Entry<T>) {
        match self.blocks.last_mut() {
            Some(last) if last.len() < BLOCK => last.push(entry),
            _ => {
                let mut block = Vec::with_capacity(BLOCK);
                block.push(entry);
                self.blocks.push(block);
            }
        }
    }

    fn entry(&self, index: u32) -> Option<&Entry<T>> {
        let index = index as usize;
        self.blocks.get(index / BLOCK)?.get(index % BLOCK)
    }

    /// The entry that the token names, if that is still there.
    fn entry_mut(&mut self, token: Token) -> Option<&mut Entry<T>> {
        let index = token.index as usize;
        let entry = self.blocks.get_mut(index / BLOCK)?.get_mut(index % BLOCK)?;
        (entry.generation == token.generation).then_some(entry)
    }

    /// The entry at an index that was given out.
    fn entry_at(&mut self, index: u32) -> &mut Entry<T> {
        let index = index as usize;
        &mut self.blocks[index / BLOCK][index % BLOCK]
    }
}

impl<T> Nodes for Slots<T> {
    fn node(&self, index: u32) -> &Node {
        let index = index as usize;
        &self.blocks[index / BLOCK][index % BLOCK].deadline
    }

    fn node_mut(&mut self, index: u32) -> &mut Node {
        &mut self.entry_at(index).deadline
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
