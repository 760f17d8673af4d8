//! Scenario `expiry`: mail that is fetched within its time to live is all there, and what is fetched after it is not.
//!
//! What counts as in time is [`crate::mailbox_oracle`]'s.

use std::thread;
use std::time::{Duration, Instant};

use crate::bench::Bench;
use crate::identity::Identity;
use crate::mail::USUAL_BYTES;
use crate::mailbox_oracle::CLOCK_SLACK;
use crate::process::resident_kib;
use crate::report::{Report, Section};
use crate::sample::Mailboxes;

const FETCHES_AT_ONCE: usize = 64;
/// Time to live of what shows that a mailbox is open: it must not be over before the fetch, however slow that is.
const FRESH_TTL_SECONDS: u64 = 600;
/// Mailboxes that are looked into after the time to live.
const SAMPLE: usize = 500;
const FIRST: (u32, u32) = (0, 0);
const FRESH: (u32, u32) = (0, 1);

/// Posts one message to each of `count` new ids, twice: fetched in time, and too late.
///
/// # Errors
/// It couldn't be carried out, or the fetches in time were too slow to be in time.
pub(crate) fn run(bench: &Bench, count: usize, ttl_seconds: u64) -> Result<Report, String> {
    let identities = Identity::generate(2 * count)?;
    let (in_time, too_late) = identities.split_at(count);
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
    let mut mailboxes = Mailboxes::new(bench, in_time, USUAL_BYTES);
    mailboxes.post(FIRST, count, ttl_seconds, faults)?;
    memory(&mut section, "with_all_stored")?;
    let posted = Instant::now();
    let (came, _) = mailboxes.fetch(FIRST, count, FETCHES_AT_ONCE, faults)?;
    section.count("in_time_posted", count as u64);
    section.count("in_time_came", came.messages as u64);
    section.measure("in_time_fetched_within_seconds", posted.elapsed().as_secs_f64());
    if came.missed > 0 && faults.is_none() {
        return Err(format!(
            "{} fetches came too late to show anything: give a longer --ttl",
            came.missed
        ));
    }

    bench.progress.begin("expiry: too late");
    let mut mailboxes = Mailboxes::new(bench, too_late, USUAL_BYTES);
    mailboxes.post(FIRST, count, ttl_seconds, faults)?;
    memory(&mut section, "with_as_many_again")?;
    thread::sleep(Duration::from_secs(ttl_seconds) + 2 * CLOCK_SLACK);
    // A fresh message shows that the mailbox is open and has nothing before it.
    let sample = count.min(SAMPLE);
    mailboxes.post(FRESH, sample, FRESH_TTL_SECONDS, faults)?;
    let (came, _) = mailboxes.fetch(FRESH, sample, FETCHES_AT_ONCE, faults)?;
    section.count("too_late_mailboxes_with_a_fresh_message", sample as u64);
    section.count("too_late_came", came.messages as u64);
    memory(&mut section, "after")?;
    report.add(section);
    Ok(report)
}
