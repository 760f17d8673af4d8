//! The senders of one thread: each connection keeps its depth of messages in flight, or posts what is due, until the
//! window closes.
//!
//! What the next message is, and what follows from its answer, is the workload's to say.

use std::time::{Duration, Instant};

use crate::faults::Fault;
use crate::latency_histogram::as_f64;
use crate::load::{Plan, Tally, Window};
use crate::mail::Outgoing;
use crate::mailbox_oracle::Stored;
use crate::pace::Pace;
use crate::peer::Peer;
use crate::poster::{Posted, Poster};
use crate::wire::{Poller, Ready};

/// How finely the schedule of an open loop is kept.
const CLOCK: Duration = Duration::from_micros(100);

/// What the scenario knows of the messages.
pub(crate) trait Workload<'l> {
    /// What the poster at this index posts next, so long after the epoch. `None`: nothing any more.
    fn next(&mut self, poster: usize, since_epoch: Duration) -> Option<Outgoing<'l>>;

    /// The fate of a message is known by `now`, as far as its sender ever learns of it.
    fn settle(&mut self, settled: &Settled, tally: &mut Tally, now: Instant);
}

/// The senders of one thread.
pub(crate) struct Posters {
    plan: Plan,
    window: Window,
    pace: Pace,
    all: Vec<Option<Poster>>,
    first_token: usize,
    /// The first that is asked for a place for what is due.
    turn: usize,
    is_closed: bool,
}

/// A message whose fate is known as far as it ever will be.
pub(crate) struct Settled {
    /// Index of the poster.
    pub(crate) poster: usize,
    pub(crate) posted: Posted,
    pub(crate) fate: Fate,
}

/// What is known of a message's fate.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fate {
    /// The server has it, for so long if it reports that.
    Acknowledged { ttl: Option<Duration> },
    /// It was refused, or never answered.
    Unknown,
}

impl Settled {
    /// When it was stored, if it was acknowledged now.
    pub(crate) fn stored(&self, now: Instant) -> Option<Stored> {
        let Fate::Acknowledged { ttl } = self.fate else {
            return None;
        };
        Some(Stored {
            posted: self.posted.at,
            acknowledged: now,
            ttl,
        })
    }
}

impl Posters {
    /// So many of the plan's connections, and their share of its rate. They begin to connect; poster `i` has the token
    /// `first_token + i`.
    pub(crate) fn connect(
        peer: &Peer,
        plan: Plan,
        count: usize,
        window: Window,
        poller: &mut Poller,
        first_token: usize,
    ) -> Result<Self, String> {
        let share = as_f64(count as u64) / as_f64(plan.connections as u64);
        let pace = Pace::new(plan.rate.map(|rate| as_f64(rate) * share), window.epoch);
        if pace.is_open_loop() {
            poller.tick(CLOCK).map_err(|error| error.to_string())?;
        }
        let posters =
            (0..count).map(|index| Poster::connect(peer, plan.size, poller.registry(), first_token + index).map(Some));
        Ok(Self {
            all: posters.collect::<Result<_, _>>().map_err(|error| error.to_string())?,
            plan,
            window,
            pace,
            first_token,
            turn: 0,
            is_closed: false,
        })
    }

    /// Whether every message has its answer.
    pub(crate) fn is_idle(&self) -> bool {
        self.all.iter().flatten().all(|poster| poster.in_flight() == 0)
    }

    /// Whether every connection stands, or is over.
    pub(crate) fn is_up(&self) -> bool {
        self.all.iter().flatten().all(Poster::is_up)
    }

    /// Whether a connection is over.
    pub(crate) fn is_short(&self) -> bool {
        self.all.iter().any(Option::is_none)
    }

    /// Nothing is posted any more. Returns how many messages should have been.
    pub(crate) fn close(&mut self) -> u64 {
        self.is_closed = true;
        self.pace.behind(self.window.closes.min(Instant::now()))
    }

    /// Posts again after a [`Posters::close`].
    pub(crate) fn reopen<'l>(&mut self, tally: &mut Tally, workload: &mut impl Workload<'l>) {
        self.is_closed = false;
        for index in 0..self.all.len() {
            self.post(index, self.plan.depth, tally, workload);
        }
    }

    /// Serves the poster that is ready, if it is one: takes answers, and posts what may be posted.
    pub(crate) fn serve<'l>(
        &mut self,
        ready: Ready,
        poller: &mut Poller,
        tally: &mut Tally,
        workload: &mut impl Workload<'l>,
    ) {
        let Some(index) = ready.token.checked_sub(self.first_token) else {
            return;
        };
        let Some(poster) = self.all.get_mut(index).and_then(Option::as_mut) else {
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
            let settled = Settled {
                poster: index,
                posted,
                fate,
            };
            workload.settle(&settled, tally, Instant::now());
        });
        match pumped {
            Ok(()) => drop(self.post(index, self.plan.depth, tally, workload)),
            Err(why) => self.give_up(index, &why, tally, workload),
        }
    }

    /// In an open loop, posts what is due by now, wherever there is a place, one by one.
    pub(crate) fn post_due<'l>(&mut self, tally: &mut Tally, workload: &mut impl Workload<'l>) {
        if !self.pace.is_open_loop() {
            return;
        }
        let mut without = 0;
        while without < self.all.len() && self.pace.behind(Instant::now()) > 0 {
            let index = self.turn % self.all.len();
            self.turn = index + 1;
            match self.post(index, 1, tally, workload) {
                Some(0) => without += 1,
                _ => without = 0,
            }
        }
    }

    /// Gives up those that still wait for an answer.
    pub(crate) fn give_up_all<'l>(&mut self, tally: &mut Tally, workload: &mut impl Workload<'l>) {
        for index in 0..self.all.len() {
            if self.all[index].as_ref().is_some_and(|poster| poster.in_flight() > 0) {
                self.give_up(index, "no answer", tally, workload);
            }
        }
    }

    fn give_up<'l>(&mut self, index: usize, why: &str, tally: &mut Tally, workload: &mut impl Workload<'l>) {
        tally.faults.note(Fault::Broken, || format!("poster {index}: {why}"));
        let poster = self.all.get_mut(index).and_then(Option::take);
        for posted in poster.iter().flat_map(Poster::unanswered) {
            let fate = Fate::Unknown;
            workload.settle(
                &Settled {
                    poster: index,
                    posted,
                    fate,
                },
                tally,
                Instant::now(),
            );
        }
    }

    /// Posts at most so many messages, as long as there is a place for them. Returns how many; `None`: the connection
    /// is over.
    fn post<'l>(
        &mut self,
        index: usize,
        most: usize,
        tally: &mut Tally,
        workload: &mut impl Workload<'l>,
    ) -> Option<usize> {
        let Some(poster) = self.all.get_mut(index).and_then(Option::as_mut) else {
            return Some(0);
        };
        let mut count = 0;
        while count < most && poster.is_up() && poster.in_flight() < self.plan.depth {
            let now = Instant::now();
            if self.is_closed || now >= self.window.closes {
                break;
            }
            let Some(at) = self.pace.next(now) else { break };
            let since_epoch = at.saturating_duration_since(self.window.epoch);
            let Some(outgoing) = workload.next(index, since_epoch) else {
                break;
            };
            poster.post(&outgoing, at);
            count += 1;
        }
        match poster.flush() {
            Ok(()) => Some(count),
            Err(why) => {
                self.give_up(index, &why, tally, workload);
                None
            }
        }
    }
}
