//! Visits: whole lives of sessions, from the connect to the end of the stream, many at a time.
//!
//! What a visit brought home is for the scenarios to judge.

use std::io;
use std::time::{Duration, Instant};

use crate::faults::Fault;
use crate::fleet::Logins;
use crate::identity::Identity;
use crate::mail::Label;
use crate::session::{Said, Session};
use crate::wire::{Poller, Ready};
use crate::{Bench, PATIENCE};

/// Longest from a login, or from a message, to mail that was stored before it. Whoever has waited so long goes without.
const MAIL_PATIENCE: Duration = Duration::from_secs(20);
/// What lives for so long after the login, or the last message, should have come.
const MAIL_DUE: Duration = Duration::from_secs(2);
/// How often these are looked at.
const TICK: Duration = Duration::from_millis(200);
/// After so many visits that went wrong none is begun any more, for the server's case is clear.
const WRONG_ENOUGH: usize = 100;

/// What to do: log in, wait for the mail named, close.
#[derive(Clone, Copy)]
pub(crate) struct Visit<'v> {
    pub(crate) identity: &'v Identity,
    /// The last message that has to come; with none the visit closes as soon as it is logged in.
    pub(crate) last: Option<Label>,
    /// Bytes of each message.
    pub(crate) size: usize,
}

impl<'v> Visit<'v> {
    /// Logs in and closes; there is no mail to wait for.
    pub(crate) fn in_passing(identity: &'v Identity) -> Self {
        Self {
            identity,
            last: None,
            size: 0,
        }
    }
}

/// What came of it.
pub(crate) struct Visited {
    /// All messages, in the order in which they came; `None` for one that nobody posted like this.
    pub(crate) mail: Vec<Option<Label>>,
    /// No message was handed out before this.
    pub(crate) started: Instant,
    /// By now all had come, or should have.
    pub(crate) finished: Instant,
}

/// Makes all visits, `at_once` at a time, and returns what came of each, in their order, `None` of one that went wrong: that is
/// noted with the logins.
///
/// # Errors
/// Those of the system.
pub(crate) fn visit_all(
    bench: &Bench,
    visits: &[Visit<'_>],
    at_once: usize,
    logins: &mut Logins,
) -> io::Result<Vec<Option<Visited>>> {
    let mut poller = Poller::new()?;
    let mut house = House {
        bench,
        logins,
        rooms: (0..at_once.min(visits.len())).map(|_| None).collect(),
        results: visits.iter().map(|_| None).collect(),
        wrong: 0,
    };
    let mut next = visits.iter().enumerate();
    let mut ready = Vec::new();
    let mut looked = Instant::now();
    loop {
        for token in 0..house.rooms.len() {
            if house.rooms[token].is_none()
                && house.wrong < WRONG_ENOUGH
                && let Some((index, visit)) = next.next()
            {
                house.rooms[token] = Some(Guest::arrive(bench, index, *visit, &poller, token)?);
            }
        }
        if house.rooms.iter().all(Option::is_none) {
            for _ in next {
                house
                    .logins
                    .faults
                    .note(Fault::Broken, || "a visit not begun after those".to_owned());
            }
            return Ok(house.results);
        }
        poller.wait(TICK, &mut ready)?;
        for &one in &ready {
            house.serve(one, &mut poller)?;
        }
        if looked.elapsed() >= TICK {
            looked = Instant::now();
            house.look_at_time(&poller)?;
        }
    }
}

/// Where the visits are, and their results.
struct House<'h, 'v> {
    bench: &'h Bench,
    logins: &'h mut Logins,
    rooms: Vec<Option<Guest<'v>>>,
    results: Vec<Option<Visited>>,
    /// How many of the results are bad.
    wrong: usize,
}

impl House<'_, '_> {
    fn serve(&mut self, ready: Ready, poller: &mut Poller) -> io::Result<()> {
        let Some(Some(guest)) = self.rooms.get_mut(ready.token) else {
            return Ok(());
        };
        let was_in = guest.logged_in.is_some();
        let over = guest.serve(ready, poller.scratch());
        if let Some(at) = guest.logged_in.filter(|_| !was_in) {
            self.logins.latencies.add(at - guest.began);
            self.bench.progress.add(1);
        }
        self.note(ready.token, &over, poller)
    }

    fn look_at_time(&mut self, poller: &Poller) -> io::Result<()> {
        for token in 0..self.rooms.len() {
            if let Some(guest) = &mut self.rooms[token] {
                let over = guest.look_at_time(self.bench.manner.timeout);
                self.note(token, &over, poller)?;
            }
        }
        Ok(())
    }

    /// Frees the room if its visit is over, or has the login begin again if that was dropped.
    fn note(&mut self, token: usize, over: &Result<bool, String>, poller: &Poller) -> io::Result<()> {
        if *over == Ok(false) {
            return Ok(());
        }
        let Some(guest) = &mut self.rooms[token] else {
            return Ok(());
        };
        if let Err(why) = over {
            if guest.logged_in.is_some() {
                let index = guest.index;
                self.logins
                    .faults
                    .note(Fault::Broken, || format!("visit {index}: {why}"));
            } else if self.logins.fail(self.bench.manner, guest.tries, why) {
                return guest.come_again(self.bench, poller, token);
            }
        }
        if let Some(guest) = self.rooms[token].take()
            && let Some(result) = self.results.get_mut(guest.index)
        {
            self.wrong += usize::from(over.is_err() || guest.goes_without);
            *result = over.is_ok().then_some(guest.visited);
        }
        Ok(())
    }
}

struct Guest<'v> {
    index: usize,
    visit: Visit<'v>,
    session: Session<'v>,
    visited: Visited,
    /// When it came the first time.
    began: Instant,
    tries: u32,
    logged_in: Option<Instant>,
    /// When mail came, or the Close went.
    last_event: Instant,
    is_closing: bool,
    goes_without: bool,
}

