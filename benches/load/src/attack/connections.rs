//! Hostile connections: one that floods the server, or a crowd, each of which does next to nothing. One that the server
//! ends comes again.
//!
//! What each sends is in its script.

use std::time::{Duration, Instant};

use memchr::memmem;

use super::interface::{LiveCounters, NeighbourBrief, NeighbourReport};
use super::script::{CHALLENGES_PER_CONNECTION, Script, Then};
use crate::child::report;
use crate::drive::{Actor, Turn, drive};
use crate::peer::Peer;
use crate::wire::{Poller, Ready, Wire};

/// How many of a crowd come in a second, if it is not all at once.
const ARRIVALS_PER_SECOND: usize = 2_000;
/// How often there is a look at what is due.
const TICK: Duration = Duration::from_millis(10);
/// What there is once in each challenge.
const CHALLENGE: &[u8] = br#""txt""#;

/// Attacks for ever.
pub(super) fn run(peer: &Peer, brief: &NeighbourBrief, counts: &LiveCounters) -> Result<(), String> {
    let mut poller = Poller::new().map_err(|error| error.to_string())?;
    drive(&mut poller, &mut Connections::new(peer, brief, counts))
}

struct Connections<'c> {
    script: Script,
    peer: &'c Peer,
    counts: &'c LiveCounters,
    /// `None`: all that are absent come at once.
    arrivals_per_second: Option<usize>,
    open: Vec<Option<Connection>>,
    /// Indices of those that are not open.
    absent: Vec<usize>,
    connected: usize,
    started: Instant,
    /// How many arrivals were used up, those that came again counted again.
    arrived: usize,
    /// How many bytes of trickle were due so far.
    trickled: usize,
    is_under_way: bool,
}

struct Connection {
    wire: Wire,
    is_connected: bool,
    units: usize,
    challenges: usize,
}

impl Actor for Connections<'_> {
    fn turn(&mut self, poller: &mut Poller, _: Instant) -> Result<Turn, String> {
        if matches!(self.script.then, Then::Trickle) {
            self.trickle();
        }
        if !self.is_under_way && self.connected == self.open.len() {
            self.is_under_way = true;
            report(&NeighbourReport::UnderWay);
        }
        self.arrive(poller);
        Ok(Turn::Wait(TICK))
    }

    fn serve(&mut self, ready: Ready, poller: &mut Poller) -> Result<(), String> {
        let Some(Some(connection)) = self.open.get_mut(ready.token) else {
            return Ok(());
        };
        let goes_on = if self.script.is_read {
            connection.wire.pump(ready, poller.scratch())
        } else {
            connection.wire.flush().map(|()| !ready.is_ended())
        };
        if !goes_on.unwrap_or(false) {
            self.lose(ready.token);
            return Ok(());
        }
        if !std::mem::replace(&mut connection.is_connected, true) {
            self.connected += 1;
            self.counts.connect();
            self.counts.add(self.script.greeting_units);
        }
        if matches!(self.script.then, Then::AwaitChallenges) {
            if connection.has_all_challenges() {
                self.counts.add(connection.challenges);
                self.remove(ready.token);
            }
            return Ok(());
        }
        connection.wire.consume(connection.wire.input().len());
        if connection.flood(&self.script, self.counts).is_err() {
            self.lose(ready.token);
        }
        Ok(())
    }
}

impl<'c> Connections<'c> {
    fn new(peer: &'c Peer, brief: &NeighbourBrief, counts: &'c LiveCounters) -> Self {
        let is_crowd = brief.kind.is_crowd();
        let count = if is_crowd { brief.connections } else { 1 };
        Self {
            script: Script::of(brief.kind, &peer.host),
            peer,
            counts,
            arrivals_per_second: (is_crowd && !brief.is_burst).then_some(ARRIVALS_PER_SECOND),
            open: (0..count).map(|_| None).collect(),
            absent: (0..count).rev().collect(),
            connected: 0,
            started: Instant::now(),
            arrived: 0,
            trickled: 0,
            is_under_way: false,
        }
    }

    /// Opens as many as may come by now.
    fn arrive(&mut self, poller: &Poller) {
        let due = match self.arrivals_per_second {
            Some(arrivals) => due(arrivals, self.started.elapsed()),
            None => self.arrived + self.absent.len(),
        };
        while self.arrived < due {
            let Some(index) = self.absent.pop() else {
                // Time in which none was absent gives no right to come all at once later.
                self.arrived = due;
                return;
            };
            // Whatever it was, most often that all ports are taken: time heals it.
            let Ok(mut wire) = Wire::connect(self.peer, poller.registry(), index) else {
                self.absent.push(index);
                return;
            };
            self.arrived += 1;
            wire.output().extend_from_slice(&self.script.greeting);
            self.open[index] = Some(Connection {
                wire,
                is_connected: false,
                units: 0,
                challenges: 0,
            });
        }
    }

    /// Each sends a byte a second, spread over the second.
    fn trickle(&mut self) {
        let due = due(self.open.len(), self.started.elapsed());
        for turn in std::mem::replace(&mut self.trickled, due)..due {
            let index = turn % self.open.len();
            let Some(connection) = self.open[index].as_mut().filter(|connection| connection.is_connected) else {
                continue;
            };
            connection.wire.output().push(b'a');
            match connection.wire.flush() {
                Ok(()) => self.counts.add(1),
                Err(_) => self.lose(index),
            }
        }
    }

    /// The server has ended it.
    fn lose(&mut self, index: usize) {
        self.counts.end();
        self.remove(index);
    }

    fn remove(&mut self, index: usize) {
        if let Some(connection) = self.open[index].take() {
            self.connected -= usize::from(connection.is_connected);
            self.absent.push(index);
        }
    }
}

impl Connection {
    fn flood(&mut self, script: &Script, counts: &LiveCounters) -> std::io::Result<()> {
        let Then::Flood {
            chunk,
            units,
            most_units,
        } = &script.then
        else {
            return Ok(());
        };
        while self.wire.output().is_empty() && self.units < *most_units {
            self.wire.output().extend_from_slice(chunk);
            self.units += units;
            counts.add(*units);
            self.wire.flush()?;
        }
        Ok(())
    }

    fn has_all_challenges(&mut self) -> bool {
        let input = self.wire.input();
        if let Some(last) = memmem::rfind(input, CHALLENGE) {
            self.challenges += memmem::find_iter(input, CHALLENGE).count();
            self.wire.consume(last + CHALLENGE.len());
        }
        self.challenges >= CHALLENGES_PER_CONNECTION
    }
}

/// How many are due after so long, at so many a second.
fn due(per_second: usize, elapsed: Duration) -> usize {
    let due = (per_second as u128).saturating_mul(elapsed.as_micros()) / 1_000_000;
    usize::try_from(due).unwrap_or(usize::MAX)
}
