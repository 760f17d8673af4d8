//! What workers tell each other: that a session has mail. Wake-ups are coalesced, at most one for a target in a turn.
//!
//! The mail itself stays in the mailbox. A mailbox tells each session at most once until the session has looked, so
//! an inbox holds at most one entry for each session of its worker.

use std::sync::PoisonError;

use mio::Waker;

use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::token::Token;

#[cfg(test)]
#[cfg(loom)]
mod interleavings;

/// One worker's inbox; all others write to it.
#[derive(Debug)]
pub(crate) struct Inbox<W = Waker> {
    sessions: Mutex<Vec<Token>>,
    /// A wake-up is on its way that the worker has not answered by emptying the inbox.
    signaled: AtomicBool,
    waker: W,
}

impl<W: Wake> Inbox<W> {
    pub(crate) fn new(waker: W) -> Self {
        Self {
            sessions: Mutex::default(),
            signaled: AtomicBool::new(false),
            waker,
        }
    }

    /// Hands over the tokens of sessions that have mail, and wakes the worker if it isn't awake for this already.
    pub(super) fn tell(&self, sessions: &mut Vec<Token>) {
        self.lock().append(sessions);
        self.wake();
    }

    /// Makes the worker take a turn. What was set before this, it sees once it has emptied its inbox.
    pub(crate) fn wake(&self) {
        if !self.signaled.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Takes all that was told so far; `into` is empty.
    ///
    /// Whatever else a wake-up may be for is looked at after this, not before: from here on it gets a wake-up of its own.
    pub(super) fn take(&self, into: &mut Vec<Token>) {
        // Before the look, so that who tells something after it wakes the worker again. Not a plain store, which would hide
        // what was set before the wake-ups that this answers.
        self.signaled.swap(false, Ordering::AcqRel);
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
