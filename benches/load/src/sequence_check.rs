//! Checks what one sender posts to one recipient: each acknowledged message once, and in order.
//!
//! It doesn't know the messages, only their numbers.

use crate::faults::Fault;

/// One sender's messages to one recipient, numbered from 0.
#[derive(Debug, Clone, Default)]
pub(crate) struct SequenceCheck {
    /// How many were posted.
    posted: u32,
    /// The number after the highest that came.
    expected: u32,
    /// Lower ones that have not come.
    missing: Vec<u32>,
    /// Those that may come or not: refused, or never answered.
    excused: Vec<u32>,
}

impl SequenceCheck {
    /// Numbers the next message.
    pub(crate) fn post(&mut self) -> u32 {
        self.posted += 1;
        self.posted - 1
    }

    /// The message was not acknowledged.
    pub(crate) fn excuse(&mut self, sequence: u32) {
        self.excused.push(sequence);
    }

    /// The message has come.
    pub(crate) fn receive(&mut self, sequence: u32) -> Result<(), Fault> {
        if sequence >= self.posted {
            return Err(Fault::Corrupt);
        }
        if sequence >= self.expected {
            self.missing.extend(self.expected..sequence);
            self.expected = sequence + 1;
            return Ok(());
        }
        match self.missing.iter().position(|missing| *missing == sequence) {
            Some(place) => {
                self.missing.swap_remove(place);
                Err(Fault::OutOfOrder)
            }
            None => Err(Fault::Duplicated),
        }
    }

    /// Whether every message has come that has to.
    pub(crate) fn is_settled(&self) -> bool {
        self.lost().next().is_none()
    }

    /// The numbers that were acknowledged and have not come.
    pub(crate) fn lost(&self) -> impl Iterator<Item = u32> + '_ {
        let absent = self.missing.iter().copied().chain(self.expected..self.posted);
        absent.filter(|sequence| !self.excused.contains(sequence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posted(count: u32) -> SequenceCheck {
        let mut check = SequenceCheck::default();
        for sequence in 0..count {
            assert_eq!(check.post(), sequence);
        }
        check
    }

    #[test]
    fn messages_that_come_once_and_in_order_settle_the_account() {
        let mut check = posted(3);
        for sequence in 0..3 {
            assert!(!check.is_settled());
            assert_eq!(check.receive(sequence), Ok(()));
        }
        assert!(check.is_settled());
    }

    #[test]
    fn a_message_that_never_comes_is_lost_in_the_middle_and_at_the_end() {
        let mut check = posted(4);
        assert_eq!(check.receive(0), Ok(()));
        assert_eq!(check.receive(2), Ok(()));
        assert_eq!(check.lost().collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn a_second_copy_is_known_from_a_late_first_one() {
        let mut check = posted(3);
        assert_eq!(check.receive(0), Ok(()));
        assert_eq!(check.receive(2), Ok(()));
        assert_eq!(check.receive(1), Err(Fault::OutOfOrder));
        for sequence in 0..3 {
            assert_eq!(check.receive(sequence), Err(Fault::Duplicated));
        }
    }

    #[test]
    fn what_was_not_acknowledged_may_come_or_not() {
        let mut check = posted(2);
        check.excuse(0);
        check.excuse(1);
        assert!(check.is_settled());
        assert_eq!(check.receive(1), Ok(()));
        assert!(check.is_settled());
    }

    #[test]
    fn a_message_that_nobody_posted_is_corrupt() {
        assert_eq!(posted(1).receive(1), Err(Fault::Corrupt));
    }
}
