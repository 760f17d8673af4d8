//! How long the pair waited: for the answers to its posts, and from a post to its delivery.

use crate::latencies::Latencies;
use crate::process::Spent;
use crate::report::{Section, as_f64};

/// Of the sender, and of the session.
#[derive(Debug, Default)]
pub(super) struct PairLatencies {
    pub(super) answers: Latencies,
    pub(super) deliveries: Latencies,
}

/// What the pair got in a time.
pub(super) struct Measured {
    pub(super) latencies: PairLatencies,
    pub(super) seconds: f64,
    pub(super) spent: Spent,
}

impl PairLatencies {
    /// In microseconds.
    pub(super) fn longest(&self) -> u64 {
        self.answers.quantile(1.0).max(self.deliveries.quantile(1.0))
    }

    /// How many times longer than those of `alone` the 99th percentiles are, of answers and of deliveries.
    pub(super) fn ratios(&self, alone: &Self) -> [f64; 2] {
        [
            self.answers.p99_ratio(&alone.answers),
            self.deliveries.p99_ratio(&alone.deliveries),
        ]
    }
}

impl Measured {
    pub(super) fn section(&self, name: &str) -> Section {
        let mut section = Section::new(name);
        section.measure(
            "messages_per_second",
            as_f64(self.latencies.answers.count()) / self.seconds,
        );
        section.latencies("answer", &self.latencies.answers);
        section.latencies("delivery", &self.latencies.deliveries);
        self.spent.tell_cores(&mut section);
        section
    }
}
