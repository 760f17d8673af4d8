//! Scenario `attack`: how a well-behaved pair, one that posts and one that receives, fares beside each kind of hostile neighbour.
//!
//! What a neighbour does is its own module's; it is a process of its own at a low priority, so that it takes little of the
//! machine from those who are measured. What contention for the processors alone does is shown by the kind `spin`.

mod crowd;
mod flood;
mod latencies;
mod logins;
mod neighbour;
mod pair;

use std::io;
use std::time::{Duration, Instant};

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use self::latencies::{Latencies, Measured};
use self::neighbour::{Brief, Deeds, Kind, Neighbour};
use self::pair::Pair;
use crate::Peer;
use crate::faults::Faults;
use crate::identity::Identity;
use crate::process::Process;

pub(crate) const SCENARIO: &str = "attack";
/// The hidden scenario under which a neighbour runs.
pub(crate) const NEIGHBOUR_SCENARIO: &str = "attack-neighbour";

/// Before the first measure.
const WARM_UP: Duration = Duration::from_secs(1);
/// After the end of a neighbour, for what it leaves behind.
const AFTERMATH: Duration = Duration::from_secs(1);
/// Longest that a neighbour may take until it is under way.
const PATIENCE: Duration = Duration::from_secs(60);

/// The scenario's command line.
pub(crate) fn command() -> Command {
    let number = |name, default| {
        let number = Arg::new(name).long(name).value_name("COUNT").default_value(default);
        number.value_parser(value_parser!(u64).range(1..))
    };
    let limit = |name| Arg::new(name).long(name).value_parser(value_parser!(f64));
    let kinds = PossibleValuesParser::new(Kind::names());
    Command::new(SCENARIO)
        .about("One sender and one session, alone and beside hostile neighbours of each kind")
        .arg(number("seconds", "5").help("Length of each measure"))
        .arg(number("connections", "5000").help("Connections of a crowd"))
        .arg(
            Arg::new("burst")
                .long("burst")
                .action(ArgAction::SetTrue)
                .help("A crowd comes all at once, not 2,000 a second"),
        )
        .arg(
            Arg::new("kinds")
                .long("kinds")
                .value_delimiter(',')
                .value_parser(kinds)
                .help("Neighbours, in this order [default: all]"),
        )
        .arg(
            Arg::new("nice")
                .long("nice")
                .default_value("19")
                .value_parser(value_parser!(i32).range(0..=19))
                .help(
                    "Nice value of the neighbours: at 19 a full machine leaves them little, at 0 they take their share",
                ),
        )
        .arg(limit("limit-ratio").help("Fail if a p99 is over so many times the one alone"))
        .arg(limit("limit-ms").help("Fail if anything took over so many milliseconds"))
}

/// The command line of a neighbour.
pub(crate) fn neighbour_command() -> Command {
    Command::new(NEIGHBOUR_SCENARIO)
        .hide(true)
        .args(Brief::ARGUMENTS.map(|name| Arg::new(name).required(true)))
}

/// Is a neighbour, until the parent is gone.
///
/// # Errors
/// Those of the system.
pub(crate) fn be_neighbour(options: &ArgMatches) -> Result<(), String> {
    let brief = Brief::read(options).ok_or("no such neighbour")?;
    neighbour::serve(&brief).map_err(|error| error.to_string())
}

/// Measures the pair alone, beside one neighbour after the other, and alone again.
///
/// # Errors
/// It couldn't be carried out, the pair got no service any more, or a limit was passed.
pub(crate) fn run(peer: Peer, options: &ArgMatches) -> Result<Faults, String> {
    let number = |name| options.get_one::<u64>(name).copied().unwrap_or(1);
    let kinds: Vec<_> = match options.get_many::<String>("kinds") {
        Some(names) => names.filter_map(|name| Kind::named(name)).collect(),
        None => Kind::all().collect(),
    };
    let identities = Identity::generate(1).map_err(|_| "no keys can be made")?;
    let mut street = Street {
        peer,
        pair: Pair::connect(peer, &identities)?,
        length: Duration::from_secs(number("seconds")),
        worst_ratio: 0.0,
        worst_micros: 0,
    };
    street.stay(WARM_UP)?;
    let alone = street.measure()?;
    println!("alone: {alone}");
    for kind in kinds {
        let brief = Brief {
            kind,
            address: peer.address,
            connections: usize::try_from(number("connections")).unwrap_or(usize::MAX),
            is_burst: options.get_flag("burst"),
            nice: options.get_one::<i32>("nice").copied().unwrap_or_default(),
        };
        street.beside(&brief, &alone)?;
    }
    println!("alone again: {}", street.measure()?);
    let limit = |name| options.get_one::<f64>(name).copied().unwrap_or(f64::INFINITY);
    let (ratio, millis) = (street.worst_ratio, f64::from(street.worst_micros) / 1e3);
    let faults = street.pair.finish();
    if ratio > limit("limit-ratio") || millis > limit("limit-ms") {
        return Err(format!(
            "the worst p99 is {ratio:.1} times the one alone, the longest wait {millis:.1} ms; {faults}"
        ));
    }
    Ok(faults)
}

