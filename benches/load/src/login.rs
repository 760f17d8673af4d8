//! Scenario `login`: whole logins, many at a time or all at once, what one costs the server, and how senders fare
//! meanwhile.
//!
//! How a login goes is [`crate::session`]'s.

use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use crate::arguments::{at_least, rate};
use crate::bench::{Bench, PANICKED};
use crate::beside::{self, Phase, PosterFigures};
use crate::faults::Fault;
use crate::identity::{Identity, OfflineRecipients, SAMPLE};
use crate::latency_histogram::as_f64;
use crate::load::Plan;
use crate::mail::USUAL_BYTES;
use crate::process::{Cpu, report_memory, resident_kib};
use crate::report::{Report, Section};
use crate::sample;
use crate::session_pool::{self, Logins, SessionPool, Stay};
use crate::wire::Poller;

/// Logins before those that count.
const WARM_UP: usize = 100;
const WARM_UP_AT_ONCE: usize = 16;
/// Offline recipients of what the senders post.
const RECIPIENTS: usize = 1000;
/// How long the senders are alone.
const ALONE: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Args)]
pub(crate) struct LoginOptions {
    /// Logins
    #[arg(long, value_name = "COUNT", value_parser = at_least::<usize>(1), default_value = "3000")]
    pub(crate) count: usize,
    /// Logins under way at a time; as many as --count come as fast as they can
    #[arg(long, value_name = "COUNT", value_parser = at_least::<usize>(1), default_value = "64")]
    at_once: usize,
    /// Hold all sessions until the last is in
    #[arg(long)]
    hold: bool,
    /// Connections that post meanwhile, and alone before
    #[arg(long, value_name = "COUNT", value_parser = at_least::<usize>(0), default_value = "0")]
    posters: usize,
    /// Messages a second, of all connections together [default: as many as are answered]
    #[arg(long, value_name = "COUNT", value_parser = rate())]
    rate: Option<u64>,
}

/// Logs in with new keys.
pub(crate) fn run(bench: &Bench, options: &LoginOptions) -> Result<Report, String> {
    let identities = Identity::generate(WARM_UP + options.count)?;
    let (warm_up, identities) = identities.split_at(WARM_UP);
    let offline = OfflineRecipients::generate(if options.posters > 0 { RECIPIENTS } else { 0 }, SAMPLE)?;
    let mut report = Report::new("login");
    let mut section = Section::new("server");
    let mut warming = Logins::default();
    bench.progress.begin("login: warming up");
    session_pool::pass(bench, warm_up, WARM_UP_AT_ONCE, &mut warming)?;
    report.faults.merge(warming.faults);

    let (mut logins, poster_figures) = options.measure(bench, identities, &offline, &mut section)?;
    logins.retries += warming.retries;
    logins.refused += warming.refused;
    section.latencies("login", &logins.latencies);
    section.count("login_retries", logins.retries);
    section.count("login_refused", logins.refused);
    if let Some(mut poster_figures) = poster_figures {
        poster_figures.report(&mut section, &mut report.faults);
        sample::check(
            bench,
            &offline,
            USUAL_BYTES,
            poster_figures.sampled,
            &mut section,
            &mut report.faults,
        )?;
    }
    report.faults.merge(logins.faults);
    report.add(section);
    Ok(report)
}

/// The sessions of each thread, and their poller.
type Sessions<'i> = Vec<(Poller, SessionPool<'i>)>;

impl LoginOptions {
    fn measure(
        &self,
        bench: &Bench,
        identities: &[Identity],
        offline: &OfflineRecipients,
        section: &mut Section,
    ) -> Result<(Logins, Option<PosterFigures>), String> {
        let phase = Phase::default();
        thread::scope(|scope| {
            let posters = (self.posters > 0).then(|| {
                let (phase, plan) = (&phase, Plan::beside(self.posters, USUAL_BYTES, self.rate));
                scope.spawn(move || beside::post(bench, &plan, offline, phase))
            });
            if posters.is_some() {
                thread::sleep(ALONE);
            }
            phase.begin();
            let result = self.log_in(bench, identities, section);
            phase.end();
            let poster_figures = posters.map(|posters| posters.join().map_err(|_| PANICKED));
            let (mut logins, sessions) = result?;
            bench.progress.begin("closing the sessions");
            for (mut poller, mut pool) in sessions {
                pool.close(&mut poller, |session, body, faults| {
                    faults.note(Fault::Corrupt, || {
                        format!("mail for new id {session}: {}", body.escape_ascii())
                    });
                })?;
                logins.merge(pool.logins);
            }
            Ok((logins, poster_figures.transpose()?.transpose()?))
        })
    }

    fn log_in<'i>(
        &self,
        bench: &'i Bench,
        identities: &'i [Identity],
        section: &mut Section,
    ) -> Result<(Logins, Sessions<'i>), String> {
        bench.progress.begin("login: logins");
        let stay = if self.hold { Stay::Held } else { Stay::UntilLoggedIn };
        let resident = resident_kib(bench.peer.process)?;
        let (cpu, start) = (Cpu::now(bench.peer.process)?, Instant::now());
        let mut sessions = bench.in_threads(|thread| {
            let share = &identities[bench.share(identities.len(), thread)];
            let mut poller = Poller::new().map_err(|error| error.to_string())?;
            let plan = share.iter().map(|identity| (identity, stay));
            let mut pool = SessionPool::new(bench, plan, bench.share(self.at_once, thread).len().max(1));
            pool.settle_first(&mut poller, share.len())?;
            Ok((poller, pool))
        })?;
        let seconds = start.elapsed().as_secs_f64();
        let spent = Cpu::now(bench.peer.process)?.since(&cpu);
        let mut logins = Logins::default();
        for (_, pool) in &mut sessions {
            logins.merge(std::mem::take(&mut pool.logins));
        }
        let count = logins.latencies.count();
        section.count("logins", count);
        section.measure("logins_per_second", as_f64(count) / seconds);
        if let Some(cost) = spent.micros_each(count) {
            // The cost of the senders' messages can't be separated from that of the logins.
            let name = match self.posters {
                0 => "server_cpu_micros_per_login",
                _ => "server_cpu_micros_per_login_and_posts",
            };
            section.measure(name, cost);
        }
        spent.report_cores(section);
        if self.hold {
            report_memory(section, "session", self.count, bench.peer.process, resident)?;
        }
        Ok((logins, sessions))
    }
}
