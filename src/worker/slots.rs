//! A slab of connections whose tokens carry a generation, so that an event for a connection that is gone is seen as such.

use crate::token::Token;
use crate::wheel::{Node, Nodes};

/// A slab. A freed slot is used again with its next generation.
#[derive(Debug)]
pub(super) struct Slots<T> {
    entries: Vec<Entry<T>>,
    vacant: Vec<u32>,
}

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
            entries: Vec::new(),
            vacant: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.len() == self.vacant.len()
    }

    /// The token that the next [`Slots::insert`] gives. `None` when there are as many slots as a token can name.
    pub(super) fn next_token(&self) -> Option<Token> {
        match self.vacant.last() {
            Some(&index) => Some(Token {
                index,
                generation: self.entry(index).map_or(0, |entry| entry.generation),
            }),
            None => u32::try_from(self.entries.len())
                .ok()
                .map(|index| Token { index, generation: 0 }),
        }
    }

    /// Puts a value where [`Slots::next_token`] said.
    pub(super) fn insert(&mut self, value: T) {
        match self.vacant.pop() {
            Some(index) => self.entries[index as usize].value = Some(value),
            None => self.entries.push(Entry {
                value: Some(value),
                generation: 0,
                deadline: Node::new(),
            }),
        }
    }

    pub(super) fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        self.entries
            .get_mut(token.index as usize)
            .filter(|entry| entry.generation == token.generation)
            .and_then(|entry| entry.value.as_mut())
    }

    pub(super) fn remove(&mut self, token: Token) -> Option<T> {
        let entry = self
            .entries
            .get_mut(token.index as usize)
            .filter(|entry| entry.generation == token.generation)?;
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
            .zip(&self.entries)
            .filter(|(_, entry)| entry.value.is_some())
            .map(|(index, entry)| Token {
                index,
                generation: entry.generation,
            })
    }

    fn entry(&self, index: u32) -> Option<&Entry<T>> {
        self.entries.get(index as usize)
    }
}

impl<T> Nodes for Slots<T> {
    fn node(&self, index: u32) -> &Node {
        &self.entries[index as usize].deadline
    }

    fn node_mut(&mut self, index: u32) -> &mut Node {
        &mut self.entries[index as usize].deadline
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
}
