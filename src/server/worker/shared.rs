//! What all workers share: the mail, the inboxes of each other, the places for connections.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand;
use mio::{Poll, Waker};

use super::clock::Epoch;
use super::holders::HighestClasses;
use super::inbox::{INBOX, Inbox};
use crate::server::config::{Config, Timeouts};
use crate::server::error::StartError;
use crate::server::limits::{FILES_PER_PROCESS, FILES_PER_WORKER, RESERVED_FILES, TURNED_AWAY_MAX};
use crate::server::metrics::{Counters, Totals};
use crate::server::places::{Place, Places};
use crate::server::store::Store;

/// What all workers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Store,
    /// What the time of mail counts from.
    pub(crate) epoch: Epoch,
    pub(crate) inboxes: Vec<Inbox>,
    pub(crate) counters: Vec<Counters>,
    pub(crate) places: Places,
    /// Which worker has the connections that hold the most.
    pub(crate) highest_classes: HighestClasses,
    pub(crate) timeouts: Timeouts,
    pub(crate) clean_period: Duration,
    pub(crate) drain: Duration,
    /// Stop at once, whatever is under way.
    pub(crate) halt: AtomicBool,
}

impl Shared {
    pub(crate) fn new(config: &Config, polls: &[Poll], files: u64, listeners: usize) -> Result<Self, StartError> {
        let inboxes = polls
            .iter()
            .map(|poll| Waker::new(poll.registry(), INBOX).map(Inbox::new))
            .collect::<io::Result<Vec<_>>>()
            .map_err(|error| StartError::System("make a waker", error))?;
        let started = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let room = files.saturating_sub(reserved_files(polls.len(), listeners)).max(1);
        let epoch = Epoch::now();
        Ok(Self {
            store: Store::new(config, random_secret()?, epoch.instant, &started),
            epoch,
            counters: polls.iter().map(|_| Counters::default()).collect(),
            inboxes,
            places: Places::new(
                usize::try_from(room.min(config.max_connections().into())).unwrap_or(usize::MAX),
                listeners,
            ),
            highest_classes: HighestClasses::new(polls.len()),
            timeouts: config.timeouts,
            clean_period: config.clean_period,
            drain: config.drain,
            halt: AtomicBool::new(false),
        })
    }

    /// A place for one more connection, accepted at this listener, to be given back by [`Shared::leave`]. `None`: it
    /// can't even be turned away politely.
    pub(crate) fn enter(&self, listener: usize) -> Option<Place> {
        self.places.enter(listener)
    }

    /// Gives back what [`Shared::enter`] gave.
    pub(crate) fn leave(&self, place: Place) {
        self.places.leave(place);
    }

    pub(crate) fn halt(&self) {
        self.halt.store(true, Ordering::Release);
        self.wake_all();
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals {
            over_bound: self.store.times_over_bound(),
            ..Totals::of(&self.counters, self.store.expired())
        }
    }

    pub(crate) fn wake_all(&self) {
        for inbox in &self.inboxes {
            inbox.wake();
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
