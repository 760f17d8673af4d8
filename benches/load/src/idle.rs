//! Scenario `idle`: what a session that only waits costs the server's memory, and whether it still gets its mail.
//!
//! It measures no CPU time, since such a session takes none.

use std::time::Duration;

use crate::bench::Bench;
use crate::exchange::Exchange;
use crate::identity::Identity;
use crate::load::{LONGEST, Plan, Window};
use crate::mail::USUAL_BYTES;
use crate::process::{report_memory, resident_kib};
use crate::report::{Report, Section};
use crate::session_pool::{LOGINS_AT_ONCE, SessionPool};
use crate::wire::Poller;

/// Sessions before those that count.
const WARM_UP: usize = 100;
/// Sessions that get a message.
const SAMPLE: usize = 100;

/// Logs in `count` times with new keys, holds the sessions, posts to some of them, closes all.
pub(crate) fn run(bench: &Bench, count: usize) -> Result<Report, String> {
    let identities = Identity::generate(WARM_UP + count)?;
    let mut poller = Poller::new().map_err(|error| error.to_string())?;
    let mut report = Report::new("idle");
    let mut section = Section::new("server");

    bench.progress.begin("idle: logins");
    let mut pool = SessionPool::held(bench, &identities, LOGINS_AT_ONCE);
    pool.log_in(&mut poller, WARM_UP)?;
    let before = resident_kib(bench.peer.process)?;
    pool.log_in(&mut poller, identities.len())?;
    section.count("sessions", count as u64);
    section.count("login_retries", pool.logins.retries);
    report_memory(&mut section, "session", count, bench.peer.process, before)?;

    let (plan, window) = (Plan::beside(1, USUAL_BYTES, None), Window::new(Duration::ZERO, LONGEST));
    let mut exchange = Exchange::new(pool, &mut poller, plan, 0..1, &[], &identities, window)?;
    let recipients: Vec<_> = (0..identities.len())
        .step_by(identities.len() / SAMPLE)
        .take(SAMPLE)
        .collect();
    let messages = recipients.len() as u64;
    exchange.posters.workload.post_once_to(recipients);
    exchange.run(&mut poller, |tally| {
        tally.acknowledged == messages || !tally.faults.is_none()
    })?;
    exchange.finish(&mut poller)?;
    section.count("messages", messages);
    section.count("messages_came", exchange.posters.tally.deliveries.count());
    report.faults.merge(exchange.posters.tally.faults);
    report.faults.merge(exchange.pool.logins.faults);
    report.add(section);
    Ok(report)
}
