//! What workers tell each other: that a session has mail. Only who sleeps is woken, and once for each sleep.
//!
//! The mail itself stays in the mailbox. A mailbox tells each session at most once until the session has looked, so
//! an inbox holds at most one entry for each session of its worker.

use std::sync::PoisonError;

use mio::Waker;

use crate::server::sync::atomic::{AtomicBool, Ordering};
use crate::server::sync::{Mutex, MutexGuard};
use crate::server::token::Token;

#[cfg(test)]
#[cfg(loom)]
mod interleavings;

/// The poller's name for the inbox.
pub(crate) const INBOX: mio::Token = mio::Token(usize::MAX);

/// One worker's inbox; all others write to it.
///
/// 1. The worker calls [`Inbox::take`] at the beginning of each turn.
/// 2. Before it sleeps it calls [`Inbox::fall_asleep`], and after that, not before, looks at whatever else a wake-up may be
///    for. If there is anything it takes a turn instead.
/// 3. So who tells something either does so before that look, or finds the worker asleep and wakes it.
#[derive(Debug)]
pub(crate) struct Inbox<W = Waker> {
    sessions: Mutex<Vec<Token>>,
    /// The worker sleeps, or is about to, and no wake-up is on its way.
    asleep: AtomicBool,
    waker: W,
}

impl<W: Wake> Inbox<W> {
    pub(crate) fn new(waker: W) -> Self {
        Self {
            sessions: Mutex::default(),
            asleep: AtomicBool::new(false),
            waker,
        }
    }

    /// Hands over the tokens of sessions that have mail, and wakes the worker if it sleeps.
    pub(super) fn tell(&self, sessions: &mut Vec<Token>) {
        self.lock().append(sessions);
        self.wake();
    }

    /// Makes the worker take a turn. What was set before this, it sees once it has fallen asleep, or been kept from it.
    pub(crate) fn wake(&self) {
        if self.asleep.swap(false, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// From now on whoever tells something wakes the worker. Returns whether nothing has been told so far.
    pub(super) fn fall_asleep(&self) -> bool {
        // Not a plain store, which would hide what was set before a wake-up that came too early to be one.
        self.asleep.swap(true, Ordering::AcqRel);
        self.lock().is_empty()
    }

    /// Takes all that was told so far; `into` is empty. The worker is awake.
    pub(super) fn take(&self, into: &mut Vec<Token>) {
        // Not a plain store, which could hide from the next look what was set before a wake-up. And who wasn't asleep has
        // nothing to take back.
        if self.asleep.load(Ordering::Relaxed) {
            self.asleep.swap(false, Ordering::AcqRel);
        }
        std::mem::swap(&mut *self.lock(), into);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Token>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What ends a worker's sleep: its poller's waker, or a model of one.
pub(crate) trait Wake {
    /// Ends the sleep, or the next one if the worker is awake.
    fn wake(&self);
}

impl Wake for Waker {
    fn wake(&self) {
        // The one way for this to fail is a poller that is gone, and its worker with it.
        let _ = Self::wake(self);
    }
}
