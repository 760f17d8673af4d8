//! Connections that are to be visited without a further event, in queues by class, and what each class may have in a
//! turn.
//!
//! In which order the classes are served is [`super::scheduler`]'s.

use std::collections::VecDeque;

use crate::server::limits::{
    LINGERING_BYTES_PER_TURN, MAILED_VISITS_PER_TURN, RESUMED_BYTES_PER_TURN, RESUMED_VISITS_PER_TURN,
};
use crate::server::token::Token;

/// Why a connection waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Established: events of this turn.
    Ready,
    /// Established: a budget of an earlier turn left something over.
    Resumed,
    /// Established: sessions that have mail. The last of these, so that all mail that came goes in one write. And, new
    /// or not, those whose POST is no longer pending.
    Mailed,
    /// Not answered or not logged in yet, with something to do that takes no step of a login or handshake.
    New,
    /// What it still sends is read only to be thrown away.
    Lingering,
    /// The next step of a login, which takes long.
    Login,
    /// The next step of a handshake, which takes long.
    Handshake,
}

/// What goes for a class.
struct Terms {
    class: Class,
    /// A connection is in one of these at most: bits of [`Queued`].
    group: u8,
    /// Visits in one turn.
    visits: usize,
    /// Bytes that are read in one turn, give or take one read.
    bytes: usize,
    /// It is served even while connections hold more memory than they may.
    is_exempt: bool,
}

const ESTABLISHED: u8 = Class::Ready.bit() | Class::Resumed.bit() | Class::Mailed.bit();
const LOW_PRIORITY: u8 = Class::New.bit() | Class::Lingering.bit();

const TERMS: [Terms; 7] = [
    terms(Class::Ready, ESTABLISHED, usize::MAX, usize::MAX, true),
    terms(
        Class::Resumed,
        ESTABLISHED,
        RESUMED_VISITS_PER_TURN,
        RESUMED_BYTES_PER_TURN,
        true,
    ),
    terms(Class::Mailed, ESTABLISHED, MAILED_VISITS_PER_TURN, usize::MAX, true),
    terms(Class::New, LOW_PRIORITY, usize::MAX, usize::MAX, false),
    terms(
        Class::Lingering,
        LOW_PRIORITY,
        usize::MAX,
        LINGERING_BYTES_PER_TURN,
        true,
    ),
    terms(Class::Login, Class::Login.bit(), usize::MAX, usize::MAX, false),
    terms(Class::Handshake, Class::Handshake.bit(), usize::MAX, usize::MAX, false),
];

const fn terms(class: Class, group: u8, visits: usize, bytes: usize, is_exempt: bool) -> Terms {
    Terms {
        class,
        group,
        visits,
        bytes,
        is_exempt,
    }
}

const _: () = {
    let mut index = 0;
    while index < TERMS.len() {
        assert!(TERMS[index].class as usize == index && TERMS[index].group & TERMS[index].class.bit() != 0);
        index += 1;
    }
};

impl Class {
    const fn bit(self) -> u8 {
        1 << self as u8
    }

    const fn terms(self) -> &'static Terms {
        &TERMS[self as usize]
    }

    /// Visits in one turn.
    pub(super) const fn visits(self) -> usize {
        self.terms().visits
    }

    /// Bytes that are read in one turn, give or take one read.
    pub(super) const fn bytes(self) -> usize {
        self.terms().bytes
    }
}

/// In which queues a connection is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Queued(u8);

impl Queued {
    /// It has been taken from this queue.
    pub(super) fn leave(&mut self, class: Class) {
        self.0 &= !class.bit();
    }

    /// Whether it may join this queue, which it then has.
    fn join(&mut self, class: Class) -> bool {
        let may_join = self.0 & class.terms().group == 0;
        if may_join {
            self.0 |= class.bit();
        }
        may_join
    }
}

/// All queues.
#[derive(Debug, Default)]
pub(super) struct Queues([Queue; TERMS.len()]);

/// Connections in the order in which they came to wait, and how many of them, or of their steps, there may be now.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Token>,
    left: usize,
}

impl Queues {
    /// Puts a connection where it belongs, unless it is there or in a queue that excludes this one.
    pub(super) fn join(&mut self, class: Class, token: Token, queued: &mut Queued) {
        if queued.join(class) {
            self.at(class).waiting.push_back(token);
        }
    }

    /// Puts a connection first in its queue: the steps that it has taken were for nothing if it waits for too long.
    pub(super) fn join_in_front(&mut self, class: Class, token: Token, queued: &mut Queued) {
        if queued.join(class) {
            self.at(class).waiting.push_front(token);
        }
    }

