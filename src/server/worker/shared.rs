//! What all workers share: the mail, the inboxes of each other, the places for connections.

use std::io;
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand;
use mio::{Poll, Waker};

use super::clock::{Clock, Epoch, System};
use super::holders::HighestClasses;
use super::inbox::{INBOX, Inbox, Notice, Wake};
use crate::server::config::{Config, Timeouts};
use crate::server::error::StartError;
use crate::server::limits::{FILES_PER_PROCESS, FILES_PER_WORKER, RESERVED_FILES, TURNED_AWAY_MAX};
use crate::server::metrics::{Counters, Totals};
use crate::server::places::{Place, Places};
use crate::server::refusal::Refusal;
use crate::server::store::Store;
use crate::server::token::{SessionAddress, Ticket};

/// What all workers share.
#[derive(Debug)]
pub struct Shared<W = Waker> {
    /// The mail.
    pub store: Store,
    /// What the time of mail counts from.
    pub(crate) epoch: Epoch,
    /// By worker.
    pub inboxes: Vec<Inbox<W>>,
    /// By worker.
    pub counters: Vec<Counters>,
    pub(crate) places: Places,
    /// Which worker has the connections that hold the most.
    pub(crate) highest_classes: HighestClasses,
    pub(crate) timeouts: Timeouts,
    pub(crate) clean_period: Duration,
    pub(crate) drain: Duration,
}

/// What a start of the server comes to, beside its configuration.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    /// What the store's mailboxes are spread by, unknown to clients.
    pub secret: [u64; 2],
    /// The time of day, as clients are shown it.
    pub at: &'a str,
    /// Connections that the system has room for.
    pub room: usize,
    /// Listeners, each of which keeps a few places of its own.
    pub listeners: usize,
}

impl Shared {
    /// What workers on these pollers share, in a process that may open so many files.
    pub(crate) fn on_polls(config: &Config, polls: &[Poll], files: u64, listeners: usize) -> Result<Self, StartError> {
        let wakers = polls
            .iter()
            .map(|poll| Waker::new(poll.registry(), INBOX))
            .collect::<io::Result<Vec<_>>>()
            .map_err(|error| StartError::System("make a waker", error))?;
        let started = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let room = files.saturating_sub(reserved_files(polls.len(), listeners)).max(1);
        let start = Start {
            secret: random_secret()?,
            at: &started,
            room: usize::try_from(room).unwrap_or(usize::MAX),
            listeners,
        };
        Ok(Self::new(config, start, &System, wakers))
    }
}

impl<W: Wake> Shared<W> {
    /// What as many workers share as there are wakers, one for each. The time of mail begins now.
    pub fn new(config: &Config, start: Start<'_>, clock: &impl Clock, wakers: Vec<W>) -> Self {
        let epoch = Epoch::of(clock);
        let most = usize::try_from(config.max_connections()).unwrap_or(usize::MAX);
        Self {
            store: Store::new(config, start.secret, epoch.instant, start.at),
            epoch,
            highest_classes: HighestClasses::new(wakers.len()),
            counters: wakers.iter().map(|_| Counters::default()).collect(),
            inboxes: wakers.into_iter().map(Inbox::new).collect(),
            places: Places::new(start.room.min(most), start.listeners),
            timeouts: config.timeouts,
            clean_period: config.clean_period,
            drain: config.drain,
        }
    }

    /// A place for one more connection, accepted at this listener, to be given back by [`Shared::leave`]. `None`: it
    /// can't even be refused with an answer.
    pub(crate) fn enter(&self, listener: usize) -> Option<Place> {
        self.places.enter(listener)
    }

    /// Gives back what [`Shared::enter`] gave.
    pub(crate) fn leave(&self, place: Place) {
        self.places.leave(place);
    }

    /// Has every worker stop taking connections, and end those that it has in good order.
    pub fn start_draining(&self) {
        self.store.start_draining();
        self.notify_all(Notice::Drain);
    }

    /// Has every worker end at once, whatever is in progress.
    pub(crate) fn halt(&self) {
        self.notify_all(Notice::Halt);
    }

    /// Reports what became of a POST that was pending, for how many seconds it is stored or why it isn't: once for each
    /// ticket, from any thread.
    pub fn report(&self, ticket: Ticket, result: Result<u32, Refusal>) {
        let SessionAddress { worker, token } = ticket.address;
        if let Some(inbox) = self.inboxes.get(worker as usize) {
            inbox.notify(&mut vec![Notice::Posted {
                token,
                ticket: ticket.number,
                result,
            }]);
        }
    }

    /// What the workers have counted so far.
    pub fn totals(&self) -> Totals {
        Totals {
            over_bound: self.store.times_over_bound(),
            ..Totals::of(&self.counters, self.store.expired())
        }
    }

    fn notify_all(&self, notice: Notice) {
        for inbox in &self.inboxes {
            inbox.notify(&mut vec![notice]);
        }
    }
}

/// How many files so many workers, with a listener each for so many addresses, leave to no connection that is served.
pub(crate) fn reserved_files(workers: usize, addresses: usize) -> u64 {
    let each = FILES_PER_WORKER.saturating_add(addresses as u64);
    let workers = (workers as u64).saturating_mul(each);
    workers
        .saturating_add(FILES_PER_PROCESS + TURNED_AWAY_MAX as u64)
        .max(RESERVED_FILES)
}

fn random_secret() -> Result<[u64; 2], StartError> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| StartError::System("make random bytes", io::ErrorKind::Other.into()))?;
    let (first, second) = bytes.split_at(8);
    let word = |half: &[u8]| half.iter().fold(0, |word, byte| (word << 8) | u64::from(*byte));
    Ok([word(first), word(second)])
}
