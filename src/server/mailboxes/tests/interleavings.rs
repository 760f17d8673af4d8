//! One shard and the budget in every interleaving of posters and sessions. What a single thread can check is in
//! `tests.rs`, and how a wake-up gets to a worker in the inbox's own models.

use std::sync::atomic::{AtomicU64, Ordering};

use loom::thread::{self, JoinHandle};

use crate::server::sync::model::{Bell, explore};

use super::*;

/// A mailbox, and who sleeps at it.
struct Scene {
    world: World,
    /// Rung for the sessions by the index of their token.
    bells: [Bell; 2],
}

impl Scene {
    fn new(mailbox_messages: u32) -> Arc<Self> {
        Arc::new(Self {
            world: World::with(1 << 20, mailbox_messages),
            bells: Default::default(),
        })
    }

    /// A thread that posts one message after another; those that were accepted.
    fn poster(self: &Arc<Self>, bodies: &'static [&str]) -> JoinHandle<Vec<String>> {
        let this = Arc::clone(self);
        thread::spawn(move || {
            bodies
                .iter()
                .filter(|body| this.post(body))
                .map(ToString::to_string)
                .collect()
        })
    }

    fn post(&self, body: &str) -> bool {
        let World { mailboxes, now, .. } = &self.world;
        let mut wake = Vec::new();
        let accepted = mailboxes.post(&id(1), body.as_bytes(), STORE, *now, &mut wake);
        for session in wake {
            self.bells[session.token.index as usize].ring();
        }
        accepted.is_ok()
    }

    /// A thread that attaches, takes what is there, confirms the first of it and leaves; what it had.
    fn visitor(self: &Arc<Self>, index: u32) -> JoinHandle<Vec<String>> {
        let this = Arc::clone(self);
        thread::spawn(move || this.take(&this.world.attach(index), 1))
    }

    /// Takes everything and confirms `most` of it, which is then had.
    fn take(&self, session: &Attachment, most: usize) -> Vec<String> {
        let mut taken = self.world.deliveries(session);
        taken.truncate(most);
        if let Some(last) = taken.last() {
            session.confirm(last.sequence, &mut Vec::new());
        }
        taken.into_iter().map(|given| given.body).collect()
    }

    /// Takes and confirms mail, asleep while there is none, until it has `count`.
    fn receive(&self, session: &Attachment, bell: u32, count: usize) -> Vec<String> {
        let mut had = self.take(session, usize::MAX);
        while had.len() < count {
            self.bells[bell as usize].sleep();
            had.extend(self.take(session, usize::MAX));
        }
        had
    }
}

/// Of a poster whose bodies begin with the same letter.
fn of(poster: char, bodies: &[String]) -> Vec<&str> {
    bodies
        .iter()
        .map(String::as_str)
        .filter(|body| body.starts_with(poster))
        .collect()
}

#[test]
fn a_session_that_sleeps_is_woken_for_all_of_its_mail_in_order() {
    explore(|| {
        let scene = Scene::new(8);
        let posters = [scene.poster(&["a1", "a2"]), scene.poster(&["b1", "b2"])];
        let session = scene.world.attach(0);
        let had = scene.receive(&session, 0, 4);
        for poster in posters {
            assert_eq!(poster.join().unwrap().len(), 2);
        }
        assert_eq!((of('a', &had), of('b', &had)), (vec!["a1", "a2"], vec!["b1", "b2"]));
        assert!(scene.world.take(&session).is_empty());
        drop(session);
        scene.world.assert_empty();
    });
}

#[test]
fn sessions_that_come_and_go_take_no_mail_from_one_that_stays() {
    explore(|| {
        let scene = Scene::new(8);
        let session = scene.world.attach(0);
        let (poster, visitor) = (scene.poster(&["a1", "a2"]), scene.visitor(1));
        assert_eq!(scene.receive(&session, 0, 2), ["a1", "a2"]);
        poster.join().unwrap();
        assert!(["", "a1", "a2"].contains(&visitor.join().unwrap().concat().as_str()));
        drop(session);
        scene.world.assert_empty();
    });
}

#[test]
fn what_was_accepted_is_had_or_still_there_when_all_sessions_have_left() {
    explore(|| {
        let scene = Scene::new(2);
        let (poster, visitor) = (scene.poster(&["a1", "a2", "a3"]), scene.visitor(0));
        let mut had = scene.take(&scene.world.attach(1), usize::MAX);
        let accepted = poster.join().unwrap();
        had.extend(visitor.join().unwrap());
        had.sort_unstable();
        // Both may have been given the same message, neither one that was refused.
        had.dedup();
        assert_eq!(scene.world.messages() + had.len() as u64, accepted.len() as u64);
        had.extend(scene.take(&scene.world.attach(0), usize::MAX));
        had.sort_unstable();
        assert_eq!(had, accepted);
        scene.world.assert_empty();
    });
}

#[test]
fn charges_never_pass_the_limit_and_none_is_lost() {
    const LIMIT: u64 = 5;
    explore(|| {
        let budget = Arc::new(Budget::new(LIMIT));
        let held = Arc::new(AtomicU64::new(0));
        let chargers = [2, 3, 4].map(|bytes| {
            let (budget, held) = (Arc::clone(&budget), Arc::clone(&held));
            thread::spawn(move || {
                if let Some(charge) = budget.reserve(bytes) {
                    assert!(held.fetch_add(charge.bytes(), Ordering::SeqCst) + bytes <= LIMIT);
                    held.fetch_sub(bytes, Ordering::SeqCst);
                }
            })
        });
        for charger in chargers {
            charger.join().unwrap();
        }
        assert_eq!(budget.used(), 0);
    });
}
