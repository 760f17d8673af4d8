//! A seeded simulator of the relay without sockets and clocks: workers, peers and faults in any order, judged by a
//! model.
//!
//! `SIMULATION_SEEDS=200000` runs more seeds than usual, `SIMULATION_SEED=7` only that one. A run is the same for a
//! seed on every machine; what is random in a challenge has no influence on its course.

#![expect(clippy::expect_used, clippy::panic, reason = "these fail a run")]

mod identity;
mod intolerance;
mod later;
mod ledger;
mod model;
mod peer;
mod pongs;
mod poster;
mod receiver;
mod regressions;
mod settings;
mod sightings;
mod socket;
mod stage;
mod times;
mod trace;
mod worker;
mod world;

use std::env;

use npchat::server::metrics::Totals;
use npchat::server::refusal::{CloseReason, Refusal};

/// Seeds of all tests together, unless told otherwise.
const SEEDS: u64 = 2_000;
/// Tests that share the seeds, so that the harness runs them on several cores.
const SHARES: u64 = 4;

#[test]
fn what_is_accepted_arrives_once_and_in_order_whatever_fails_1_of_4() {
    run_share(0);
}

#[test]
fn what_is_accepted_arrives_once_and_in_order_whatever_fails_2_of_4() {
    run_share(1);
}

#[test]
fn what_is_accepted_arrives_once_and_in_order_whatever_fails_3_of_4() {
    run_share(2);
}

#[test]
fn what_is_accepted_arrives_once_and_in_order_whatever_fails_4_of_4() {
    run_share(3);
}

fn run_share(share: u64) {
    if let Some(seed) = number("SIMULATION_SEED") {
        if seed % SHARES == share {
            world::run(seed);
        }
        return;
    }
    let seeds = number("SIMULATION_SEEDS").unwrap_or(SEEDS);
    let mut seen = Seen::default();
    for seed in (share..seeds).step_by(usize::try_from(SHARES).expect("a small number")) {
        seen.add(&world::run(seed));
    }
    if seeds >= SEEDS {
        seen.check();
        sightings::check(SHARES);
    }
}

/// How often the runs came to each kind of refusal and end: one that never occurs tests nothing.
#[derive(Default)]
struct Seen {
    refusals: [u64; Refusal::ALL.len()],
    closes: [u64; CloseReason::ALL.len()],
}

impl Seen {
    fn add(&mut self, totals: &Totals) {
        let refusals = self.refusals.iter_mut().zip(&totals.refusals);
        let closes = self.closes.iter_mut().zip(&totals.closes);
        for (sum, count) in refusals.chain(closes) {
            *sum += count;
        }
    }

    fn check(&self) {
        use CloseReason::{
            Answered, Done, Idle, LoginTimeout, PongTimeout, ProtocolError, Reset, Restart, Stalled, WrongKey,
            WrongSolution,
        };
        use Refusal::{BadId, MailboxFull, MalformedHead, MethodNotAllowed, RelayFull, RequestTimeout, StorageTimeout};
        for refusal in [
            BadId,
            MailboxFull,
            MalformedHead,
            MethodNotAllowed,
            RelayFull,
            RequestTimeout,
            StorageTimeout,
        ] {
            assert!(self.refusals[refusal as usize] > 0, "no run sees {refusal:?}");
        }
        for reason in [
            Answered,
            Done,
            Idle,
            LoginTimeout,
            PongTimeout,
            ProtocolError,
            Reset,
            Restart,
            Stalled,
            WrongKey,
            WrongSolution,
        ] {
            assert!(self.closes[reason as usize] > 0, "no run sees {reason:?}");
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().expect("SIMULATION_SEED and SIMULATION_SEEDS are numbers"))
}
