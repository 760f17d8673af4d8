//! A worker's time, read at the beginning of a turn, for all that is decided in it: as connections see it, as mail
//! does, as a tick of the worker's deadlines, and as the `Date` of its answers.

use std::time::{Duration, Instant, SystemTime};

use rustix::time::{ClockId, clock_gettime};

use crate::server::http::HttpDate;
use crate::server::limits::{DEADLINE_TICK_MILLIS, STALL_LOG_SECONDS, STALL_MIN_MILLIS};

/// Where a worker's time comes from: the system, or a simulation that may let it pass in the middle of a turn.
pub trait Clock {
    /// `CLOCK_MONOTONIC`, which stands still while the machine sleeps.
    fn monotonic(&self) -> Instant;
    /// `CLOCK_BOOTTIME`, which goes on then.
    fn boottime(&self) -> Duration;
    /// The wall clock, which decides nothing but what `Date` says.
    fn wall(&self) -> SystemTime;
}

/// The clocks of the system.
#[derive(Debug, Clone, Copy)]
pub struct System;

/// The moment at which the server started, by both of its clocks: all workers count the time of mail from the same one.
#[derive(Debug, Clone, Copy)]
pub struct Epoch {
    pub(crate) instant: Instant,
    boottime: Duration,
}

/// The moment of a turn.
#[derive(Debug)]
pub(super) struct Time<C = System> {
    clock: C,
    epoch: Epoch,
    /// As connections see it: the time for which this worker was kept from running is left out, so that it counts
    /// against none of them.
    pub(super) now: Instant,
    /// As mail sees it: the time for which the machine slept counts. It is late by nothing.
    pub(super) mail_now: Instant,
    /// When the turn began, with nothing left out.
    turn_began: Instant,
    /// The last tick that is over, as connections see it.
    pub(super) tick: u32,
    pub(super) date: HttpDate,
    date_until: Instant,
    /// When the worker should have been seen to run: since then it is late.
    expected_at: Instant,
    /// How long this worker was kept from running so far.
    stalled: Duration,
    /// Until then no stall is logged: a machine with too much to do has many of them.
    quiet_until: Instant,
}

impl Epoch {
    /// Now, by this clock.
    pub fn of(source: &impl Clock) -> Self {
        Self {
            instant: source.monotonic(),
            boottime: source.boottime(),
        }
    }
}

impl<C: Clock> Time<C> {
    pub(super) fn start(source: C, epoch: Epoch) -> Self {
        let now = source.monotonic();
        let date = HttpDate::at(source.wall());
        let mut time = Self {
            clock: source,
            epoch,
            now,
            mail_now: epoch.instant,
            turn_began: now,
            tick: 0,
            date,
            date_until: epoch.instant,
            expected_at: now,
            stalled: Duration::ZERO,
            quiet_until: now,
        };
        time.begin_turn();
        time
    }

    pub(super) fn begin_turn(&mut self) {
        self.turn_began = self.clock.monotonic();
        self.note_gap(self.turn_began);
        self.now = self.turn_began.checked_sub(self.stalled).unwrap_or(self.now);
        self.mail_now = self.epoch.instant + self.clock.boottime().saturating_sub(self.epoch.boottime);
        self.tick = self.tick_before(self.now);
        if self.mail_now >= self.date_until {
            self.date = HttpDate::at(self.clock.wall());
            self.date_until = self.mail_now + Duration::from_secs(1);
        }
    }

    /// What the clock says now.
    pub(super) fn read(&self) -> Instant {
        self.clock.monotonic()
    }

    /// How long the turn has taken so far.
    pub(super) fn elapsed_in_turn(&self) -> Duration {
        self.read().saturating_duration_since(self.turn_began)
    }

    /// The worker is about to wait for so long at most, which is no delay.
    pub(super) fn sleep(&mut self, at_most: Duration) {
        let now = self.clock.monotonic();
        self.note_gap(now);
        self.expected_at = now.checked_add(at_most).unwrap_or(now);
    }

    /// The last tick that is over at that time.
    pub(super) fn tick_before(&self, at: Instant) -> u32 {
        let since = at.saturating_duration_since(self.epoch.instant);
        let within_second = u64::from(since.subsec_millis()) / DEADLINE_TICK_MILLIS;
        let ticks = since.as_secs().saturating_mul(1000 / DEADLINE_TICK_MILLIS) + within_second;
        u32::try_from(ticks).unwrap_or(u32::MAX)
    }

    pub(super) fn instant_of(&self, tick: u32) -> Instant {
        self.epoch.instant + Duration::from_millis(u64::from(tick) * DEADLINE_TICK_MILLIS)
    }

