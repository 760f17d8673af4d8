//! The senders of one thread: each connection keeps its depth of messages in flight, or posts what is due, until the
//! window closes.
//!
//! What the next message is, and what follows from its answer, is the workload's to say.

use std::time::{Duration, Instant};

use crate::bench::Bench;
use crate::faults::Fault;
use crate::latency_histogram::as_f64;
use crate::load::{Plan, Tally, Window};
use crate::mail::{Label, Outgoing};
use crate::mailbox_oracle::Stored;
use crate::pace::Pace;
use crate::poster::Poster;
use crate::wire::{Poller, Ready};

/// How finely the schedule of an open loop is kept.
const CLOCK: Duration = Duration::from_micros(100);

/// What the scenario knows of the messages.
pub(crate) trait Workload<'w> {
    /// What the poster at this index posts next, so long after the epoch. `None`: nothing any more.
    fn next(&mut self, poster: usize, since_epoch: Duration) -> Option<Outgoing<'w>>;

    /// The message was stored. `None`: it was refused, or never answered.
    fn settle(&mut self, poster: usize, label: Label, stored: Option<Stored>);
}

/// The senders of one thread, what they post, and what is counted meanwhile.
pub(crate) struct Posters<'b, W> {
    bench: &'b Bench,
    plan: Plan,
    window: Window,
    pace: Pace,
    /// `None`: the connection is over.
    connections: Vec<Option<Poster>>,
    first_token: usize,
    /// The first that is asked for a place for what is due.
    turn: usize,
    is_closed: bool,
    pub(crate) workload: W,
    pub(crate) tally: Tally,
}

impl<'b, 'w, W: Workload<'w>> Posters<'b, W> {
    /// So many of the plan's connections, and their share of its rate. They begin to connect; poster `i` has the token
    /// `first_token + i`.
    pub(crate) fn connect(
        bench: &'b Bench,
        plan: Plan,
        count: usize,
        window: Window,
        poller: &mut Poller,
        first_token: usize,
        workload: W,
    ) -> Result<Self, String> {
        let share = as_f64(count as u64) / as_f64(plan.connections as u64);
        let pace = Pace::new(plan.rate.map(|rate| as_f64(rate) * share), window.epoch);
        if pace.is_open_loop() {
            poller.tick(CLOCK).map_err(|error| error.to_string())?;
        }
        let connections = (0..count)
            .map(|index| Poster::connect(&bench.peer, plan.size, poller.registry(), first_token + index).map(Some));
        Ok(Self {
            bench,
            connections: connections
                .collect::<Result<_, _>>()
                .map_err(|error| error.to_string())?,
            plan,
            window,
            pace,
            first_token,
            turn: 0,
            is_closed: false,
            workload,
            tally: Tally::default(),
        })
    }

    /// Whether every message has its answer.
    pub(crate) fn is_idle(&self) -> bool {
        self.connections.iter().flatten().all(|poster| poster.in_flight() == 0)
    }

    /// Whether every connection stands, or is over.
    pub(crate) fn is_up(&self) -> bool {
        self.connections.iter().flatten().all(Poster::is_up)
    }

    /// Whether a connection is over.
    pub(crate) fn is_short(&self) -> bool {
        self.connections.iter().any(Option::is_none)
    }

    /// Nothing is posted any more. Returns how many messages should have been.
    pub(crate) fn close(&mut self) -> u64 {
        self.is_closed = true;
        self.pace.behind(self.window.closes.min(Instant::now()))
    }

    /// Posts again after a [`Posters::close`].
    pub(crate) fn reopen(&mut self) {
        self.is_closed = false;
        for index in 0..self.connections.len() {
            self.post(index, self.plan.depth);
        }
    }

    /// Serves the poster that is ready, if it is one: takes answers, and posts what may be posted.
    pub(crate) fn serve(&mut self, ready: Ready, poller: &mut Poller) {
        let Some(index) = ready.token.checked_sub(self.first_token) else {
            return;
        };
        let Some(poster) = self.connections.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        let (workload, tally) = (&mut self.workload, &mut self.tally);
        let before = tally.acknowledged;
        let pumped = poster.pump(ready, poller.scratch(), |posted, answer| {
            let acknowledged = Instant::now();
            let stored = match answer {
                Ok(ttl) => {
                    let latency = acknowledged.saturating_duration_since(posted.at);
                    tally.answer(self.window, acknowledged, latency);
                    Some(Stored {
                        posted: posted.at,
                        acknowledged,
                        ttl,
                    })
                }
                Err(why) => {
                    tally.faults.note(Fault::Refused, || why);
                    None
                }
            };
            workload.settle(index, posted.label, stored);
        });
        self.bench.progress.add(tally.acknowledged - before);
        match pumped {
            Ok(()) => drop(self.post(index, self.plan.depth)),
            Err(why) => self.give_up(index, &why),
        }
    }

    /// In an open loop, posts what is due by now, wherever there is a place, one by one.
    pub(crate) fn post_due(&mut self) {
        if !self.pace.is_open_loop() {
            return;
        }
        let mut without = 0;
        while without < self.connections.len() && self.pace.behind(Instant::now()) > 0 {
            let index = self.turn % self.connections.len();
            self.turn = index + 1;
            match self.post(index, 1) {
                Some(0) => without += 1,
                _ => without = 0,
            }
        }
    }

    /// Gives up those that still wait for an answer.
    pub(crate) fn give_up_all(&mut self) {
        for index in 0..self.connections.len() {
            if self.connections[index]
                .as_ref()
                .is_some_and(|poster| poster.in_flight() > 0)
            {
                self.give_up(index, "no answer");
            }
        }
    }

    fn give_up(&mut self, index: usize, why: &str) {
        let what = || format!("poster {index}: {why}");
        self.tally.faults.note(Fault::Broken, what);
        let poster = self.connections.get_mut(index).and_then(Option::take);
        for posted in poster.iter().flat_map(Poster::unanswered) {
            self.workload.settle(index, posted.label, None);
        }
    }

    /// Posts at most so many messages, as long as there is a place for them. Returns how many; `None`: the connection
    /// is over.
    fn post(&mut self, index: usize, most: usize) -> Option<usize> {
        let Some(poster) = self.connections.get_mut(index).and_then(Option::as_mut) else {
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
            let Some(outgoing) = self.workload.next(index, since_epoch) else {
                break;
            };
            poster.post(&outgoing, at);
            count += 1;
        }
        match poster.flush() {
            Ok(()) => Some(count),
            Err(why) => {
                self.give_up(index, &why);
                None
            }
        }
    }
}
