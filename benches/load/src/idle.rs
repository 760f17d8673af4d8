//! Scenario `idle`: what a session that only waits costs the server's memory, and whether it still gets its mail.
//!
//! It measures no CPU time, since such a session takes none.

use std::time::{Duration, Instant};

use crate::bench::{Bench, PATIENCE};
use crate::drive::{Actor, TICK, Turn, drive};
use crate::faults::{Fault, Faults};
use crate::fleet::{Fleet, LOGINS_AT_ONCE};
use crate::identity::Identity;
use crate::ledger::Ledger;
use crate::mail::{Label, Letter};
use crate::prefill::post_all;
use crate::process::{resident_kib, tell_memory};
use crate::report::{Report, Section};
use crate::wire::{Poller, Ready};

/// Sessions before those that count.
const WARM_UP: usize = 100;
/// Sessions that get a message.
const SAMPLE: usize = 100;
const SIZE: usize = 480;
const TTL_SECONDS: u64 = 60;

/// Logs in `count` times with new keys, holds the sessions, posts to some of them, closes all.
pub(crate) fn run(bench: &Bench, count: usize) -> Result<Report, String> {
    let identities = Identity::generate(WARM_UP + count)?;
    let mut poller = Poller::new().map_err(|error| error.to_string())?;
    let mut report = Report::new("idle");
    let mut section = Section::new("server");

    bench.progress.begin("idle: logins");
    let mut fleet = Fleet::held(bench, &identities, LOGINS_AT_ONCE);
    fleet.log_in(&mut poller, WARM_UP)?;
    let before = resident_kib(bench.peer.process)?;
    fleet.log_in(&mut poller, identities.len())?;
    section.count("sessions", count as u64);
    section.count("login_retries", fleet.logins.retries);
    tell_memory(&mut section, "session", count, bench.peer.process, before)?;

    let mut awaited = Awaited::choose(&identities);
    awaited.post(bench, &mut report.faults)?;
    let last_event = Instant::now();
    drive(
        &mut poller,
        &mut Reading {
            fleet: &mut fleet,
            awaited: &mut awaited,
            last_event,
        },
    )?;
    fleet.close(&mut poller, |session, body, faults| {
        awaited.receive(session, body, faults);
    })?;
    report.faults.merge(fleet.logins.faults);
    section.count("messages", awaited.ledgers.len() as u64);
    section.count("messages_came", awaited.came);
    for (session, _) in awaited.ledgers.iter().filter(|(_, ledger)| !ledger.is_settled()) {
        report
            .faults
            .note(Fault::Lost, || format!("a message to idle session {session}"));
    }
    report.add(section);
    Ok(report)
}

/// Reads until all have theirs, or nothing more comes.
struct Reading<'r, 'f> {
    fleet: &'r mut Fleet<'f>,
    awaited: &'r mut Awaited<'f>,
    last_event: Instant,
}

impl Actor for Reading<'_, '_> {
    fn turn(&mut self, _: &mut Poller, now: Instant) -> Result<Turn, String> {
        let is_settled = self.awaited.ledgers.iter().all(|(_, ledger)| ledger.is_settled());
        if is_settled || now.saturating_duration_since(self.last_event) > PATIENCE {
            return Ok(Turn::Over);
        }
        Ok(Turn::Wait(TICK))
    }

    fn serve(&mut self, ready: Ready, poller: &mut Poller) -> Result<(), String> {
        self.last_event = Instant::now();
        let awaited = &mut *self.awaited;
        self.fleet.serve(ready, poller, |session, body, faults| {
            awaited.receive(session, body, faults);
        })
    }
}

/// The sessions that are to get a message.
struct Awaited<'a> {
    identities: &'a [Identity],
    /// With the index of the session.
    ledgers: Vec<(usize, Ledger)>,
    came: u64,
}

impl<'a> Awaited<'a> {
    /// Picks some, from all over.
    fn choose(identities: &'a [Identity]) -> Self {
        let step = (identities.len() / SAMPLE).max(1);
        let sessions = (0..identities.len()).step_by(step).take(SAMPLE);
        Self {
            identities,
            ledgers: sessions.map(|session| (session, Ledger::default())).collect(),
            came: 0,
        }
    }

    fn post(&mut self, bench: &Bench, faults: &mut Faults) -> Result<(), String> {
        let mut next = self.ledgers.iter_mut();
        let letters = |_| {
            next.next().map(|(session, ledger)| Letter {
                id: &self.identities[*session].id,
                label: label(*session, ledger.post()),
                ttl_seconds: TTL_SECONDS,
            })
        };
        post_all(bench, SIZE, letters, |_, _| {}, faults)
    }

    fn receive(&mut self, session: usize, body: &[u8], faults: &mut Faults) {
        let ledger = self.ledgers.iter_mut().find(|(index, _)| *index == session);
        let right = Label::read(body, SIZE).filter(|read| *read == label(session, read.sequence));
        match ledger
            .zip(right)
            .map(|((_, ledger), label)| ledger.receive(label.sequence))
        {
            Some(Ok(())) => self.came += 1,
            Some(Err(fault)) => faults.note(fault, || format!("session {session}")),
            None => faults.note(Fault::Corrupt, || {
                format!("session {session} got {}", body.escape_ascii())
            }),
        }
    }
}

fn label(session: usize, sequence: u32) -> Label {
    Label {
        sender: 0,
        recipient: u32::try_from(session).unwrap_or(u32::MAX),
        sequence,
        since_epoch: Duration::ZERO,
    }
}
