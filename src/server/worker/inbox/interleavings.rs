//! The inbox in every interleaving of its tellers and its worker. What a poller does is not checked, but modelled.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use loom::thread;

use crate::server::sync::model::{Bell, explore};

use super::*;

/// A worker that nothing wakes but its inbox. The counts are no part of what is checked: they cause no interleavings.
#[derive(Default)]
struct Sleeper {
    bell: Bell,
    wakes: AtomicUsize,
    sleeps: AtomicUsize,
}

impl Wake for Sleeper {
    fn wake(&self) {
        let wakes = self.wakes.fetch_add(1, Ordering::SeqCst) + 1;
        assert!(wakes <= self.sleeps.load(Ordering::SeqCst), "a wake-up too many");
        self.bell.ring();
    }
}

impl Inbox<Sleeper> {
    /// A turn: sleeps if there is nothing in the inbox nor anything else to do, then takes what there is.
    fn turn(&self, has_else_to_do: impl Fn() -> bool) -> Vec<Token> {
        self.waker.sleeps.fetch_add(1, Ordering::SeqCst);
        if self.fall_asleep() && !has_else_to_do() {
            self.waker.bell.sleep();
        }
        let mut told = Vec::new();
        self.take(&mut told);
        told
    }
}

fn inbox() -> Arc<Inbox<Sleeper>> {
    Arc::new(Inbox::new(Sleeper::default()))
}

/// A thread that tells of one session after another.
fn teller(inbox: &Arc<Inbox<Sleeper>>, sessions: &'static [u32]) -> thread::JoinHandle<()> {
    let inbox = Arc::clone(inbox);
    thread::spawn(move || {
        for &index in sessions {
            inbox.tell(&mut vec![Token { index, generation: 0 }]);
        }
    })
}

#[test]
fn a_worker_never_sleeps_on_what_it_was_told() {
    explore(|| {
        let inbox = inbox();
        let tellers = [teller(&inbox, &[1, 2]), teller(&inbox, &[3])];
        let mut told = Vec::new();
        while told.len() < 3 {
            told.extend(inbox.turn(|| false).iter().map(|token| token.index));
        }
        for teller in tellers {
            teller.join().unwrap();
        }
        told.sort_unstable();
        assert_eq!(told, [1, 2, 3]);
    });
}

#[test]
fn who_is_awake_is_not_woken_and_who_sleeps_is_woken_once() {
    explore(|| {
        let inbox = inbox();
        teller(&inbox, &[1]).join().unwrap();
        assert_eq!(inbox.waker.wakes.load(Ordering::SeqCst), 0);
        assert_eq!(inbox.turn(|| false).len(), 1);
        inbox.waker.sleeps.fetch_add(1, Ordering::SeqCst);
        assert!(inbox.fall_asleep());
        for teller in [teller(&inbox, &[1, 2]), teller(&inbox, &[3])] {
            teller.join().unwrap();
        }
        assert_eq!(inbox.waker.wakes.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn what_was_set_before_a_wake_up_keeps_the_worker_awake_or_wakes_it() {
    explore(|| {
        let inbox = inbox();
        let draining = Arc::new(AtomicBool::new(false));
        let teller = teller(&inbox, &[1]);
        let stopper = {
            let (inbox, draining) = (Arc::clone(&inbox), Arc::clone(&draining));
            thread::spawn(move || {
                draining.store(true, Ordering::Release);
                inbox.wake();
            })
        };
        let is_draining = || draining.load(Ordering::Acquire);
        while !is_draining() {
            inbox.turn(is_draining);
        }
        teller.join().unwrap();
        stopper.join().unwrap();
    });
}
