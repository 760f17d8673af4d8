//! Scenario `attack`: how a well-behaved pair, one that posts and one that receives, fares beside each kind of hostile
//! neighbour.
//!
//! What a neighbour does is its own module's; it is a process of its own at a low priority, so that it takes little of
//! the machine from those that are measured. What contention for the processors alone does is shown by the kind `spin`.

mod connections;
mod interface;
mod logins;
mod neighbour;
mod pair;
mod script;

use std::io;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

pub(crate) use self::interface::NeighbourBrief;
use self::interface::{Counters, Kind, NeighbourReport};
use self::pair::Pair;
use crate::arguments::at_least;
use crate::bench::{Bench, PATIENCE};
use crate::child::Child;
use crate::faults::{Fault, Faults};
use crate::identity::Identity;
use crate::latency_histogram::as_f64;
use crate::load::Tally;
use crate::peer::Peer;
use crate::process::{Cpu, Spent};
use crate::report::{Report, Section};

const WARM_UP: Duration = Duration::from_secs(1);
/// After the end of a neighbour, for what it leaves behind.
const AFTERMATH: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Args)]
pub(crate) struct AttackOptions {
    /// Length of each measure
    #[arg(long, value_name = "COUNT", value_parser = at_least::<u64>(1), default_value = "5")]
    seconds: u64,
    /// Connections of a crowd
    #[arg(long, value_name = "COUNT", value_parser = at_least::<usize>(1), default_value = "5000")]
    connections: usize,
    /// A crowd comes all at once, not 2,000 a second
    #[arg(long)]
    burst: bool,
    /// Neighbours, in this order [default: all]
    #[arg(long, value_delimiter = ',')]
    kinds: Vec<Kind>,
    /// Nice value of the neighbours: at 19 a full machine leaves them little, at 0 they take their share
    #[arg(long, value_parser = clap::value_parser!(i32).range(0..=19), default_value = "19")]
    nice: i32,
    /// Fail if a p99 is over so many times the one alone
    #[arg(long)]
    limit_ratio: Option<f64>,
    /// Fail if anything took over so many milliseconds
    #[arg(long)]
    limit_ms: Option<f64>,
}

/// Is a neighbour, until the parent is gone.
pub(crate) fn be_neighbour(brief: &NeighbourBrief) -> Result<(), String> {
    let peer = Peer::by(&brief.route)?;
    neighbour::serve(&peer, brief)
}

/// Measures the pair alone, beside one neighbour after the other, and alone again.
///
/// # Errors
/// It couldn't be carried out, the pair got no service any more, or a limit was passed.
pub(crate) fn run(bench: &Bench, attack: &AttackOptions) -> Result<Report, String> {
    let identities = Identity::generate(1)?;
    let mut report = Report::new("attack");
    let mut attack_run = AttackRun {
        bench,
        pair: Pair::connect(bench, &identities)?,
        faults: Faults::default(),
        length: Duration::from_secs(attack.seconds),
        worst_ratio: 0.0,
        worst_micros: 0,
    };
    bench.progress.begin("attack: alone");
    attack_run.run_for(WARM_UP)?;
    let alone = attack_run.measure()?;
    report.add(alone.section("alone"));
    let kinds = if attack.kinds.is_empty() {
        Kind::value_variants()
    } else {
        &attack.kinds
    };
    for kind in kinds {
        bench.progress.begin(format!("attack: {}", kind.name()));
        let brief = NeighbourBrief {
            route: bench.peer.route.clone(),
            kind: *kind,
            connections: attack.connections,
            is_burst: attack.burst,
            nice: attack.nice,
        };
        report.add(attack_run.beside(&brief, &alone)?);
    }
    bench.progress.begin("attack: alone again");
    report.add(attack_run.measure()?.section("alone again"));
    let (ratio, millis) = (attack_run.worst_ratio, as_f64(attack_run.worst_micros) / 1e3);
    report.compare("worst_p99_times_alone", ratio);
    report.compare("longest_wait_millis", millis);
    report.faults.merge(attack_run.faults);
    report.faults.merge(attack_run.pair.finish()?);
    if attack.limit_ratio.is_some_and(|limit| ratio > limit) || attack.limit_ms.is_some_and(|limit| millis > limit) {
        report.faults.note(Fault::Slow, || {
            format!("the worst p99 is {ratio:.1} times the one alone, the longest wait {millis:.1} ms")
        });
    }
    Ok(report)
}

/// A neighbour in a child process.
type Neighbour = Child<NeighbourReport>;

