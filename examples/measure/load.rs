//! Load for a time: threads that share nothing, a warm-up, a window in which CPU time and latencies are taken.
//!
//! Whom the messages are for, and whether they arrive, is the scenario's to say.

use std::fmt;
use std::sync::{Barrier, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use crate::Peer;
use crate::faults::Faults;
use crate::process::Process;

const WARM_UP: Duration = Duration::from_secs(1);

/// What load to make.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Senders' connections, of all threads together.
    pub(crate) connections: usize,
    /// Messages in flight on each.
    pub(crate) depth: usize,
    /// Bytes of a message.
    pub(crate) size: usize,
    /// Time to live that is asked for.
    pub(crate) ttl_seconds: u64,
    /// Length of the window.
    pub(crate) seconds: u64,
    /// Threads of this program.
    pub(crate) threads: usize,
}

impl Plan {
    /// Share of thread `thread` in `count` things.
    pub(crate) fn share(&self, count: usize, thread: usize) -> usize {
        count / self.threads + usize::from(thread < count % self.threads)
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
        *self.window.get_or_init(|| {
            let epoch = Instant::now();
            Window {
                epoch,
                opens: epoch + WARM_UP,
                closes: epoch + WARM_UP + self.length,
            }
        })
    }

    /// Waits for the last measure: a thread that has ended before it takes its CPU time along.
    fn all_measured(&self) {
        self.barrier.wait();
    }
}

/// What one thread has counted.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Messages that count for the figures, and came within the window.
    messages: u64,
    latencies_micros: Vec<u32>,
    /// Messages acknowledged, at any time.
    pub(crate) acknowledged: u64,
    /// What was wrong.
    pub(crate) faults: Faults,
}

impl Tally {
    /// A message has arrived where the scenario wants it.
    pub(crate) fn count(&mut self, window: Window, now: Instant, latency: Duration) {
        if (window.opens..window.closes).contains(&now) {
            self.messages += 1;
            self.latencies_micros
                .push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
        }
    }

    fn merge(&mut self, other: Self) {
        self.messages += other.messages;
        self.latencies_micros.extend(other.latencies_micros);
        self.acknowledged += other.acknowledged;
        self.faults.merge(other.faults);
    }
}

/// What a run came to.
pub(crate) struct Figures {
    seconds: u64,
    server_cpu: Option<Duration>,
    client_cpu: Duration,
    tally: Tally,
}

/// Runs `work` in each of the plan's threads, given its index, and takes the measure meanwhile.
///
/// # Errors
/// The process can't be looked at.
pub(crate) fn run<T: Send>(
    plan: &Plan,
    peer: Peer,
    work: impl Fn(usize, &Start) -> (Tally, T) + Sync,
) -> Result<(Figures, Vec<T>), String> {
    let start = Start {
        barrier: Barrier::new(plan.threads + 1),
        window: OnceLock::new(),
        length: Duration::from_secs(plan.seconds),
    };
    let cpu = || -> Result<(Option<Duration>, Duration), String> {
        let server = peer.process.map(Process::cpu).transpose();
        let server = server.map_err(|error| format!("the server's process: {error}"))?;
        Ok((server, Process::current().cpu().map_err(|error| error.to_string())?))
    };
    thread::scope(|scope| {
        let (work, start) = (&work, &start);
        let threads: Vec<_> = (0..plan.threads)
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
        let before = cpu();
        thread::sleep(window.closes.saturating_duration_since(Instant::now()));
        let after = cpu();
        start.all_measured();
        let mut tally = Tally::default();
        let mut rest = Vec::new();
        for thread in threads {
            let (share, more) = thread.join().map_err(|_| "a thread of this program panicked")?;
            tally.merge(share);
            rest.push(more);
        }
        tally.latencies_micros.sort_unstable();
        let ((server_before, client_before), (server_after, client_after)) = (before?, after?);
        let figures = Figures {
            seconds: plan.seconds,
            server_cpu: server_after
                .zip(server_before)
                .map(|(after, before)| after.saturating_sub(before)),
            client_cpu: client_after.saturating_sub(client_before),
            tally,
        };
        Ok((figures, rest))
    })
}

impl Figures {
    /// CPU time of the server for a message, in microseconds.
    pub(crate) fn cost_micros(&self) -> Option<f64> {
        let micros = self.server_cpu?.as_secs_f64() * 1e6;
        (self.tally.messages > 0).then(|| micros / as_f64(self.tally.messages))
    }

    /// What was wrong, to be added to.
    pub(crate) fn faults(&mut self) -> &mut Faults {
        &mut self.tally.faults
    }

    fn percentile(&self, percent: usize) -> u32 {
        let sorted = &self.tally.latencies_micros;
        let place = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
        sorted.get(place).copied().unwrap_or_default()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(cost) = self.cost_micros() {
            write!(f, "{cost:.2} µs CPU/message, ")?;
        }
        let rate = self.tally.messages / self.seconds.max(1);
        let (median, slow) = (self.percentile(50), self.percentile(99));
        let client = self.client_cpu.as_secs_f64() / as_f64(self.seconds.max(1));
        writeln!(
            f,
            "{rate} messages/s, latency p50 {median} µs, p99 {slow} µs (this program: {client:.2} cores)"
        )?;
        write!(f, "  {} messages acknowledged", self.tally.acknowledged)
    }
}

/// Counts and seconds here are far below 2^52.
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^52")]
pub(crate) fn as_f64(count: u64) -> f64 {
    count as f64
}
