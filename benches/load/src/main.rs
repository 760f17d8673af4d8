//! `npchat-bench`: loads a running server and checks all that it does: nothing lost, nothing twice, nothing out of
//! order, nothing late.
//!
//! Each scenario is a module; this one picks it, and reports what came of it. It is for any server that speaks part 1
//! of the protocol, and asks for nothing beyond it.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

mod arguments;
mod attack;
mod bench;
mod beside;
mod burst;
mod child;
mod drive;
mod exchange;
mod expiry;
mod faults;
mod floor;
mod handshake;
mod identity;
mod idle;
mod latency_histogram;
mod load;
mod login;
mod mail;
mod mailbox_oracle;
mod options;
mod oracle;
mod pace;
mod peer;
mod poster;
mod posters;
mod prefill;
mod process;
mod progress;
mod report;
mod sample;
mod sequence_check;
mod session;
mod session_pool;
mod tls;
mod traffic;
mod wake_ups;
mod wire;

use std::process::ExitCode;

use clap::Parser;
use npchat::server::system::{self, FileLimit};

use self::bench::Bench;
use self::options::{Child, Options, Scenario};
use self::report::{Report, Section};

/// A usage error, as clap has it.
const USAGE: u8 = 2;

/// Runs the scenario. Ends with 1 if anything was wrong with the server, or it couldn't be measured; with 2 if the
/// options are.
fn main() -> ExitCode {
    let options = Options::parse();
    let is_json = options.json();
    let bench = match options.bench() {
        Ok(bench) => bench,
        Err(why) => {
            eprintln!("npchat-bench: {why}");
            return ExitCode::from(USAGE);
        }
    };
    match run(&bench, options.scenario) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(report)) => {
            if is_json {
                match serde_json::to_string(&report) {
                    Ok(json) => println!("{json}"),
                    Err(why) => eprintln!("npchat-bench: {why}"),
                }
            } else {
                println!("{report}");
            }
            if report.faults.is_none() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(why) => {
            eprintln!("npchat-bench: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Returns nothing from the children that other scenarios start.
fn run(bench: &Bench, scenario: Scenario) -> Result<Option<Report>, String> {
    let FileLimit { files, refused } = system::raise_file_limit();
    if let Some(error) = refused {
        eprintln!("npchat-bench: the limit of open files can't be raised: it stays at {files}: {error}");
    }
    let mut report = match scenario {
        Scenario::Store(store) => traffic::run(bench, &store.into()),
        Scenario::Relay(relay) => traffic::run(bench, &relay.into()),
        Scenario::Mixed(mixed) => traffic::run(bench, &mixed.into()),
        Scenario::Login(options) => login::run(bench, &options),
        Scenario::Idle { sessions } => idle::run(bench, sessions),
        Scenario::Expiry { ids, ttl } => expiry::run(bench, ids, ttl),
        Scenario::Burst(burst) => burst::run(bench, &burst),
        Scenario::Handshake(visitors) => handshake::run(bench, &visitors),
        Scenario::Attack(attack) => attack::run(bench, &attack),
        Scenario::FloorServer(Child { brief }) => {
            return floor::serve(brief).map(|()| None).map_err(|error| error.to_string());
        }
        Scenario::AttackNeighbour(Child { brief }) => return attack::be_neighbour(&brief).map(|()| None),
    }?;
    if let Some(tls) = &bench.peer.tls {
        let mut section = Section::new("tls");
        tls.report(&mut section);
        report.add(section);
    }
    Ok(Some(report))
}
