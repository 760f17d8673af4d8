//! What has to hold of a run: nothing stays missing, nothing is there twice, and there is an end of asking.

use std::collections::HashSet;

use npchat::client::content::MessageHash;
use npchat::client::records::{Standing, Status, Version};

use crate::client::Client;
use crate::faults::Faults;
use crate::people;
use crate::world::{Event, Seen, World};
use testkit::Random;

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;
/// So long nothing is written, and nothing fails, before all must be well.
const CALM_MS: u64 = 12 * DAY_MS;
/// So often everybody logs in anew meanwhile.
const LOGIN_EACH_MS: u64 = 6 * HOUR_MS;
/// So long before its end nothing must be posted any more.
const SILENCE_MS: u64 = 2 * DAY_MS;

/// One run.
pub(crate) fn run(seed: u64) -> Seen {
    let mut random = Random::new(seed);
    let faults = Faults::any(&mut random);
    let mut world = World::new(random, faults);
    world.introduce();
    for person in 0..world.clients.len() {
        world.log_in(person);
        world.later(0, Event::Acts(person));
    }
    let acts = world.random.within(5, 60) as u64;
    let storm_ms = world.faults.pause_ms as u64 * acts / 2;
    world.run_until(world.now_ms + storm_ms);
    world.calm_down();
    world.check();
    world.seen
}

impl World {
    /// Ends all that fails and all acts, and lets the clients find out what is missing.
    fn calm_down(&mut self) {
        self.faults = self.faults.none();
        self.is_calm = true;
        self.reconcile();
        let open = self.open_count();
        self.write_last();
        let start_ms = self.now_ms;
        let posts_before = self.posts;
        let mut posts_at_silence = 0;
        for period in 0..CALM_MS / LOGIN_EACH_MS {
            self.accept_all();
            self.run_until(start_ms + (period + 1) * LOGIN_EACH_MS);
            if (period + 1) * LOGIN_EACH_MS == CALM_MS - SILENCE_MS {
                posts_at_silence = self.posts;
            }
        }
        self.check_end_of_posts(self.posts - posts_before, self.posts - posts_at_silence, open);
    }

    /// Asking, answering and repeating come to an end: there were few posts in calm, and none at last.
    fn check_end_of_posts(&self, posts: u64, late: u64, open: u64) {
        let pairs = (self.clients.len() * (self.clients.len() - 1)) as u64;
        // What was removed is asked for in vain at each login: a request, and whatever it brings.
        let gaps: u64 = self.clients.iter().map(Client::gap_count).sum();
        let vain = if self.faults.quarrels { pairs + 2 * gaps } else { 0 };
        // Contacts that are silent get a card that has changed once a day.
        let changed = self
            .clients
            .iter()
            .filter(|client| client.own.card_since_ms > 0)
            .count();
        let daily = (changed * self.clients.len()) as u64;
        let most = |time_ms: u64| vain * (time_ms / LOGIN_EACH_MS) + daily * (time_ms / DAY_MS);
        let in_all = 40 * pairs + 4 * open + 2 * most(CALM_MS);
        let faults = &self.faults;
        assert!(
            posts < in_all,
            "{posts} posts in calm for {open} open messages, {faults:?}"
        );
        assert!(late <= most(SILENCE_MS), "there is no end of posts: {late}, {faults:?}");
    }

    /// Everybody comes back, accepts everybody, and is there.
    fn reconcile(&mut self) {
        self.run_until(self.now_ms + u64::try_from(self.faults.away_ms).expect("64 bits") + MINUTE_MS);
        for _ in 0..4 {
            self.accept_all();
            // Longer than a message without an answer waits for its repetition.
            self.run_until(self.now_ms + 3 * HOUR_MS);
        }
    }

    /// Everybody logs in, and accepts everybody they know of.
    fn accept_all(&mut self) {
        for person in 0..self.clients.len() {
            self.log_in(person);
            let contacts: Vec<_> = self.clients[person].account().contacts().cloned().collect();
            for contact in contacts.iter().filter(|contact| contact.standing != Standing::Accepted) {
                self.call(person, |account, now_ms| {
                    account.accept(contact.id, now_ms).expect("known")
                });
            }
        }
    }

    /// Contacts of whom one had the other by a shareable write once more: v1 has no other way to find what is missing
    /// at the end. Some of the others do, too.
    fn write_last(&mut self) {
        for _ in 0..2 {
            for person in 0..self.clients.len() {
                let contacts: Vec<_> = self.clients[person].account().contacts().cloned().collect();
                for contact in contacts {
                    let records = self.clients[person].store.records().messages.iter();
                    let mut own = records.filter(|message| message.mine && message.contact == contact.id);
                    if own.any(|message| message.version == Version::V1) || self.random.once_in(3) {
                        self.write(person, contact.id);
                        self.run_until(self.now_ms + MINUTE_MS);
                    }
                }
            }
            self.run_until(self.now_ms + HOUR_MS);
        }
    }

    /// How many messages haven't come, or aren't known to have.
    fn open_count(&self) -> u64 {
        let messages = self.clients.iter().flat_map(|client| &client.store.records().messages);
        let open = messages.filter(|message| message.mine && message.delivery.status != Status::Delivered);
        open.count() as u64
    }

    fn check(&mut self) {
        for person in 0..self.clients.len() {
            self.clients[person].check_restart(self.now_ms);
            self.check_pairs(person);
        }
    }

    fn check_pairs(&self, person: usize) {
        let client = &self.clients[person];
        for contact in client.account().contacts() {
            let other = people::person(contact.id);
            let them = self.clients[other].account();
            let own_id = client.own.id();
            // What was removed or blocked stays missing.
            if self.faults.quarrels {
                continue;
            }
            let Some(back) = them.contact(own_id) else {
                // Nothing of them has come, so they have been given up, long after every time to live.
                let thread = client.account().thread(contact.id).expect("there");
                assert_eq!(thread.len(), 0, "{person} waits for {other}, who has heard nothing");
                continue;
            };
            assert_eq!(back.standing, Standing::Accepted);
            let speaks_v2 = contact.version == Version::V2 && back.version == Version::V2;
            let thread = client.account().thread(contact.id).expect("there");
            let there = them.thread(own_id).expect("there");
            let gaps: Vec<_> = thread.gaps().collect();
            assert!(gaps.is_empty(), "{person} misses {gaps:?} of {other}");
            if !speaks_v2 {
                continue;
            }
            let messages = client.store.records().messages.iter();
            for message in messages.filter(|message| message.mine && message.contact == contact.id) {
                let what = format!("{:?} of {person} to {other}", message.hash);
                assert!(there.knows(message.hash), "{what} is missing for good: {message:?}");
                assert!(
                    !matches!(message.delivery.status, Status::Pending | Status::Failed),
                    "{what} is {:?}",
                    message.delivery.status
                );
            }
            // Of others the acknowledgement may be missing, until something comes from there.
            let mut own = client.store.records().messages.iter().rev();
            let newest = own.find(|message| message.mine && message.contact == contact.id);
            if let Some(newest) = newest.filter(|newest| newest.version == Version::V2) {
                assert_eq!(newest.delivery.status, Status::Delivered, "{newest:?}");
            }
            let order: Vec<MessageHash> = thread.order().collect();
            assert_eq!(
                order,
                there.order().collect::<Vec<_>>(),
                "{person} and {other} see another order"
            );
            let distinct: HashSet<_> = order.iter().collect();
            assert_eq!(distinct.len(), order.len());
        }
    }
}
