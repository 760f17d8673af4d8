//! The command line of `npchat-bench`: which scenarios there are, what they take, and what comes of that.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use npchat::server::system;

use crate::attack::{self, Attack, Kind};
use crate::burst::Burst;
use crate::fleet::Manner;
use crate::handshake::Visitors;
use crate::load::Plan;
use crate::login::Storm;
use crate::peer::Peer;
use crate::process::Process;
use crate::progress::Progress;
use crate::traffic::Traffic;
use crate::{Bench, floor, mail, tls};

/// Tells everything as one JSON object.
pub(crate) const JSON: &str = "json";

/// Lengths, ids and the like. The measures in docs/measuring.md are made with these defaults unless it says otherwise.
const CONNECTIONS: &str = "64";
const SIZE: &str = "480";

/// What to do.
#[derive(Debug)]
pub(crate) enum Scenario {
    Traffic(Traffic),
    Login(Storm),
    Idle {
        sessions: usize,
    },
    Expiry {
        ids: usize,
        ttl_seconds: u64,
    },
    Burst(Burst),
    Handshake(Visitors),
    Attack(Attack),
    /// In a child of this program.
    FloorServer(floor::Brief),
    /// In a child of this program.
    AttackNeighbour(attack::Brief),
}

impl Scenario {
    /// Whether this process is the child of one that tells how it goes.
    fn is_child(&self) -> bool {
        matches!(self, Self::FloorServer(_) | Self::AttackNeighbour(_))
    }

    /// Reads the options of the scenario.
    ///
    /// # Errors
    /// What contradicts itself in them.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, String> {
        let (name, options) = matches.subcommand().ok_or("which scenario?")?;
        let scenario = match name {
            "store" => Self::Traffic(traffic("store", options)),
            "relay" => Self::Traffic(traffic("relay", options)),
            "mixed" => Self::Traffic(traffic("mixed", options)),
            "login" => Self::Login(storm(options)),
            "idle" => Self::Idle {
                sessions: count(options, "sessions"),
            },
            "expiry" => Self::Expiry {
                ids: count(options, "ids"),
                ttl_seconds: number(options, "ttl"),
            },
            "burst" => Self::Burst(burst(options)),
            "handshake" => Self::Handshake(Visitors {
                count: count(options, "count"),
                at_once: count(options, "at-once"),
                size: count(options, "size"),
            }),
            attack::SCENARIO => Self::Attack(attack(options)),
            attack::NEIGHBOUR_SCENARIO => {
                Self::AttackNeighbour(attack::Brief::read(options).ok_or("no such neighbour")?)
            }
            floor::SCENARIO => Self::FloorServer(floor::Brief {
                is_relay: count(options, "relay") > 0,
                size: count(options, "size"),
                loops: count(options, "loops"),
            }),
            _ => return Err(format!("{name}: no such scenario")),
        };
        match &scenario {
            Self::Traffic(traffic) if traffic.rounds.is_some() && matches.get_one::<u32>("pid").is_none() => {
                Err("--floor needs --pid".to_owned())
            }
            _ => Ok(scenario),
        }
    }
}

/// What all scenarios take.
///
/// # Errors
/// The URL is wrong, or its host not known.
pub(crate) fn bench(matches: &ArgMatches, scenario: &Scenario) -> Result<Bench, String> {
    let threads = match matches.get_one::<u64>("threads") {
        Some(_) => count(matches, "threads"),
        None => (system::cores() / 2).max(1),
    };
    // A thread without a share would have nothing to wait for.
    let most = match scenario {
        Scenario::Traffic(Traffic {
            plan, ids, sessions, ..
        }) => {
            let live = if *ids == 0 { *sessions } else { usize::MAX };
            plan.connections.min(live)
        }
        Scenario::Login(storm) => storm.count,
        Scenario::Handshake(visitors) => visitors.count.min(visitors.at_once),
        _ => 1,
    };
    let url = matches.get_one::<String>("url").map_or("", String::as_str);
    let tls = tls::Options {
        cafile: matches.get_one::<PathBuf>("cafile").cloned(),
        is_insecure: is_set(matches, "insecure"),
        resumes: is_set(matches, "resume"),
    };
    let process = matches.get_one::<u32>("pid").copied().map(Process::new);
    let peer = Peer::at(url, process, &tls)?;
    if let Some(process) = process {
        let ports = process.listening_ports().map_err(|why| format!("--pid: {why}"))?;
        if ports.is_some_and(|ports| !ports.contains(&peer.address.port())) {
            let port = peer.address.port();
            eprintln!("npchat-bench: the process of --pid doesn't listen on port {port}: is it behind what does?");
        }
    }
    Ok(Bench {
        peer,
        manner: Manner {
            timeout: Duration::from_secs(number(matches, "login-timeout")),
            retries: u32::try_from(number(matches, "login-retries")).unwrap_or(u32::MAX),
        },
        threads: threads.min(most),
        progress: Progress::start(matches.get_flag("quiet") || scenario.is_child()),
    })
}