impl<'v> Guest<'v> {
    fn arrive(bench: &Bench, index: usize, visit: Visit<'v>, poller: &Poller, token: usize) -> io::Result<Self> {
        let started = Instant::now();
        Ok(Self {
            index,
            visit,
            session: Session::connect(&bench.peer, visit.identity, poller.registry(), token)?,
            visited: Visited {
                mail: Vec::new(),
                started,
                finished: started,
            },
            began: started,
            tries: 1,
            logged_in: None,
            last_event: started,
            is_closing: false,
            goes_without: false,
        })
    }

    fn come_again(&mut self, bench: &Bench, poller: &Poller, token: usize) -> io::Result<()> {
        let now = Instant::now();
        self.session = Session::connect(&bench.peer, self.visit.identity, poller.registry(), token)?;
        self.tries += 1;
        self.visited.started = now;
        self.last_event = now;
        Ok(())
    }

    /// Says whether the visit is over.
    fn serve(&mut self, ready: Ready, scratch: &mut [u8]) -> Result<bool, String> {
        let (mut is_closed, mut has_all) = (false, false);
        let (visited, logged_in, visit) = (&mut self.visited, &mut self.logged_in, self.visit);
        let had = visited.mail.len();
        self.session.pump(ready, scratch, |said| match said {
            Said::LoggedIn => *logged_in = Some(Instant::now()),
            Said::Mail(body) => {
                let label = Label::read(body, visit.size);
                has_all |= label.is_some() && label == visit.last;
                visited.mail.push(label);
            }
            Said::Closed => is_closed = true,
        })?;
        if self.visited.mail.len() > had {
            self.last_event = Instant::now();
        }
        if has_all || (visit.last.is_none() && self.logged_in.is_some()) {
            self.close()?;
        }
        Ok(is_closed)
    }

    /// Ends what takes too long. Says whether the visit is over, which it isn't yet.
    fn look_at_time(&mut self, login_timeout: Duration) -> Result<bool, String> {
        let waited = self.last_event.elapsed();
        if self.is_closing && waited > PATIENCE {
            return Err(format!("no end of the stream in {PATIENCE:?}"));
        }
        match self.logged_in {
            None if waited > login_timeout => Err(format!("no answer in {login_timeout:?}")),
            Some(at) if !self.is_closing && waited.min(at.elapsed()) > MAIL_PATIENCE => {
                let due = self.last_event.max(at) + MAIL_DUE;
                self.goes_without = true;
                self.close()?;
                self.visited.finished = due;
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    fn close(&mut self) -> Result<(), String> {
        if !self.is_closing {
            let now = Instant::now();
            self.is_closing = true;
            self.visited.finished = now;
            self.last_event = now;
            self.session.close().map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}
