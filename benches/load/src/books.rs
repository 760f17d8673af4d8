//! The accounts of one thread's messages: what was posted to each recipient, what has come, and what has to be there in
//! the end.
//!
//! Offline recipients come first, then those who are logged in: their mailboxes are looked into later
//! ([`crate::sample`]), these get theirs at once.

use std::time::{Duration, Instant};
use std::vec;

use crate::crew::{Accounts, Settled};
use crate::faults::{Fault, Faults};
use crate::identity::{Identity, SAMPLE};
use crate::judge::Stored;
use crate::ledger::Ledger;
use crate::load::{Plan, Tally, Window};
use crate::mail::{Label, Letter};

pub(crate) struct Books<'b> {
    plan: Plan,
    away: &'b [String],
    live: &'b [Identity],
    posters: usize,
    first_sender: u32,
    /// How many messages each poster has posted to offline recipients.
    posted: Vec<u32>,
    /// By session, then by poster.
    ledgers: Vec<Ledger>,
    /// What those of the sample have to have.
    pub(crate) sampled: Vec<(Label, Stored)>,
    spread: Spread,
    /// In place of recipients at random.
    once: Option<vec::IntoIter<usize>>,
    window: Window,
}

impl<'b> Books<'b> {
    /// For the messages of `posters` senders, the first of which calls itself `first_sender`.
    pub(crate) fn new(
        plan: &Plan,
        posters: usize,
        first_sender: u32,
        away: &'b [String],
        live: &'b [Identity],
        window: Window,
    ) -> Self {
        Self {
            plan: *plan,
            away,
            live,
            posters,
            first_sender,
            posted: vec![0; posters],
            ledgers: vec![Ledger::default(); posters * live.len()],
            sampled: Vec::new(),
            spread: Spread(first_sender.into()),
            once: None,
            window,
        }
    }

    /// Nothing is posted but one message to each of these.
    pub(crate) fn post_once_to(&mut self, recipients: Vec<usize>) {
        self.once = Some(recipients.into_iter());
    }

    /// Session `session` got a message, which is `Some` if it is good.
    pub(crate) fn receive(&mut self, session: usize, body: &[u8], faults: &mut Faults) -> Option<Label> {
        let label = Label::read(body, self.plan.size);
        let label = label.filter(|label| label.recipient as usize == self.away.len() + session);
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
        match self.ledgers[session * self.posters + poster].receive(label.sequence) {
            Ok(()) => Some(label),
            Err(fault) => {
                faults.note(fault, || format!("session {session} got {label:?}"));
                None
            }
        }
    }

    /// Whether those who are logged in have all that they have to.
    pub(crate) fn is_settled(&self) -> bool {
        self.ledgers.iter().all(Ledger::is_settled)
    }

    /// Notes what those who are logged in never got.
    pub(crate) fn tell_lost(&self, faults: &mut Faults) {
        for (place, ledger) in self.ledgers.iter().enumerate() {
            let (session, poster) = (place / self.posters, place % self.posters);
            for sequence in ledger.lost() {
                faults.note(Fault::Lost, || {
                    format!("message {sequence} of poster {poster} to session {session}")
                });
            }
        }
    }

    /// Where some are away and some logged in, each kind gets half of the messages.
    fn at_random(&mut self) -> usize {
        let is_live = self.away.is_empty() || (!self.live.is_empty() && self.spread.below(2) == 0);
        if is_live {
            self.away.len() + self.spread.below(self.live.len())
        } else {
            self.spread.below(self.away.len())
        }
    }

    fn ledger(&mut self, recipient: usize, poster: usize) -> Option<&mut Ledger> {
        let session = recipient.checked_sub(self.away.len())?;
        self.ledgers.get_mut(session * self.posters + poster)
    }
}

impl<'b> Accounts<'b> for Books<'b> {
    fn next(&mut self, poster: usize, since_epoch: Duration) -> Option<Letter<'b>> {
        let recipient = match &mut self.once {
            Some(recipients) => recipients.next()?,
            None => self.at_random(),
        };
        let sequence = if let Some(ledger) = self.ledger(recipient, poster) {
            ledger.post()
        } else {
            let count = self.posted.get_mut(poster)?;
            *count += 1;
            *count - 1
        };
        let (away, live) = (self.away, self.live);
        let live = || live.get(recipient - away.len()).map(|identity| &identity.id);
        Some(Letter {
            id: away.get(recipient).or_else(live)?,
            label: Label {
                sender: self.first_sender + u32::try_from(poster).ok()?,
                recipient: u32::try_from(recipient).ok()?,
                sequence,
                since_epoch,
            },
            ttl_seconds: self.plan.ttl,
        })
    }

    fn settle(&mut self, settled: &Settled, tally: &mut Tally, now: Instant) {
        let label = settled.posted.label;
        let Some(stored) = settled.stored(now) else {
            if let Some(ledger) = self.ledger(label.recipient as usize, settled.poster) {
                ledger.excuse(label.sequence);
            }
            return;
        };
        tally.answer(self.window, now, now.saturating_duration_since(stored.posted));
        if (label.recipient as usize) < self.away.len().min(SAMPLE) {
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
