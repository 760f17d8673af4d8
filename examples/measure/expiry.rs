//! Scenario `expiry`: mail that is fetched within its time to live is all there, and what is fetched after it is not.
//!
//! What counts as in time is [`crate::judge`]'s.

use std::thread;
use std::time::{Duration, Instant};

use crate::Peer;
use crate::faults::{Fault, Faults};
use crate::identity::Identity;
use crate::judge::{CLOCK_SLACK, Came, Expected};
use crate::mail::Label;
use crate::poster::{Letter, post_all};
use crate::process::Process;
use crate::visits::{Visit, visit_all};

const SIZE: usize = 480;
const VISITS_AT_ONCE: usize = 64;
/// Mailboxes that are looked into after the time to live.
const SAMPLE: usize = 500;

/// Posts one message to each of `count` new ids, twice: with a visit in time, and with one that comes too late.
///
/// # Errors
/// It couldn't be carried out, or the visits in time were too slow to be in time.
pub(crate) fn run(peer: Peer, count: usize, ttl_seconds: u64) -> Result<Faults, String> {
    let identities = Identity::generate(2 * count).map_err(|_| "no keys can be made")?;
    let (fetched, left) = identities.split_at(count);
    let mut faults = Faults::default();
    tell_memory(peer, "before")?;

    let mut mailboxes = Mailboxes::new(peer, fetched, ttl_seconds);
    mailboxes.post(0, fetched.len(), &mut faults)?;
    tell_memory(peer, "with all messages stored")?;
    let posted = Instant::now();
    let Came { messages, missed } = mailboxes.visit(0, fetched.len(), &mut faults)?;
    println!(
        "{messages} of {count} messages came, fetched within {:.1?} of the last post",
        posted.elapsed()
    );
    if missed > 0 && faults.is_none() {
        return Err(format!(
            "{missed} visits came too late to tell anything: give a longer --ttl"
        ));
    }

    let mut mailboxes = Mailboxes::new(peer, left, ttl_seconds);
    mailboxes.post(0, left.len(), &mut faults)?;
    tell_memory(peer, "with as many stored again")?;
    thread::sleep(mailboxes.ttl + 2 * CLOCK_SLACK);
    // A fresh message shows that the mailbox is open and has nothing before it.
    let sample = left.len().min(SAMPLE);
    mailboxes.post(1, sample, &mut faults)?;
    let Came { messages, .. } = mailboxes.visit(1, sample, &mut faults)?;
    println!("{messages} messages came from {sample} mailboxes whose one fresh message followed an expired one");
    tell_memory(peer, "after")?;
    Ok(faults)
}

fn tell_memory(peer: Peer, when: &str) -> Result<(), String> {
    if let Some(process) = peer.process {
        let kib = Process::resident_kib(process).map_err(|error| error.to_string())?;
        println!("  {kib} KiB resident {when}");
    }
    Ok(())
}

/// The ids, and what was acknowledged for each.
struct Mailboxes<'i> {
    peer: Peer,
    identities: &'i [Identity],
    expected: Vec<Expected>,
    ttl: Duration,
}

impl<'i> Mailboxes<'i> {
    fn new(peer: Peer, identities: &'i [Identity], ttl_seconds: u64) -> Self {
        Self {
            peer,
            identities,
            expected: identities.iter().map(|_| Expected::default()).collect(),
            ttl: Duration::from_secs(ttl_seconds),
        }
    }

    /// Posts message `sequence` to the first `count`.
    fn post(&mut self, sequence: u32, count: usize, faults: &mut Faults) -> Result<(), String> {
        let bodies = bodies(sequence, count);
        let letters = self
            .identities
            .iter()
            .zip(&bodies)
            .map(|(identity, body)| Letter { id: &identity.id, body });
        let letters: Vec<_> = letters.collect();
        let stored = post_all(self.peer.address, &letters, self.ttl.as_secs(), faults)?;
        for (expected, stored) in self.expected.iter_mut().zip(stored) {
            if let Some(stored) = stored {
                expected.add(0, sequence, stored);
            }
        }
        Ok(())
    }

    /// Logs in to the first `count` and waits for message `sequence` of each. Returns what came of all.
    fn visit(&self, sequence: u32, count: usize, faults: &mut Faults) -> Result<Came, String> {
        let bodies = bodies(sequence, count);
        let visits = self.identities.iter().zip(&bodies).map(|(identity, body)| Visit {
            identity,
            last: Some(body),
        });
        let visits: Vec<_> = visits.collect();
        let visited = visit_all(self.peer.address, &visits, VISITS_AT_ONCE).map_err(|error| error.to_string())?;
        let mut all = Came { messages: 0, missed: 0 };
        for ((recipient, expected), visited) in (0..).zip(&self.expected).zip(visited) {
            match visited {
                Ok(visited) => {
                    let came = expected.judge(recipient, &visited, SIZE, self.ttl, faults);
                    all.messages += came.messages;
                    all.missed += came.missed;
                }
                Err(why) => faults.note(Fault::Broken, || format!("visit to mailbox {recipient}: {why}")),
            }
        }
        Ok(all)
    }
}

fn bodies(sequence: u32, count: usize) -> Vec<Vec<u8>> {
    let body = |recipient| {
        let label = Label {
            sender: 0,
            recipient,
            sequence,
            since_epoch: Duration::ZERO,
        };
        let mut body = Vec::new();
        label.write(&mut body, SIZE);
        body
    };
    (0..).take(count).map(body).collect()
}
