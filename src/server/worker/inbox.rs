//! What threads notify workers of. Only a worker that sleeps is woken, and once for each sleep.
//!
//! The mail itself stays in the mailbox. A mailbox notifies each session at most once until the session has looked,
//! and a service reports each pending POST once, of which a connection has one at most. So an inbox holds at most one
//! notice for each connection of its worker, what came of POSTs that are no longer waited for, whose number the service
//! bounds, and what the server's end takes.

use std::sync::PoisonError;

use mio::Waker;

use crate::server::refusal::Refusal;
use crate::server::sync::atomic::{AtomicBool, Ordering};
use crate::server::sync::{Mutex, MutexGuard};
use crate::server::token::Token;

#[cfg(test)]
#[cfg(loom)]
mod interleavings;

/// The poller's name for the inbox.
pub(super) const INBOX: mio::Token = mio::Token(usize::MAX);

/// All that a thread may have to say to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// This session has mail.
    Mail(Token),
    /// What became of a POST that was pending.
    Posted {
        /// Its connection.
        token: Token,
        /// The number of its ticket.
        ticket: u64,
        /// For how many seconds it is stored, or why it isn't.
        result: Result<u32, Refusal>,
    },
    /// The server is stopping: a drain is to begin.
    Drain,
    /// All is to end at once, whatever is in progress.
    Halt,
}

/// One worker's inbox; all others write to it.
///
/// 1. The worker takes all notices at the beginning of each turn.
/// 2. Before it sleeps it looks again, once others know how to wake it. If there are any it takes a turn instead.
/// 3. So a notice either is there before that look, or finds the worker asleep and wakes it.
#[derive(Debug)]
pub struct Inbox<W = Waker> {
    notices: Mutex<Vec<Notice>>,
    /// The worker sleeps, or is about to, and no wake-up is on its way.
    asleep: AtomicBool,
    waker: W,
}

impl<W: Wake> Inbox<W> {
    /// An empty inbox, whose worker is awake.
    pub fn new(waker: W) -> Self {
        Self {
            notices: Mutex::default(),
            asleep: AtomicBool::new(false),
            waker,
        }
    }

    /// Hands over notices, and wakes the worker if it sleeps.
    pub fn notify(&self, notices: &mut Vec<Notice>) {
        self.lock().append(notices);
        if self.asleep.swap(false, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Wakes the worker if it sleeps, for what it sees before its next sleep.
    pub(super) fn wake(&self) {
        self.notify(&mut Vec::new());
    }

    /// From now on a notice wakes the worker. Returns whether there is none so far.
    pub(super) fn fall_asleep(&self) -> bool {
        self.asleep.swap(true, Ordering::AcqRel);
        self.lock().is_empty()
    }

    /// Takes all notices so far; `into` is empty. The worker is awake.
    pub(super) fn take(&self, into: &mut Vec<Notice>) {
        // Not a plain store, which could hide from the next look what was set before a wake-up. And a worker that
        // wasn't asleep has nothing to take back.
        if self.asleep.load(Ordering::Relaxed) {
            self.asleep.swap(false, Ordering::AcqRel);
        }
        std::mem::swap(&mut *self.lock(), into);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Notice>> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What ends a worker's sleep: its poller's waker, or a model of one.
pub trait Wake {
    /// Ends the sleep, or the next one if the worker is awake.
    fn wake(&self);
}

impl Wake for Waker {
    fn wake(&self) {
        // The one way for this to fail is a poller that is gone, and its worker with it.
        let _ = Self::wake(self);
    }
}
