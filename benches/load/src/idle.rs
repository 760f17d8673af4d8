//! Scenario `idle`: what a session that only waits costs the server's memory, and whether it still gets its mail.
//!
//! It measures no CPU time, since such a session takes none.

use std::time::Duration;

use crate::faults::{Fault, Faults};
use crate::fleet::{self, LOGINS_AT_ONCE, Logins};
use crate::identity::Identity;
use crate::mail::Label;
use crate::prefill::{Letter, post_all};
use crate::process::{resident_kib, tell_memory};
use crate::report::{Report, Section};
use crate::session::{Said, Session};
use crate::wire::Poller;
use crate::{Bench, PATIENCE};

/// Sessions before those that count.
const WARM_UP: usize = 100;
/// Sessions that get a message.
const SAMPLE: usize = 100;
const SIZE: usize = 480;
const TTL_SECONDS: u64 = 60;

/// Logs in `count` times with new keys, holds the sessions, posts to some of them, closes all.
///
/// # Errors
/// The sessions couldn't be had.
pub(crate) fn run(bench: &Bench, count: usize) -> Result<Report, String> {
    let identities = Identity::generate(WARM_UP + count)?;
    let (warm_up, held) = identities.split_at(WARM_UP);
    let mut poller = Poller::new().map_err(|error| error.to_string())?;
    let mut report = Report::new("idle");
    let mut section = Section::new("server");
    let mut logins = Logins::default();

    bench.progress.begin("idle: logins");
    let mut sessions = fleet::log_in(bench, &mut poller, warm_up, (0, LOGINS_AT_ONCE), &mut logins)?;
    let before = resident_kib(bench.peer.process)?;
    sessions.extend(fleet::log_in(
        bench,
        &mut poller,
        held,
        (WARM_UP, LOGINS_AT_ONCE),
        &mut logins,
    )?);
    section.count("sessions", count as u64);
    section.count("login_retries", logins.retries);
    tell_memory(&mut section, "session", count, bench.peer.process, before)?;

    let mut faults = logins.faults;
    let mut awaited = Awaited::choose(identities.len());
    awaited.post(bench, &identities, &mut faults)?;
    awaited.read(&mut poller, &mut sessions, &mut faults)?;
    fleet::close_all(&mut poller, &mut sessions, 0, &mut faults, |index, body, faults| {
        awaited.receive(index, body, faults);
    });
    section.count("messages", awaited.recipients.len() as u64);
    section.count("messages_came", awaited.came() as u64);
    for _ in awaited.came()..awaited.recipients.len() {
        faults.note(Fault::Lost, || "a message to an idle session".to_owned());
    }
    report.add(section);
    report.faults.merge(faults);
    Ok(report)
}

/// Who is to get a message, and who has got it.
struct Awaited {
    /// By index of the session.
    recipients: Vec<usize>,
    have: Vec<bool>,
}

impl Awaited {
    /// Picks some of so many sessions, from all over.
    fn choose(sessions: usize) -> Self {
        let step = (sessions / SAMPLE).max(1);
        let recipients: Vec<_> = (0..sessions).step_by(step).take(SAMPLE).collect();
        Self {
            have: vec![false; recipients.len()],
            recipients,
        }
    }

    fn post(&self, bench: &Bench, identities: &[Identity], faults: &mut Faults) -> Result<(), String> {
        let mut next = self.recipients.iter();
        let letters = |_| {
            next.next().map(|index| Letter {
                id: &identities[*index].id,
                label: label_for(*index),
                ttl_seconds: TTL_SECONDS,
            })
        };
        post_all(bench, SIZE, letters, |_, _| {}, faults)
    }

    /// Reads until all have theirs, or nothing more comes.
    fn read(
        &mut self,
        poller: &mut Poller,
        sessions: &mut [Option<Session<'_>>],
        faults: &mut Faults,
    ) -> Result<(), String> {
        let mut ready = Vec::new();
        while self.came() < self.recipients.len() {
            poller.wait(PATIENCE, &mut ready).map_err(|error| error.to_string())?;
            if ready.is_empty() {
                return Ok(());
            }
            for &one in &ready {
                let Some(Some(session)) = sessions.get_mut(one.token) else {
                    continue;
                };
                let result = session.pump(one, poller.scratch(), |said| {
                    if let Said::Mail(body) = said {
                        self.receive(one.token, body, faults);
                    }
                });
                if let Err(why) = result {
                    faults.note(Fault::Broken, || format!("session {}: {why}", one.token));
                    sessions[one.token] = None;
                }
            }
        }
        Ok(())
    }

    fn receive(&mut self, session: usize, body: &[u8], faults: &mut Faults) {
        let place = self.recipients.iter().position(|index| *index == session);
        match place.filter(|_| Label::read(body, SIZE) == Some(label_for(session))) {
            Some(place) if self.have[place] => faults.note(Fault::Duplicated, || format!("session {session}")),
            Some(place) => self.have[place] = true,
            None => faults.note(Fault::Corrupt, || {
                format!("session {session} got {}", body.escape_ascii())
            }),
        }
    }

    fn came(&self) -> usize {
        self.have.iter().filter(|has| **has).count()
    }
}

fn label_for(session: usize) -> Label {
    Label {
        sender: 0,
        recipient: u32::try_from(session).unwrap_or(u32::MAX),
        sequence: 0,
        since_epoch: Duration::ZERO,
    }
}
