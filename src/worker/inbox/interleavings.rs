//! The inbox in every interleaving of its tellers and its worker. What a poller does is not checked, but modelled.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use loom::thread;

use crate::sync::model::{Bell, explore};

use super::*;

/// A worker that nothing wakes but its inbox. The counts are no part of what is checked: they cause no interleavings.
#[derive(Default)]
struct Sleeper {
    bell: Bell,
    wakes: AtomicUsize,
    looks: AtomicUsize,
}

impl Wake for Sleeper {
    fn wake(&self) {
        let wakes = self.wakes.fetch_add(1, Ordering::SeqCst) + 1;
        assert!(wakes <= self.looks.load(Ordering::SeqCst) + 1, "a wake-up too many");
        self.bell.ring();
    }
}

impl Inbox<Sleeper> {
    fn sleep_and_look(&self) -> Vec<Token> {
        let mut told = Vec::new();
        self.waker.bell.sleep();
        self.waker.looks.fetch_add(1, Ordering::SeqCst);
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
            told.extend(inbox.sleep_and_look().iter().map(|token| token.index));
        }
        for teller in tellers {
            teller.join().unwrap();
        }
        told.sort_unstable();
        assert_eq!(told, [1, 2, 3]);
    });
}

#[test]
fn many_tells_are_one_wake_up_until_the_worker_looks() {
    explore(|| {
        let inbox = inbox();
        for teller in [teller(&inbox, &[1, 2]), teller(&inbox, &[3])] {
            teller.join().unwrap();
        }
        assert_eq!(inbox.waker.wakes.load(Ordering::SeqCst), 1);
        assert_eq!(inbox.sleep_and_look().len(), 3);
    });
}

#[test]
fn what_was_set_before_a_wake_up_is_seen_after_the_look() {
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
        loop {
            inbox.sleep_and_look();
            if draining.load(Ordering::Acquire) {
                break;
            }
        }
        teller.join().unwrap();
        stopper.join().unwrap();
    });
}
