//! Scenarios `store`, `relay` and `mixed`: messages to recipients that are offline, or logged in, or both, each of
//! which has to come once, and in order for each sender.
//!
//! What the load itself is, and when it is measured, is [`crate::load`]'s.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use crate::bench::{Bench, PANICKED};
use crate::exchange::Exchange;
use crate::faults::{Fault, Faults};
use crate::floor::Floor;
use crate::identity::{Identity, OfflineRecipients, SAMPLE};
use crate::latency_histogram::as_f64;
use crate::load::{self, Figures, Plan, Start, Tally};
use crate::mail::Label;
use crate::mailbox_oracle::Stored;
use crate::peer::Login;
use crate::prefill;
use crate::process::{report_memory, resident_kib};
use crate::report::{Report, Section};
use crate::sample;
use crate::session_pool::{self, LOGINS_AT_ONCE, Logins, SessionPool};
use crate::wire::Poller;

#[derive(Debug, Clone)]
pub(crate) struct Traffic {
    pub(crate) scenario: &'static str,
    pub(crate) plan: Plan,
    pub(crate) ids: usize,
    /// Recipients that are logged in.
    pub(crate) sessions: usize,
    /// Messages stored before the load, for offline recipients.
    pub(crate) stored: usize,
    /// Their time to live.
    pub(crate) stored_ttl_seconds: u64,
    /// So many log in and out meanwhile, again and again.
    pub(crate) visitors: usize,
    /// How often the server is measured between two measures of the floor; `None`: once, without it.
    pub(crate) rounds: Option<usize>,
}

impl Traffic {
    /// This plan, for nobody yet.
    pub(crate) fn new(scenario: &'static str, plan: Plan) -> Self {
        Self {
            scenario,
            plan,
            ids: 0,
            sessions: 0,
            stored: 0,
            stored_ttl_seconds: 0,
            visitors: 0,
            rounds: None,
        }
    }

    /// Whether messages are looked for as they come, and not in mailboxes.
    fn is_relay(&self) -> bool {
        self.ids == 0
    }
}

/// Loads the server, between two runs of the floor if that is asked for.
pub(crate) fn run(bench: &Bench, traffic: &Traffic) -> Result<Report, String> {
    let mut report = Report::new(traffic.scenario);
    let Some(rounds) = traffic.rounds else {
        load(bench, traffic, "server", &mut report)?;
        return Ok(report);
    };
    let process = bench.peer.process.ok_or("--floor needs --pid")?;
    let loops = process
        .workers()
        .map_err(|error| format!("the server's process: {error}"))?;
    let on_floor = |name: &str, report: &mut Report| {
        let floor = Floor::start(traffic.is_relay(), traffic.plan.size, loops)?;
        load(&bench.against(floor.peer()), traffic, name, report)
    };
    let name = |alone: &str, of_many: &str, round: usize| match rounds {
        1 => alone.to_owned(),
        _ => format!("{of_many} {round}"),
    };
    let mut floor_costs = vec![on_floor(&name("floor before", "floor", 0), &mut report)?];
    let mut server_costs = Vec::new();
    for round in 1..=rounds {
        // What is stored before the first round is there in the others too.
        let stored = if round == 1 { traffic.stored } else { 0 };
        let traffic = Traffic {
            stored,
            ..traffic.clone()
        };
        server_costs.push(load(bench, &traffic, &name("server", "server", round), &mut report)?);
        floor_costs.push(on_floor(&name("floor after", "floor", round), &mut report)?);
    }
    compare(&floor_costs, &server_costs, &mut report);
    Ok(report)
}

/// Reports how many times the floor's cost the server's is: altogether, and how far the rounds are apart.
fn compare(floor_costs: &[Option<f64>], server_costs: &[Option<f64>], report: &mut Report) {
    let known = |costs: &[Option<f64>]| costs.iter().copied().collect::<Option<Vec<f64>>>();
    let Some((floor, server)) = known(floor_costs).zip(known(server_costs)) else {
        return;
    };
    let mean = |costs: &[f64]| costs.iter().sum::<f64>() / as_f64(costs.len() as u64);
    report.compare("times_the_floor", mean(&server) / mean(&floor));
    let rounds = server
        .iter()
        .zip(floor.windows(2))
        .map(|(server, around)| server / mean(around));
    if server.len() > 1 {
        report.compare("times_the_floor_lowest", rounds.clone().fold(f64::INFINITY, f64::min));
        report.compare("times_the_floor_highest", rounds.fold(0.0, f64::max));
    }
}

/// Returns the cost of a message in microseconds of the server's CPU time.
fn load(bench: &Bench, traffic: &Traffic, name: &str, report: &mut Report) -> Result<Option<f64>, String> {
    let offline = OfflineRecipients::generate(traffic.ids, SAMPLE)?;
    let live = Identity::generate(traffic.sessions)?;
    let is_floor = bench.peer.login == Login::None;
    let mut section = Section::new(name);
    let mut sampled = Vec::new();
    if traffic.stored > 0 && !is_floor {
        sampled = store_before(bench, traffic, &offline, &mut section, &mut report.faults)?;
    }
    let mut cost = None;
    if traffic.plan.seconds > 0 {
        let what = match traffic.sessions + traffic.visitors {
            0 => "messages",
            _ => "logins and messages",
        };
        bench.progress.begin(format!("{}: {name}: {what}", traffic.scenario));
        let (mut figures, shares, visitors) = measure(bench, traffic, &offline, &live)?;
        cost = report_figures(traffic, &figures, &mut section);
        report.faults.merge(std::mem::take(&mut figures.tally.faults));
        let mut logins = visitors;
        for (messages, of_thread) in shares {
            sampled.extend(messages);
            // These came before the window.
            logins.retries += of_thread.retries;
            report.faults.merge(of_thread.faults);
        }
        section.latencies("login", &logins.latencies);
        if !is_floor && traffic.sessions + traffic.visitors > 0 {
            section.count("login_retries", logins.retries);
        }
        report.faults.merge(logins.faults);
    }
    if traffic.ids > 0 && !is_floor {
        sample::check(
            bench,
            &offline,
            traffic.plan.size,
            sampled,
            &mut section,
            &mut report.faults,
        )?;
    }
    report.add(section);
    Ok(cost)
}

