//! Loads a running server and checks all that it does: nothing lost, nothing twice, nothing out of order, nothing late.
//!
//! `cargo run --release --example measure -- [--url http://127.0.0.1:8000] [--pid PID] SCENARIO [OPTIONS]`;
//! `--help` lists the scenarios. With the server's process id it tells CPU time and memory as well. It exits with 1 if
//! anything was wrong.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

mod attack;
mod crew;
mod expiry;
mod faults;
mod fleet;
mod floor;
mod identity;
mod idle;
mod judge;
mod ledger;
mod load;
mod logins;
mod mail;
mod poster;
mod process;
mod relay;
mod session;
mod store;
mod visits;
mod wire;

use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use npchat::machine;

use self::faults::Faults;
use self::floor::{Floor, Kind};
use self::identity::Identity;
use self::load::{Figures, Plan};
use self::process::Process;
use self::session::Login;

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// Its process, if it is known.
    pub(crate) process: Option<Process>,
    pub(crate) login: Login,
}

fn main() -> ExitCode {
    let matches = command().get_matches();
    match run(&matches) {
        Ok(faults) => {
            println!("  {faults}");
            if faults.is_none() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            eprintln!("measure: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(matches: &ArgMatches) -> Result<Faults, String> {
    let Some((scenario, options)) = matches.subcommand() else {
        return Err("which scenario?".to_owned());
    };
    if scenario == floor::SCENARIO {
        let kind = options.get_one::<String>("kind").and_then(|name| Kind::named(name));
        let kind = kind.ok_or("store or relay?")?;
        floor::serve(kind, count(options, "size"), count(options, "loops")).map_err(|error| error.to_string())?;
        return Ok(Faults::default());
    }
    if scenario == attack::NEIGHBOUR_SCENARIO {
        return attack::be_neighbour(options).map(|()| Faults::default());
    }
    machine::raise_file_limit().map_err(|error| format!("the file limit: {error}"))?;
    let ttl_seconds = |options: &ArgMatches| count(options, "ttl") as u64;
    match scenario {
        "logins" => logins::run(peer(matches)?, count(options, "count"), count(options, "concurrency")),
        "expiry" => expiry::run(peer(matches)?, count(options, "ids"), ttl_seconds(options)),
        "idle" => idle::run(peer(matches)?, count(options, "sessions")),
        attack::SCENARIO => attack::run(peer(matches)?, options),
        "floor-store" => on_floor(Kind::Store, options, count(options, "loops")).map(|(_, faults)| faults),
        "floor-relay" => on_floor(Kind::Relay, options, count(options, "loops")).map(|(_, faults)| faults),
        "relay" => compare(Kind::Relay, peer(matches)?, options),
        _ => compare(Kind::Store, peer(matches)?, options),
    }
}

/// Loads the server, between two runs of the floor if that is asked for.
fn compare(kind: Kind, peer: Peer, options: &ArgMatches) -> Result<Faults, String> {
    if !options.get_flag("floor") {
        return load(kind, peer, options, "server").map(|(_, faults)| faults);
    }
    let process = peer.process.ok_or("--floor needs --pid")?;
    let loops = process
        .workers()
        .map_err(|error| format!("the server's process: {error}"))?
        .max(1);
    let (floor_before, mut faults) = on_floor(kind, options, loops)?;
    let (server, server_faults) = load(kind, peer, options, "server")?;
    let (floor_after, floor_faults) = on_floor(kind, options, loops)?;
    faults.merge(server_faults);
    faults.merge(floor_faults);
    if let (Some(before), Some(server), Some(after)) = (floor_before, server, floor_after) {
        println!("  {:.2} times the floor", 2.0 * server / (before + after));
    }
    Ok(faults)
}

fn on_floor(kind: Kind, options: &ArgMatches, loops: usize) -> Result<(Option<f64>, Faults), String> {
    let floor = Floor::start(kind, count(options, "size"), loops).map_err(|error| error.to_string())?;
    load(kind, floor.peer(), options, "floor")
}

/// Returns the cost of a message in microseconds of CPU time, and what was wrong.
fn load(kind: Kind, peer: Peer, options: &ArgMatches, whose: &str) -> Result<(Option<f64>, Faults), String> {
    let recipients = match kind {
        Kind::Store => count(options, "ids"),
        Kind::Relay => count(options, "sessions"),
    };
    let identities = Identity::generate(recipients).map_err(|_| "no keys can be made")?;
    let plan = plan(options, recipients);
    let mut figures: Figures = match kind {
        Kind::Store => store::run(peer, &plan, &identities, whose)?,
        Kind::Relay => relay::run(peer, &plan, &identities, whose)?,
    };
    Ok((figures.cost_micros(), std::mem::take(figures.faults())))
}

fn plan(options: &ArgMatches, recipients: usize) -> Plan {
    let connections = count(options, "connections");
    let threads = match options.get_one::<u64>("threads") {
        Some(_) => count(options, "threads"),
        None => (machine::cores() / 2).max(1),
    };
    Plan {
        connections,
        depth: count(options, "depth"),
        size: count(options, "size"),
        ttl_seconds: count(options, "ttl") as u64,
        seconds: count(options, "seconds") as u64,
        threads: threads.min(connections).min(recipients),
    }
}

fn peer(matches: &ArgMatches) -> Result<Peer, String> {
    let url = matches
        .get_one::<String>("url")
        .map_or("", |url| url.trim_end_matches('/'));
    let authority = url
        .strip_prefix("http://")
        .ok_or_else(|| format!("{url}: a server's address looks like http://127.0.0.1:8000"))?;
    let mut addresses = authority.to_socket_addrs().map_err(|error| format!("{url}: {error}"))?;
    Ok(Peer {
        address: addresses.next().ok_or_else(|| format!("{url}: no address"))?,
        process: matches.get_one::<u32>("pid").copied().map(Process::new),
        login: Login::Needed,
    })
}

/// Every number has a default and a least value, so there is one.
fn count(options: &ArgMatches, name: &str) -> usize {
    let number = options.get_one::<u64>(name).copied().unwrap_or(1);
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn command() -> Command {
    let url = Arg::new("url").long("url").default_value("http://127.0.0.1:8000");
    let pid = Arg::new("pid").long("pid").value_parser(value_parser!(u32));
    let floor = || {
        let help = "Measure the floor before and after, with as many threads as the server has workers; needs --pid";
        Arg::new("floor").long("floor").action(ArgAction::SetTrue).help(help)
    };
    let ids = || number("ids", "20000", "Recipients, all away");
    let sessions = || number("sessions", "200", "Sessions logged in");
    let loops = || number("loops", "1", "Threads of the floor");
    Command::new("measure")
        .about("Loads a running npchat server and checks all that it does.")
        .subcommand_required(true)
        .arg(url.global(true).help("The server"))
        .arg(pid.global(true).help("The server's process, for CPU time and memory"))
        .subcommand(
            Command::new("logins")
                .about("Whole logins: connect, upgrade, challenge, solution, close")
                .arg(number("count", "3000", "Logins"))
                .arg(number("concurrency", "64", "Logins at once")),
        )
        .subcommand(
            Command::new("expiry")
                .about("Mail is there until its time to live is over, and not after it")
                .arg(number("ids", "10000", "Recipients, and as many again"))
                .arg(number("ttl", "5", "Time to live in seconds")),
        )
        .subcommand(
            Command::new("idle")
                .about("Sessions that wait: their memory, and their mail")
                .arg(number("sessions", "8000", "Sessions")),
        )
        .subcommand(
            with_load("store", "Messages to recipients who are away")
                .arg(ids())
                .arg(floor()),
        )
        .subcommand(
            with_load("relay", "Messages to live sessions")
                .arg(sessions())
                .arg(floor()),
        )
        .subcommand(attack::command())
        .subcommand(attack::neighbour_command())
        .subcommand(with_load("floor-store", "The floor alone").args([ids(), loops()]))
        .subcommand(with_load("floor-relay", "The floor alone").args([sessions(), loops()]))
        .subcommand(
            Command::new(floor::SCENARIO)
                .hide(true)
                .args(["kind", "size", "loops"].map(|name| match name {
                    "kind" => Arg::new(name).required(true),
                    _ => Arg::new(name).required(true).value_parser(value_parser!(u64)),
                })),
        )
}

fn with_load(name: &'static str, about: &'static str) -> Command {
    let sizes = mail::LEAST_BYTES as u64..=mail::MOST_BYTES as u64;
    let size = Arg::new("size").long("size").value_name("COUNT").default_value("480");
    let threads = Arg::new("threads").long("threads").value_name("COUNT");
    let threads = threads.help("Threads of this program [default: one for two cores]");
    Command::new(name)
        .about(about)
        .arg(number("connections", "64", "Connections that post"))
        .arg(number("depth", "1", "Messages in flight on each"))
        .arg(number("seconds", "10", "Length, after a second for warming up"))
        .arg(number("ttl", "5", "Time to live of the messages in seconds"))
        .arg(threads.value_parser(value_parser!(u64).range(1..)))
        .arg(
            size.value_parser(value_parser!(u64).range(sizes))
                .help("Bytes of a message"),
        )
}

fn number(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("COUNT")
        .value_parser(value_parser!(u64).range(1..))
        .default_value(default)
        .help(help)
}
