//! A hostile neighbour: a child process at a low priority that does one thing and counts it.
//!
//! Where Linux groups processes by session (`sched_autogroup`), priorities hold within one: start the server from the
//! same shell as this program.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{self, Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;

use clap::ArgMatches;
use npchat::server::system;
use rustix::process::nice;

use super::crowd::{self, Manner};
use super::flood;
use super::{NEIGHBOUR_SCENARIO, logins};
use crate::peer::Peer;
use crate::process::Process;
use crate::report::{Section, as_f64};

/// What it says once it does to the full what it is for.
const UNDER_WAY: &str = "under way";

/// What a neighbour does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// What to do, and to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Brief {
    pub(super) kind: Kind,
    /// How many a crowd is.
    pub(super) connections: usize,
    /// A crowd comes all at once.
    pub(super) is_burst: bool,
    /// What is added to its nice value.
    pub(super) nice: i32,
}

/// What was done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Deeds {
    units: u64,
    connected: u64,
    ended: u64,
}

/// A neighbour in a child process, until this is dropped.
pub(super) struct Neighbour {
    child: Child,
    questions: Option<ChildStdin>,
    lines: Receiver<String>,
}

/// What the child counts.
#[derive(Debug, Default)]
pub(super) struct Counts {
    units: AtomicU64,
    connected: AtomicU64,
    ended: AtomicU64,
}

impl Kind {
    /// With the name of each, and of what it counts.
    const ALL: [(Self, &'static str, &'static str); 10] = [
        (Self::Spin, "spin", ""),
        (Self::Continuations, "continuations", "frames"),
        (Self::Pings, "pings", "frames"),
        (Self::Pipelined, "pipelined", "requests"),
        (Self::Reader, "reader", "requests"),
        (Self::Challenges, "challenges", "challenges"),
        (Self::Logins, "logins", "logins"),
        (Self::SlowHeads, "slow-heads", "bytes"),
        (Self::SlowBodies, "slow-bodies", "bytes"),
        (Self::SlowReaders, "slow-readers", "requests"),
    ];

    pub(crate) fn all() -> impl Iterator<Item = Self> {
        Self::ALL.iter().map(|(kind, _, _)| *kind)
    }

    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        Self::ALL.iter().map(|(_, name, _)| *name)
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::all().find(|kind| kind.name() == name)
    }

    pub(super) fn name(self) -> &'static str {
        self.words().0
    }

    fn words(self) -> (&'static str, &'static str) {
        let found = Self::ALL.iter().find(|(kind, _, _)| *kind == self);
        found.map_or(("", ""), |(_, name, unit)| (name, unit))
    }
}

impl Brief {
    pub(crate) const ARGUMENTS: [&'static str; 4] = ["kind", "count", "manner", "nice"];
    const BURST: &'static str = "burst";

    pub(crate) fn read(options: &ArgMatches) -> Option<Self> {
        let [kind, count, manner, nice] = Self::ARGUMENTS.map(|name| options.get_one::<String>(name));
        Some(Self {
            kind: Kind::named(kind?)?,
            connections: count?.parse().ok()?,
            is_burst: manner? == Self::BURST,
            nice: nice?.parse().ok()?,
        })
    }

    fn arguments(&self) -> [String; 4] {
        let manner = if self.is_burst { Self::BURST } else { "paced" };
        [
            self.kind.name().to_owned(),
            self.connections.to_string(),
            manner.to_owned(),
            self.nice.to_string(),
        ]
    }
}

impl Deeds {
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            units: self.units.saturating_sub(before.units),
            connected: self.connected.saturating_sub(before.connected),
            ended: self.ended.saturating_sub(before.ended),
        }
    }

    /// Tells how much was done a second.
    pub(super) fn tell(self, kind: Kind, seconds: f64, section: &mut Section) {
        if kind == Kind::Spin {
            return;
        }
        let [units, connected, ended] = [self.units, self.connected, self.ended].map(|count| as_f64(count) / seconds);
        let (_, unit) = kind.words();
        section.measure(&format!("neighbour_{unit}_per_second"), units);
        section.measure("neighbour_connections_per_second", connected);
        section.measure("ended_by_the_server_per_second", ended);
    }

    fn parse(line: &str) -> Option<Self> {
        let mut numbers = line.split(' ').map(|number| number.parse().ok());
        Some(Self {
            units: numbers.next()??,
            connected: numbers.next()??,
            ended: numbers.next()??,
        })
    }
}

