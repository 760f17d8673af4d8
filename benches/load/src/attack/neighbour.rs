//! A hostile neighbour: a child process at a low priority that does one thing and counts it.
//!
//! Where Linux groups processes by session (`sched_autogroup`), priorities hold within one: start the server from the
//! same shell as this program.

use std::env;
use std::io::{self, Write};
use std::process::{self, Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;

use clap::ValueEnum;
use npchat::server::system;
use rustix::process::nice;
use serde::{Deserialize, Serialize};

use super::crowd::{self, Manner};
use super::{flood, logins};
use crate::peer::{Peer, Route};
use crate::process::Process;
use crate::report::{Section, as_f64};

/// The hidden scenario under which it runs.
const SCENARIO: &str = "attack-neighbour";

/// What the child reports, a line of JSON each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Told {
    /// It does to the full what it is for.
    UnderWay,
    /// What it has done so far.
    Deeds(Deeds),
}

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

/// What to do, and to whom.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Brief {
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
pub(super) struct Deeds {
    units: u64,
    connected: u64,
    ended: u64,
}

/// A neighbour in a child process, until this is dropped.
pub(super) struct Neighbour {
    child: Child,
    questions: Option<ChildStdin>,
    told: Receiver<Told>,
}

/// What the child counts.
#[derive(Debug, Default)]
pub(super) struct Counts {
    units: AtomicU64,
    connected: AtomicU64,
    ended: AtomicU64,
}

impl Kind {
    pub(super) fn name(self) -> String {
        let value = self.to_possible_value();
        value.map(|value| value.get_name().to_owned()).unwrap_or_default()
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
        let unit = kind.unit();
        section.measure(&format!("neighbour_{unit}_per_second"), units);
        section.measure("neighbour_connections_per_second", connected);
        section.measure("ended_by_the_server_per_second", ended);
    }
}

impl Neighbour {
    /// Starts this program again as a neighbour.
    ///
    /// # Errors
    /// The child doesn't start.
    pub(super) fn start(brief: &Brief) -> io::Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .arg(SCENARIO)
            .arg(serde_json::to_string(brief)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (questions, stdout) = (child.stdin.take(), child.stdout.take());
        let (sender, told) = mpsc::channel();
        // The pair's thread has no time to wait for a pipe.
        thread::spawn(move || {
            let Some(stdout) = stdout else { return };
            for told in serde_json::Deserializer::from_reader(stdout)
                .into_iter()
                .map_while(Result::ok)
            {
                if sender.send(told).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, questions, told })
    }

    pub(super) fn process(&self) -> Process {
        Process::new(self.child.id())
    }

    /// # Errors
    /// It has ended.
    pub(super) fn is_under_way(&self) -> Result<bool, String> {
        Ok(self.next_told()? == Some(Told::UnderWay))
    }

    /// Asks what it has done so far; [`Neighbour::told`] is the answer, in its own time.
    pub(super) fn ask(&mut self) -> io::Result<()> {
        let questions = self.questions.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        questions.write_all(b"\n")
    }

    /// # Errors
    /// It has ended.
    pub(super) fn told(&self) -> Result<Option<Deeds>, String> {
        Ok(match self.next_told()? {
            Some(Told::Deeds(deeds)) => Some(deeds),
            _ => None,
        })
    }

    /// Ends it, without waiting for its end.
    pub(super) fn stop(&mut self) {
        // It has ended by itself then.
        let _ = self.child.kill();
    }

    fn next_told(&self) -> Result<Option<Told>, String> {
        match self.told.try_recv() {
            Ok(told) => Ok(Some(told)),
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

    fn deeds(&self) -> Deeds {
        let [units, connected, ended] =
            [&self.units, &self.connected, &self.ended].map(|count| count.load(Ordering::Relaxed));
        Deeds {
            units,
            connected,
            ended,
        }
    }
}

impl Told {
    fn print(self) {
        if let Ok(line) = serde_json::to_string(&self) {
            println!("{line}");
        }
    }
}

/// To be said once by each neighbour: the measure may begin.
pub(super) fn say_under_way() {
    Told::UnderWay.print();
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
            Told::Deeds(told.deeds()).print();
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
