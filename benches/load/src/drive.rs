//! The one loop of this program: whatever has connections is an actor that it drives.

use std::time::{Duration, Instant};

use crate::wire::{Poller, Ready};

/// How often an actor looks at what takes too long.
pub(crate) const TICK: Duration = Duration::from_millis(200);

/// What an actor wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// To be served when a connection has something, and asked again at the latest after so long.
    Wait(Duration),
    /// No more.
    Over,
}

/// Connections with one purpose, on one poller.
pub(crate) trait Actor {
    /// Begins what may begin by `now`, ends what takes too long.
    ///
    /// # Errors
    /// Why there is no sense in going on.
    fn turn(&mut self, poller: &mut Poller, now: Instant) -> Result<Turn, String>;

    /// A connection has something.
    ///
    /// # Errors
    /// Why there is no sense in going on.
    fn serve(&mut self, ready: Ready, poller: &mut Poller) -> Result<(), String>;
}

/// Drives the actor until it wants no more.
///
/// # Errors
/// Those of the actor and of the system.
pub(crate) fn drive(poller: &mut Poller, actor: &mut impl Actor) -> Result<(), String> {
    let mut ready = Vec::new();
    while let Turn::Wait(timeout) = actor.turn(poller, Instant::now())? {
        poller.wait(timeout, &mut ready).map_err(|error| error.to_string())?;
        for &one in &ready {
            actor.serve(one, poller)?;
        }
    }
    Ok(())
}
