//! Scenario `idle`: what a session that only waits costs the server's memory, and whether it still gets its mail.
//!
//! It measures no CPU time, since such a session takes none.

use std::time::Duration;

use crate::Peer;
use crate::faults::{Fault, Faults};
use crate::fleet;
use crate::identity::Identity;
use crate::load::as_f64;
use crate::mail::Label;
use crate::poster::{Letter, post_all};
use crate::process::Process;
use crate::session::{Said, Session};
use crate::wire::Poller;

/// Sessions before those that count.
const WARM_UP: usize = 100;
/// Sessions that get a message.
const SAMPLE: usize = 100;
const SIZE: usize = 480;
const TTL_SECONDS: u64 = 60;
/// Longest that nothing may come while something has to.
const PATIENCE: Duration = Duration::from_secs(10);

/// Logs in `count` times with new keys, holds the sessions, posts to some of them, closes all.
///
/// # Errors
/// The sessions couldn't be had.
pub(crate) fn run(peer: Peer, count: usize) -> Result<Faults, String> {
    let identities = Identity::generate(WARM_UP + count).map_err(|_| "no keys can be made")?;
    let (warm_up, held) = identities.split_at(WARM_UP);
    let mut poller = Poller::new().map_err(|error| error.to_string())?;
    let memory = || {
        peer.process
            .map(Process::resident_kib)
            .transpose()
            .map_err(|error| error.to_string())
    };

    let mut sessions = fleet::log_in(&mut poller, peer, warm_up, 0)?;
    let before = memory()?;
    sessions.extend(fleet::log_in(&mut poller, peer, held, WARM_UP)?);
    let after = memory()?;
    println!("{count} sessions held, after {WARM_UP} for warming up");
    if let Some((before, after)) = before.zip(after) {
        let each = as_f64(after.saturating_sub(before)) * 1024.0 / as_f64(count as u64);
        println!("  {each:.0} bytes resident/session ({before} KiB before, {after} KiB with them)");
    }

    let mut faults = Faults::default();
    let mut awaited = Awaited::choose(&identities);
    awaited.post(peer, &identities, &mut faults)?;
    let mut sessions: Vec<_> = sessions.into_iter().map(Some).collect();
    awaited.read(&mut poller, &mut sessions, &mut faults)?;
    fleet::close_all(&mut poller, &mut sessions, 0, &mut faults, |index, body, faults| {
        awaited.receive(index, body, faults);
    });
    println!("  {} of {} messages came", awaited.came(), awaited.bodies.len());
    for _ in awaited.came()..awaited.bodies.len() {
        faults.note(Fault::Lost, || "a message to an idle session".to_owned());
    }
    Ok(faults)
}

/// Who is to get a message, and who has got it.
struct Awaited {
    /// By index of the session.
    recipients: Vec<usize>,
    bodies: Vec<Vec<u8>>,
    have: Vec<bool>,
}

impl Awaited {
    /// Picks some from all over.
    fn choose(identities: &[Identity]) -> Self {
        let step = (identities.len() / SAMPLE).max(1);
        let recipients: Vec<_> = (0..identities.len()).step_by(step).take(SAMPLE).collect();
        Self {
            bodies: recipients.iter().map(|index| body_for(*index)).collect(),
            have: vec![false; recipients.len()],
            recipients,
        }
    }

    fn post(&self, peer: Peer, identities: &[Identity], faults: &mut Faults) -> Result<(), String> {
        let letters = self.recipients.iter().zip(&self.bodies).map(|(index, body)| Letter {
            id: &identities[*index].id,
            body,
        });
        let letters: Vec<_> = letters.collect();
        post_all(peer.address, &letters, TTL_SECONDS, faults).map(drop)
    }

    /// Reads until all have theirs, or nothing more comes.
    fn read(
        &mut self,
        poller: &mut Poller,
        sessions: &mut [Option<Session<'_>>],
        faults: &mut Faults,
    ) -> Result<(), String> {
        let mut ready = Vec::new();
        while self.came() < self.bodies.len() {
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
        match place.filter(|place| self.bodies[*place] == body) {
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

fn body_for(session: usize) -> Vec<u8> {
    let label = Label {
        sender: 0,
        recipient: u32::try_from(session).unwrap_or(u32::MAX),
        sequence: 0,
        since_epoch: Duration::ZERO,
    };
    let mut body = Vec::new();
    label.write(&mut body, SIZE);
    body
}
