//! How late this machine wakes a thread that only sleeps: the part of every latency that is its kernel's and its
//! hypervisor's, and nobody else's.

use std::num::NonZeroU64;
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::set_current_timer_slack;

use crate::bench::latencies::Latencies;

/// A wake-up for each latency of a thousand messages a second.
const PERIOD: Duration = Duration::from_millis(1);

/// Sleeps in this thread, again and again, while `goes_on`, which is given the time.
pub(crate) fn measure(goes_on: impl Fn(Instant) -> bool) -> Latencies {
    // The kernel is free to wake a thread later by its slack, 50 microseconds if nobody asks for less.
    let _ = set_current_timer_slack(NonZeroU64::new(1));
    let mut latencies = Latencies::default();
    let mut due = Instant::now();
    loop {
        due = (due + PERIOD).max(Instant::now());
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let now = Instant::now();
        if !goes_on(now) {
            return latencies;
        }
        latencies.add(now.saturating_duration_since(due));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_sleeps_is_woken_about_as_often_as_it_asked_and_never_early() {
        let end = Instant::now() + Duration::from_millis(100);
        let wake_ups = measure(|now| now < end);
        assert!((1..=100).contains(&wake_ups.count()), "{wake_ups}");
        assert!(Instant::now() >= end);
    }
}
