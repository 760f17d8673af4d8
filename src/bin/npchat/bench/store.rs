//! Scenario `store`: messages to recipients who are away, and whether a sample of the mailboxes holds what it should.
//!
//! What the load itself is, and when it is measured, is [`crate::bench::load`]'s.

use std::time::{Duration, Instant};

use crate::bench::peer::Peer;
use crate::bench::crew::{Accounts, Crew, Next, Settled, Spread};
use crate::bench::faults::{Fault, Faults};
use crate::bench::identity::Identity;
use crate::bench::judge::Expected;
use crate::bench::load::{self, Figures, Plan, Start, Tally, Window};
use crate::bench::mail::Label;
use crate::bench::poster::{Letter, Stored, post_all};
use crate::bench::session::Login;
use crate::bench::visits::{Visit, visit_all};
use crate::bench::wire::Poller;

/// Recipients whose mailboxes are looked into.
const SAMPLE: usize = 100;
/// Sender of the message that is posted to each of the sample when the load is over, to show where its mail ends.
const END_MARKER: u32 = u32::MAX;
const VISITS_AT_ONCE: usize = 16;
/// Longest that the last answers may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Loads the peer, called `whose`, and looks into the mailboxes of a sample; the floor has none.
///
/// # Errors
/// The load couldn't be made.
pub(crate) fn run(peer: Peer, plan: &Plan, identities: &[Identity], whose: &str) -> Result<Figures, String> {
    let (mut figures, samples) = load::run(plan, peer, |thread, start| {
        let mut tally = Tally::default();
        let sample = post(peer, plan, identities, thread, start, &mut tally);
        let sample = sample.unwrap_or_else(|why| {
            tally.faults.note(Fault::Broken, || why);
            Vec::new()
        });
        (tally, sample)
    })?;
    println!("{whose}: {figures}");
    if peer.login == Login::Needed {
        let mut expected: Vec<_> = identities.iter().take(SAMPLE).map(|_| Expected::default()).collect();
        for (recipient, sender, sequence, stored) in samples.into_iter().flatten() {
            if let Some(expected) = expected.get_mut(recipient as usize) {
                expected.add(sender, sequence, stored);
            }
        }
        let came = check(peer, plan, identities, &mut expected, figures.faults())?;
        println!("  looked into {} mailboxes: {came} messages", expected.len());
    }
    Ok(figures)
}

/// A message to one of the sample that was acknowledged: recipient, sender, number, when.
type Sampled = (u32, u32, u32, Stored);

fn post(
    peer: Peer,
    plan: &Plan,
    identities: &[Identity],
    thread: usize,
    start: &Start,
    tally: &mut Tally,
) -> Result<Vec<Sampled>, String> {
    let window = start.window();
    let mut poller = Poller::new().map_err(|error| error.to_string())?;
    let ids = identities.iter().map(|identity| identity.id.as_str()).collect();
    let mut crew = Crew::connect(plan, peer, window, ids, &poller, (thread, 0))?;
    let mut accounts = Away {
        window,
        recipients: identities.len(),
        spread: Spread::new(thread),
        first_sender: crew.first_sender(),
        posted: vec![0; crew.len()],
        sample: Vec::new(),
    };
    let mut ready = Vec::new();
    while Instant::now() < window.closes || !crew.is_idle() {
        poller
            .wait(Duration::from_millis(100), &mut ready)
            .map_err(|error| error.to_string())?;
        for &one in &ready {
            crew.serve(one, &mut poller, tally, &mut accounts);
        }
        if window.closes.elapsed() > PATIENCE {
            crew.give_up_all(tally, &mut accounts);
        }
    }
    Ok(accounts.sample)
}

/// Accounts of messages to recipients who are away.
struct Away {
    window: Window,
    recipients: usize,
    spread: Spread,
    first_sender: u32,
    /// How many messages each poster has posted.
    posted: Vec<u32>,
    sample: Vec<Sampled>,
}

impl Accounts for Away {
    fn next(&mut self, poster: usize) -> Next {
        let count = &mut self.posted[poster];
        *count += 1;
        Next {
            recipient: self.spread.below(self.recipients),
            sequence: *count - 1,
        }
    }

    fn settle(&mut self, settled: &Settled, tally: &mut Tally, now: Instant) {
        if !settled.is_acknowledged {
            return;
        }
        tally.count(self.window, now, now - settled.posted);
        if (settled.recipient as usize) < SAMPLE {
            let stored = Stored {
                posted: settled.posted,
                acknowledged: now,
            };
            let sender = self.first_sender + u32::try_from(settled.poster).unwrap_or(u32::MAX);
            self.sample.push((settled.recipient, sender, settled.sequence, stored));
        }
    }
}

/// Logs in for each of the sample. Returns how many messages came.
fn check(
    peer: Peer,
    plan: &Plan,
    identities: &[Identity],
    expected: &mut [Expected],
    faults: &mut Faults,
) -> Result<usize, String> {
    let sample = &identities[..expected.len()];
    let markers: Vec<_> = (0..)
        .take(sample.len())
        .map(|recipient| marker(recipient, plan.size))
        .collect();
    let letters = sample
        .iter()
        .zip(&markers)
        .map(|(identity, body)| Letter { id: &identity.id, body });
    let stored = post_all(peer.address, &letters.collect::<Vec<_>>(), plan.ttl_seconds, faults)?;
    for (expected, stored) in expected.iter_mut().zip(stored) {
        if let Some(stored) = stored {
            expected.add(END_MARKER, 0, stored);
        }
    }
    let visits = sample.iter().zip(&markers).map(|(identity, marker)| Visit {
        identity,
        last: Some(marker),
    });
    let visited = visit_all(peer.address, &visits.collect::<Vec<_>>(), VISITS_AT_ONCE);
    let mut came = 0;
    let ttl = Duration::from_secs(plan.ttl_seconds);
    for ((recipient, expected), visited) in (0..).zip(expected).zip(visited.map_err(|error| error.to_string())?) {
        match visited {
            Ok(visited) => came += expected.judge(recipient, &visited, plan.size, ttl, faults).messages,
            Err(why) => faults.note(Fault::Broken, || format!("visit to mailbox {recipient}: {why}")),
        }
    }
    Ok(came)
}

fn marker(recipient: u32, size: usize) -> Vec<u8> {
    let label = Label {
        sender: END_MARKER,
        recipient,
        sequence: 0,
        since_epoch: Duration::ZERO,
    };
    let mut body = Vec::new();
    label.write(&mut body, size);
    body
}
