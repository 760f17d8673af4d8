//! Scenario `burst`: many messages whose time ends within the same second, and how senders fare while it does.

use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use crate::arguments::{at_least, rate};
use crate::bench::{Bench, PANICKED};
use crate::beside::{self, Phase};
use crate::identity::{OfflineRecipients, SAMPLE};
use crate::load::Plan;
use crate::mail::USUAL_BYTES;
use crate::prefill;
use crate::process::{Cpu, report_memory, resident_kib};
use crate::report::{Report, Section};
use crate::sample;

/// How long the senders are alone, up to a moment before the end.
const ALONE: Duration = Duration::from_secs(3);
const MOMENT: Duration = Duration::from_millis(500);
/// From the end of the first message to when all are gone: a second, and what the server takes for it.
const LENGTH: Duration = Duration::from_secs(4);

#[derive(Debug, Clone, Args)]
pub(crate) struct BurstOptions {
    /// Messages whose time ends
    #[arg(long, value_name = "COUNT", value_parser = at_least::<usize>(1), default_value = "1000000")]
    count: usize,
    /// Offline recipients
    #[arg(long, value_name = "COUNT", value_parser = at_least::<usize>(1), default_value = "20000")]
    ids: usize,
    /// Seconds from the first to the end of its time [default: 15, and one for 20,000 messages]
    #[arg(long, value_name = "COUNT", value_parser = at_least::<u64>(5))]
    lead: Option<u64>,
    /// Connections that post meanwhile, and alone before
    #[arg(long, value_name = "COUNT", value_parser = at_least::<usize>(1), default_value = "16")]
    posters: usize,
    /// Messages a second, of all connections together
    #[arg(long, value_name = "COUNT", value_parser = rate(), default_value = "2000")]
    rate: u64,
}

/// Stores, waits for the end, and reports how long the senders wait.
///
/// # Errors
/// The messages couldn't be stored, or not before the first was over.
pub(crate) fn run(bench: &Bench, burst: &BurstOptions) -> Result<Report, String> {
    let offline = OfflineRecipients::generate(burst.ids, SAMPLE)?;
    let mut report = Report::new("burst");
    let mut section = Section::new("server");
    let before = resident_kib(bench.peer.process)?;
    let start = Instant::now();
    let end = start + Duration::from_secs(burst.lead_seconds());
    bench.progress.begin("burst: storing messages");
    // So that the time of all ends in the second that begins then.
    let ttl_seconds = || burst.lead_seconds().saturating_sub(start.elapsed().as_secs()).max(1);
    let size = (burst.count, USUAL_BYTES);
    let (_, mut sampled) = prefill::store(bench, &offline, size, ttl_seconds, &mut report.faults)?;
    let Some(left) = end.checked_duration_since(Instant::now() + ALONE + MOMENT) else {
        return Err("the time of the first was over before the last was stored: give a longer --lead".to_owned());
    };
    section.count("stored_messages", burst.count as u64);
    report_memory(&mut section, "stored_message", burst.count, bench.peer.process, before)?;

    bench.progress.begin("burst: waiting for the end");
    thread::sleep(left);
    let (plan, phase) = (
        Plan::beside(burst.posters, USUAL_BYTES, Some(burst.rate)),
        Phase::default(),
    );
    let (mut poster_figures, spent) = thread::scope(|scope| {
        let posters = scope.spawn(|| beside::post(bench, &plan, &offline, &phase));
        thread::sleep(ALONE);
        phase.begin();
        let cpu = Cpu::now(bench.peer.process);
        thread::sleep((end + LENGTH).saturating_duration_since(Instant::now()));
        let after = Cpu::now(bench.peer.process);
        phase.end();
        let poster_figures = posters.join().map_err(|_| PANICKED)?;
        Ok::<_, String>((poster_figures?, after?.since(&cpu?)))
    })?;
    spent.report_cores(&mut section);
    if let Some(kib) = resident_kib(bench.peer.process)? {
        section.count("resident_after_kib", kib);
    }
    poster_figures.report(&mut section, &mut report.faults);
    sampled.append(&mut poster_figures.sampled);
    sample::check(bench, &offline, USUAL_BYTES, sampled, &mut section, &mut report.faults)?;
    report.add(section);
    Ok(report)
}

impl BurstOptions {
    /// From the first message to the end of its time.
    fn lead_seconds(&self) -> u64 {
        self.lead.unwrap_or(15 + self.count as u64 / 20_000)
    }
}
