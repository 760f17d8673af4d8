//! Scenario `handshake`: a connection for each message, so that what is measured is what connecting costs: over TLS a
//! handshake, full or resumed.

use std::time::{Duration, Instant};

use clap::Args;

use crate::arguments::at_least;
use crate::bench::{Bench, PATIENCE};
use crate::drive::{Actor, TICK, Turn, drive};
use crate::faults::{Fault, Faults};
use crate::identity::OfflineRecipients;
use crate::latency_histogram::{LatencyHistogram, as_f64};
use crate::mail::{Label, Outgoing, USUAL_BYTES};
use crate::poster::Poster;
use crate::process::Cpu;
use crate::report::{Report, Section};
use crate::tls::Tls;
use crate::wire::{Poller, Ready};

/// Connections before those that count, for each at a time: with them come the first tickets.
const WARM_UP_ROUNDS: usize = 2;
const TTL_SECONDS: u64 = 5;
/// After so many that went wrong none is begun any more, for the server's case is clear.
const WRONG_ENOUGH: usize = 100;

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct HandshakeOptions {
    /// Connections
    #[arg(long, value_name = "COUNT", value_parser = at_least::<usize>(1), default_value = "3000")]
    pub(crate) count: usize,
    /// Connections at a time
    #[arg(long, value_name = "COUNT", value_parser = at_least::<usize>(1), default_value = "64")]
    pub(crate) at_once: usize,
}

/// Connects, posts, ends, and reports what each cost the server.
pub(crate) fn run(bench: &Bench, options: &HandshakeOptions) -> Result<Report, String> {
    let offline = OfflineRecipients::generate(options.at_once, 1)?;
    let mut report = Report::new("handshake");
    bench.progress.begin("handshake: warming up");
    let warm_up = HandshakeOptions {
        count: WARM_UP_ROUNDS * options.at_once,
        ..*options
    };
    let (_, faults) = warm_up.connect_all(bench, &offline)?;
    report.faults.merge(faults);

    bench.progress.begin("handshake: connections");
    let handshakes = || bench.peer.tls.as_ref().map(Tls::handshakes);
    let before = handshakes();
    let (cpu, start) = (Cpu::now(bench.peer.process)?, Instant::now());
    let (latencies, faults) = options.connect_all(bench, &offline)?;
    let seconds = start.elapsed().as_secs_f64();
    let spent = Cpu::now(bench.peer.process)?.since(&cpu);
    report.faults.merge(faults);

    let mut section = Section::new("server");
    let count = latencies.count();
    section.count("connections", count);
    section.measure("connections_per_second", as_f64(count) / seconds);
    if let Some(cost) = spent.micros_each(count) {
        section.measure("server_cpu_micros_per_connection", cost);
    }
    section.latencies("connection", &latencies);
    if let Some(([full_before, resumed_before], [full, resumed])) = before.zip(handshakes()) {
        section.count("handshakes_measured_full", full - full_before);
        section.count("handshakes_measured_resumed", resumed - resumed_before);
    }
    spent.report_cores(&mut section);
    report.add(section);
    Ok(report)
}

impl HandshakeOptions {
    /// Returns how long each took that was answered, from the connect on.
    fn connect_all(&self, bench: &Bench, offline: &OfflineRecipients) -> Result<(LatencyHistogram, Faults), String> {
        let results = bench.in_threads(|thread| {
            let mut handshakes = HandshakeLoop {
                bench,
                offline,
                left: bench.share(self.count, thread).len(),
                slots: bench.share(self.at_once, thread).map(|_| None).collect(),
                latencies: LatencyHistogram::default(),
                faults: Faults::default(),
                wrong: 0,
                looked: Instant::now(),
            };
            let mut poller = Poller::new().map_err(|error| error.to_string())?;
            drive(&mut poller, &mut handshakes)?;
            Ok((handshakes.latencies, handshakes.faults))
        })?;
        let (mut latencies, mut faults) = (LatencyHistogram::default(), Faults::default());
        for (of_thread, more) in results {
            latencies.merge(&of_thread);
            faults.merge(more);
        }
        Ok((latencies, faults))
    }
}

/// The connections of one thread.
struct HandshakeLoop<'d> {
    bench: &'d Bench,
    offline: &'d OfflineRecipients,
    /// How many are still to come.
    left: usize,
    slots: Vec<Option<Poster>>,
    latencies: LatencyHistogram,
    faults: Faults,
    wrong: usize,
    looked: Instant,
}

impl Actor for HandshakeLoop<'_> {
    fn turn(&mut self, poller: &mut Poller, now: Instant) -> Result<Turn, String> {
        if now.saturating_duration_since(self.looked) >= TICK {
            self.looked = now;
            self.look_at_time();
        }
        for token in 0..self.slots.len() {
            if self.slots[token].is_none() && self.left > 0 && self.wrong < WRONG_ENOUGH {
                self.left -= 1;
                self.slots[token] = Some(self.begin(poller, token)?);
            }
        }
        let is_over = self.slots.iter().all(Option::is_none);
        Ok(if is_over { Turn::Over } else { Turn::Wait(TICK) })
    }

    fn serve(&mut self, ready: Ready, poller: &mut Poller) -> Result<(), String> {
        let Some(Some(poster)) = self.slots.get_mut(ready.token) else {
            return Ok(());
        };
        let mut answered = None;
        let pumped = poster.pump(ready, poller.scratch(), |posted, answer| {
            answered = Some((posted, answer));
        });
        match (answered, pumped) {
            (Some((message, Ok(_))), _) => {
                self.latencies.add(message.at.elapsed());
                self.bench.progress.add(1);
            }
            (Some((_, Err(why))), _) => self.note(Fault::Refused, why),
            (None, Err(why)) => self.note(Fault::Broken, why),
            (None, Ok(())) => return Ok(()),
        }
        self.slots[ready.token] = None;
        Ok(())
    }
}

impl HandshakeLoop<'_> {
    fn begin(&self, poller: &Poller, token: usize) -> Result<Poster, String> {
        let mut poster = Poster::connect(&self.bench.peer, USUAL_BYTES, poller.registry(), token)
            .map_err(|error| error.to_string())?;
        let outgoing = Outgoing {
            id: &self.offline.ids[token],
            label: Label {
                sender: 0,
                recipient: u32::try_from(token).unwrap_or(u32::MAX),
                sequence: 0,
                since_epoch: Duration::ZERO,
            },
            ttl_seconds: TTL_SECONDS,
        };
        poster.post(&outgoing, Instant::now());
        Ok(poster)
    }

    fn look_at_time(&mut self) {
        for token in 0..self.slots.len() {
            let began = self.slots[token].as_ref().and_then(|poster| poster.unanswered().next());
            if began.is_some_and(|posted| posted.at.elapsed() > PATIENCE) {
                self.slots[token] = None;
                self.note(Fault::Broken, format!("no answer in {PATIENCE:?}"));
            }
        }
    }

    fn note(&mut self, fault: Fault, why: String) {
        self.wrong += 1;
        self.faults.note(fault, || why);
    }
}
