//! How late this machine wakes a thread that only sleeps: what its kernel, its hypervisor and all that runs on it add
//! to each step of a message's way.

use std::num::NonZeroU64;
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::set_current_timer_slack;

use crate::latency_histogram::LatencyHistogram;

const PERIOD: Duration = Duration::from_millis(1);

/// Sleeps in this thread, which is for nothing else, for one period at least, and one after the other while it
/// `goes_on`. A wake-up that comes after further periods counts as late for each of them, but for those that are
/// missing when this ends.
pub(crate) fn measure(mut goes_on: impl FnMut() -> bool) -> LatencyHistogram {
    // The kernel is free to wake a thread later by its slack, 50 microseconds if nobody asks for less.
    let _ = set_current_timer_slack(NonZeroU64::new(1));
    let mut latencies = LatencyHistogram::default();
    let mut due = Instant::now();
    loop {
        due += PERIOD;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        latencies.add(due.elapsed());
        if !goes_on() {
            return latencies;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_period_is_slept_through() {
        let start = Instant::now();
        let mut left = 20;
        let wake_ups = measure(|| {
            left -= 1;
            left > 0
        });
        assert_eq!(wake_ups.count(), 20);
        assert!(start.elapsed() >= 20 * PERIOD);
    }

    #[test]
    fn a_late_wake_up_is_late_for_each_period_that_it_missed() {
        let mut left = 20;
        let wake_ups = measure(|| {
            left -= 1;
            if left == 10 {
                thread::sleep(10 * PERIOD);
            }
            left > 0
        });
        // Nine, eight, … of them: half of the latter ten waited for five or more.
        assert!(wake_ups.quantile(0.75) >= 4000, "{wake_ups}");
    }
}