/// The pair, and what is known of all its measures.
struct AttackRun<'i> {
    bench: &'i Bench,
    pair: Pair<'i>,
    faults: Faults,
    length: Duration,
    worst_ratio: f64,
    worst_micros: u64,
}

impl AttackRun<'_> {
    /// Measures beside one neighbour, from its start to what it leaves behind.
    fn beside(&mut self, brief: &NeighbourBrief, alone: &Measured) -> Result<Section, String> {
        let shown = |error: io::Error| format!("the neighbour: {error}");
        let mut neighbour = Neighbour::start(neighbour::SCENARIO, brief).map_err(shown)?;
        let started = Instant::now();
        // The first report is that it is under way.
        let (arrival, _) = self.run_until_report(&neighbour)?;
        let arrived = started.elapsed();
        let (before, cpu_before) = (self.counters(&mut neighbour)?, neighbour.process().cpu()?);
        let measured = self.measure()?;
        let (after, cpu_after) = (self.counters(&mut neighbour)?, neighbour.process().cpu()?);
        neighbour.stop();
        let departure = self.run_for(AFTERMATH)?;

        let ratios = measured.ratios(alone);
        let (came, went) = (longest(&arrival), longest(&departure));
        self.worst_ratio = ratios.iter().copied().fold(self.worst_ratio, f64::max);
        self.worst_micros = self.worst_micros.max(longest(&measured.tally)).max(came).max(went);
        let mut section = measured.section(&brief.kind.name());
        section.measure("answer_p99_times_alone", ratios[0]);
        section.measure("delivery_p99_times_alone", ratios[1]);
        section.measure("neighbour_under_way_after_seconds", arrived.as_secs_f64());
        section.count("longest_while_it_came_micros", came);
        section.count("longest_after_it_went_micros", went);
        after
            .since(before)
            .report(brief.kind, measured.spent.seconds, &mut section);
        section.measure(
            "neighbour_cores",
            cpu_after.seconds_since(&cpu_before) / measured.spent.seconds,
        );
        Ok(section)
    }

    /// Goes on until the neighbour has reported what it did so far.
    fn counters(&mut self, neighbour: &mut Neighbour) -> Result<Counters, String> {
        neighbour.ask().map_err(|error| format!("the neighbour: {error}"))?;
        match self.run_until_report(neighbour)? {
            (_, NeighbourReport::Counters(counters)) => Ok(counters),
            (_, NeighbourReport::UnderWay) => Err("the neighbour is under way twice".to_owned()),
        }
    }

    fn run_until_report(&mut self, neighbour: &Neighbour) -> Result<(Tally, NeighbourReport), String> {
        let start = Instant::now();
        let mut report = Ok(None);
        let tally = self.run(|| {
            report = neighbour.report();
            report != Ok(None) || start.elapsed() > PATIENCE
        })?;
        let report = report.map_err(|why| format!("the neighbour: {why}"))?;
        let report = report.ok_or_else(|| format!("the neighbour reports nothing in {PATIENCE:?}"))?;
        Ok((tally, report))
    }

    fn measure(&mut self) -> Result<Measured, String> {
        let process = self.bench.peer.process;
        let before = Cpu::now(process)?;
        let tally = self.run_for(self.length)?;
        let spent = Cpu::now(process)?.since(&before);
        Ok(Measured { tally, spent })
    }

    fn run_for(&mut self, length: Duration) -> Result<Tally, String> {
        let start = Instant::now();
        self.run(|| start.elapsed() >= length)
    }

    fn run(&mut self, is_enough: impl FnMut() -> bool) -> Result<Tally, String> {
        let mut tally = self.pair.run(is_enough)?;
        self.faults.merge(std::mem::take(&mut tally.faults));
        Ok(tally)
    }
}

/// What the pair got in a time.
struct Measured {
    tally: Tally,
    spent: Spent,
}

impl Measured {
    /// How many times longer than those of `alone` the 99th percentiles are, of answers and of deliveries.
    fn ratios(&self, alone: &Self) -> [f64; 2] {
        [
            self.tally.answers.p99_ratio(&alone.tally.answers),
            self.tally.deliveries.p99_ratio(&alone.tally.deliveries),
        ]
    }

    fn section(&self, name: &str) -> Section {
        let mut section = Section::new(name);
        let answers = &self.tally.answers;
        section.measure("messages_per_second", as_f64(answers.count()) / self.spent.seconds);
        section.latencies("answer", answers);
        section.latencies("delivery", &self.tally.deliveries);
        self.spent.report_cores(&mut section);
        section
    }
}

/// The longest wait of any, in microseconds.
fn longest(tally: &Tally) -> u64 {
    tally.answers.quantile(1.0).max(tally.deliveries.quantile(1.0))
}
