//! A hostile neighbour: a child process at a low priority that does one thing and counts it.
//!
//! Where Linux groups processes by session (`sched_autogroup`), priorities hold within one: start the server from the
//! same shell as this program.

use std::sync::Arc;
use std::{io, process, thread};

use npchat::server::system;
use rustix::process::nice;

use super::interface::{Kind, LiveCounters, NeighbourBrief, NeighbourReport};
use super::{connections, logins};
use crate::child::report;
use crate::peer::Peer;

/// The hidden scenario under which it runs.
pub(super) const SCENARIO: &str = "attack-neighbour";

/// Is the neighbour, in this process, until its parent is gone.
pub(super) fn serve(peer: &Peer, brief: &NeighbourBrief) -> Result<(), String> {
    // Its parent has raised the same limit, and reports if it can't be.
    let _ = system::raise_file_limit();
    nice(brief.nice).map_err(|error| error.to_string())?;
    let counts = Arc::new(LiveCounters::default());
    let counted = Arc::clone(&counts);
    thread::spawn(move || {
        for _ in io::stdin().lines().map_while(Result::ok) {
            report(&NeighbourReport::Counters(counted.now()));
        }
        process::exit(0);
    });
    match brief.kind {
        Kind::Spin => {
            report(&NeighbourReport::UnderWay);
            loop {
                std::hint::spin_loop();
            }
        }
        Kind::Logins => logins::run(peer, &counts),
        _ => connections::run(peer, brief, &counts),
    }
}
