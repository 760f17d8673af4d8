//! Scenario `expiry`: mail that is fetched within its time to live is all there, and what is fetched after it is not.
//!
//! What counts as in time is [`crate::judge`]'s.

use std::thread;
use std::time::{Duration, Instant};

use crate::Bench;
use crate::faults::Faults;
use crate::fleet::Logins;
use crate::identity::Identity;
use crate::judge::{CLOCK_SLACK, Came, Expected};
use crate::mail::Label;
use crate::prefill::{Letter, post_all};
use crate::process::resident_kib;
use crate::report::{Report, Section};
use crate::visits::{Visit, visit_all};

const SIZE: usize = 480;
const VISITS_AT_ONCE: usize = 64;
/// Time to live of what shows that a mailbox is open: it must not be over before the visit, however slow that is.
const FRESH_TTL_SECONDS: u64 = 600;
/// Mailboxes that are looked into after the time to live.
const SAMPLE: usize = 500;

/// Posts one message to each of `count` new ids, twice: with a visit in time, and with one that comes too late.
///
/// # Errors
/// It couldn't be carried out, or the visits in time were too slow to be in time.
pub(crate) fn run(bench: &Bench, count: usize, ttl_seconds: u64) -> Result<Report, String> {
    let identities = Identity::generate(2 * count)?;
    let (fetched, left) = identities.split_at(count);
    let mut report = Report::new("expiry");
    let mut section = Section::new("server");
    let faults = &mut report.faults;
    let memory = |section: &mut Section, when: &str| -> Result<(), String> {
        if let Some(kib) = resident_kib(bench.peer.process)? {
            section.count(&format!("resident_{when}_kib"), kib);
        }
        Ok(())
    };
    memory(&mut section, "before")?;

    bench.progress.begin("expiry: in time");
    let mut mailboxes = Mailboxes::new(bench, fetched);
    mailboxes.post(0, fetched.len(), ttl_seconds, faults)?;
    memory(&mut section, "with_all_stored")?;
    let posted = Instant::now();
    let Came { messages, missed } = mailboxes.visit(0, fetched.len(), faults)?;
    section.count("in_time_posted", count as u64);
    section.count("in_time_came", messages as u64);
    section.measure("in_time_fetched_within_seconds", posted.elapsed().as_secs_f64());
    if missed > 0 && faults.is_none() {
        return Err(format!(
            "{missed} visits came too late to tell anything: give a longer --ttl"
        ));
    }

    bench.progress.begin("expiry: too late");
    let mut mailboxes = Mailboxes::new(bench, left);
    mailboxes.post(0, left.len(), ttl_seconds, faults)?;
    memory(&mut section, "with_as_many_again")?;
    thread::sleep(Duration::from_secs(ttl_seconds) + 2 * CLOCK_SLACK);
    // A fresh message shows that the mailbox is open and has nothing before it.
    let sample = left.len().min(SAMPLE);
    mailboxes.post(1, sample, FRESH_TTL_SECONDS, faults)?;
    let Came { messages, .. } = mailboxes.visit(1, sample, faults)?;
    section.count("too_late_mailboxes_with_a_fresh_message", sample as u64);
    section.count("too_late_came", messages as u64);
    memory(&mut section, "after")?;
    report.add(section);
    Ok(report)
}

/// The ids, and what was acknowledged for each.
struct Mailboxes<'i> {
    bench: &'i Bench,
    identities: &'i [Identity],
    expected: Vec<Expected>,
}

impl<'i> Mailboxes<'i> {
    fn new(bench: &'i Bench, identities: &'i [Identity]) -> Self {
        Self {
            bench,
            identities,
            expected: identities.iter().map(|_| Expected::default()).collect(),
        }
    }

    /// Posts message `sequence` to the first `count`, to live `ttl_seconds`.
    fn post(&mut self, sequence: u32, count: usize, ttl_seconds: u64, faults: &mut Faults) -> Result<(), String> {
        let mut next = (0..).zip(&self.identities[..count]);
        let letters = |_| {
            next.next().map(|(recipient, identity)| Letter {
                id: &identity.id,
                label: label(recipient, sequence),
                ttl_seconds,
            })
        };
        let expected = &mut self.expected;
        let hear = |letter: &Letter<'_>, stored| expected[letter.label.recipient as usize].add(0, sequence, stored);
        post_all(self.bench, SIZE, letters, hear, faults)
    }

    /// Logs in to the first `count` and waits for message `sequence` of each. Returns what came of all.
    fn visit(&self, sequence: u32, count: usize, faults: &mut Faults) -> Result<Came, String> {
        let visits = (0..).zip(&self.identities[..count]).map(|(recipient, identity)| Visit {
            identity,
            last: Some(label(recipient, sequence)),
            size: SIZE,
        });
        let visits: Vec<_> = visits.collect();
        let mut logins = Logins::default();
        let visited = visit_all(self.bench, &visits, VISITS_AT_ONCE, &mut logins).map_err(|error| error.to_string())?;
        let mut all = Came { messages: 0, missed: 0 };
        for ((recipient, expected), visited) in (0..).zip(&self.expected).zip(visited) {
            if let Some(visited) = visited {
                let came = expected.judge(recipient, &visited, faults);
                all.messages += came.messages;
                all.missed += came.missed;
            }
        }
        faults.merge(logins.faults);
        Ok(all)
    }
}

fn label(recipient: u32, sequence: u32) -> Label {
    Label {
        sender: 0,
        recipient,
        sequence,
        since_epoch: Duration::ZERO,
    }
}