impl Neighbour {
    /// Starts this program again as a neighbour.
    ///
    /// # Errors
    /// The child doesn't start.
    pub(super) fn start(peer: &Peer, brief: &Brief) -> io::Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .arg(NEIGHBOUR_SCENARIO)
            .args(&peer.arguments)
            .args(brief.arguments())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (questions, stdout) = (child.stdin.take(), child.stdout.take());
        let (sender, lines) = mpsc::channel();
        // The pair's thread has no time to wait for a pipe.
        thread::spawn(move || {
            let Some(stdout) = stdout else { return };
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            child,
            questions,
            lines,
        })
    }

    pub(super) fn process(&self) -> Process {
        Process::new(self.child.id())
    }

    /// # Errors
    /// It has ended.
    pub(super) fn is_under_way(&self) -> Result<bool, String> {
        Ok(self.line()?.is_some_and(|line| line == UNDER_WAY))
    }

    /// Asks what it has done so far; [`Neighbour::told`] is the answer, in its own time.
    pub(super) fn ask(&mut self) -> io::Result<()> {
        let questions = self.questions.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        questions.write_all(b"\n")
    }

    /// # Errors
    /// It has ended.
    pub(super) fn told(&self) -> Result<Option<Deeds>, String> {
        Ok(self.line()?.and_then(|line| Deeds::parse(&line)))
    }

    /// Ends it, without waiting for its end.
    pub(super) fn stop(&mut self) {
        // It has ended by itself then.
        let _ = self.child.kill();
    }

    fn line(&self) -> Result<Option<String>, String> {
        match self.lines.try_recv() {
            Ok(line) => Ok(Some(line)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err("the neighbour has ended by itself".to_owned()),
        }
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.stop();
        let _ = self.child.wait();
    }
}

impl Counts {
    pub(super) fn add(&self, units: usize) {
        self.units.fetch_add(units as u64, Ordering::Relaxed);
    }

    /// A connection was made, or begun.
    pub(super) fn connect(&self) {
        self.connected.fetch_add(1, Ordering::Relaxed);
    }

    /// The server has ended a connection.
    pub(super) fn end(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    fn print(&self) {
        let [units, connected, ended] =
            [&self.units, &self.connected, &self.ended].map(|count| count.load(Ordering::Relaxed));
        println!("{units} {connected} {ended}");
    }
}

/// To be said once by each neighbour: the measure may begin.
pub(super) fn say_under_way() {
    println!("{UNDER_WAY}");
}

/// Is the neighbour, in this process, until its parent is gone.
///
/// # Errors
/// Those of the system.
pub(super) fn serve(peer: &Peer, brief: &Brief) -> io::Result<()> {
    // Its parent has raised the same limit, and reports if it can't be.
    let _ = system::raise_file_limit();
    nice(brief.nice)?;
    let counts = Arc::new(Counts::default());
    let told = Arc::clone(&counts);
    thread::spawn(move || {
        for _ in io::stdin().lines().map_while(Result::ok) {
            told.print();
        }
        process::exit(0);
    });
    let crowd = |manner| crowd::run(peer, brief, manner, &counts);
    match brief.kind {
        Kind::Spin => {
            say_under_way();
            loop {
                std::hint::spin_loop();
            }
        }
        Kind::Logins => logins::run(peer, &counts),
        Kind::SlowHeads => crowd(Manner::Heads),
        Kind::SlowBodies => crowd(Manner::Bodies),
        Kind::SlowReaders => crowd(Manner::Readers),
        kind => flood::run(kind, peer, &counts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_name() {
        for kind in Kind::all() {
            assert_eq!(Kind::named(kind.name()), Some(kind));
        }
    }

    #[test]
    fn a_child_reads_the_brief_that_its_parent_wrote() {
        let brief = Brief {
            kind: Kind::SlowHeads,
            connections: 17,
            is_burst: true,
            nice: 3,
        };
        let command = clap::Command::new("neighbour").no_binary_name(true);
        let command = command.args(Brief::ARGUMENTS.map(|name| clap::Arg::new(name).required(true)));
        let options = command.try_get_matches_from(brief.arguments()).expect("arguments");
        assert_eq!(Brief::read(&options), Some(brief));
    }

    #[test]
    fn deeds_are_what_was_told_last_less_what_was_told_first() {
        let deeds = |line| Deeds::parse(line).expect("three numbers");
        assert_eq!(deeds("30 5 4").since(deeds("10 4 4")), deeds("20 1 0"));
        assert_eq!(Deeds::parse("under way"), None);
    }
}
