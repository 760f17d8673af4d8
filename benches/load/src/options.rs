//! The command line of `npchat-bench`: which scenarios there are, what they take, and what comes of that.
//!
//! The doc comments of options are what `--help` prints.

use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use npchat::server::system;
use serde::de::DeserializeOwned;

use crate::arguments::{at_least, threads};
use crate::attack::{self, AttackOptions};
use crate::bench::{Bench, LoginPolicy};
use crate::burst::BurstOptions;
use crate::floor;
use crate::handshake::HandshakeOptions;
use crate::load::Plan;
use crate::login::LoginOptions;
use crate::peer::Peer;
use crate::process::Process;
use crate::progress::Progress;
use crate::tls;
use crate::traffic::Traffic;

/// Loads a running server and checks all that it does
#[derive(Debug, Parser)]
#[command(
    version,
    arg_required_else_help = true,
    after_help = "Ends with 1 if anything was lost, doubled, out of order, late or refused.\n\
        Without --rate each connection posts its next message when it has an answer (closed loop). With it messages\n\
        are posted at that rate whatever the answers are, and latencies count from when each was to be posted\n\
        (open loop)."
)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "For all scenarios")]
struct Common {
    /// The server; https:// needs --cafile or --insecure
    #[arg(long, global = true, default_value = "http://127.0.0.1:8000")]
    url: String,
    #[command(flatten)]
    tls: tls::Options,
    /// The server's process, for its CPU time and memory
    #[arg(long, global = true)]
    pid: Option<u32>,
    /// Threads that make load [default: one for two cores]
    #[arg(long, global = true, value_name = "COUNT", value_parser = threads())]
    threads: Option<usize>,
    /// Seconds after which a login without an answer is begun again
    #[arg(long, global = true, value_name = "COUNT", value_parser = at_least::<u32>(1), default_value = "10")]
    login_timeout: u32,
    /// How often a login that the server dropped is begun again
    #[arg(long, global = true, value_name = "COUNT", value_parser = at_least::<u32>(0), default_value = "4")]
    login_retries: u32,
    /// Print one JSON object instead of a table
    #[arg(long, global = true)]
    json: bool,
    /// Print no progress on stderr
    #[arg(long, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Scenario {
    /// Messages to recipients that are offline
    Store(Store),
    /// Messages to live sessions
    Relay(Relay),
    /// Messages to live sessions and to recipients that are offline, and logins, all at once
    Mixed(Mixed),
    /// Whole logins: connect, upgrade, challenge, solution, close
    Login(LoginOptions),
    /// Sessions that wait: their memory, and their mail
    Idle {
        /// Sessions logged in
        #[arg(long, value_name = "COUNT", value_parser = at_least::<usize>(1), default_value = "8000")]
        sessions: usize,
    },
    /// Mail is there until its time to live is over, and not after it
    Expiry {
        /// Recipients, and as many again
        #[arg(long, value_name = "COUNT", value_parser = at_least::<usize>(1), default_value = "10000")]
        ids: usize,
        /// Time to live in seconds
        #[arg(long, value_name = "COUNT", value_parser = at_least::<u64>(1), default_value = "5")]
        ttl: u64,
    },
    /// Many messages whose time ends in the same second, and how senders fare meanwhile
    Burst(BurstOptions),
    /// A connection for each message: what connecting costs, over TLS with a handshake
    Handshake(HandshakeOptions),
    /// One sender and one session, alone and beside hostile neighbours of each kind
    Attack(AttackOptions),
    #[command(hide = true)]
    FloorServer(Child<floor::FloorBrief>),
    #[command(hide = true)]
    AttackNeighbour(Child<attack::NeighbourBrief>),
}

/// What a child of this program gets.
#[derive(Debug, Args)]
pub(crate) struct Child<B: Clone + Send + Sync + DeserializeOwned + 'static> {
    #[arg(value_parser = |text: &str| serde_json::from_str::<B>(text))]
    pub(crate) brief: B,
}

#[derive(Debug, Args)]
pub(crate) struct Store {
    #[command(flatten)]
    plan: Plan,
    /// Offline recipients
    #[arg(long, value_name = "COUNT", value_parser = at_least::<usize>(1), default_value = "20000")]
    ids: usize,
    /// Messages stored before, to report what each takes of the server's memory
    #[arg(long, value_name = "COUNT", value_parser = at_least::<usize>(0), default_value = "0")]
    stored: usize,
    /// Their time to live in seconds
    #[arg(long, value_name = "COUNT", value_parser = at_least::<u64>(1), default_value = "600")]
    stored_ttl: u64,
    #[command(flatten)]
    floor: Floor,
}