fn report_figures(traffic: &Traffic, figures: &Figures, section: &mut Section) -> Option<f64> {
    let Figures { cpu, tally, wake_ups } = figures;
    let counted = if traffic.is_relay() {
        &tally.deliveries
    } else {
        &tally.answers
    };
    section.measure("messages_per_second", as_f64(counted.count()) / cpu.seconds);
    let cost = cpu.micros_each(counted.count());
    if let Some(cost) = cost {
        section.measure("server_cpu_micros_per_message", cost);
    }
    section.latencies("answer", &tally.answers);
    section.latencies("delivery", &tally.deliveries);
    section.latencies("wake_up", wake_ups);
    cpu.report_cores(section);
    section.count("acknowledged_messages", tally.acknowledged);
    if traffic.plan.rate.is_some() {
        section.count("messages_behind", tally.behind);
    }
    cost
}

/// Stores messages and reports what they take of the server's memory. Returns those to the sample.
fn store_before(
    bench: &Bench,
    traffic: &Traffic,
    offline: &OfflineRecipients,
    section: &mut Section,
    faults: &mut Faults,
) -> Result<Vec<(Label, Stored)>, String> {
    bench.progress.begin("storing messages");
    let before = resident_kib(bench.peer.process)?;
    let start = Instant::now();
    let size = (traffic.stored, traffic.plan.size);
    let (stored, sampled) = prefill::store(bench, offline, size, || traffic.stored_ttl_seconds, faults)?;
    let seconds = start.elapsed().as_secs_f64();
    section.count("stored_before", stored);
    section.measure("stored_before_per_second", as_f64(stored) / seconds);
    let count = usize::try_from(stored).unwrap_or(usize::MAX);
    report_memory(section, "stored_message", count, bench.peer.process, before)?;
    Ok(sampled)
}

type Shares = Vec<(Vec<(Label, Stored)>, Logins)>;

fn measure(
    bench: &Bench,
    traffic: &Traffic,
    offline: &OfflineRecipients,
    live: &[Identity],
) -> Result<(Figures, Shares, Logins), String> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let visitors = scope.spawn(|| log_in_until(bench, traffic.visitors, &is_over));
        let result = load::run(bench, &traffic.plan, |thread, start| {
            let mut tally = Tally::default();
            let mut logins = Logins::default();
            let worker = Worker {
                bench,
                plan: &traffic.plan,
                offline: &offline.ids,
                live: &live[bench.share(live.len(), thread)],
                thread,
            };
            let sampled = worker.work(start, &mut tally, &mut logins).unwrap_or_else(|why| {
                tally.faults.note(Fault::Broken, || why);
                Vec::new()
            });
            (tally, (sampled, logins))
        });
        is_over.store(true, Ordering::Relaxed);
        let visitors = visitors.join().map_err(|_| PANICKED)??;
        result.map(|(figures, shares)| (figures, shares, visitors))
    })
}

/// So many log in and close, again and again.
fn log_in_until(bench: &Bench, count: usize, is_over: &AtomicBool) -> Result<Logins, String> {
    let mut logins = Logins::default();
    if bench.peer.login == Login::None || count == 0 {
        return Ok(logins);
    }
    let identities = Identity::generate(count)?;
    while !is_over.load(Ordering::Relaxed) && !logins.is_hopeless() {
        session_pool::pass(bench, &identities, count, &mut logins)?;
    }
    Ok(logins)
}

struct Worker<'s> {
    bench: &'s Bench,
    plan: &'s Plan,
    /// Offline recipients; those of all threads.
    offline: &'s [String],
    /// Recipients that this thread logs in, and that it alone posts to.
    live: &'s [Identity],
    thread: usize,
}

impl<'s> Worker<'s> {
    fn work(&self, start: &Start, tally: &mut Tally, logins: &mut Logins) -> Result<Vec<(Label, Stored)>, String> {
        let mut pool = SessionPool::held(self.bench, self.live, LOGINS_AT_ONCE);
        let ready = self.log_in(&mut pool);
        // Before any error is reported, for the others wait here.
        let window = start.window();
        logins.merge(std::mem::take(&mut pool.logins));
        let mut poller = ready?;
        let senders = self.bench.share(self.plan.connections, self.thread);
        let mut exchange = Exchange::new(pool, &mut poller, *self.plan, senders, self.offline, self.live, window)?;
        let mut result = exchange.run(&mut poller, |_| Instant::now() >= window.closes);
        if self.bench.peer.login == Login::Needed {
            result = result.and_then(|()| exchange.finish(&mut poller));
        } else {
            let posters = &mut exchange.posters;
            posters.workload.report_lost(&mut posters.tally.faults);
        }
        *tally = exchange.posters.tally;
        logins.merge(exchange.pool.logins);
        result.map(|()| exchange.posters.workload.sampled)
    }

    fn log_in(&self, pool: &mut SessionPool<'s>) -> Result<Poller, String> {
        let mut poller = Poller::new().map_err(|error| error.to_string())?;
        pool.log_in(&mut poller, self.live.len())?;
        match self.live.len() - pool.open() {
            0 => Ok(poller),
            missing => Err(format!("{missing} of {} sessions couldn't be had", self.live.len())),
        }
    }
}
