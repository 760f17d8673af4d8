//! A run's time, as workers read it: it passes when the world says so, and a little with each look within a turn.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use npchat::server::worker::clock::Clock;
use testkit::Random;

/// What passes between two looks at the clock within a turn, where time stands still: what passes within a turn, so
/// that its time slices end, is taken back.
const STILL_DRIFT: Duration = Duration::from_micros(20);

/// What another thread does.
type Act = Box<dyn FnOnce()>;

/// The clock of all workers.
#[derive(Clone)]
pub(crate) struct Times(Rc<Inner>);

struct Inner {
    start: Instant,
    since_start: Cell<Duration>,
    /// When a worker last looked.
    looked_at: Cell<Duration>,
    /// The machine slept for so long.
    asleep: Cell<Duration>,
    /// How long things take within a turn; none while time stands still.
    drift: RefCell<Option<Random>>,
    turn_began: Cell<Duration>,
    /// Longest time between two looks within a turn, in microseconds.
    longest_drift: usize,
    /// What another thread does after so many looks.
    other_thread: RefCell<Option<(usize, Act)>>,
}

impl Times {
    /// A clock that such looks within a turn make go on by up to so many microseconds each.
    pub(crate) fn new(start: Instant, longest_drift: usize) -> Self {
        Self(Rc::new(Inner {
            start,
            since_start: Cell::default(),
            looked_at: Cell::default(),
            asleep: Cell::default(),
            drift: RefCell::default(),
            turn_began: Cell::default(),
            longest_drift,
            other_thread: RefCell::default(),
        }))
    }

    pub(crate) fn now(&self) -> Instant {
        self.0.start + self.0.since_start.get()
    }

    pub(crate) fn since_start(&self) -> Duration {
        self.0.since_start.get()
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.0.since_start.set(self.0.since_start.get() + time);
    }

    /// A turn is over, and began and ends with a whole millisecond, which is what mail's time counts in.
    pub(crate) fn end_turn(&self) {
        if self.0.drift.borrow().is_none() {
            self.0.since_start.set(self.0.turn_began.get());
            return;
        }
        let micros = self.since_start().as_micros();
        let millis = u64::try_from(micros.div_ceil(1000)).unwrap_or(u64::MAX);
        self.0.since_start.set(Duration::from_millis(millis));
    }

    pub(crate) fn sleep_machine(&self, time: Duration) {
        self.0.asleep.set(self.0.asleep.get() + time);
    }

    /// A turn begins, in which looks take time as `drift` has it, or time stands still.
    pub(crate) fn begin_turn(&self, drift: Option<Random>) {
        self.0.turn_began.set(self.since_start());
        *self.0.drift.borrow_mut() = drift;
    }

    /// Another thread does this in between two looks of the workers, so many after now.
    pub(crate) fn interrupt_after(&self, looks: usize, act: impl FnOnce() + 'static) {
        *self.0.other_thread.borrow_mut() = Some((looks, Box::new(act)));
    }

    /// What another thread is to do, if it has not been done.
    pub(crate) fn take_interrupt(&self) -> Option<Act> {
        self.0.other_thread.borrow_mut().take().map(|(_, act)| act)
    }

    fn count_look(&self) -> Option<Act> {
        let mut other_thread = self.0.other_thread.borrow_mut();
        let (looks, _) = other_thread.as_mut()?;
        if *looks > 0 {
            *looks -= 1;
            return None;
        }
        other_thread.take().map(|(_, act)| act)
    }
}

impl Clock for Times {
    fn monotonic(&self) -> Instant {
        let now = self.now();
        self.0.looked_at.set(self.since_start());
        self.pass(match &mut *self.0.drift.borrow_mut() {
            Some(drift) => Duration::from_micros(drift.below(self.0.longest_drift) as u64),
            None => STILL_DRIFT,
        });
        if let Some(act) = self.count_look() {
            act();
        }
        now
    }

    fn boottime(&self) -> Duration {
        self.0.looked_at.get() + self.0.asleep.get()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.0.looked_at.get()
    }
}
