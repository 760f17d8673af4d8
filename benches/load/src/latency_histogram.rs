//! How long things took, in an HDR histogram: microseconds, to three digits.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

/// Longer ones count as this.
const LONGEST_MICROS: u64 = 3_600_000_000;
const DIGITS: u8 = 3;

#[derive(Debug, Clone)]
pub(crate) struct LatencyHistogram(Histogram<u64>);

impl LatencyHistogram {
    /// The percentiles that are reported, with their names.
    pub(crate) const REPORTED: [(&'static str, f64); 5] =
        [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)];

    pub(crate) fn add(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.0.saturating_record(micros);
    }

    /// Takes in what another thread has measured.
    pub(crate) fn merge(&mut self, other: &Self) {
        // The bounds are the same, so all of the other fits in.
        let _ = self.0.add(&other.0);
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// In microseconds; 0 if there are none.
    pub(crate) fn quantile(&self, quantile: f64) -> u64 {
        // The histogram returns the end of a step, which may lie beyond what came.
        self.0.value_at_quantile(quantile).min(self.0.max())
    }

    /// How many times longer than that of `other` the 99th percentile is.
    pub(crate) fn p99_ratio(&self, other: &Self) -> f64 {
        let [mine, others] = [self, other].map(|latencies| latencies.0.value_at_quantile(0.99).max(1));
        as_f64(mine) / as_f64(others)
    }
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "the bounds are constants, which a test constructs")]
        Self(Histogram::new_with_bounds(1, LONGEST_MICROS, DIGITS).expect("good bounds"))
    }
}

impl fmt::Display for LatencyHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, quantile)) in Self::REPORTED.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{name} {}", self.quantile(*quantile))?;
        }
        f.write_str(" µs")
    }
}

/// Counts and seconds here are far below 2^52.
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^52")]
pub(crate) fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_reported_in_microseconds_whatever_the_order_in_which_they_came() {
        let (mut odd, mut even) = (LatencyHistogram::default(), LatencyHistogram::default());
        for micros in (1..=1000).rev() {
            let half = if micros % 2 == 0 { &mut even } else { &mut odd };
            half.add(Duration::from_micros(micros));
        }
        odd.merge(&even);
        assert_eq!(odd.count(), 1000);
        assert_eq!(odd.to_string(), "p50 500, p90 900, p99 990, p999 999, max 1000 µs");
    }

    #[test]
    fn nothing_measured_is_no_wait() {
        assert_eq!(LatencyHistogram::default().quantile(0.99), 0);
    }

    #[test]
    fn what_took_longer_than_the_longest_counts_as_that() {
        let mut latencies = LatencyHistogram::default();
        latencies.add(Duration::MAX);
        assert_eq!(latencies.count(), 1);
        assert!(latencies.quantile(1.0) >= LONGEST_MICROS);
    }

    #[test]
    fn two_99th_percentiles_are_compared() {
        let (mut alone, mut beside) = (LatencyHistogram::default(), LatencyHistogram::default());
        alone.add(Duration::from_micros(100));
        beside.add(Duration::from_micros(300));
        assert!((beside.p99_ratio(&alone) - 3.0).abs() < 0.01);
        assert!((alone.p99_ratio(&LatencyHistogram::default()) - 100.0).abs() < 0.01);
    }
}
