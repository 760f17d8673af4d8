//! Sessions that are held: logs many in, and closes them all in order.
//!
//! In between they are the scenario's, on the scenario's poller.

use std::time::{Duration, Instant};

use crate::faults::{Fault, Faults};
use crate::identity::Identity;
use crate::latencies::Latencies;
use crate::session::{Said, Session};
use crate::wire::{Poller, Ready};
use crate::{Bench, PATIENCE};

/// Logins at once where it isn't their number that is measured.
pub(crate) const LOGINS_AT_ONCE: usize = 64;
/// How often there is a look at what takes too long.
const TICK: Duration = Duration::from_millis(200);
/// Connects in a row, between two looks at what has come.
const CONNECTS_IN_A_ROW: usize = 64;
/// After so many logins that were given up none is begun any more, for the server's case is clear.
const REFUSED_ENOUGH: u64 = 100;

/// How logins are gone about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// A login without an answer for so long counts as dropped.
    pub(crate) timeout: Duration,
    /// How often one is begun again that the server has dropped.
    pub(crate) retries: u32,
}

/// What came of logins.
#[derive(Debug, Default)]
pub(crate) struct Logins {
    /// From the first connect to the server's word that the login is done.
    pub(crate) latencies: Latencies,
    /// How often one was begun again.
    pub(crate) retries: u64,
    /// Those given up.
    pub(crate) refused: u64,
    pub(crate) faults: Faults,
}

impl Logins {
    /// Takes in what another thread has counted.
    pub(crate) fn merge(&mut self, other: Self) {
        self.latencies.merge(&other.latencies);
        self.retries += other.retries;
        self.refused += other.refused;
        self.faults.merge(other.faults);
    }

    /// A login failed for the `tries`th time. Says whether to begin it again.
    pub(crate) fn fail(&mut self, manner: Manner, tries: u32, why: &str) -> bool {
        let goes_on = tries <= manner.retries;
        if goes_on {
            self.retries += 1;
        } else {
            self.refused += 1;
            self.faults.note(Fault::Refused, || {
                format!("a login, {tries} times, the last time: {why}")
            });
        }
        goes_on
    }

    /// Whether it is of no use to go on.
    pub(crate) fn is_hopeless(&self) -> bool {
        self.refused >= REFUSED_ENOUGH
    }
}

/// Logs in once for each identity, `at_once` of them at a time. Session `i` gets the token `first_token + i`; those that the
/// server refused are noted, and `None`.
///
/// # Errors
/// Those of the system, or a server that refuses too many.
pub(crate) fn log_in<'i>(
    bench: &Bench,
    poller: &mut Poller,
    identities: &'i [Identity],
    (first_token, at_once): (usize, usize),
    logins: &mut Logins,
) -> Result<Vec<Option<Session<'i>>>, String> {
    let mut door = Door {
        bench,
        identities,
        first_token,
        arrivals: Vec::with_capacity(identities.len()),
        settled: 0,
        logins,
    };
    let mut ready = Vec::new();
    let mut looked = Instant::now();
    while door.settled < identities.len() {
        let has_room = door.invite(poller, at_once)?;
        let timeout = if has_room { Duration::ZERO } else { TICK };
        poller.wait(timeout, &mut ready).map_err(|error| error.to_string())?;
        for &one in &ready {
            door.serve(one, poller)?;
        }
        if looked.elapsed() >= TICK {
            looked = Instant::now();
            door.look_at_time(poller)?;
        }
        if door.logins.is_hopeless() {
            return Err(format!("too many logins are refused: {}", door.logins.faults));
        }
    }
    Ok(door.arrivals.into_iter().map(|arrival| arrival.session).collect())
}

/// Where they come in.
struct Door<'d, 'i> {
    bench: &'d Bench,
    identities: &'i [Identity],
    first_token: usize,
    arrivals: Vec<Arrival<'i>>,
    /// How many are in, or given up.
    settled: usize,
    logins: &'d mut Logins,
}

struct Arrival<'i> {
    session: Option<Session<'i>>,
    began: Instant,
    /// When it was begun the last time.
    since: Instant,
    tries: u32,
    is_settled: bool,
}

