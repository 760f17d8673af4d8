//! Judges what was fetched from a mailbox by what was acknowledged for it: all of it, once, in order, none too late.
//!
//! A message may or may not be there in the moments around its deadline, since nobody but the server knows that.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::faults::{Fault, Faults};
use crate::session_pool::Fetched;

/// The server's clock stands still for the length of one of its turns, and counts whole milliseconds.
pub(crate) const CLOCK_SLACK: Duration = Duration::from_millis(100);

/// When a message was stored, at no moment before the first, nor after the second, and for how long, if the server has
/// reported that.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stored {
    pub(crate) posted: Instant,
    pub(crate) acknowledged: Instant,
    pub(crate) ttl: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MailboxCounts {
    pub(crate) messages: usize,
    /// Messages that did not, and need not have.
    pub(crate) missed: usize,
}

/// What was acknowledged for one recipient.
#[derive(Debug, Default)]
pub(crate) struct MailboxOracle {
    /// By sender and number.
    stored: BTreeMap<(u32, u32), Stored>,
}

impl MailboxOracle {
    /// A message was acknowledged.
    pub(crate) fn add(&mut self, sender: u32, sequence: u32, stored: Stored) {
        self.stored.insert((sender, sequence), stored);
    }

    pub(crate) fn judge(&self, recipient: u32, fetched: &Fetched, faults: &mut Faults) -> MailboxCounts {
        let mut seen = BTreeSet::new();
        let mut newest = BTreeMap::new();
        for label in &fetched.mail {
            let known = label.filter(|label| label.recipient == recipient).and_then(|label| {
                let key = (label.sender, label.sequence);
                self.stored.get(&key).map(|stored| (key, stored))
            });
            let Some((key, stored)) = known else {
                faults.note(Fault::Corrupt, || format!("{label:?} in mailbox {recipient}"));
                continue;
            };
            if !seen.insert(key) {
                faults.note(Fault::Duplicated, || format!("{key:?} in mailbox {recipient}"));
            } else if newest.insert(key.0, key.1).is_some_and(|before| before > key.1) {
                faults.note(Fault::OutOfOrder, || format!("{key:?} in mailbox {recipient}"));
            }
            let over = stored
                .ttl
                .and_then(|ttl| fetched.started.checked_duration_since(stored.acknowledged + ttl))
                .filter(|over| *over > CLOCK_SLACK);
            if let Some(over) = over {
                faults.note(Fault::Late, || {
                    format!("{key:?} in mailbox {recipient}, {over:?} over its time")
                });
            }
        }
        let mut missed = 0;
        for (key, stored) in self.stored.iter().filter(|(key, _)| !seen.contains(key)) {
            let lives = |ttl| stored.posted + ttl > fetched.finished + CLOCK_SLACK;
            if stored.ttl.is_none_or(lives) {
                faults.note(Fault::Lost, || format!("{key:?} of mailbox {recipient}"));
            } else {
                missed += 1;
            }
        }
        MailboxCounts {
            messages: fetched.mail.len(),
            missed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Label;

    const TTL: Option<Duration> = Some(Duration::from_secs(5));

    /// Judges a fetch `at_seconds` that found these numbers, where 0 to 2 were stored at the start.
    fn faults_of(found: &[u32], at_seconds: u64, ttl: Option<Duration>) -> String {
        let start = Instant::now();
        let mut expected = MailboxOracle::default();
        for sequence in 0..3 {
            let stored = Stored {
                posted: start,
                acknowledged: start,
                ttl,
            };
            expected.add(7, sequence, stored);
        }
        let label = |sequence: &u32| {
            Some(Label {
                sender: 7,
                recipient: 1,
                sequence: *sequence,
                since_epoch: Duration::ZERO,
            })
        };
        let fetched = Fetched {
            mail: found.iter().map(label).collect(),
            started: start + Duration::from_secs(at_seconds),
            finished: start + Duration::from_secs(at_seconds),
        };
        let mut faults = Faults::default();
        expected.judge(1, &fetched, &mut faults);
        let text = faults.to_string();
        let counts = text.split(" (").next().unwrap_or_default().split(", ");
        counts
            .filter(|count| !count.starts_with('0'))
            .collect::<Vec<_>>()
            .join(", ")
    }

    #[test]
    fn a_mailbox_holds_all_that_lives_and_nothing_else() {
        assert_eq!(faults_of(&[0, 1, 2], 1, TTL), "");
        assert_eq!(faults_of(&[0, 2], 1, TTL), "1 lost");
        assert_eq!(faults_of(&[0, 1, 1, 2], 1, TTL), "1 duplicated");
        assert_eq!(faults_of(&[1, 0, 2], 1, TTL), "1 out of order");
        assert_eq!(faults_of(&[0, 1, 2, 3], 1, TTL), "1 corrupt");
    }

    #[test]
    fn a_mailbox_holds_nothing_that_expired() {
        assert_eq!(faults_of(&[], 6, TTL), "");
        assert_eq!(faults_of(&[2], 6, TTL), "1 late");
        assert_eq!(faults_of(&[], 5, TTL), "");
        assert_eq!(faults_of(&[0, 1, 2], 5, TTL), "");
    }

    #[test]
    fn a_server_that_tells_no_time_to_live_is_late_with_nothing_and_must_keep_all() {
        assert_eq!(faults_of(&[0, 1, 2], 60, None), "");
        assert_eq!(faults_of(&[1, 2], 60, None), "1 lost");
    }
}