/// Where the pair lives, and what it has been through.
struct Street<'i> {
    peer: Peer,
    pair: Pair<'i>,
    length: Duration,
    worst_ratio: f64,
    worst_micros: u32,
}

impl Street<'_> {
    /// Measures beside one neighbour, from its start to what it leaves behind.
    fn beside(&mut self, brief: &Brief, alone: &Measured) -> Result<(), String> {
        let shown = |error: io::Error| format!("the neighbour: {error}");
        let mut neighbour = Neighbour::start(brief).map_err(shown)?;
        let started = Instant::now();
        let arrival = self.stay_until_under_way(&neighbour)?;
        let arrived = started.elapsed();
        let (before, cpu_before) = (self.deeds(&mut neighbour)?, neighbour.process().cpu().map_err(shown)?);
        let measured = self.measure()?;
        let (after, cpu_after) = (self.deeds(&mut neighbour)?, neighbour.process().cpu().map_err(shown)?);
        neighbour.stop();
        let departure = self.stay(AFTERMATH)?;

        let [answers, deliveries] = measured.latencies.ratios(&alone.latencies);
        let (came, went) = (arrival.longest(), departure.longest());
        self.worst_ratio = self.worst_ratio.max(answers).max(deliveries);
        self.worst_micros = self.worst_micros.max(measured.latencies.longest()).max(came).max(went);
        let cores = cpu_after.saturating_sub(cpu_before).as_secs_f64() / measured.seconds;
        let deeds = after.since(before).told(brief.kind, measured.seconds);
        println!("{}: {measured}", brief.kind.name());
        println!("  p99 {answers:.1} and {deliveries:.1} times alone");
        println!("  longest wait {came} µs while it came (in {arrived:.1?}), {went} µs after it went");
        println!("  {deeds}; it took {cores:.2} cores");
        Ok(())
    }

    fn stay_until_under_way(&mut self, neighbour: &Neighbour) -> Result<Latencies, String> {
        let (start, mut latencies) = (Instant::now(), Latencies::default());
        let mut is_under_way = Ok(false);
        self.pair.run(&mut latencies, || {
            is_under_way = neighbour.is_under_way();
            is_under_way != Ok(false) || start.elapsed() > PATIENCE
        })?;
        if !is_under_way? {
            return Err(format!("the neighbour is not under way after {PATIENCE:?}"));
        }
        latencies.sort();
        Ok(latencies)
    }

    /// Goes on until the neighbour has told what it did so far.
    fn deeds(&mut self, neighbour: &mut Neighbour) -> Result<Deeds, String> {
        neighbour.ask().map_err(|error| format!("the neighbour: {error}"))?;
        let mut told = Ok(None);
        self.pair.run(&mut Latencies::default(), || {
            told = neighbour.told();
            told != Ok(None)
        })?;
        told?.ok_or_else(|| "the neighbour doesn't answer".to_owned())
    }

    fn measure(&mut self) -> Result<Measured, String> {
        let cpu = |peer: Peer| {
            peer.process
                .map(Process::cpu)
                .transpose()
                .map_err(|error| error.to_string())
        };
        let (start, before) = (Instant::now(), cpu(self.peer)?);
        let latencies = self.stay(self.length)?;
        let (elapsed, after) = (start.elapsed(), cpu(self.peer)?);
        Ok(Measured {
            seconds: elapsed.as_secs_f64(),
            latencies,
            server_cpu: after.zip(before).map(|(after, before)| after.saturating_sub(before)),
        })
    }

    fn stay(&mut self, length: Duration) -> Result<Latencies, String> {
        let (start, mut latencies) = (Instant::now(), Latencies::default());
        self.pair.run(&mut latencies, || start.elapsed() >= length)?;
        latencies.sort();
        Ok(latencies)
    }
}
