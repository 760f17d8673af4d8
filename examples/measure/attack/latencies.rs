//! How long the pair waited: for the answers to its posts, and from a post to its delivery.

use std::fmt;
use std::time::Duration;

use crate::load::as_f64;

/// Latencies in microseconds.
#[derive(Debug, Default)]
pub(super) struct Latencies {
    pub(super) answers: Sorted,
    pub(super) deliveries: Sorted,
}

/// Sorted once all are there.
#[derive(Debug, Default)]
pub(super) struct Sorted(Vec<u32>);

/// What the pair got in a time.
pub(super) struct Measured {
    pub(super) latencies: Latencies,
    pub(super) seconds: f64,
    pub(super) server_cpu: Option<Duration>,
}

impl Latencies {
    pub(super) fn sort(&mut self) {
        self.answers.0.sort_unstable();
        self.deliveries.0.sort_unstable();
    }

    /// In microseconds, once all are sorted.
    pub(super) fn longest(&self) -> u32 {
        self.answers.permille(1000).max(self.deliveries.permille(1000))
    }

    /// How many times longer than those of `alone` the 99th percentiles are, of answers and of deliveries.
    pub(super) fn ratios(&self, alone: &Self) -> [f64; 2] {
        let ratio =
            |mine: &Sorted, alone: &Sorted| f64::from(mine.permille(990)) / f64::from(alone.permille(990).max(1));
        [
            ratio(&self.answers, &alone.answers),
            ratio(&self.deliveries, &alone.deliveries),
        ]
    }
}

impl Sorted {
    pub(super) fn add(&mut self, latency: Duration) {
        self.0.push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
    }

    fn permille(&self, permille: usize) -> u32 {
        let place = (self.0.len() * permille / 1000).min(self.0.len().saturating_sub(1));
        self.0.get(place).copied().unwrap_or_default()
    }
}

impl fmt::Display for Sorted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, slow, slower, slowest] = [500, 990, 999, 1000].map(|permille| self.permille(permille));
        write!(f, "p50 {median} µs, p99 {slow}, p99.9 {slower}, max {slowest}")
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Latencies { answers, deliveries } = &self.latencies;
        write!(f, "{:.0} posts/s", as_f64(answers.0.len() as u64) / self.seconds)?;
        if let Some(cpu) = self.server_cpu {
            write!(f, ", server {:.2} cores", cpu.as_secs_f64() / self.seconds)?;
        }
        write!(f, "\n  answer {answers}; delivery {deliveries}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_told_in_microseconds_whatever_the_order_in_which_they_came() {
        let mut latencies = Latencies::default();
        for micros in (1..=1000).rev() {
            latencies.answers.add(Duration::from_micros(micros));
            latencies.deliveries.add(Duration::from_micros(3 * micros));
        }
        latencies.sort();
        let told = latencies.answers.to_string();
        assert_eq!(told, "p50 501 µs, p99 991, p99.9 1000, max 1000");
        assert_eq!(latencies.longest(), 3000);
    }

    #[test]
    fn nothing_measured_is_no_wait() {
        assert_eq!(Latencies::default().longest(), 0);
    }
}
