//! A hostile neighbour: a child process at a low priority that does one thing and counts it.
//!
//! Where Linux groups processes by session (`sched_autogroup`), priorities hold within one: start the server from the
//! same shell as this program.

use std::sync::Arc;
use std::{io, process, thread};

use npchat::server::system;
use rustix::process::nice;

use super::crowd::{self, Manner};
use super::deeds::{Brief, Counts, Kind, Told};
use super::{flood, logins};
use crate::child::report;
use crate::peer::Peer;

/// The hidden scenario under which it runs.
pub(super) const SCENARIO: &str = "attack-neighbour";

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
            report(&Told::Deeds(told.deeds()));
        }
        process::exit(0);
    });
    let crowd = |manner| crowd::run(peer, brief, manner, &counts);
    match brief.kind {
        Kind::Spin => {
            report(&Told::UnderWay);
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
