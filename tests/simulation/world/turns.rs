//! How a run's time passes, when its workers take their turns, and what other threads do meanwhile.

use std::sync::Arc;
use std::time::Duration;

use npchat::server::refusal::CloseReason;
use npchat::server::token::{SessionAddress, Token};
use npchat::server::worker::inbox::Notice;
use testkit::Random;

use super::World;
use crate::settings::{LONGEST_TURN, SLEEPLESS_TURNS_MAX};
use crate::sightings::{Sight, saw};
use crate::worker::Worker;

impl World {
    pub(super) fn pass(&mut self, millis: usize) {
        self.pass_for(Duration::from_millis(millis as u64));
    }

    /// Time passes, and each worker takes its turns when it wakes up, or often enough if it doesn't sleep.
    pub(super) fn pass_for(&mut self, time: Duration) {
        let end = self.times.now() + time;
        let (mut sleepless, mut moved) = (0, self.moved());
        while self.times.now() < end {
            let now = self.times.now();
            let is_awake = |worker: &Worker| !worker.is_over() && worker.next_turn(now) <= now;
            let before = std::mem::replace(&mut moved, self.moved());
            let is_for_nothing = before == moved && self.workers.iter().any(is_awake);
            sleepless = if is_for_nothing { sleepless + 1 } else { 0 };
            assert!(
                sleepless < SLEEPLESS_TURNS_MAX,
                "a worker takes one turn after the other for nothing"
            );
            let next = |worker: &Worker| {
                let at = worker.next_turn(now);
                if at <= now { now + LONGEST_TURN } else { at }
            };
            let next = self.workers.iter().filter(|worker| !worker.is_over()).map(next).min();
            let step = next.map_or(end, |next| next.min(end));
            self.times.pass(step.saturating_duration_since(now));
            self.note_time();
            for index in 0..self.workers.len() {
                self.take_turn(index, false);
            }
        }
    }

    pub(super) fn note_time(&mut self) {
        self.stage.now = self.times.now();
        self.stage.trace.set_time(self.times.since_start());
    }

    /// The machine sleeps.
    pub(super) fn keep_from_running(&mut self) {
        let millis = self.stage.random.within(1_000, 60_000);
        self.stage
            .trace
            .note("kept from running for milliseconds", [millis, 0, 0]);
        let time = Duration::from_millis(millis as u64);
        self.stage.model.kept_from_running += time;
        self.times.sleep_machine(time);
        if self.shared.store.stats().messages > 0 {
            saw(Sight::KeptFromRunningWithMail);
        }
    }

    /// The worker takes a turn, unless it sleeps. If `is_patient`, it is told of all events, and no time passes.
    pub(super) fn take_turn(&mut self, index: usize, is_patient: bool) {
        if !self.workers[index].is_due(self.stage.now, &self.stage) {
            return;
        }
        self.stage.trace.note("turn of worker", [index, 0, 0]);
        let began = self.stage.now;
        let drift = (!is_patient).then(|| Random::new(self.stage.random.next()));
        self.times.begin_turn(drift);
        self.stage.begin_turn();
        std::mem::swap(&mut self.stage, &mut *self.lent.borrow_mut());
        self.workers[index].listener.has_faults = self.has_accept_faults && !is_patient;
        self.workers[index].take_turn(self.times.now(), |stage| {
            is_patient || !stage.borrow_mut().random.once_in(4)
        });
        std::mem::swap(&mut self.stage, &mut *self.lent.borrow_mut());
        self.times.end_turn();
        self.note_time();
        self.note_deferred(began);
        let panics = self.shared.totals().closes[CloseReason::Internal as usize];
        assert_eq!(panics, 0, "a visit panicked");
        let watched = &self.workers[index].listener.watched;
        for (token, _) in watched {
            let address = SessionAddress {
                worker: u32::try_from(index).unwrap_or(u32::MAX),
                token: *token,
            };
            if !self.addresses.contains(&address) {
                self.addresses.push(address);
            }
        }
    }

    /// Another thread has mail for these sessions.
    pub(super) fn notify(&self, addresses: &mut Vec<SessionAddress>) {
        for SessionAddress { worker, token } in addresses.drain(..) {
            self.shared.inboxes[worker as usize].notify(&mut vec![Notice::Mail(token)]);
        }
    }

    /// Some wake-ups come twice, and some for connections that want none or are gone.
    pub(super) fn misdirect_wake_ups(&mut self) {
        let count = self.stage.random.below(4);
        for _ in 0..count.min(self.addresses.len()) {
            let address = self.stage.random.pick(&self.addresses);
            let watched = &self.workers[address.worker as usize].listener.watched;
            if let Some((_, peer)) = watched.iter().find(|(token, _)| *token == address.token) {
                self.stage.misdirect(*peer);
            }
            let mut watched = watched.iter();
            let is_another = |token: Token| token.index == address.token.index && token != address.token;
            if watched.any(|(token, _)| is_another(*token)) {
                saw(Sight::WakeForGoneConnection);
            }
            self.notify(&mut vec![address]);
        }
    }

    /// Another thread has the relay drain, now or in the middle of a turn.
    pub(super) fn start_draining(&mut self) {
        let shared = Arc::clone(&self.shared);
        if self.stage.random.once_in(3) {
            shared.start_draining();
        } else {
            let looks = self.stage.random.below(40);
            self.times.interrupt_after(looks, move || shared.start_draining());
        }
    }
}
