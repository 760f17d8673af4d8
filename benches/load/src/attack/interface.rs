//! What a hostile neighbour is to do, and what it reports to have done.

use std::sync::{Mutex, MutexGuard, PoisonError};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::latency_histogram::as_f64;
use crate::peer::Route;
use crate::report::Section;

/// What a neighbour does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// Burns a core and has no connection.
    Spin,
    /// One message in up to a million empty frames.
    Continuations,
    /// Pings without end.
    Pings,
    /// POSTs without end, whose answers it reads.
    Pipelined,
    /// Requests without end, whose answers it never reads.
    Reader,
    /// As many challenges as a connection may have, glued to the upgrade request, then the next connection.
    Challenges,
    /// Whole logins, one after the other.
    Logins,
    /// A crowd that sends heads, a byte a second each.
    SlowHeads,
    /// A crowd that sends bodies, a byte a second each.
    SlowBodies,
    /// A crowd that sends 200 requests each and never reads.
    SlowReaders,
}

/// What to do, and to which server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct NeighbourBrief {
    pub(super) route: Route,
    pub(super) kind: Kind,
    /// How many a crowd is.
    pub(super) connections: usize,
    /// A crowd comes all at once.
    pub(super) is_burst: bool,
    /// What is added to its nice value.
    pub(super) nice: i32,
}

/// What was done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counters {
    units: u64,
    connected: u64,
    ended: u64,
}

/// What the child reports, a line of JSON each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum NeighbourReport {
    /// It does to the full what it is for.
    UnderWay,
    /// What it has done so far.
    Counters(Counters),
}

/// What the child counts.
#[derive(Debug, Default)]
pub(super) struct LiveCounters(Mutex<Counters>);

impl Kind {
    pub(super) fn name(self) -> String {
        let value = self.to_possible_value();
        value.map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Whether it has as many connections as the options say, each of which does little.
    pub(super) fn is_crowd(self) -> bool {
        matches!(self, Self::SlowHeads | Self::SlowBodies | Self::SlowReaders)
    }

    /// What it counts.
    fn unit(self) -> &'static str {
        match self {
            Self::Spin => "",
            Self::Continuations | Self::Pings => "frames",
            Self::Pipelined | Self::Reader | Self::SlowReaders => "requests",
            Self::Challenges => "challenges",
            Self::Logins => "logins",
            Self::SlowHeads | Self::SlowBodies => "bytes",
        }
    }
}

impl Counters {
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            units: self.units.saturating_sub(before.units),
            connected: self.connected.saturating_sub(before.connected),
            ended: self.ended.saturating_sub(before.ended),
        }
    }

    /// Reports how much was done a second.
    pub(super) fn report(self, kind: Kind, seconds: f64, section: &mut Section) {
        if kind == Kind::Spin {
            return;
        }
        let [units, connected, ended] = [self.units, self.connected, self.ended].map(|count| as_f64(count) / seconds);
        let unit = kind.unit();
        section.measure(&format!("neighbour_{unit}_per_second"), units);
        section.measure("neighbour_connections_per_second", connected);
        section.measure("ended_by_the_server_per_second", ended);
    }
}

impl LiveCounters {
    pub(super) fn add(&self, units: usize) {
        self.lock().units += units as u64;
    }

    /// A connection was made, or begun.
    pub(super) fn connect(&self) {
        self.lock().connected += 1;
    }

    /// The server has ended a connection.
    pub(super) fn end(&self) {
        self.lock().ended += 1;
    }

    pub(super) fn now(&self) -> Counters {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Counters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