/// The command line.
pub(crate) fn command() -> Command {
    Command::new(env!("CARGO_BIN_NAME"))
        .version(env!("CARGO_PKG_VERSION"))
        .about("Loads a running server and checks all that it does")
        .after_help(
            "Ends with 1 if anything was lost, doubled, out of order, late or refused.\n\
             Without --rate each connection posts its next message when it has an answer (closed loop). With it messages are\n\
             posted at that rate whatever the answers do, and latencies count from when each was to be posted (open loop).",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .args(common())
        .subcommands([
            load("store", "Messages to recipients who are away").args([
                ids("20000"),
                at_least(0, "stored", "0", "Messages stored before, to tell what each takes of the server's memory"),
                at_least(1, "stored-ttl", "600", "Their time to live in seconds"),
            ]).args(floor_options()),
            load("relay", "Messages to live sessions").arg(sessions("200")).args(floor_options()),
            load("mixed", "Messages to live sessions and to recipients who are away, and logins, all at once").args([
                ids("20000"),
                sessions("200"),
                at_least(0, "visitors", "4", "Who log in and out again and again"),
            ]),
            Command::new("login")
                .about("Whole logins: connect, upgrade, challenge, solution, close")
                .args([
                    at_least(1, "count", "3000", "Logins"),
                    at_least(1, "at-once", "64", "Logins under way at a time; as many as --count come as fast as they can"),
                    flag("hold", "Hold all sessions until the last is in"),
                    at_least(0, "posters", "0", "Connections that post meanwhile, and alone before"),
                    ids("1000"),
                    size(),
                    rate(),
                ]),
            Command::new("idle")
                .about("Sessions that wait: their memory, and their mail")
                .arg(sessions("8000")),
            Command::new("expiry")
                .about("Mail is there until its time to live is over, and not after it")
                .args([
                    ids("10000").help("Recipients, and as many again"),
                    at_least(1, "ttl", "5", "Time to live in seconds"),
                ]),
            Command::new("burst")
                .about("Many messages whose time ends in the same second, and how senders fare meanwhile")
                .args([
                    at_least(1, "count", "1000000", "Messages whose time ends"),
                    ids("20000"),
                    size(),
                    Arg::new("lead")
                        .long("lead")
                        .value_name("COUNT")
                        .value_parser(value_parser!(u64).range(5..))
                        .help("Seconds from the first to the end of its time [default: 15, and one for 20,000 messages]"),
                    at_least(1, "posters", "16", "Connections that post meanwhile, and alone before"),
                    rate().default_value("2000"),
                ]),
            Command::new("handshake")
                .about("A connection for each message: what connecting costs, over TLS with a handshake")
                .args([
                    at_least(1, "count", "3000", "Connections"),
                    at_least(1, "at-once", "64", "Connections at a time"),
                    size(),
                ]),
            attack_command(),
            Command::new(attack::NEIGHBOUR_SCENARIO)
                .hide(true)
                .args(attack::Brief::ARGUMENTS.map(|name| Arg::new(name).required(true))),
            Command::new(floor::SCENARIO).hide(true).args(
                floor::Brief::ARGUMENTS.map(|name| Arg::new(name).required(true).value_parser(value_parser!(u64))),
            ),
        ])
}

fn common() -> Vec<Arg> {
    let all = [
        Arg::new("url")
            .long("url")
            .default_value("http://127.0.0.1:8000")
            .help("The server; https:// needs --cafile or --insecure"),
        Arg::new("cafile")
            .long("cafile")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("Certificates (PEM) of those who vouch for the server, or its own"),
        flag("insecure", "Take any certificate"),
        flag("resume", "Resume TLS sessions; otherwise each handshake is a full one"),
        Arg::new("pid")
            .long("pid")
            .value_parser(value_parser!(u32))
            .help("The server's process, for its CPU time and memory"),
        Arg::new("threads")
            .long("threads")
            .value_name("COUNT")
            .value_parser(value_parser!(u64).range(1..=1024))
            .help("Threads that make load [default: one for two cores]"),
        at_least(
            1,
            "login-timeout",
            "10",
            "Seconds after which a login without an answer is begun again",
        ),
        at_least(
            0,
            "login-retries",
            "4",
            "How often a login that the server dropped is begun again",
        ),
        flag(JSON, "Print one JSON object instead of a table"),
        flag("quiet", "Don't tell on stderr how it goes"),
    ];
    all.into_iter()
        .map(|arg| arg.global(true).help_heading("For all scenarios"))
        .collect()
}

fn attack_command() -> Command {
    let limit = |name| Arg::new(name).long(name).value_parser(value_parser!(f64));
    Command::new(attack::SCENARIO)
        .about("One sender and one session, alone and beside hostile neighbours of each kind")
        .args([
            at_least(1, "seconds", "5", "Length of each measure"),
            at_least(1, "connections", "5000", "Connections of a crowd"),
            flag("burst", "A crowd comes all at once, not 2,000 a second"),
            Arg::new("kinds")
                .long("kinds")
                .value_delimiter(',')
                .value_parser(PossibleValuesParser::new(Kind::names()))
                .help("Neighbours, in this order [default: all]"),
            Arg::new("nice")
                .long("nice")
                .default_value("19")
                .value_parser(value_parser!(i32).range(0..=19))
                .help(
                    "Nice value of the neighbours: at 19 a full machine leaves them little, at 0 they take their share",
                ),
            limit("limit-ratio").help("Fail if a p99 is over so many times the one alone"),
            limit("limit-ms").help("Fail if anything took over so many milliseconds"),
        ])
}

/// A scenario that is measured for a time.
fn load(name: &'static str, about: &'static str) -> Command {
    Command::new(name).about(about).args([
        at_least(1, "connections", CONNECTIONS, "Connections that post"),
        at_least(1, "depth", "1", "Messages in flight on each"),
        at_least(0, "seconds", "10", "Length, after a second for warming up"),
        at_least(1, "ttl", "5", "Time to live of the messages in seconds"),
        size(),
        rate(),
    ])
}

fn size() -> Arg {
    let sizes = mail::LEAST_BYTES as u64..=mail::MOST_BYTES as u64;
    Arg::new("size")
        .long("size")
        .value_name("BYTES")
        .default_value(SIZE)
        .value_parser(value_parser!(u64).range(sizes))
        .help("Bytes of a message")
}

fn rate() -> Arg {
    Arg::new("rate")
        .long("rate")
        .value_name("COUNT")
        .value_parser(value_parser!(u64).range(1..=100_000_000))
        .help("Messages a second, of all connections together [default: as many as are answered]")
}

fn ids(default: &'static str) -> Arg {
    at_least(1, "ids", default, "Recipients who are away")
}

fn sessions(default: &'static str) -> Arg {
    at_least(1, "sessions", default, "Sessions logged in")
}

fn floor_options() -> [Arg; 2] {
    [
        flag(
            "floor",
            "Measure the floor before and after, with as many threads as the server has workers; needs --pid",
        ),
        at_least(
            1,
            "rounds",
            "1",
            "Measure the server so often, each time between two measures of the floor",
        )
        .requires("floor"),
    ]
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn at_least(least: u64, name: &'static str, default: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("COUNT")
        .value_parser(value_parser!(u64).range(least..=u64::from(u32::MAX)))
        .default_value(default)
        .help(help)
}

fn traffic(scenario: &'static str, options: &ArgMatches) -> Traffic {
    Traffic {
        scenario,
        plan: Plan {
            connections: count(options, "connections"),
            depth: count(options, "depth"),
            size: count(options, "size"),
            ttl_seconds: number(options, "ttl"),
            seconds: number(options, "seconds"),
            rate: rate_of(options),
        },
        ids: count(options, "ids"),
        sessions: count(options, "sessions"),
        stored: count(options, "stored"),
        stored_ttl_seconds: number(options, "stored-ttl"),
        visitors: count(options, "visitors"),
        rounds: is_set(options, "floor").then(|| count(options, "rounds")),
    }
}

fn storm(options: &ArgMatches) -> Storm {
    let posters = count(options, "posters");
    Storm {
        count: count(options, "count"),
        at_once: count(options, "at-once"),
        hold: is_set(options, "hold"),
        posters: (posters > 0).then(|| posters_beside(options)),
        ids: count(options, "ids"),
    }
}

fn burst(options: &ArgMatches) -> Burst {
    let messages = count(options, "count");
    Burst {
        count: messages,
        ids: count(options, "ids"),
        lead_seconds: match number(options, "lead") {
            0 => 15 + messages as u64 / 20_000,
            lead => lead,
        },
        posters: posters_beside(options),
    }
}

/// Who posts beside something else: one message in flight on each connection.
fn posters_beside(options: &ArgMatches) -> Plan {
    Plan {
        connections: count(options, "posters"),
        depth: 1,
        size: count(options, "size"),
        ttl_seconds: 60,
        seconds: 0,
        rate: rate_of(options),
    }
}

fn attack(options: &ArgMatches) -> Attack {
    let limit = |name| options.get_one::<f64>(name).copied().unwrap_or(f64::INFINITY);
    Attack {
        seconds: number(options, "seconds"),
        kinds: match options.get_many::<String>("kinds") {
            Some(names) => names.filter_map(|name| Kind::named(name)).collect(),
            None => Kind::all().collect(),
        },
        connections: count(options, "connections"),
        is_burst: is_set(options, "burst"),
        nice: options.get_one::<i32>("nice").copied().unwrap_or_default(),
        limit_ratio: limit("limit-ratio"),
        limit_ms: limit("limit-ms"),
    }
}

fn rate_of(options: &ArgMatches) -> Option<f64> {
    let rate = number(options, "rate");
    (rate > 0).then_some(crate::report::as_f64(rate))
}

/// 0 of an option that this scenario doesn't have.
fn number(options: &ArgMatches, name: &str) -> u64 {
    options
        .try_get_one::<u64>(name)
        .ok()
        .flatten()
        .copied()
        .unwrap_or_default()
}

fn count(options: &ArgMatches, name: &str) -> usize {
    usize::try_from(number(options, name)).unwrap_or(usize::MAX)
}

fn is_set(options: &ArgMatches, name: &str) -> bool {
    options
        .try_get_one::<bool>(name)
        .ok()
        .flatten()
        .copied()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }
}
