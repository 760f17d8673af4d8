//! Senders beside something else: how long they wait for answers alone, and while it goes on.

use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::books::Books;
use crate::crew::Crew;
use crate::faults::Faults;
use crate::identity::Away;
use crate::latencies::Latencies;
use crate::load::{Plan, Tally, Window};
use crate::report::Section;
use crate::sample::Sampled;
use crate::wake_ups;
use crate::wire::Poller;
use crate::{Bench, PATIENCE};

/// Longest that they may be beside something.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

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
pub(crate) struct Waits {
    alone: Tally,
    beside: Tally,
    /// How late the machine woke a thread in each of the two times.
    wake_ups: [Latencies; 2],
    /// What the mailboxes of the sample have to hold.
    pub(crate) sampled: Vec<Sampled>,
}

impl Waits {
    /// Tells the latencies, and hands out what was wrong.
    pub(crate) fn tell(&mut self, section: &mut Section, faults: &mut Faults) {
        let (alone, beside) = (&self.alone.answers, &self.beside.answers);
        section.latencies("posters_alone", alone);
        section.latencies("posters", beside);
        if alone.count() > 0 && beside.count() > 0 {
            section.measure("posters_p99_times_alone", Latencies::p99_ratio(beside, alone));
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

/// Posts to those who are away, in this thread, until the phase is over.
///
/// # Errors
/// The connections can't be made.
pub(crate) fn post(bench: &Bench, plan: &Plan, away: &Away, phase: &Phase) -> Result<Waits, String> {
    thread::scope(|scope| {
        let sleeper = scope.spawn(|| {
            let alone = wake_ups::measure(|| phase.now() == Phase::IS_TO_COME);
            [alone, wake_ups::measure(|| phase.now() == Phase::GOES_ON)]
        });
        let waits = exchange(bench, plan, away, phase);
        let wake_ups = sleeper.join().map_err(|_| "a thread of this program panicked")?;
        Ok(Waits { wake_ups, ..waits? })
    })
}

fn exchange(bench: &Bench, plan: &Plan, away: &Away, phase: &Phase) -> Result<Waits, String> {
    let bench = Bench {
        threads: 1,
        ..bench.clone()
    };
    let window = Window::new(Duration::ZERO, LONGEST);
    let ids = away.ids.iter().map(String::as_str).collect();
    let mut poller = Poller::new().map_err(|error| error.to_string())?;
    let mut crew = Crew::connect(&bench, plan, window, ids, &mut poller, (0, 0))?;
    let mut books = Books::new(&crew, away.ids.len(), 0, plan.size, window);
    let mut waits = Waits::default();
    let mut ready = Vec::new();
    let mut over: Option<Instant> = None;
    loop {
        poller
            .wait(Duration::from_millis(100), &mut ready)
            .map_err(|error| error.to_string())?;
        let phase = phase.now();
        let tally = if phase == Phase::IS_TO_COME {
            &mut waits.alone
        } else {
            &mut waits.beside
        };
        for &one in &ready {
            crew.serve(one, &mut poller, tally, &mut books);
        }
        crew.post_due(tally, &mut books);
        if phase == Phase::IS_OVER {
            let since = *over.get_or_insert_with(|| {
                crew.close();
                Instant::now()
            });
            if since.elapsed() > PATIENCE {
                crew.give_up_all(tally, &mut books);
            }
            if crew.is_idle() {
                waits.sampled = books.sampled;
                return Ok(waits);
            }
        }
    }
}
