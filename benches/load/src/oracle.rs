//! The load of one thread, and the oracle that judges it: what was posted to each recipient, what has come, and
//! what has to be there in the end.
//!
//! Offline recipients come first, then those that are logged in: their mailboxes are looked into later
//! ([`crate::sample`]), these get theirs at once.

use std::time::Duration;
use std::vec;

use crate::faults::{Fault, Faults};
use crate::identity::{Identity, SAMPLE};
use crate::load::Plan;
use crate::mail::{Label, Outgoing};
use crate::mailbox_oracle::Stored;
use crate::posters::Workload;
use crate::sequence_check::SequenceCheck;

pub(crate) struct Oracle<'b> {
    plan: Plan,
    offline: &'b [String],
    live: &'b [Identity],
    posters: usize,
    first_sender: u32,
    /// How many messages each poster has posted to offline recipients.
    posted: Vec<u32>,
    /// By session, then by poster.
    checks: Vec<SequenceCheck>,
    /// What those of the sample have to have.
    pub(crate) sampled: Vec<(Label, Stored)>,
    spread: Spread,
    /// In place of recipients at random.
    once: Option<vec::IntoIter<usize>>,
}

impl<'b> Oracle<'b> {
    /// For the messages of `posters` senders, the first of which calls itself `first_sender`.
    pub(crate) fn new(
        plan: &Plan,
        posters: usize,
        first_sender: u32,
        offline: &'b [String],
        live: &'b [Identity],
    ) -> Self {
        Self {
            plan: *plan,
            offline,
            live,
            posters,
            first_sender,
            posted: vec![0; posters],
            checks: vec![SequenceCheck::default(); posters * live.len()],
            sampled: Vec::new(),
            spread: Spread(first_sender.into()),
            once: None,
        }
    }

    /// Nothing is posted but one message to each of these.
    pub(crate) fn post_once_to(&mut self, recipients: Vec<usize>) {
        self.once = Some(recipients.into_iter());
    }

    /// Session `session` got a message, which is `Some` if it is good.
    pub(crate) fn receive(&mut self, session: usize, body: &[u8], faults: &mut Faults) -> Option<Label> {
        let label = Label::read(body, self.plan.size);
        let label = label.filter(|label| label.recipient as usize == self.offline.len() + session);
        let poster = label.and_then(|label| label.sender.checked_sub(self.first_sender));
        let poster = poster
            .map(|poster| poster as usize)
            .filter(|poster| *poster < self.posters);
        let (Some(label), Some(poster)) = (label, poster) else {
            faults.note(Fault::Corrupt, || {
                format!("session {session} got {}", body.escape_ascii())
            });
            return None;
        };
        match self.checks[session * self.posters + poster].receive(label.sequence) {
            Ok(()) => Some(label),
            Err(fault) => {
                faults.note(fault, || format!("session {session} got {label:?}"));
                None
            }
        }
    }

    /// Whether those that are logged in have all that they have to.
    pub(crate) fn is_settled(&self) -> bool {
        self.checks.iter().all(SequenceCheck::is_settled)
    }

    /// Notes what those that are logged in never got.
    pub(crate) fn report_lost(&self, faults: &mut Faults) {
        for (place, check) in self.checks.iter().enumerate() {
            let (session, poster) = (place / self.posters, place % self.posters);
            for sequence in check.lost() {
                faults.note(Fault::Lost, || {
                    format!("message {sequence} of poster {poster} to session {session}")
                });
            }
        }
    }

    /// Where some are offline and some logged in, each kind gets half of the messages.
    fn at_random(&mut self) -> usize {
        let is_live = self.offline.is_empty() || (!self.live.is_empty() && self.spread.below(2) == 0);
        if is_live {
            self.offline.len() + self.spread.below(self.live.len())
        } else {
            self.spread.below(self.offline.len())
        }
    }

    fn check(&mut self, recipient: usize, poster: usize) -> Option<&mut SequenceCheck> {
        let session = recipient.checked_sub(self.offline.len())?;
        self.checks.get_mut(session * self.posters + poster)
    }
}

impl<'b> Workload<'b> for Oracle<'b> {
    fn next(&mut self, poster: usize, since_epoch: Duration) -> Option<Outgoing<'b>> {
        let recipient = match &mut self.once {
            Some(recipients) => recipients.next()?,
            None => self.at_random(),
        };
        let sequence = if let Some(check) = self.check(recipient, poster) {
            check.post()
        } else {
            let count = self.posted.get_mut(poster)?;
            *count += 1;
            *count - 1
        };
        let (offline, live) = (self.offline, self.live);
        let live = || live.get(recipient - offline.len()).map(|identity| &identity.id);
        Some(Outgoing {
            id: offline.get(recipient).or_else(live)?,
            label: Label {
                sender: self.first_sender + u32::try_from(poster).ok()?,
                recipient: u32::try_from(recipient).ok()?,
                sequence,
                since_epoch,
            },
            ttl_seconds: self.plan.ttl,
        })
    }

    fn settle(&mut self, poster: usize, label: Label, stored: Option<Stored>) {
        let Some(stored) = stored else {
            if let Some(check) = self.check(label.recipient as usize, poster) {
                check.excuse(label.sequence);
            }
            return;
        };
        if (label.recipient as usize) < self.offline.len().min(SAMPLE) {
            self.sampled.push((label, stored));
        }
    }
}

/// Numbers that look random enough to spread load (splitmix64).
struct Spread(u64);

impl Spread {
    /// A number below `end`, 0 if that is 0.
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % (end as u64).max(1)).unwrap_or_default()
    }
}
