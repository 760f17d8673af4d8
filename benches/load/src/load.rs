//! Load for a time: threads that share nothing, a warm-up, a window in which CPU time and latencies are taken.
//!
//! Which recipients the messages are for, and whether they arrive, is known to the scenarios.

use std::sync::{Barrier, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use crate::arguments::{at_least, rate, size};
use crate::bench::{Bench, PANICKED};
use crate::faults::Faults;
use crate::latency_histogram::LatencyHistogram;
use crate::process::{Cpu, Spent};
use crate::wake_ups;

const WARM_UP: Duration = Duration::from_secs(1);
/// A window that nothing outlasts.
pub(crate) const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// What load to make. Its connections and its rate are those of all threads together.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Plan {
    /// Connections that post
    #[arg(long, value_name = "COUNT", value_parser = at_least::<usize>(1), default_value = "64")]
    pub(crate) connections: usize,
    /// Messages in flight on each
    #[arg(long, value_name = "COUNT", value_parser = at_least::<usize>(1), default_value = "1")]
    pub(crate) depth: usize,
    /// Length, after a second for warming up
    #[arg(long, value_name = "COUNT", value_parser = at_least::<u64>(0), default_value = "10")]
    pub(crate) seconds: u64,
    /// Time to live of the messages in seconds
    #[arg(long, value_name = "COUNT", value_parser = at_least::<u64>(1), default_value = "5")]
    pub(crate) ttl: u64,
    /// Bytes of a message
    #[arg(long, value_name = "BYTES", value_parser = size(), default_value = "480")]
    pub(crate) size: usize,
    /// Messages a second, of all connections together [default: as many as are answered]
    #[arg(long, value_name = "COUNT", value_parser = rate())]
    pub(crate) rate: Option<u64>,
}

impl Plan {
    /// Of connections that post beside something else: one message in flight on each.
    pub(crate) fn beside(connections: usize, size: usize, rate: Option<u64>) -> Self {
        Self {
            connections,
            depth: 1,
            seconds: 0,
            ttl: 60,
            size,
            rate,
        }
    }
}

/// When what happens is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    /// When the load began: what the times in messages count from.
    pub(crate) epoch: Instant,
    opens: Instant,
    /// The load ends with it.
    pub(crate) closes: Instant,
}

impl Window {
    /// From now on, for so long, after so long.
    pub(crate) fn new(warm_up: Duration, length: Duration) -> Self {
        let epoch = Instant::now();
        Self {
            epoch,
            opens: epoch + warm_up,
            closes: epoch + warm_up + length,
        }
    }
}

/// Where the threads meet when each is ready.
pub(crate) struct Start {
    barrier: Barrier,
    window: OnceLock<Window>,
    length: Duration,
}

impl Start {
    /// Waits for all. Every thread has to call this once, whether it is able to go on or not.
    pub(crate) fn window(&self) -> Window {
        self.barrier.wait();
        *self.window.get_or_init(|| Window::new(WARM_UP, self.length))
    }

    /// Waits for the last measure: a thread that has ended before it takes its CPU time along.
    fn all_measured(&self) {
        self.barrier.wait();
    }
}

/// What one thread has counted.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// From when a message was to be posted to its answer, of those answered within the window.
    pub(crate) answers: LatencyHistogram,
    /// From when a message was to be posted to its arrival, of those that came within the window.
    pub(crate) deliveries: LatencyHistogram,
    /// Messages acknowledged, at any time.
    pub(crate) acknowledged: u64,
    /// Messages that were to be posted and never were, for the window closed.
    pub(crate) behind: u64,
    /// What was wrong.
    pub(crate) faults: Faults,
}

impl Tally {
    /// A message was acknowledged.
    pub(crate) fn answer(&mut self, window: Window, now: Instant, latency: Duration) {
        self.acknowledged += 1;
        if (window.opens..window.closes).contains(&now) {
            self.answers.add(latency);
        }
    }

    /// A message has come.
    pub(crate) fn deliver(&mut self, window: Window, now: Instant, latency: Duration) {
        if (window.opens..window.closes).contains(&now) {
            self.deliveries.add(latency);
        }
    }

    fn merge(&mut self, other: Self) {
        self.answers.merge(&other.answers);
        self.deliveries.merge(&other.deliveries);
        self.acknowledged += other.acknowledged;
        self.behind += other.behind;
        self.faults.merge(other.faults);
    }
}

/// What a run came to.
pub(crate) struct Figures {
    /// CPU time within the window.
    pub(crate) cpu: Spent,
    pub(crate) tally: Tally,
    /// How late the machine woke a thread that had nothing to do, within the window of an open loop.
    pub(crate) wake_ups: LatencyHistogram,
}

/// Runs `work` in each of the threads, given its index, and takes the measure meanwhile.
pub(crate) fn run<T: Send>(
    bench: &Bench,
    plan: &Plan,
    work: impl Fn(usize, &Start) -> (Tally, T) + Sync,
) -> Result<(Figures, Vec<T>), String> {
    let start = Start {
        barrier: Barrier::new(bench.threads + 1),
        window: OnceLock::new(),
        length: Duration::from_secs(plan.seconds),
    };
    thread::scope(|scope| {
        let (work, start) = (&work, &start);
        let threads: Vec<_> = (0..bench.threads)
            .map(|index| {
                scope.spawn(move || {
                    let share = work(index, start);
                    start.all_measured();
                    share
                })
            })
            .collect();
        let window = start.window();
        thread::sleep(window.opens.saturating_duration_since(Instant::now()));
        let before = Cpu::now(bench.peer.process);
        let sleeper = plan
            .rate
            .is_some()
            .then(|| scope.spawn(move || wake_ups::measure(|| Instant::now() < window.closes)));
        thread::sleep(window.closes.saturating_duration_since(Instant::now()));
        let after = Cpu::now(bench.peer.process);
        start.all_measured();
        let mut tally = Tally::default();
        let mut rest = Vec::new();
        for thread in threads {
            let (share, more) = thread.join().map_err(|_| PANICKED)?;
            tally.merge(share);
            rest.push(more);
        }
        let wake_ups = sleeper.map(thread::ScopedJoinHandle::join).transpose();
        let wake_ups = wake_ups.map_err(|_| PANICKED)?.unwrap_or_default();
        let cpu = after?.since(&before?);
        Ok((Figures { cpu, tally, wake_ups }, rest))
    })
}
