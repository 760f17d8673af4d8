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
    Over,
}

/// Connections with one purpose, on one poller.
pub(crate) trait Actor {
    /// Begins what may begin by `now`, ends what takes too long.
    fn turn(&mut self, poller: &mut Poller, now: Instant) -> Result<Turn, String>;

    /// A connection has something.
    fn serve(&mut self, ready: Ready, poller: &mut Poller) -> Result<(), String>;
}

/// Drives the actor until it wants no more.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// So many turns, of which the last may fail.
    struct Turns(u32, Result<Turn, String>);

    impl Actor for Turns {
        fn turn(&mut self, _: &mut Poller, _: Instant) -> Result<Turn, String> {
            self.0 -= 1;
            if self.0 == 0 {
                self.1.clone()
            } else {
                Ok(Turn::Wait(Duration::ZERO))
            }
        }

        fn serve(&mut self, _: Ready, _: &mut Poller) -> Result<(), String> {
            Err("there is no connection".to_owned())
        }
    }

    #[test]
    fn an_actor_has_its_turns_until_it_wants_no_more_or_fails() {
        let mut poller = Poller::new().expect("a poller");
        let mut actor = Turns(3, Ok(Turn::Over));
        assert_eq!(drive(&mut poller, &mut actor), Ok(()));
        assert_eq!(actor.0, 0);
        let why = Err("enough".to_owned());
        assert_eq!(drive(&mut poller, &mut Turns(2, why.clone())), why.map(drop));
    }
}
