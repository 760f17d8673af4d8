//! The senders of one thread: each connection keeps its depth of messages in flight until the window closes.
//!
//! Whom the next message is for, and what follows from its answer, is for the scenario's accounts.

use std::time::Instant;

use crate::Peer;
use crate::faults::Fault;
use crate::load::{Plan, Tally, Window};
use crate::mail::Label;
use crate::poster::{Posted, Poster};
use crate::wire::{Poller, Ready};

/// What the scenario knows of the messages.
pub(crate) trait Accounts {
    /// Whom poster `poster` of the crew posts to next.
    fn next(&mut self, poster: usize) -> Next;

    /// The fate of a message is known by `now`, as far as its sender ever learns of it.
    fn settle(&mut self, settled: &Settled, tally: &mut Tally, now: Instant);
}

/// The senders of one thread. Each keeps its depth of messages in flight until the window closes.
pub(crate) struct Crew<'p> {
    plan: &'p Plan,
    window: Window,
    ids: Vec<&'p str>,
    posters: Vec<Option<Poster>>,
    first_token: usize,
    first_sender: u32,
}

/// Whom the next message is for, and its number.
pub(crate) struct Next {
    /// Index in the crew's ids.
    pub(crate) recipient: u32,
    pub(crate) sequence: u32,
}

/// A message whose fate is known as far as it ever will be.
pub(crate) struct Settled {
    /// Index of the poster in this crew.
    pub(crate) poster: usize,
    pub(crate) recipient: u32,
    pub(crate) sequence: u32,
    pub(crate) posted: Instant,
    pub(crate) is_acknowledged: bool,
}

impl<'p> Crew<'p> {
    /// The senders of thread `thread`, who begin to connect. Poster `i` gets the token `first_token + i`.
    ///
    /// # Errors
    /// A connection can't be made.
    pub(crate) fn connect(
        plan: &'p Plan,
        peer: Peer,
        window: Window,
        ids: Vec<&'p str>,
        poller: &Poller,
        (thread, first_token): (usize, usize),
    ) -> Result<Self, String> {
        let count = plan.share(plan.connections, thread);
        let before: usize = (0..thread).map(|thread| plan.share(plan.connections, thread)).sum();
        let posters = (0..count).map(|index| {
            let token = first_token + index;
            Poster::connect(peer.address, plan.size, plan.ttl_seconds, poller.registry(), token).map(Some)
        });
        Ok(Self {
            posters: posters.collect::<Result<_, _>>().map_err(|error| error.to_string())?,
            plan,
            window,
            ids,
            first_token,
            first_sender: u32::try_from(before).unwrap_or(u32::MAX),
        })
    }

    /// How many posters it began with.
    pub(crate) fn len(&self) -> usize {
        self.posters.len()
    }

    /// What poster 0 calls itself in its messages; the others follow.
    pub(crate) fn first_sender(&self) -> u32 {
        self.first_sender
    }

    /// Whether every message has its answer.
    pub(crate) fn is_idle(&self) -> bool {
        self.posters.iter().flatten().all(|poster| poster.in_flight() == 0)
    }

    /// Serves the poster that is ready, if it is one: takes answers, and posts what `next` says.
    pub(crate) fn serve(&mut self, ready: Ready, poller: &mut Poller, tally: &mut Tally, accounts: &mut impl Accounts) {
        let Some(index) = ready.token.checked_sub(self.first_token) else {
            return;
        };
        let Some(poster) = self.posters.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        let pumped = poster.pump(ready, poller.scratch(), |posted, answer| {
            tally.acknowledged += u64::from(answer.is_ok());
            let settled = Settled::new(index, posted, answer.is_ok());
            if let Err(why) = answer {
                tally.faults.note(Fault::Refused, || why);
            }
            accounts.settle(&settled, tally, Instant::now());
        });
        if let Err(why) = pumped.and_then(|()| self.top_up(index, accounts)) {
            self.give_up(index, &why, tally, accounts);
        }
    }

    /// Gives up those who still wait for an answer.
    pub(crate) fn give_up_all(&mut self, tally: &mut Tally, accounts: &mut impl Accounts) {
        for index in 0..self.posters.len() {
            if self.posters[index]
                .as_ref()
                .is_some_and(|poster| poster.in_flight() > 0)
            {
                self.give_up(index, "no answer", tally, accounts);
            }
        }
    }

    fn give_up(&mut self, index: usize, why: &str, tally: &mut Tally, accounts: &mut impl Accounts) {
        tally.faults.note(Fault::Broken, || format!("poster {index}: {why}"));
        if let Some(poster) = self.posters.get_mut(index).and_then(Option::take) {
            for posted in poster.unanswered() {
                accounts.settle(&Settled::new(index, posted, false), tally, Instant::now());
            }
        }
    }

    fn top_up(&mut self, index: usize, accounts: &mut impl Accounts) -> Result<(), String> {
        let Some(poster) = self.posters.get_mut(index).and_then(Option::as_mut) else {
            return Ok(());
        };
        while poster.in_flight() < self.plan.depth {
            let at = Instant::now();
            if at >= self.window.closes {
                break;
            }
            let Next { recipient, sequence } = accounts.next(index);
            let Some(id) = self.ids.get(recipient as usize) else {
                break;
            };
            let label = Label {
                sender: self.first_sender + u32::try_from(index).unwrap_or(u32::MAX),
                recipient,
                sequence,
                since_epoch: at - self.window.epoch,
            };
            let message = Posted {
                recipient,
                sequence,
                at,
            };
            let size = self.plan.size;
            poster.post(id, message, |output| label.write(output, size));
        }
        poster.flush()
    }
}

impl Settled {
    fn new(poster: usize, message: Posted, is_acknowledged: bool) -> Self {
        Self {
            poster,
            recipient: message.recipient,
            sequence: message.sequence,
            posted: message.at,
            is_acknowledged,
        }
    }
}

/// Numbers that look random enough to spread load (splitmix64).
pub(crate) struct Spread(u64);

impl Spread {
    /// A stream of its own for each seed.
    pub(crate) fn new(seed: usize) -> Self {
        Self(seed as u64)
    }

    /// A number below `end`, 0 if that is 0.
    pub(crate) fn below(&mut self, end: usize) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        u32::try_from(mixed % (end as u64).max(1)).unwrap_or_default()
    }
}