    /// So many visits or steps there are, until they are taken or this is called again.
    pub(super) fn allow(&mut self, class: Class, count: usize) {
        self.at(class).left = count;
    }

    /// The next of those that wait, while something is left for it. What it takes is for the caller to count: one that
    /// has gone takes no step.
    pub(super) fn next(&mut self, class: Class) -> Option<Token> {
        let queue = self.at(class);
        if queue.left == 0 {
            None
        } else {
            queue.waiting.pop_front()
        }
    }

    /// How many steps a connection may take now. None passes those that wait: only one that comes from among them
    /// `is_next`.
    pub(super) fn offer(&self, class: Class, is_next: bool) -> usize {
        let queue = &self.0[class as usize];
        usize::from(is_next || queue.waiting.is_empty()).min(queue.left)
    }

    /// So many of what is left have been taken.
    pub(super) fn take(&mut self, class: Class, count: usize) {
        let queue = self.at(class);
        queue.left = queue.left.saturating_sub(count);
    }

    /// How many wait, those that have gone meanwhile included.
    pub(super) fn len(&self, class: Class) -> usize {
        self.0[class as usize].waiting.len()
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|queue| queue.waiting.is_empty())
    }

    /// Whether one waits that is served even while connections hold more memory than they may.
    pub(super) fn has_exempt(&self) -> bool {
        let queues = TERMS.iter().zip(&self.0);
        queues
            .into_iter()
            .any(|(terms, queue)| terms.is_exempt && !queue.waiting.is_empty())
    }

    fn at(&mut self, class: Class) -> &mut Queue {
        &mut self.0[class as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(index: u32) -> Token {
        Token { index, generation: 0 }
    }

    fn with_three_logins() -> Queues {
        let mut queues = Queues::default();
        (0..3).for_each(|index| queues.join(Class::Login, token(index), &mut Queued::default()));
        queues
    }

    #[test]
    fn so_many_steps_are_there_until_more_are_allowed() {
        let mut queues = Queues::default();
        for _ in 0..3 {
            queues.allow(Class::Login, 2);
            assert_eq!(queues.offer(Class::Login, false), 1);
            queues.take(Class::Login, 1);
            queues.take(Class::Login, 0);
            assert_eq!(queues.offer(Class::Login, false), 1);
            queues.take(Class::Login, 1);
            assert_eq!(
                (queues.offer(Class::Login, false), queues.offer(Class::Login, true)),
                (0, 0)
            );
        }
    }

    #[test]
    fn none_passes_those_that_wait_and_they_come_in_their_order() {
        let mut queues = with_three_logins();
        queues.allow(Class::Login, 2);
        assert_eq!(
            (queues.offer(Class::Login, false), queues.offer(Class::Login, true)),
            (0, 1)
        );
        for index in 0..2 {
            assert_eq!(queues.next(Class::Login), Some(token(index)));
            queues.take(Class::Login, 1);
        }
        assert_eq!((queues.next(Class::Login), queues.len(Class::Login)), (None, 1));
        queues.allow(Class::Login, 2);
        assert_eq!(queues.next(Class::Login), Some(token(2)));
        assert!(queues.is_empty() && queues.offer(Class::Login, false) == 1);
    }

    #[test]
    fn one_that_has_gone_takes_no_step_and_one_that_has_begun_comes_first() {
        let mut queues = with_three_logins();
        queues.allow(Class::Login, 1);
        assert_eq!(queues.next(Class::Login), Some(token(0)));
        assert_eq!(queues.next(Class::Login), Some(token(1)));
        queues.take(Class::Login, 1);
        queues.join_in_front(Class::Login, token(1), &mut Queued::default());
        assert_eq!(queues.next(Class::Login), None);
        queues.allow(Class::Login, 1);
        assert_eq!(queues.next(Class::Login), Some(token(1)));
    }

    #[test]
    fn a_connection_that_waits_among_the_new_can_become_ready_and_waits_once_in_each_group() {
        let (mut queues, mut is_in) = (Queues::default(), Queued::default());
        for class in [
            Class::New,
            Class::Lingering,
            Class::Ready,
            Class::Mailed,
            Class::Resumed,
            Class::Login,
        ] {
            queues.join(class, token(0), &mut is_in);
        }
        let lengths = TERMS.map(|terms| queues.len(terms.class));
        assert_eq!(lengths, [1, 0, 0, 1, 0, 1, 0]);
        is_in.leave(Class::New);
        queues.join(Class::Lingering, token(0), &mut is_in);
        assert_eq!(queues.len(Class::Lingering), 1);
    }
}
