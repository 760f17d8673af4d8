//! Steps of what takes long, such as a signature: who waits for one, and how many a turn has.

use std::collections::VecDeque;

use crate::token::Token;

/// Connections that wait for a step, in the order in which they came to need it, and a turn's budget of steps.
#[derive(Debug)]
pub(super) struct Steps {
    waiting: VecDeque<Token>,
    each_turn: usize,
    left: usize,
}

impl Steps {
    pub(super) fn new(each_turn: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            each_turn,
            left: each_turn,
        }
    }

    pub(super) fn begin_turn(&mut self) {
        self.left = self.each_turn;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many of those who wait there is a step for, one for each: who needs many waits again.
    pub(super) fn served_now(&self) -> usize {
        self.waiting.len().min(self.left)
    }

    pub(super) fn next(&mut self) -> Option<Token> {
        self.waiting.pop_front()
    }

    pub(super) fn wait(&mut self, token: Token) {
        self.waiting.push_back(token);
    }

    /// How many steps a connection may take now. Nobody passes those who wait: only who comes from among them `is_next`.
    pub(super) fn offer(&self, is_next: bool) -> usize {
        usize::from(is_next || self.waiting.is_empty()).min(self.left)
    }

    pub(super) fn take(&mut self, count: usize) {
        self.left -= count;
    }
}
