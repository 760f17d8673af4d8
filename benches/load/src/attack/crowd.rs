//! A neighbour that is a crowd: thousands of connections, each of which does next to nothing, and comes anew when it is
//! ended.

use std::io;
use std::time::{Duration, Instant};

use super::deeds::{Brief, Counts, Told};
use crate::child::report;
use crate::drive::{Actor, Turn, drive};
use crate::peer::Peer;
use crate::wire::{Poller, Ready, Wire};

/// How many come in a second, if it is not all at once.
const ARRIVALS_PER_SECOND: usize = 2_000;
const REQUESTS: usize = 200;
const ID: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
/// How often there is a look at what is due.
const TICK: Duration = Duration::from_millis(10);

/// What each of a crowd does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// Sends the head of a request, a byte a second.
    Heads,
    /// Sends a head at once and the body a byte a second.
    Bodies,
    /// Sends many requests at once and never reads.
    Readers,
}

/// Goes on for ever.
///
/// # Errors
/// Those of the system.
pub(super) fn run(peer: &Peer, brief: &Brief, manner: Manner, counts: &Counts) -> io::Result<()> {
    let mut poller = Poller::new()?;
    drive(&mut poller, &mut Crowd::new(peer, brief, manner, counts)).map_err(io::Error::other)
}

struct Crowd<'c> {
    manner: Manner,
    peer: &'c Peer,
    /// `None`: all that are away come at once.
    arrivals_per_second: Option<usize>,
    greeting: Vec<u8>,
    counts: &'c Counts,
    members: Vec<Option<Member>>,
    /// Members that are not here.
    away: Vec<usize>,
    connected: usize,
    started: Instant,
    /// How many arrivals were used up, those who came again counted again.
    arrived: usize,
    /// How many bytes of trickle were due so far.
    trickled: usize,
    is_under_way: bool,
}

struct Member {
    wire: Wire,
    is_connected: bool,
}

impl Actor for Crowd<'_> {
    fn turn(&mut self, poller: &mut Poller, _: Instant) -> Result<Turn, String> {
        self.trickle();
        if !self.is_under_way && self.connected == self.members.len() {
            self.is_under_way = true;
            report(&Told::UnderWay);
        }
        self.arrive(poller);
        Ok(Turn::Wait(TICK))
    }

    fn serve(&mut self, ready: Ready, poller: &mut Poller) -> Result<(), String> {
        let Some(Some(member)) = self.members.get_mut(ready.token) else {
            return Ok(());
        };
        let goes_on = match self.manner {
            Manner::Readers => member.wire.flush().map(|()| !ready.is_ended()),
            Manner::Heads | Manner::Bodies => member.wire.pump(ready, poller.scratch()),
        };
        if !goes_on.unwrap_or(false) {
            self.leave(ready.token);
            return Ok(());
        }
        member.wire.consume(member.wire.input().len());
        if !std::mem::replace(&mut member.is_connected, true) {
            self.connected += 1;
            self.counts.connect();
            if self.manner == Manner::Readers {
                self.counts.add(REQUESTS);
            }
        }
        Ok(())
    }
}

impl<'c> Crowd<'c> {
    fn new(peer: &'c Peer, brief: &Brief, manner: Manner, counts: &'c Counts) -> Self {
        let host = &peer.host;
        let greeting = match manner {
            Manner::Heads => "GET / HTTP/1.1\r\nX-Slow: ".to_owned(),
            Manner::Bodies => format!("POST /{ID} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000\r\n\r\n"),
            Manner::Readers => format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").repeat(REQUESTS),
        };
        Self {
            manner,
            peer,
            arrivals_per_second: (!brief.is_burst).then_some(ARRIVALS_PER_SECOND),
            greeting: greeting.into_bytes(),
            counts,
            members: (0..brief.connections).map(|_| None).collect(),
            away: (0..brief.connections).rev().collect(),
            connected: 0,
            started: Instant::now(),
            arrived: 0,
            trickled: 0,
            is_under_way: false,
        }
    }

    /// Has as many come as may.
    fn arrive(&mut self, poller: &Poller) {
        let due = match self.arrivals_per_second {
            Some(arrivals) => due(arrivals, self.started.elapsed()),
            None => self.arrived + self.away.len(),
        };
        while self.arrived < due {
            let Some(index) = self.away.pop() else {
                // Time in which nobody was away gives no right to come all at once later.
                self.arrived = due;
                return;
            };
            // Whatever it was, most often that all ports are taken: time heals it.
            let Ok(mut wire) = Wire::connect(self.peer, poller.registry(), index) else {
                self.away.push(index);
                return;
            };
            self.arrived += 1;
            wire.output().extend_from_slice(&self.greeting);
            self.members[index] = Some(Member {
                wire,
                is_connected: false,
            });
        }
    }

    /// Each sends a byte a second, spread over the second.
    fn trickle(&mut self) {
        if self.manner == Manner::Readers {
            return;
        }
        let due = due(self.members.len(), self.started.elapsed());
        for turn in std::mem::replace(&mut self.trickled, due)..due {
            let index = turn % self.members.len();
            let Some(member) = self.members[index].as_mut().filter(|member| member.is_connected) else {
                continue;
            };
            member.wire.output().push(b'a');
            match member.wire.flush() {
                Ok(()) => self.counts.add(1),
                Err(_) => self.leave(index),
            }
        }
    }

    /// The server has ended it.
    fn leave(&mut self, index: usize) {
        if let Some(member) = self.members[index].take() {
            self.connected -= usize::from(member.is_connected);
            self.counts.end();
            self.away.push(index);
        }
    }
}

/// How many are due after so long, at so many a second.
fn due(per_second: usize, elapsed: Duration) -> usize {
    let due = (per_second as u128).saturating_mul(elapsed.as_micros()) / 1_000_000;
    usize::try_from(due).unwrap_or(usize::MAX)
}
