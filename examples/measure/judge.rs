//! Judges what a visit found in a mailbox by what was acknowledged for it: all of it, once, in order, none too late.
//!
//! A message may or may not be there in the moments around its deadline, since nobody but the server knows that.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::faults::{Fault, Faults};
use crate::mail::Label;
use crate::poster::Stored;
use crate::visits::Visited;

/// The server's clock stands still for the length of one of its turns, and counts whole milliseconds.
pub(crate) const CLOCK_SLACK: Duration = Duration::from_millis(100);

/// What a visit found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Came {
    /// Messages that came.
    pub(crate) messages: usize,
    /// Messages that did not, and need not have.
    pub(crate) missed: usize,
}

/// What was acknowledged for one recipient.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    /// By sender and number.
    stored: BTreeMap<(u32, u32), Stored>,
}

impl Expected {
    /// A message was acknowledged.
    pub(crate) fn add(&mut self, sender: u32, sequence: u32, stored: Stored) {
        self.stored.insert((sender, sequence), stored);
    }

    /// Compares, for messages of `size` bytes that live for `ttl`.
    pub(crate) fn judge(
        &self,
        recipient: u32,
        visited: &Visited,
        size: usize,
        ttl: Duration,
        faults: &mut Faults,
    ) -> Came {
        let mut seen = BTreeSet::new();
        let mut newest = BTreeMap::new();
        for body in &visited.mail {
            let label = Label::read(body, size).filter(|label| label.recipient == recipient);
            let known = label.and_then(|label| {
                let key = (label.sender, label.sequence);
                self.stored.get(&key).map(|stored| (key, stored))
            });
            let Some((key, stored)) = known else {
                faults.note(Fault::Corrupt, || {
                    format!("{} in mailbox {recipient}", body.escape_ascii())
                });
                continue;
            };
            if !seen.insert(key) {
                faults.note(Fault::Duplicated, || format!("{key:?} in mailbox {recipient}"));
            } else if newest.insert(key.0, key.1).is_some_and(|before| before > key.1) {
                faults.note(Fault::OutOfOrder, || format!("{key:?} in mailbox {recipient}"));
            }
            if stored.acknowledged + ttl + CLOCK_SLACK < visited.started {
                let over = visited.started.saturating_duration_since(stored.acknowledged + ttl);
                faults.note(Fault::Late, || {
                    format!("{key:?} in mailbox {recipient}, {over:?} over its time")
                });
            }
        }
        let mut missed = 0;
        for (key, stored) in self.stored.iter().filter(|(key, _)| !seen.contains(key)) {
            if stored.posted + ttl > visited.finished + CLOCK_SLACK {
                faults.note(Fault::Lost, || format!("{key:?} of mailbox {recipient}"));
            } else {
                missed += 1;
            }
        }
        Came {
            messages: visited.mail.len(),
            missed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const SIZE: usize = 100;
    const TTL: Duration = Duration::from_secs(5);

    /// Judges a visit `at_seconds` that found these numbers, where 0 to 2 were stored at the start.
    fn faults_of(found: &[u32], at_seconds: u64) -> String {
        let start = Instant::now();
        let mut expected = Expected::default();
        for sequence in 0..3 {
            let stored = Stored {
                posted: start,
                acknowledged: start,
            };
            expected.add(7, sequence, stored);
        }
        let body = |sequence: &u32| {
            let mut body = Vec::new();
            let label = Label {
                sender: 7,
                recipient: 1,
                sequence: *sequence,
                since_epoch: Duration::ZERO,
            };
            label.write(&mut body, SIZE);
            body
        };
        let visited = Visited {
            mail: found.iter().map(body).collect(),
            started: start + Duration::from_secs(at_seconds),
            finished: start + Duration::from_secs(at_seconds),
        };
        let mut faults = Faults::default();
        expected.judge(1, &visited, SIZE, TTL, &mut faults);
        let text = faults.to_string();
        let counts = text.split(" (").next().unwrap_or_default().split(", ");
        counts
            .filter(|count| !count.starts_with('0'))
            .collect::<Vec<_>>()
            .join(", ")
    }

    #[test]
    fn a_mailbox_holds_all_that_lives_and_nothing_else() {
        assert_eq!(faults_of(&[0, 1, 2], 1), "");
        assert_eq!(faults_of(&[0, 2], 1), "1 lost");
        assert_eq!(faults_of(&[0, 1, 1, 2], 1), "1 duplicated");
        assert_eq!(faults_of(&[1, 0, 2], 1), "1 out of order");
        assert_eq!(faults_of(&[0, 1, 2, 3], 1), "1 corrupt");
    }

    #[test]
    fn a_mailbox_holds_nothing_that_expired() {
        assert_eq!(faults_of(&[], 6), "");
        assert_eq!(faults_of(&[2], 6), "1 late");
        assert_eq!(faults_of(&[], 5), "");
        assert_eq!(faults_of(&[0, 1, 2], 5), "");
    }
}