#[derive(Debug, Args)]
pub(crate) struct Relay {
    #[command(flatten)]
    plan: Plan,
    /// Sessions logged in
    #[arg(long, value_name = "COUNT", value_parser = at_least::<usize>(1), default_value = "200")]
    sessions: usize,
    #[command(flatten)]
    floor: Floor,
}

#[derive(Debug, Args)]
pub(crate) struct Mixed {
    #[command(flatten)]
    plan: Plan,
    /// Offline recipients
    #[arg(long, value_name = "COUNT", value_parser = at_least::<usize>(1), default_value = "20000")]
    ids: usize,
    /// Sessions logged in
    #[arg(long, value_name = "COUNT", value_parser = at_least::<usize>(1), default_value = "200")]
    sessions: usize,
    /// Clients that log in and out again and again
    #[arg(long, value_name = "COUNT", value_parser = at_least::<usize>(0), default_value = "4")]
    visitors: usize,
}

#[derive(Debug, Args)]
struct Floor {
    /// Measure the floor before and after, with as many threads as the server has workers; needs --pid
    #[arg(long)]
    floor: bool,
    /// Measure the server so often, each time between two measures of the floor
    #[arg(long, value_name = "COUNT", value_parser = at_least::<usize>(1), default_value = "1", requires = "floor")]
    rounds: usize,
}

impl Floor {
    fn rounds(&self) -> Option<usize> {
        self.floor.then_some(self.rounds)
    }
}

impl From<Store> for Traffic {
    fn from(store: Store) -> Self {
        Self {
            ids: store.ids,
            stored: store.stored,
            stored_ttl_seconds: store.stored_ttl,
            rounds: store.floor.rounds(),
            ..Self::new("store", store.plan)
        }
    }
}

impl From<Relay> for Traffic {
    fn from(relay: Relay) -> Self {
        Self {
            sessions: relay.sessions,
            rounds: relay.floor.rounds(),
            ..Self::new("relay", relay.plan)
        }
    }
}

impl From<Mixed> for Traffic {
    fn from(mixed: Mixed) -> Self {
        Self {
            ids: mixed.ids,
            sessions: mixed.sessions,
            visitors: mixed.visitors,
            ..Self::new("mixed", mixed.plan)
        }
    }
}

impl Options {
    /// Whether the report is to be JSON.
    pub(crate) fn json(&self) -> bool {
        self.common.json
    }

    /// What all scenarios take.
    ///
    /// # Errors
    /// The options contradict each other, the URL is wrong, or its host not known.
    pub(crate) fn bench(&self) -> Result<Bench, String> {
        let common = &self.common;
        if let Scenario::Store(Store { floor, .. }) | Scenario::Relay(Relay { floor, .. }) = &self.scenario
            && floor.floor
            && common.pid.is_none()
        {
            return Err("--floor needs --pid".to_owned());
        }
        let process = common.pid.map(Process::new);
        let peer = Peer::at(&common.url, process, &common.tls)?;
        if let Some(process) = process {
            let ports = process.listening_ports().map_err(|why| format!("--pid: {why}"))?;
            if ports.is_some_and(|ports| !ports.contains(&peer.address.port())) {
                let port = peer.address.port();
                eprintln!("npchat-bench: the process of --pid doesn't listen on port {port}: is it behind what does?");
            }
        }
        let threads = common.threads.unwrap_or_else(|| (system::cores() / 2).max(1));
        Ok(Bench {
            peer,
            login_policy: LoginPolicy {
                timeout: Duration::from_secs(common.login_timeout.into()),
                retries: common.login_retries,
            },
            threads: threads.min(self.scenario.most_threads()),
            progress: Progress::start(common.quiet || self.scenario.is_child()),
        })
    }
}

impl Scenario {
    /// Whether this process is the child of one that reports progress.
    fn is_child(&self) -> bool {
        matches!(self, Self::FloorServer(_) | Self::AttackNeighbour(_))
    }

    /// A thread without a share would have nothing to wait for.
    fn most_threads(&self) -> usize {
        match self {
            Self::Store(store) => store.plan.connections,
            Self::Mixed(mixed) => mixed.plan.connections,
            Self::Relay(relay) => relay.plan.connections.min(relay.sessions),
            Self::Login(options) => options.count,
            Self::Handshake(visitors) => visitors.count.min(visitors.at_once),
            _ => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }
}