impl<'i> Door<'_, 'i> {
    /// Begins some. Returns whether more can begin at once.
    fn invite(&mut self, poller: &Poller, at_once: usize) -> Result<bool, String> {
        let room = self.identities.len().min(self.settled.saturating_add(at_once));
        for _ in 0..CONNECTS_IN_A_ROW {
            let index = self.arrivals.len();
            if index >= room {
                return Ok(false);
            }
            let session = self.connect(index, poller)?;
            let now = Instant::now();
            self.arrivals.push(Arrival {
                session: Some(session),
                began: now,
                since: now,
                tries: 1,
                is_settled: false,
            });
        }
        Ok(true)
    }

    fn connect(&self, index: usize, poller: &Poller) -> Result<Session<'i>, String> {
        let token = self.first_token + index;
        Session::connect(&self.bench.peer, &self.identities[index], poller.registry(), token)
            .map_err(|error| format!("connection {index}: {error}"))
    }

    fn serve(&mut self, ready: Ready, poller: &mut Poller) -> Result<(), String> {
        let Some(index) = ready.token.checked_sub(self.first_token) else {
            return Ok(());
        };
        let Some(arrival) = self.arrivals.get_mut(index) else {
            return Ok(());
        };
        let Some(session) = &mut arrival.session else {
            return Ok(());
        };
        let mut is_in = false;
        let result = session.pump(ready, poller.scratch(), |said| is_in |= said == Said::LoggedIn);
        if is_in {
            arrival.is_settled = true;
            self.settled += 1;
            self.logins.latencies.add(arrival.began.elapsed());
            self.bench.progress.add(1);
        }
        match result {
            Ok(()) => Ok(()),
            Err(why) if arrival.is_settled => {
                arrival.session = None;
                self.logins
                    .faults
                    .note(Fault::Broken, || format!("session {index}: {why}"));
                Ok(())
            }
            Err(why) => self.fail(index, &why, poller),
        }
    }

    fn look_at_time(&mut self, poller: &Poller) -> Result<(), String> {
        let timeout = self.bench.manner.timeout;
        for index in 0..self.arrivals.len() {
            let arrival = &self.arrivals[index];
            if !arrival.is_settled && arrival.since.elapsed() > timeout {
                self.fail(index, &format!("no answer in {timeout:?}"), poller)?;
            }
        }
        Ok(())
    }

    fn fail(&mut self, index: usize, why: &str, poller: &Poller) -> Result<(), String> {
        let tries = self.arrivals[index].tries;
        let again = self.logins.fail(self.bench.manner, tries, why);
        let session = if again {
            Some(self.connect(index, poller)?)
        } else {
            None
        };
        let arrival = &mut self.arrivals[index];
        arrival.is_settled = !again;
        self.settled += usize::from(!again);
        arrival.session = session;
        arrival.tries += 1;
        arrival.since = Instant::now();
        Ok(())
    }
}

/// Closes all sessions and waits for the end of each. Mail that still comes is told to `hear` with its session's index.
pub(crate) fn close_all(
    poller: &mut Poller,
    sessions: &mut [Option<Session<'_>>],
    first_token: usize,
    faults: &mut Faults,
    mut hear: impl FnMut(usize, &[u8], &mut Faults),
) {
    for slot in sessions.iter_mut() {
        if let Some(Err(error)) = slot.as_mut().map(Session::close) {
            faults.note(Fault::Broken, || format!("at the close: {error}"));
            *slot = None;
        }
    }
    let mut open = sessions.iter().flatten().count();
    let mut ready = Vec::new();
    let mut since = Instant::now();
    while open > 0 && since.elapsed() < PATIENCE {
        if let Err(error) = poller.wait(Duration::from_secs(1), &mut ready) {
            faults.note(Fault::Broken, || error.to_string());
            return;
        }
        for &one in &ready {
            let Some(index) = one.token.checked_sub(first_token) else {
                continue;
            };
            let Some(slot) = sessions.get_mut(index) else { continue };
            let Some(session) = slot else { continue };
            since = Instant::now();
            let mut is_closed = false;
            let result = session.pump(one, poller.scratch(), |said| match said {
                Said::Mail(body) => hear(index, body, faults),
                Said::Closed => is_closed = true,
                Said::LoggedIn => {}
            });
            if let Err(why) = &result {
                faults.note(Fault::Broken, || format!("at the close: {why}"));
            }
            if is_closed || result.is_err() {
                *slot = None;
                open -= 1;
            }
        }
    }
    for _ in sessions.iter().flatten() {
        faults.note(Fault::Broken, || format!("a Close got no answer in {PATIENCE:?}"));
    }
}
