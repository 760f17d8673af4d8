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
    /// A turn: sleeps if there is nothing in the inbox, then takes what there is.
    fn turn(&self) -> Vec<Notice> {
        self.waker.sleeps.fetch_add(1, Ordering::SeqCst);
        if self.fall_asleep() {
            self.waker.bell.sleep();
        }
        let mut notices = Vec::new();
        self.take(&mut notices);
        notices
    }
}

fn inbox() -> Arc<Inbox<Sleeper>> {
    Arc::new(Inbox::new(Sleeper::default()))
}

fn mail(index: u32) -> Notice {
    Notice::Mail(Token { index, generation: 0 })
}

/// A thread that notifies of one session after another.
fn teller(inbox: &Arc<Inbox<Sleeper>>, sessions: &'static [u32]) -> thread::JoinHandle<()> {
    let inbox = Arc::clone(inbox);
    thread::spawn(move || {
        for &index in sessions {
            inbox.notify(&mut vec![mail(index)]);
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
            told.extend(inbox.turn().into_iter().filter_map(|notice| match notice {
                Notice::Mail(token) => Some(token.index),
                Notice::Posted { .. } | Notice::Drain | Notice::Halt => None,
            }));
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
        assert_eq!(inbox.turn().len(), 1);
        inbox.waker.sleeps.fetch_add(1, Ordering::SeqCst);
        assert!(inbox.fall_asleep());
        for teller in [teller(&inbox, &[1, 2]), teller(&inbox, &[3])] {
            teller.join().unwrap();
        }
        assert_eq!(inbox.waker.wakes.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_drain_reaches_a_worker_whenever_it_falls_asleep() {
    explore(|| {
        let inbox = inbox();
        let teller = teller(&inbox, &[1]);
        let stopper = {
            let inbox = Arc::clone(&inbox);
            thread::spawn(move || inbox.notify(&mut vec![Notice::Drain]))
        };
        while !inbox.turn().contains(&Notice::Drain) {}
        teller.join().unwrap();
        stopper.join().unwrap();
    });
}
