//! The well-behaved pair: a sender that posts one message after the other, and the session that they are for.
//!
//! It stays connected from the first measure to the last, so that all are of the same workers.

use std::time::{Duration, Instant};

use super::latencies::PairLatencies;
use crate::faults::{Fault, Faults};
use crate::fleet::{self, Logins};
use crate::identity::Identity;
use crate::ledger::Ledger;
use crate::mail::Label;
use crate::poster::{Posted, Poster};
use crate::session::{Said, Session};
use crate::wire::{Poller, Ready};
use crate::{Bench, PATIENCE};

const SESSION: usize = 0;
const POSTER: usize = 1;
const SIZE: usize = 480;
const TTL_SECONDS: u64 = 60;

/// One sender and one session.
pub(super) struct Pair<'i> {
    poller: Poller,
    sessions: Vec<Option<Session<'i>>>,
    poster: Poster,
    id: &'i str,
    account: Account,
    faults: Faults,
}

/// What was posted and what has come.
struct Account {
    epoch: Instant,
    ledger: Ledger,
}

impl<'i> Pair<'i> {
    /// Logs in the first of `identities`, and begins to connect its sender.
    ///
    /// # Errors
    /// The first thing that went wrong.
    pub(super) fn connect(bench: &Bench, identities: &'i [Identity]) -> Result<Self, String> {
        let identity = identities.first().ok_or("nobody to log in")?;
        let mut poller = Poller::new().map_err(|error| error.to_string())?;
        let mut logins = Logins::default();
        let sessions = fleet::log_in(bench, &mut poller, &identities[..1], (SESSION, 1), &mut logins)?;
        let poster = Poster::connect(&bench.peer, SIZE, poller.registry(), POSTER);
        Ok(Self {
            poster: poster.map_err(|error| error.to_string())?,
            poller,
            sessions,
            id: &identity.id,
            account: Account {
                epoch: Instant::now(),
                ledger: Ledger::default(),
            },
            faults: logins.faults,
        })
    }

    /// Posts until `is_enough`, once at least, then waits until all has come, so that no wait is cut off.
    ///
    /// # Errors
    /// A connection is over, or nothing comes any more.
    pub(super) fn run(
        &mut self,
        latencies: &mut PairLatencies,
        mut is_enough: impl FnMut() -> bool,
    ) -> Result<(), String> {
        let mut ready = Vec::new();
        let mut last_event = Instant::now();
        let (mut enough, mut has_posted) = (false, false);
        loop {
            enough = enough || is_enough();
            if self.poster.in_flight() == 0 {
                if !enough || !has_posted {
                    has_posted = true;
                    self.post()?;
                } else if self.account.ledger.is_settled() {
                    return Ok(());
                }
            }
            self.poller
                .wait(Duration::from_millis(100), &mut ready)
                .map_err(|error| error.to_string())?;
            if !ready.is_empty() {
                last_event = Instant::now();
            } else if last_event.elapsed() > PATIENCE {
                return Err(format!("the pair got nothing in {PATIENCE:?}"));
            }
            for &one in &ready {
                if one.token == SESSION {
                    self.read(one, latencies)?;
                } else {
                    self.take_answer(one, latencies)?;
                }
            }
        }
    }

    /// Closes the session and tells what was wrong all the time.
    pub(super) fn finish(mut self) -> Faults {
        let account = &mut self.account;
        fleet::close_all(
            &mut self.poller,
            &mut self.sessions,
            SESSION,
            &mut self.faults,
            |_, body, faults| {
                account.receive(body, faults);
            },
        );
        for sequence in account.ledger.lost() {
            self.faults.note(Fault::Lost, || format!("message {sequence}"));
        }
        self.faults
    }

    fn post(&mut self) -> Result<(), String> {
        let posted = Posted {
            recipient: 0,
            sequence: self.account.ledger.post(),
            at: Instant::now(),
        };
        let label = Label {
            sender: 0,
            recipient: 0,
            sequence: posted.sequence,
            since_epoch: posted.at - self.account.epoch,
        };
        self.poster
            .post(self.id, TTL_SECONDS, posted, |output| label.write(output, SIZE));
        self.poster.flush()
    }

    fn take_answer(&mut self, ready: Ready, latencies: &mut PairLatencies) -> Result<(), String> {
        let (ledger, faults) = (&mut self.account.ledger, &mut self.faults);
        let pumped = self
            .poster
            .pump(ready, self.poller.scratch(), |posted, answer| match answer {
                Ok(_) => latencies.answers.add(posted.at.elapsed()),
                Err(why) => {
                    faults.note(Fault::Refused, || why);
                    ledger.excuse(posted.sequence);
                }
            });
        pumped.map_err(|why| format!("the sender: {why}"))
    }

    fn read(&mut self, ready: Ready, latencies: &mut PairLatencies) -> Result<(), String> {
        let Some(session) = self.sessions.iter_mut().flatten().next() else {
            return Ok(());
        };
        let (account, faults) = (&mut self.account, &mut self.faults);
        let pumped = session.pump(ready, self.poller.scratch(), |said| {
            if let Said::Mail(body) = said
                && let Some(label) = account.receive(body, faults)
            {
                latencies.deliveries.add(label.age(account.epoch, Instant::now()));
            }
        });
        pumped.map_err(|why| format!("the session: {why}"))
    }
}

impl Account {
    /// The session got a message, which is `Some` if it is good.
    fn receive(&mut self, body: &[u8], faults: &mut Faults) -> Option<Label> {
        let Some(label) = Label::read(body, SIZE) else {
            faults.note(Fault::Corrupt, || body.escape_ascii().to_string());
            return None;
        };
        match self.ledger.receive(label.sequence) {
            Ok(()) => Some(label),
            Err(fault) => {
                faults.note(fault, || format!("{label:?}"));
                None
            }
        }
    }
}
