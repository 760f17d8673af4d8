//! Senders and the sessions that they post to, on one poller, and the books of what they exchange.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::bench::{Bench, PATIENCE};
use crate::books::Books;
use crate::crew::Crew;
use crate::drive::{Actor, Turn, drive};
use crate::fleet::Fleet;
use crate::identity::Identity;
use crate::load::{Plan, Tally, Window};
use crate::wire::{Poller, Ready};

/// How often the end is looked for.
const TICK: Duration = Duration::from_millis(100);

/// Senders and sessions of one thread. The tokens of the sessions come first.
pub(crate) struct Exchange<'e> {
    bench: &'e Bench,
    pub(crate) fleet: Fleet<'e>,
    pub(crate) crew: Crew,
    pub(crate) books: Books<'e>,
    window: Window,
    pub(crate) tally: Tally,
}

impl<'e> Exchange<'e> {
    /// Begins to connect these of the plan's senders. They post to all that are `away`, and to the `live`, whose
    /// sessions are the fleet's.
    pub(crate) fn new(
        fleet: Fleet<'e>,
        poller: &mut Poller,
        plan: Plan,
        senders: Range<usize>,
        away: &'e [String],
        live: &'e [Identity],
        window: Window,
    ) -> Result<Self, String> {
        let (bench, count) = (fleet.bench, senders.len());
        let first_sender = u32::try_from(senders.start).unwrap_or(u32::MAX);
        Ok(Self {
            bench,
            crew: Crew::connect(&bench.peer, plan, count, window, poller, fleet.len())?,
            books: Books::new(&plan, count, first_sender, away, live, window),
            fleet,
            window,
            tally: Tally::default(),
        })
    }

    /// Posts until `is_over`, which may put another tally in place, and reads until everything has come.
    pub(crate) fn run(&mut self, poller: &mut Poller, is_over: impl FnMut(&mut Tally) -> bool) -> Result<(), String> {
        self.crew.reopen(&mut self.tally, &mut self.books);
        let running = &mut Running {
            exchange: self,
            is_over,
            closed: None,
        };
        drive(poller, running)
    }

    /// Closes the sessions, and notes what they never got.
    pub(crate) fn finish(&mut self, poller: &mut Poller) -> Result<(), String> {
        let books = &mut self.books;
        let result = self.fleet.close(poller, |session, body, faults| {
            books.receive(session, body, faults);
        });
        books.tell_lost(&mut self.tally.faults);
        result
    }
}

struct Running<'r, 'e, F> {
    exchange: &'r mut Exchange<'e>,
    is_over: F,
    /// When nothing was to be posted any more.
    closed: Option<Instant>,
}

impl<F: FnMut(&mut Tally) -> bool> Actor for Running<'_, '_, F> {
    fn turn(&mut self, _: &mut Poller, now: Instant) -> Result<Turn, String> {
        let Exchange { crew, books, tally, .. } = &mut *self.exchange;
        crew.post_due(tally, books);
        if self.closed.is_none() && (self.is_over)(tally) {
            tally.behind = crew.close();
            self.closed = Some(now);
        }
        let Some(closed) = self.closed else {
            return Ok(Turn::Wait(TICK));
        };
        if crew.is_idle() && books.is_settled() {
            return Ok(Turn::Over);
        }
        if closed.elapsed() > PATIENCE {
            crew.give_up_all(tally, books);
            return Ok(Turn::Over);
        }
        Ok(Turn::Wait(TICK))
    }

    fn serve(&mut self, ready: Ready, poller: &mut Poller) -> Result<(), String> {
        let Exchange {
            bench,
            fleet,
            crew,
            books,
            window,
            tally,
        } = &mut *self.exchange;
        if ready.token >= fleet.len() {
            let before = tally.acknowledged;
            crew.serve(ready, poller, tally, books);
            bench.progress.add(tally.acknowledged - before);
            return Ok(());
        }
        let now = Instant::now();
        fleet.serve(ready, poller, |session, body, faults| {
            if let Some(label) = books.receive(session, body, faults) {
                tally.deliver(*window, now, label.age(window.epoch, now));
            }
        })
    }
}