    /// The worker runs: if it should have long before, it was stopped, or the whole machine was. No turn takes so long,
    /// but perhaps the one in which a drain begins.
    ///
    /// A second counts all the same, so that time goes on even for a worker that is always late.
    fn note_gap(&mut self, now: Instant) {
        let gap = now.saturating_duration_since(self.expected_at);
        let stall = gap.saturating_sub(Duration::from_millis(STALL_MIN_MILLIS));
        if !stall.is_zero() {
            self.stalled += stall;
            self.log_stall(gap, now);
        }
        self.expected_at = now;
    }

    fn log_stall(&mut self, gap: Duration, now: Instant) {
        if now >= self.quiet_until {
            self.quiet_until = now + Duration::from_secs(STALL_LOG_SECONDS);
            tracing::warn!(
                seconds = gap.as_secs(),
                "a worker was kept from running: that doesn't count against connections"
            );
        }
    }
}

impl Clock for System {
    fn monotonic(&self) -> Instant {
        Instant::now()
    }

    fn boottime(&self) -> Duration {
        // Neither part is ever negative.
        Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    const MILLI: Duration = Duration::from_millis(1);
    const SECOND: Duration = Duration::from_secs(1);
    const LONG: Duration = Duration::from_secs(30);

    #[derive(Clone)]
    struct Scripted {
        start: Instant,
        monotonic: Rc<Cell<Duration>>,
        asleep: Rc<Cell<Duration>>,
    }

    impl Scripted {
        fn new() -> Self {
            Self {
                start: Instant::now(),
                monotonic: Rc::default(),
                asleep: Rc::default(),
            }
        }

        fn pass(&self, time: Duration) {
            self.monotonic.set(self.monotonic.get() + time);
        }

        fn clock(&self) -> Time<Self> {
            Time::start(self.clone(), Epoch::of(self))
        }
    }

    impl Clock for Scripted {
        fn monotonic(&self) -> Instant {
            self.start + self.monotonic.get()
        }

        fn boottime(&self) -> Duration {
            Duration::from_secs(1_000_000) + self.monotonic.get() + self.asleep.get()
        }

        fn wall(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH
        }
    }

    /// What both times say since the start, in milliseconds.
    fn millis(clock: &Time<Scripted>) -> (u128, u128) {
        let since = |at: Instant| (at - clock.clock.start).as_millis();
        (since(clock.now), since(clock.mail_now))
    }

    #[test]
    fn turns_and_sleeps_of_any_length_that_was_asked_for_are_no_stall() {
        let source = Scripted::new();
        let mut clock = source.clock();
        for (turn, sleep) in [
            (900 * MILLI, LONG),
            (SECOND, SECOND),
            (MILLI, 100 * LONG),
            (SECOND, MILLI),
        ] {
            source.pass(turn);
            clock.sleep(sleep);
            source.pass(sleep);
            clock.begin_turn();
            source.pass(SECOND);
            clock.begin_turn();
        }
        let passed = source.monotonic.get().as_millis();
        assert_eq!(millis(&clock), (passed, passed));
    }

    #[test]
    fn a_stall_between_turns_and_one_within_a_turn_count_as_a_second_and_age_the_mail() {
        let source = Scripted::new();
        let mut clock = source.clock();
        source.pass(LONG);
        clock.begin_turn();
        assert_eq!(millis(&clock), (1000, 30_000));
        assert_eq!(clock.tick, clock.tick_before(source.start + SECOND));
        assert_eq!(clock.turn_began, source.monotonic());
        // Before it sleeps,
        source.pass(LONG);
        clock.sleep(10 * MILLI);
        source.pass(10 * MILLI);
        clock.begin_turn();
        assert_eq!(millis(&clock), (2010, 60_010));
        // and longer than it wanted to.
        clock.sleep(500 * MILLI);
        source.pass(LONG);
        clock.begin_turn();
        assert_eq!(millis(&clock), (3510, 90_010));
    }

    #[test]
    fn time_goes_on_for_a_worker_that_is_always_late() {
        let source = Scripted::new();
        let mut clock = source.clock();
        for _ in 0..10 {
            source.pass(2 * SECOND);
            clock.begin_turn();
        }
        assert_eq!(millis(&clock), (10_000, 20_000));
    }

    #[test]
    fn mail_ages_while_the_machine_sleeps_and_connections_do_not() {
        let source = Scripted::new();
        let mut clock = source.clock();
        source.asleep.set(13 * SECOND);
        source.pass(MILLI);
        clock.begin_turn();
        assert_eq!(millis(&clock), (1, 13_001));
        assert!(clock.date_until > clock.mail_now, "the date has been looked at");
    }
}
