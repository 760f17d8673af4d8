//! The well-behaved pair: a sender that posts one message after the other, and the session that they are for.
//!
//! It stays connected from the first measure to the last, so that all are of the same workers.

use std::time::Duration;

use crate::bench::Bench;
use crate::exchange::Exchange;
use crate::faults::Faults;
use crate::identity::Identity;
use crate::load::{LONGEST, Plan, Tally, Window};
use crate::mail::USUAL_BYTES;
use crate::session_pool::SessionPool;
use crate::wire::Poller;

/// One sender and one session.
pub(super) struct Pair<'i> {
    poller: Poller,
    exchange: Exchange<'i>,
}

impl<'i> Pair<'i> {
    /// Logs in the one of `identities`, and begins to connect its sender.
    pub(super) fn connect(bench: &'i Bench, identities: &'i [Identity]) -> Result<Self, String> {
        let mut poller = Poller::new().map_err(|error| error.to_string())?;
        let mut pool = SessionPool::held(bench, identities, 1);
        pool.log_in(&mut poller, 1)?;
        let (plan, window) = (Plan::beside(1, USUAL_BYTES, None), Window::new(Duration::ZERO, LONGEST));
        let exchange = Exchange::new(pool, &mut poller, plan, 0..1, &[], identities, window)?;
        Ok(Self { poller, exchange })
    }

    /// Posts until `is_enough`, then waits until all has come, so that no wait is cut off. Returns what was counted.
    ///
    /// # Errors
    /// A connection is over, or nothing comes any more.
    pub(super) fn run(&mut self, mut is_enough: impl FnMut() -> bool) -> Result<Tally, String> {
        self.exchange.run(&mut self.poller, |_| is_enough())?;
        let tally = std::mem::take(&mut self.exchange.posters.tally);
        if self.exchange.posters.is_short() || self.exchange.pool.open() == 0 {
            let logins = &self.exchange.pool.logins;
            return Err(format!(
                "the pair is served no more: {}; {}",
                tally.faults, logins.faults
            ));
        }
        Ok(tally)
    }

    /// Closes the session and returns what was wrong with it all the time.
    pub(super) fn finish(mut self) -> Result<Faults, String> {
        self.exchange.finish(&mut self.poller)?;
        let mut faults = self.exchange.posters.tally.faults;
        faults.merge(self.exchange.pool.logins.faults);
        Ok(faults)
    }
}
