//! A hostile neighbour: a child process at a low priority that does one thing and counts it.
//!
//! Where Linux groups processes by session (`sched_autogroup`), priorities hold within one: start the server from the
//! same shell as this program.

use std::env;
use std::io::{self, Write};
use std::process::{self, Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;

use npchat::server::system;
use rustix::process::nice;

use super::crowd::{self, Manner};
use super::deeds::{Brief, Counts, Deeds, Kind, Told, say_under_way};
use super::{flood, logins};
use crate::peer::Peer;
use crate::process::Process;

/// The hidden scenario under which it runs.
const SCENARIO: &str = "attack-neighbour";

/// A neighbour in a child process, until this is dropped.
pub(super) struct Neighbour {
    child: Child,
    questions: Option<ChildStdin>,
    told: Receiver<Told>,
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
