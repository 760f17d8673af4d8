//! What each step of a message's way costs, with no socket and no kernel: `cargo bench`, or `cargo bench --
//! connection`.
//!
//! Measured is the processor time of the thread that does it. What the kernel adds, and how many do how much at once,
//! is measured against a running server (`npchat-bench`).

#![expect(clippy::unwrap_used, clippy::panic, reason = "these end a measurement")]

mod auth;
mod bodies;
mod clock;
mod connection;
mod frames;
mod heads;
mod mailboxes;
mod peers;
mod random;
mod wheel;

use std::time::Duration;

use criterion::Criterion;

use crate::clock::CpuTime;

/// Of a message, as in all measurements against a running server.
const MESSAGE_BYTES: usize = 480;

fn main() {
    // All of it together takes a few minutes; who wants it more exact says so (`--measurement-time`, `--sample-size`).
    let mut criterion = Criterion::default()
        .with_measurement(CpuTime)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20)
        .configure_from_args();
    connection::benches(&mut criterion);
    heads::benches(&mut criterion);
    bodies::benches(&mut criterion);
    frames::benches(&mut criterion);
    mailboxes::benches(&mut criterion);
    wheel::benches(&mut criterion);
    auth::benches(&mut criterion);
    criterion.final_summary();
}
