//! The senders of one thread: each connection keeps its depth of messages in flight, or posts what is due, until the window
//! closes.
//!
//! Whom the next message is for, and what follows from its answer, is for the scenario's accounts.

use std::time::{Duration, Instant};

use crate::Bench;
use crate::faults::Fault;
use crate::load::{Plan, Tally, Window};
use crate::mail::Label;
use crate::pace::Pace;
use crate::poster::{Posted, Poster};
use crate::report::as_f64;
use crate::wire::{Poller, Ready};

/// How finely the schedule of an open loop is kept.
const TICK: Duration = Duration::from_micros(100);

/// What the scenario knows of the messages.
pub(crate) trait Accounts {
    /// Whom poster `poster` of the crew posts to next.
    fn next(&mut self, poster: usize) -> Next;

    /// The fate of a message is known by `now`, as far as its sender ever learns of it.
    fn settle(&mut self, settled: &Settled, tally: &mut Tally, now: Instant);
}

/// The senders of one thread.
pub(crate) struct Crew<'p> {
    plan: &'p Plan,
    window: Window,
    pace: Pace,
    ids: Vec<&'p str>,
    posters: Vec<Option<Poster>>,
    first_token: usize,
    first_sender: u32,
    /// Who is asked first for a place for what is due.
    turn: usize,
    is_closed: bool,
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
    /// When it was to be posted.
    pub(crate) posted: Instant,
    pub(crate) fate: Fate,
}

/// What is known of a message's fate.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fate {
    /// The server has it, for so long if it tells that.
    Acknowledged { ttl: Option<Duration> },
    /// It was refused, or nothing was said of it.
    Unknown,
}

impl<'p> Crew<'p> {
    /// The senders of thread `thread`, who begin to connect. Poster `i` gets the token `first_token + i`.
    ///
    /// # Errors
    /// A connection can't be made.
    pub(crate) fn connect(
        bench: &Bench,
        plan: &'p Plan,
        window: Window,
        ids: Vec<&'p str>,
        poller: &mut Poller,
        (thread, first_token): (usize, usize),
    ) -> Result<Self, String> {
        let count = bench.share(plan.connections, thread);
        let share = as_f64(count as u64) / as_f64(plan.connections as u64);
        let pace = Pace::new(plan.rate.map(|rate| as_f64(rate) * share), window.epoch);
        if pace.is_open_loop() {
            poller.tick(TICK).map_err(|error| error.to_string())?;
        }
        let posters = (0..count)
            .map(|index| Poster::connect(&bench.peer, plan.size, poller.registry(), first_token + index).map(Some));
        let before = bench.shares_before(plan.connections, thread);
        Ok(Self {
            posters: posters.collect::<Result<_, _>>().map_err(|error| error.to_string())?,
            plan,
            window,
            pace,
            ids,
            first_token,
            first_sender: u32::try_from(before).unwrap_or(u32::MAX),
            turn: 0,
            is_closed: false,
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

    /// Nothing is posted any more. Returns how many messages should have been.
    pub(crate) fn close(&mut self) -> u64 {
        self.is_closed = true;
        self.pace.behind(self.window.closes.min(Instant::now()))
    }

    /// Serves the poster that is ready, if it is one: takes answers, and posts what may be posted.
    pub(crate) fn serve(&mut self, ready: Ready, poller: &mut Poller, tally: &mut Tally, accounts: &mut impl Accounts) {
        let Some(index) = ready.token.checked_sub(self.first_token) else {
            return;
        };
        let Some(poster) = self.posters.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        let pumped = poster.pump(ready, poller.scratch(), |posted, answer| {
            let fate = match answer {
                Ok(ttl) => Fate::Acknowledged { ttl },
                Err(why) => {
                    tally.faults.note(Fault::Refused, || why);
                    Fate::Unknown
                }
            };
            accounts.settle(&Settled::new(index, posted, fate), tally, Instant::now());
        });
        let depth = self.plan.depth;
        if let Err(why) = pumped.and_then(|()| self.top_up(index, depth, accounts).map(drop)) {
            self.give_up(index, &why, tally, accounts);
        }
    }

    /// In an open loop, posts what is due by now, wherever there is a place, one by one.
    pub(crate) fn post_due(&mut self, tally: &mut Tally, accounts: &mut impl Accounts) {
        if !self.pace.is_open_loop() {
            return;
        }
        let mut without = 0;
        while without < self.posters.len() && self.pace.behind(Instant::now()) > 0 {
            let index = self.turn % self.posters.len();
            self.turn = index + 1;
            match self.top_up(index, 1, accounts) {
                Ok(0) => without += 1,
                Ok(_) => without = 0,
                Err(why) => self.give_up(index, &why, tally, accounts),
            }
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
                accounts.settle(&Settled::new(index, posted, Fate::Unknown), tally, Instant::now());
            }
        }
    }

    /// Posts at most so many messages, as long as there is a place for them. Returns how many.
    fn top_up(&mut self, index: usize, most: usize, accounts: &mut impl Accounts) -> Result<usize, String> {
        let Some(poster) = self.posters.get_mut(index).and_then(Option::as_mut) else {
            return Ok(0);
        };
        let mut count = 0;
        while count < most && poster.is_up() && poster.in_flight() < self.plan.depth {
            let now = Instant::now();
            if self.is_closed || now >= self.window.closes {
                break;
            }
            let Some(at) = self.pace.next(now) else { break };
            let Next { recipient, sequence } = accounts.next(index);
            let Some(id) = self.ids.get(recipient as usize) else {
                break;
            };
            let label = Label {
                sender: self.first_sender + u32::try_from(index).unwrap_or(u32::MAX),
                recipient,
                sequence,
                since_epoch: at.saturating_duration_since(self.window.epoch),
            };
            let message = Posted {
                recipient,
                sequence,
                at,
            };
            let size = self.plan.size;
            poster.post(id, self.plan.ttl, message, |output| label.write(output, size));
            count += 1;
        }
        if count > 0 {
            poster.flush()?;
        }
        Ok(count)
    }
}

impl Settled {
    fn new(poster: usize, message: Posted, fate: Fate) -> Self {
        Self {
            poster,
            recipient: message.recipient,
            sequence: message.sequence,
            posted: message.at,
            fate,
        }
    }
}
