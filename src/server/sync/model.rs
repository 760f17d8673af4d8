//! How models of threads are run, and what a thread in one sleeps on.
//!
//! A model is a closure that starts at most three threads beside its own and makes no random choice. What all sleep in
//! is a deadlock, which fails the model: that is how a lost wake-up shows.

use loom::model::Builder;
use loom::sync::{Condvar, Mutex};

/// Preemptions in one interleaving, if `LOOM_MAX_PREEMPTIONS` says no other number.
const PREEMPTIONS: usize = 3;

/// Runs `model` once for each interleaving that takes no more than [`PREEMPTIONS`], and for each value that a load may
/// see in it.
pub(crate) fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound.get_or_insert(PREEMPTIONS);
    builder.check(model);
}

/// Ends the sleep of one thread: like an edge-triggered poller, rung many times is rung once.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: Mutex<bool>,
    sleeper: Condvar,
}

impl Bell {
    /// Ends the sleep, or the next one.
    pub(crate) fn ring(&self) {
        *self.rung.lock().unwrap() = true;
        self.sleeper.notify_one();
    }

    /// Sleeps until the bell is rung.
    pub(crate) fn sleep(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.sleeper.wait(rung).unwrap();
        }
        *rung = false;
    }
}
