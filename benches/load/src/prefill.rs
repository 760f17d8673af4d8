//! Many messages posted as fast as they are taken, beside no measure: what is stored before one.

use std::time::{Duration, Instant};

use crate::bench::{Bench, PATIENCE};
use crate::drive::{Actor, Turn, drive};
use crate::faults::Faults;
use crate::identity::{OfflineRecipients, SAMPLE};
use crate::load::{LONGEST, Plan, Window};
use crate::mail::{Label, Outgoing};
use crate::mailbox_oracle::Stored;
use crate::posters::{Posters, Workload};
use crate::wire::{Poller, Ready};

/// Connections that post.
const CONNECTIONS: usize = 16;
/// Messages in flight on each.
const DEPTH: usize = 8;

/// What the connections that store messages call themselves: this and downwards.
const FIRST_SENDER: u32 = u32::MAX - 1;

/// Stores `count` messages of `size` bytes for offline recipients. Returns how many were acknowledged, and those to the
/// sample.
pub(crate) fn store(
    bench: &Bench,
    offline: &OfflineRecipients,
    (count, size): (usize, usize),
    ttl_seconds: impl Fn() -> u64,
    faults: &mut Faults,
) -> Result<(u64, Vec<(Label, Stored)>), String> {
    let connections = CONNECTIONS.min(offline.ids.len());
    let mut posted = vec![0; connections];
    let (mut stored, mut sampled) = (0, Vec::new());
    let letters = |connection: usize| {
        // Each connection has recipients of its own, so that each mailbox is filled in order.
        let posted = posted.get_mut(connection)?;
        let share = (count + connections - 1 - connection) / connections;
        if *posted == share {
            return None;
        }
        let recipients = (offline.ids.len() + connections - 1 - connection) / connections;
        let recipient = connection + connections * (*posted % recipients);
        let label = Label {
            sender: FIRST_SENDER - u32::try_from(connection).ok()?,
            recipient: u32::try_from(recipient).ok()?,
            sequence: u32::try_from(*posted).ok()?,
            since_epoch: Duration::ZERO,
        };
        *posted += 1;
        Some(Outgoing {
            id: &offline.ids[recipient],
            label,
            ttl_seconds: ttl_seconds(),
        })
    };
    let on_stored = |label: &Label, kept| {
        stored += 1;
        if (label.recipient as usize) < SAMPLE {
            sampled.push((*label, kept));
        }
    };
    post_all(bench, size, letters, on_stored, faults)?;
    Ok((stored, sampled))
}

/// Posts what `next` gives for each connection, by its number, until it gives `None` to all, in messages of `size`
/// bytes. What one connection posts is stored in its order. Each that was acknowledged goes to `on_stored`;
/// what was refused is noted.
///
/// # Errors
/// The connections can't be made or end, or nothing is answered.
pub(crate) fn post_all<'l>(
    bench: &Bench,
    size: usize,
    next: impl FnMut(usize) -> Option<Outgoing<'l>>,
    on_stored: impl FnMut(&Label, Stored),
    faults: &mut Faults,
) -> Result<(), String> {
    let mut poller = Poller::new().map_err(|error| error.to_string())?;
    let plan = Plan {
        depth: DEPTH,
        ..Plan::beside(CONNECTIONS, size, None)
    };
    let window = Window::new(Duration::ZERO, LONGEST);
    let workload = Letters { next, on_stored };
    let mut storing = Storing {
        posters: Posters::connect(bench, plan, CONNECTIONS, window, &mut poller, 0, workload)?,
        last_event: Instant::now(),
    };
    let result = drive(&mut poller, &mut storing);
    faults.merge(storing.posters.tally.faults);
    result
}

struct Storing<'b, W> {
    posters: Posters<'b, W>,
    last_event: Instant,
}

impl<'l, W: Workload<'l>> Actor for Storing<'_, W> {
    fn turn(&mut self, _: &mut Poller, now: Instant) -> Result<Turn, String> {
        if self.posters.is_short() {
            return Err(format!("storing messages: {}", self.posters.tally.faults));
        }
        if self.posters.is_up() && self.posters.is_idle() {
            return Ok(Turn::Over);
        }
        let waited = now.saturating_duration_since(self.last_event);
        match PATIENCE.checked_sub(waited) {
            Some(left) => Ok(Turn::Wait(left)),
            None => Err(format!("no answer in {PATIENCE:?} to a message that was to be stored")),
        }
    }

    fn serve(&mut self, ready: Ready, poller: &mut Poller) -> Result<(), String> {
        self.last_event = Instant::now();
        self.posters.serve(ready, poller);
        Ok(())
    }
}

struct Letters<N, S> {
    next: N,
    on_stored: S,
}

impl<'l, N: FnMut(usize) -> Option<Outgoing<'l>>, S: FnMut(&Label, Stored)> Workload<'l> for Letters<N, S> {
    fn next(&mut self, poster: usize, _: Duration) -> Option<Outgoing<'l>> {
        (self.next)(poster)
    }

    fn settle(&mut self, _: usize, label: Label, stored: Option<Stored>) {
        if let Some(stored) = stored {
            (self.on_stored)(&label, stored);
        }
    }
}
