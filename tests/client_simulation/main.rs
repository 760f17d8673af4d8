//! A seeded simulator of clients without sockets and clocks: accounts, relays that lose, double, delay and refuse, and
//! crashes between any two writes, judged by a model.
//!
//! `CLIENT_SEEDS=200000` runs more seeds than usual, `CLIENT_SEED=7` only that one, and `CLIENT_TRACE=1`
//! prints what is posted in it. A run is the same for a seed on every machine.

#![expect(clippy::expect_used, reason = "these fail a run")]
#![expect(clippy::print_stdout, reason = "a seed that fails, and the course of its run")]

mod acts;
mod behaviour;
mod client;
mod envelope;
mod faults;
mod model;
mod people;
mod relay;
mod side;
mod table;
mod versions;
mod world;

use std::env;

/// Seeds of all tests together, unless told otherwise.
const SEEDS: u64 = 600;
/// Tests that share the seeds, so that the harness runs them on several cores.
const SHARES: u64 = 2;

#[test]
fn nothing_stays_missing_and_nothing_comes_twice_whatever_fails_1_of_2() {
    run_share(0);
}

#[test]
fn nothing_stays_missing_and_nothing_comes_twice_whatever_fails_2_of_2() {
    run_share(1);
}

fn run_share(share: u64) {
    if let Some(seed) = number("CLIENT_SEED") {
        if seed % SHARES == share {
            println!("{:?}", model::run(seed));
        }
        return;
    }
    let seeds = number("CLIENT_SEEDS").unwrap_or(SEEDS);
    let mut seen = world::Seen::default();
    for seed in (share..seeds).step_by(usize::try_from(SHARES).expect("a small number")) {
        let run = std::panic::catch_unwind(|| model::run(seed));
        let run = run.unwrap_or_else(|panic| {
            println!("CLIENT_SEED={seed} fails");
            std::panic::resume_unwind(panic)
        });
        seen.add(&run);
    }
    if seeds >= SEEDS {
        println!("{seen:?}");
        seen.check();
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().expect("CLIENT_SEED and CLIENT_SEEDS are numbers"))
}
