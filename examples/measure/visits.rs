//! Visits: whole lives of sessions, from the connect to the end of the stream, many at a time.
//!
//! What a visit brought home is for the scenarios to judge.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::identity::Identity;
use crate::session::{Login, Said, Session};
use crate::wire::{Poller, Ready};

/// Longest that a visit may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest from a login to mail that was stored before it. Whoever has waited so long goes without.
const MAIL_PATIENCE: Duration = Duration::from_secs(2);
/// How often the two are looked at.
const TICK: Duration = Duration::from_millis(200);
/// After so many visits that went wrong none is begun any more, for the server's case is clear.
const WRONG_ENOUGH: usize = 100;

/// What to do: log in, wait for the mail named, close.
#[derive(Clone, Copy)]
pub(crate) struct Visit<'v> {
    pub(crate) identity: &'v Identity,
    /// The last message that has to come; with none the visit closes as soon as it is logged in.
    pub(crate) last: Option<&'v [u8]>,
}

/// What came of it.
pub(crate) struct Visited {
    /// All messages, in the order in which they came.
    pub(crate) mail: Vec<Vec<u8>>,
    /// No message was handed out before this.
    pub(crate) started: Instant,
    /// By now all had come, or should have.
    pub(crate) finished: Instant,
}

/// Makes all visits, `concurrency` at a time, and returns what came of each, in their order.
///
/// # Errors
/// Those of the system. What goes wrong in a visit is its own result.
pub(crate) fn visit_all(
    address: SocketAddr,
    visits: &[Visit<'_>],
    concurrency: usize,
) -> io::Result<Vec<Result<Visited, String>>> {
    let mut poller = Poller::new()?;
    let mut rooms: Vec<Option<Guest<'_>>> = (0..concurrency).map(|_| None).collect();
    let mut book = Book {
        results: visits.iter().map(|_| Err("not begun after those".to_owned())).collect(),
        wrong: 0,
    };
    let mut next = visits.iter().enumerate();
    let mut ready = Vec::new();
    loop {
        for (token, room) in rooms.iter_mut().enumerate().filter(|(_, room)| room.is_none()) {
            if book.wrong < WRONG_ENOUGH
                && let Some((index, visit)) = next.next()
            {
                *room = Some(Guest::arrive(address, index, *visit, &poller, token)?);
            }
        }
        if rooms.iter().all(Option::is_none) {
            return Ok(book.results);
        }
        poller.wait(TICK, &mut ready)?;
        for &one in &ready {
            if let Some(room) = rooms.get_mut(one.token)
                && let Some(guest) = room
            {
                let over = guest.serve(one, poller.scratch());
                book.note(room, over);
            }
        }
        for room in &mut rooms {
            if let Some(guest) = room {
                let over = guest.look_at_time();
                book.note(room, over);
            }
        }
    }
}

/// The results, and how many of them are bad.
struct Book {
    results: Vec<Result<Visited, String>>,
    wrong: usize,
}

impl Book {
    /// Frees the room if its visit is over.
    fn note(&mut self, room: &mut Option<Guest<'_>>, over: Result<bool, String>) {
        if over == Ok(false) {
            return;
        }
        if let Some(guest) = room.take()
            && let Some(result) = self.results.get_mut(guest.index)
        {
            self.wrong += usize::from(over.is_err() || guest.goes_without);
            *result = over.map(|_| guest.visited);
        }
    }
}

struct Guest<'v> {
    index: usize,
    visit: Visit<'v>,
    session: Session<'v>,
    visited: Visited,
    logged_in: Option<Instant>,
    is_closing: bool,
    goes_without: bool,
}

impl<'v> Guest<'v> {
    fn arrive(address: SocketAddr, index: usize, visit: Visit<'v>, poller: &Poller, token: usize) -> io::Result<Self> {
        let started = Instant::now();
        Ok(Self {
            index,
            visit,
            session: Session::connect(address, visit.identity, Login::Needed, poller.registry(), token)?,
            visited: Visited {
                mail: Vec::new(),
                started,
                finished: started,
            },
            logged_in: None,
            is_closing: false,
            goes_without: false,
        })
    }

    /// Says whether the visit is over.
    fn serve(&mut self, ready: Ready, scratch: &mut [u8]) -> Result<bool, String> {
        let mut is_closed = false;
        let (mail, logged_in) = (&mut self.visited.mail, &mut self.logged_in);
        let had = mail.len();
        self.session.pump(ready, scratch, |said| match said {
            Said::LoggedIn => *logged_in = Some(Instant::now()),
            Said::Mail(body) => mail.push(body.to_vec()),
            Said::Closed => is_closed = true,
        })?;
        let has_all = match self.visit.last {
            None => logged_in.is_some(),
            Some(last) => mail.iter().skip(had).any(|body| body == last),
        };
        if has_all {
            self.close()?;
        }
        Ok(is_closed)
    }

    /// Ends what takes too long. Says whether the visit is over, which it isn't yet.
    fn look_at_time(&mut self) -> Result<bool, String> {
        if self.visited.started.elapsed() > PATIENCE {
            return Err(format!("not done in {PATIENCE:?}"));
        }
        if !self.is_closing && self.logged_in.is_some_and(|at| at.elapsed() > MAIL_PATIENCE) {
            self.goes_without = true;
            self.close()?;
        }
        Ok(false)
    }

    fn close(&mut self) -> Result<(), String> {
        if !self.is_closing {
            self.is_closing = true;
            self.visited.finished = Instant::now();
            self.session.close().map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}
