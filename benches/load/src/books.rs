//! The accounts of one thread's messages: what was posted to whom, what has come, and what has to be there in the end.
//!
//! Recipients who are away come first, then those who are logged in: their mailboxes are looked into later
//! ([`crate::sample`]), these get theirs at once.

use std::time::Instant;

use crate::crew::{Accounts, Crew, Fate, Next, Settled};
use crate::faults::{Fault, Faults};
use crate::ledger::Ledger;
use crate::load::{Tally, Window};
use crate::mail::Label;
use crate::prefill::Stored;
use crate::sample::{SAMPLE, Sampled};

/// The accounts.
pub(crate) struct Books {
    /// How many recipients are away.
    away: usize,
    /// How many are logged in.
    live: usize,
    posters: usize,
    first_sender: u32,
    /// How many messages each poster has posted to those who are away.
    posted: Vec<u32>,
    /// By session, then by poster.
    ledgers: Vec<Ledger>,
    /// What those of the sample have to have.
    pub(crate) sampled: Vec<Sampled>,
    spread: Spread,
    size: usize,
    window: Window,
}

impl Books {
    /// For the messages of this crew.
    pub(crate) fn new(crew: &Crew<'_>, away: usize, live: usize, size: usize, window: Window) -> Self {
        Self {
            away,
            live,
            posters: crew.len(),
            first_sender: crew.first_sender(),
            posted: vec![0; crew.len()],
            ledgers: vec![Ledger::default(); crew.len() * live],
            sampled: Vec::new(),
            spread: Spread(crew.first_sender().into()),
            size,
            window,
        }
    }

    /// Session `session` got a message, which is `Some` if it is good.
    pub(crate) fn receive(&mut self, session: usize, body: &[u8], faults: &mut Faults) -> Option<Label> {
        let label = Label::read(body, self.size).filter(|label| label.recipient as usize == self.away + session);
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

    fn ledger(&mut self, recipient: usize, poster: usize) -> Option<&mut Ledger> {
        let session = recipient.checked_sub(self.away)?;
        self.ledgers.get_mut(session * self.posters + poster)
    }
}

impl Accounts for Books {
    /// Where some are away and some logged in, each kind gets half of the messages.
    fn next(&mut self, poster: usize) -> Next {
        let is_live = self.away == 0 || (self.live > 0 && self.spread.below(2) == 0);
        let recipient = if is_live {
            self.away + self.spread.below(self.live)
        } else {
            self.spread.below(self.away)
        };
        let sequence = if let Some(ledger) = self.ledger(recipient, poster) {
            ledger.post()
        } else {
            let count = &mut self.posted[poster];
            *count += 1;
            *count - 1
        };
        Next {
            recipient: u32::try_from(recipient).unwrap_or(u32::MAX),
            sequence,
        }
    }

    fn settle(&mut self, settled: &Settled, tally: &mut Tally, now: Instant) {
        let recipient = settled.recipient as usize;
        match settled.fate {
            Fate::Unknown => {
                if let Some(ledger) = self.ledger(recipient, settled.poster) {
                    ledger.excuse(settled.sequence);
                }
            }
            Fate::Acknowledged { ttl } => {
                tally.answer(self.window, now, now.saturating_duration_since(settled.posted));
                if recipient < self.away.min(SAMPLE) {
                    self.sampled.push(Sampled {
                        recipient: settled.recipient,
                        sender: self.first_sender + u32::try_from(settled.poster).unwrap_or(u32::MAX),
                        sequence: settled.sequence,
                        stored: Stored {
                            posted: settled.posted,
                            acknowledged: now,
                            ttl,
                        },
                    });
                }
            }
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
