//! Senders beside something else: how long they wait for answers alone, and while it goes on.

use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

use crate::bench::{Bench, PANICKED};
use crate::exchange::Exchange;
use crate::faults::Faults;
use crate::identity::OfflineRecipients;
use crate::latency_histogram::LatencyHistogram;
use crate::load::{LONGEST, Plan, Tally, Window};
use crate::mail::Label;
use crate::mailbox_oracle::Stored;
use crate::progress::Progress;
use crate::report::Section;
use crate::session_pool::SessionPool;
use crate::wake_ups;
use crate::wire::Poller;

/// What the others do.
#[derive(Debug, Default)]
pub(crate) struct Phase(AtomicU8);

impl Phase {
    const IS_TO_COME: u8 = 0;
    const GOES_ON: u8 = 1;
    const IS_OVER: u8 = 2;

    /// What the senders are beside begins.
    pub(crate) fn begin(&self) {
        self.0.store(Self::GOES_ON, Ordering::Relaxed);
    }

    /// It is over, and so is the senders' work.
    pub(crate) fn end(&self) {
        self.0.store(Self::IS_OVER, Ordering::Relaxed);
    }

    fn now(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the senders met with.
#[derive(Debug, Default)]
pub(crate) struct PosterFigures {
    alone: Tally,
    beside: Tally,
    /// How late the machine woke a thread in each of the two times.
    wake_ups: [LatencyHistogram; 2],
    /// What the mailboxes of the sample have to hold.
    pub(crate) sampled: Vec<(Label, Stored)>,
}

impl PosterFigures {
    /// Reports the latencies, and hands out what was wrong.
    pub(crate) fn report(&mut self, section: &mut Section, faults: &mut Faults) {
        let (alone, beside) = (&self.alone.answers, &self.beside.answers);
        section.latencies("posters_alone", alone);
        section.latencies("posters", beside);
        if alone.count() > 0 && beside.count() > 0 {
            section.measure("posters_p99_times_alone", LatencyHistogram::p99_ratio(beside, alone));
        }
        let [wake_ups_alone, wake_ups_beside] = &self.wake_ups;
        section.latencies("wake_up_alone", wake_ups_alone);
        section.latencies("wake_up", wake_ups_beside);
        section.count("posters_messages", self.alone.acknowledged + self.beside.acknowledged);
        for tally in [&mut self.alone, &mut self.beside] {
            faults.merge(std::mem::take(&mut tally.faults));
        }
    }
}

/// Posts to offline recipients, in this thread, until the phase is over.
pub(crate) fn post(
    bench: &Bench,
    plan: &Plan,
    offline: &OfflineRecipients,
    phase: &Phase,
) -> Result<PosterFigures, String> {
    thread::scope(|scope| {
        let sleeper = scope.spawn(|| {
            let alone = wake_ups::measure(|| phase.now() == Phase::IS_TO_COME);
            [alone, wake_ups::measure(|| phase.now() == Phase::GOES_ON)]
        });
        let poster_figures = exchange(bench, plan, offline, phase);
        let wake_ups = sleeper.join().map_err(|_| PANICKED)?;
        Ok(PosterFigures {
            wake_ups,
            ..poster_figures?
        })
    })
}

fn exchange(bench: &Bench, plan: &Plan, offline: &OfflineRecipients, phase: &Phase) -> Result<PosterFigures, String> {
    // The progress that is reported is that of what they are beside.
    let bench = &Bench {
        progress: Progress::start(true),
        ..bench.clone()
    };
    let window = Window::new(Duration::ZERO, LONGEST);
    let mut poller = Poller::new().map_err(|error| error.to_string())?;
    let pool = SessionPool::held(bench, &[], 0);
    let senders = 0..plan.connections;
    let mut exchange = Exchange::new(pool, &mut poller, *plan, senders, &offline.ids, &[], window)?;
    let mut alone = None;
    exchange.run(&mut poller, |tally| {
        let phase = phase.now();
        if phase != Phase::IS_TO_COME {
            alone.get_or_insert_with(|| std::mem::take(tally));
        }
        phase == Phase::IS_OVER
    })?;
    Ok(PosterFigures {
        alone: alone.unwrap_or_default(),
        beside: exchange.posters.tally,
        sampled: exchange.posters.workload.sampled,
        ..PosterFigures::default()
    })
}
