//! Senders and the sessions that they post to, on one poller, and the oracle that judges what they exchange.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::bench::PATIENCE;
use crate::drive::{Actor, Turn, drive};
use crate::identity::Identity;
use crate::load::{Plan, Tally, Window};
use crate::oracle::Oracle;
use crate::posters::Posters;
use crate::session_pool::SessionPool;
use crate::wire::{Poller, Ready};

/// How often the end is looked for.
const TICK: Duration = Duration::from_millis(100);

/// Senders and sessions of one thread. The tokens of the sessions come first.
pub(crate) struct Exchange<'e> {
    pub(crate) pool: SessionPool<'e>,
    pub(crate) posters: Posters<'e, Oracle<'e>>,
    window: Window,
}

impl<'e> Exchange<'e> {
    /// Begins to connect these of the plan's senders. They post to all that are `offline`, and to the `live`, whose
    /// sessions are the pool's.
    pub(crate) fn new(
        pool: SessionPool<'e>,
        poller: &mut Poller,
        plan: Plan,
        senders: Range<usize>,
        offline: &'e [String],
        live: &'e [Identity],
        window: Window,
    ) -> Result<Self, String> {
        let first_sender = u32::try_from(senders.start).unwrap_or(u32::MAX);
        let oracle = Oracle::new(&plan, senders.len(), first_sender, offline, live);
        let posters = Posters::connect(pool.bench, plan, senders.len(), window, poller, pool.len(), oracle)?;
        Ok(Self { pool, posters, window })
    }

    /// Posts until `is_over`, which may put another tally in place, and reads until everything has come.
    pub(crate) fn run(&mut self, poller: &mut Poller, is_over: impl FnMut(&mut Tally) -> bool) -> Result<(), String> {
        self.posters.reopen();
        let running = &mut Running {
            exchange: self,
            is_over,
            closed: None,
        };
        drive(poller, running)
    }

    /// Closes the sessions, and notes what they never got.
    pub(crate) fn finish(&mut self, poller: &mut Poller) -> Result<(), String> {
        let Posters {
            workload: oracle,
            tally,
            ..
        } = &mut self.posters;
        let result = self.pool.close(poller, |session, body, faults| {
            oracle.receive(session, body, faults);
        });
        oracle.report_lost(&mut tally.faults);
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
        let posters = &mut self.exchange.posters;
        posters.post_due();
        if self.closed.is_none() && (self.is_over)(&mut posters.tally) {
            posters.tally.behind = posters.close();
            self.closed = Some(now);
        }
        let Some(closed) = self.closed else {
            return Ok(Turn::Wait(TICK));
        };
        if posters.is_idle() && posters.workload.is_settled() {
            return Ok(Turn::Over);
        }
        if closed.elapsed() > PATIENCE {
            posters.give_up_all();
            return Ok(Turn::Over);
        }
        Ok(Turn::Wait(TICK))
    }

    fn serve(&mut self, ready: Ready, poller: &mut Poller) -> Result<(), String> {
        let Exchange { pool, posters, window } = &mut *self.exchange;
        if ready.token >= pool.len() {
            posters.serve(ready, poller);
            return Ok(());
        }
        let Posters {
            workload: oracle,
            tally,
            ..
        } = posters;
        let now = Instant::now();
        pool.serve(ready, poller, |session, body, faults| {
            if let Some(label) = oracle.receive(session, body, faults) {
                tally.deliver(*window, now, label.age(window.epoch, now));
            }
        })
    }
}
