//! Scenario `relay`: messages to live sessions, each of which has to come once, and in order for each sender.
//!
//! What the load itself is, and when it is measured, is [`crate::bench::load`]'s.

use std::time::{Duration, Instant};

use crate::bench::peer::Peer;
use crate::bench::crew::{Accounts, Crew, Next, Settled, Spread};
use crate::bench::faults::{Fault, Faults};
use crate::bench::fleet;
use crate::bench::identity::Identity;
use crate::bench::ledger::Ledger;
use crate::bench::load::{self, Figures, Plan, Start, Tally, Window};
use crate::bench::mail::Label;
use crate::bench::session::{Login, Said, Session};
use crate::bench::wire::{Poller, Ready};

/// Longest that the last answers and messages may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Logs in for each identity, and loads the peer, called `whose`. The identities are shared out among the threads.
///
/// # Errors
/// The load couldn't be made.
pub(crate) fn run(peer: Peer, plan: &Plan, identities: &[Identity], whose: &str) -> Result<Figures, String> {
    let (figures, _) = load::run(plan, peer, |thread, start| {
        let count = plan.share(identities.len(), thread);
        let before: usize = (0..thread).map(|thread| plan.share(identities.len(), thread)).sum();
        let mut tally = Tally::default();
        let recipients = &identities[before..before + count];
        if let Err(why) = relay(peer, plan, recipients, thread, start, &mut tally) {
            tally.faults.note(Fault::Broken, || why);
        }
        (tally, ())
    })?;
    println!("{whose}: {figures}");
    Ok(figures)
}

fn relay(
    peer: Peer,
    plan: &Plan,
    recipients: &[Identity],
    thread: usize,
    start: &Start,
    tally: &mut Tally,
) -> Result<(), String> {
    let ready = Poller::new().map_err(|error| error.to_string()).and_then(|mut poller| {
        let sessions = fleet::log_in(&mut poller, peer, recipients, 0)?;
        Ok((poller, sessions))
    });
    // Before any error is told, for the others wait here.
    let window = start.window();
    let (mut poller, sessions) = ready?;
    let mut sessions: Vec<_> = sessions.into_iter().map(Some).collect();
    let ids = recipients.iter().map(|identity| identity.id.as_str()).collect();
    let crew = Crew::connect(plan, peer, window, ids, &poller, (thread, sessions.len()))?;
    let mut books = Books {
        ledgers: vec![Ledger::default(); crew.len() * sessions.len()],
        posters: crew.len(),
        first_sender: crew.first_sender(),
        sessions: sessions.len(),
        spread: Spread::new(thread),
        size: plan.size,
        window,
    };
    exchange(&mut poller, &mut sessions, crew, &mut books, tally)?;
    if peer.login == Login::Needed {
        let mut hear = |index, body: &[u8], faults: &mut Faults| {
            books.receive(index, body, faults);
        };
        fleet::close_all(&mut poller, &mut sessions, 0, &mut tally.faults, &mut hear);
    }
    books.tell_lost(&mut tally.faults);
    Ok(())
}

/// Posts until the window closes, and reads until everything has come.
fn exchange(
    poller: &mut Poller,
    sessions: &mut [Option<Session<'_>>],
    mut crew: Crew<'_>,
    books: &mut Books,
    tally: &mut Tally,
) -> Result<(), String> {
    let mut ready = Vec::new();
    loop {
        poller
            .wait(Duration::from_millis(100), &mut ready)
            .map_err(|error| error.to_string())?;
        for &one in &ready {
            match sessions.get_mut(one.token) {
                Some(session) => read(one, session, poller, books, tally),
                None => crew.serve(one, poller, tally, books),
            }
        }
        if Instant::now() >= books.window.closes {
            if crew.is_idle() && books.is_settled() {
                return Ok(());
            }
            if books.window.closes.elapsed() > PATIENCE {
                crew.give_up_all(tally, books);
                return Ok(());
            }
        }
    }
}

fn read(ready: Ready, slot: &mut Option<Session<'_>>, poller: &mut Poller, books: &mut Books, tally: &mut Tally) {
    let Some(session) = slot else { return };
    let now = Instant::now();
    let result = session.pump(ready, poller.scratch(), |said| {
        if let Said::Mail(body) = said
            && let Some(label) = books.receive(ready.token, body, &mut tally.faults)
        {
            tally.count(books.window, now, label.age(books.window.epoch, now));
        }
    });
    if let Err(why) = result {
        tally
            .faults
            .note(Fault::Broken, || format!("session {}: {why}", ready.token));
        *slot = None;
    }
}

/// Accounts of each sender's messages to each session.
struct Books {
    /// By session, then by poster.
    ledgers: Vec<Ledger>,
    posters: usize,
    first_sender: u32,
    sessions: usize,
    spread: Spread,
    size: usize,
    window: Window,
}

impl Books {
    /// A session got a message, which is `Some` if it is good.
    fn receive(&mut self, session: usize, body: &[u8], faults: &mut Faults) -> Option<Label> {
        let label = Label::read(body, self.size).filter(|label| label.recipient as usize == session);
        let poster = label.and_then(|label| label.sender.checked_sub(self.first_sender));
        let poster = poster
            .map(|poster| poster as usize)
            .filter(|poster| *poster < self.posters);
        let (Some(label), Some(poster)) = (label, poster) else {
            faults.note(Fault::Corrupt, || {
                format!("session {session} got {}", body.escape_ascii())
            });
            return None;
        };
        match self.ledgers[session * self.posters + poster].receive(label.sequence) {
            Ok(()) => Some(label),
            Err(fault) => {
                faults.note(fault, || format!("session {session} got {label:?}"));
                None
            }
        }
    }

    fn is_settled(&self) -> bool {
        self.ledgers.iter().all(Ledger::is_settled)
    }

    fn tell_lost(&self, faults: &mut Faults) {
        for (place, ledger) in self.ledgers.iter().enumerate() {
            let (session, poster) = (place / self.posters, place % self.posters);
            for sequence in ledger.lost() {
                faults.note(Fault::Lost, || {
                    format!("message {sequence} of poster {poster} to session {session}")
                });
            }
        }
    }
}

impl Accounts for Books {
    fn next(&mut self, poster: usize) -> Next {
        let recipient = self.spread.below(self.sessions);
        Next {
            recipient,
            sequence: self.ledgers[recipient as usize * self.posters + poster].post(),
        }
    }

    fn settle(&mut self, settled: &Settled, _: &mut Tally, _: Instant) {
        if !settled.is_acknowledged {
            self.ledgers[settled.recipient as usize * self.posters + settled.poster].excuse(settled.sequence);
        }
    }
}
