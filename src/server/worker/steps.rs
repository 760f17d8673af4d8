//! Steps of what takes long, such as a signature: who waits for one, and how many there are.

use std::collections::VecDeque;

use crate::server::token::Token;

/// Connections that wait for a step, in the order in which they came to need it, and how many steps there are now.
#[derive(Debug, Default)]
pub(super) struct Steps {
    waiting: VecDeque<Token>,
    left: usize,
}

impl Steps {
    /// So many steps are there, until they are taken or this is called again.
    pub(super) fn allow(&mut self, steps: usize) {
        self.left = steps;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many wait, those who have gone meanwhile included.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The next of those who wait, while there is a step left. One that has gone takes none.
    pub(super) fn next(&mut self) -> Option<Token> {
        if self.left == 0 { None } else { self.waiting.pop_front() }
    }

    pub(super) fn wait(&mut self, token: Token) {
        self.waiting.push_back(token);
    }

    /// Lets this one be the next: what it has had was for nothing if it waits for too long.
    pub(super) fn wait_in_front(&mut self, token: Token) {
        self.waiting.push_front(token);
    }

    /// How many steps a connection may take now. Nobody passes those who wait: only who comes from among them `is_next`.
    pub(super) fn offer(&self, is_next: bool) -> usize {
        usize::from(is_next || self.waiting.is_empty()).min(self.left)
    }

    pub(super) fn take(&mut self, count: usize) {
        self.left -= count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(index: u32) -> Token {
        Token { index, generation: 0 }
    }

    #[test]
    fn so_many_steps_are_there_until_more_are_allowed() {
        let mut steps = Steps::default();
        for _ in 0..3 {
            steps.allow(2);
            assert_eq!(steps.offer(false), 1);
            steps.take(1);
            steps.take(0);
            assert_eq!(steps.offer(false), 1);
            steps.take(1);
            assert_eq!((steps.offer(false), steps.offer(true)), (0, 0));
        }
    }

    #[test]
    fn nobody_passes_those_who_wait_and_they_come_in_their_order() {
        let mut steps = Steps::default();
        steps.allow(2);
        (0..3).for_each(|index| steps.wait(token(index)));
        assert_eq!((steps.offer(false), steps.offer(true)), (0, 1));
        for index in 0..2 {
            assert_eq!(steps.next(), Some(token(index)));
            steps.take(1);
        }
        assert_eq!((steps.next(), steps.len()), (None, 1));
        steps.allow(2);
        assert_eq!(steps.next(), Some(token(2)));
        assert!(steps.is_empty() && steps.offer(false) == 1);
    }

    #[test]
    fn who_has_gone_takes_no_step_and_who_has_begun_comes_first() {
        let mut steps = Steps::default();
        steps.allow(1);
        (0..3).for_each(|index| steps.wait(token(index)));
        assert_eq!((steps.next(), steps.next()), (Some(token(0)), Some(token(1))));
        steps.take(1);
        steps.wait_in_front(token(1));
        assert_eq!(steps.next(), None);
        steps.allow(1);
        assert_eq!(steps.next(), Some(token(1)));
    }
}
