//! The last things that happened in a run, told when it fails, with the command that replays it.
//!
//! Nothing is formatted while a run goes well.

use std::collections::VecDeque;
use std::thread;
use std::time::Duration;

const LINES_KEPT: usize = 120;

/// What happened last. Tells it when it is dropped by a panic.
pub(crate) struct Trace {
    /// None where nothing happens.
    seed: Option<u64>,
    now: Duration,
    lines: VecDeque<(Duration, &'static str, [usize; 3])>,
}

impl Trace {
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Self {
            seed,
            now: Duration::ZERO,
            lines: VecDeque::with_capacity(LINES_KEPT),
        }
    }

    /// What is noted from now on happens at this time since the start.
    pub(crate) fn set_time(&mut self, now: Duration) {
        self.now = now;
    }

    /// Notes an event with the numbers that its name announces.
    pub(crate) fn note(&mut self, event: &'static str, numbers: [usize; 3]) {
        if self.lines.len() == LINES_KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back((self.now, event, numbers));
    }
}

impl Drop for Trace {
    #[expect(clippy::print_stderr, reason = "this is how a failed run tells how to replay it")]
    fn drop(&mut self) {
        let Some(seed) = self.seed.filter(|_| thread::panicking()) else {
            return;
        };
        for (at, event, numbers) in &self.lines {
            eprintln!("{:>9.3} s  {event}: {numbers:?}", at.as_secs_f64());
        }
        eprintln!("seed {seed} failed; replay it: SIMULATION_SEED={seed} cargo test --test simulation");
    }
}
