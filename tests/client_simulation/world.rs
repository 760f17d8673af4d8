//! A run: clients, relays and what lies between them, in virtual time, by a seed.
//!
//! First comes a storm, in which everything fails, then calm, in which nothing does. What has to hold is asked by
//! [`crate::model`].

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

use npchat::client::account::{Account, Output, Post, PostId, Posted, What};

use npchat::client::content::MessageHash;

use crate::client::Client;
use crate::envelope::Envelope;
use crate::faults::{Faults, happens};
use crate::people;
use crate::relay::{Address, Relays};
use testkit::Random;

/// When a run begins, milliseconds since 1970.
const BEGINNING_MS: u64 = 1_800_000_000_000;
/// So many events at one moment mean that something goes on for ever.
const EVENTS_AT_ONCE_MAX: usize = 20_000;

pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) faults: Faults,
    pub(crate) clients: Vec<Client>,
    pub(crate) relays: Relays,
    pub(crate) now_ms: u64,
    pub(crate) posts: u64,
    pub(crate) seen: Seen,
    events: BinaryHeap<Reverse<Queued>>,
    sequence: u64,
    at_once: usize,
    posted: HashSet<MessageHash>,
    /// Who has moved to another relay.
    pub(crate) mover: Option<usize>,
    is_traced: bool,
    /// Nobody does anything any more.
    pub(crate) is_calm: bool,
}

/// How often something happened in a run.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seen {
    pub(crate) crashes: u64,
    pub(crate) lost: u64,
    /// Requests for missing messages.
    pub(crate) requests: u64,
    /// Posts of messages that are there.
    pub(crate) needless: u64,
    pub(crate) expired: u64,
    pub(crate) refused: u64,
    pub(crate) unanswered: u64,
    pub(crate) reports: [u64; 11],
}

impl Seen {
    pub(crate) fn add(&mut self, other: &Self) {
        self.crashes += other.crashes;
        self.lost += other.lost;
        self.expired += other.expired;
        self.refused += other.refused;
        self.unanswered += other.unanswered;
        self.requests += other.requests;
        self.needless += other.needless;
        for (sum, count) in self.reports.iter_mut().zip(other.reports) {
            *sum += count;
        }
    }

    /// What never happens tests nothing.
    pub(crate) fn check(&self) {
        let faults = [
            self.crashes,
            self.lost,
            self.expired,
            self.refused,
            self.unanswered,
            self.requests,
        ];
        assert!(faults.iter().all(|count| *count > 0), "{self:?}");
        // Nothing is refused for good here.
        let reports = self.reports.iter().enumerate().filter(|(number, _)| *number != 7);
        assert!(reports.into_iter().all(|(_, count)| *count > 0), "{self:?}");
    }
}

/// Something that will happen.
pub(crate) enum Event {
    /// A post comes to a relay, so many times.
    Arrives(Address, Envelope, usize),
    /// The result of a post comes to a client's run.
    Result(usize, u64, PostId, Posted),
    /// A message comes to a client's session.
    Delivered(usize, u64, u64),
    /// A client's account wants to be called.
    Wake(usize),
    /// A client starts, and logs in.
    Starts(usize),
    /// A client logs in.
    LogsIn(usize, u64),
    /// A user does something.
    Acts(usize),
}

struct Queued(u64, u64, Event);

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Queued {}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

impl World {
    pub(crate) fn new(mut random: Random, faults: Faults) -> Self {
        let people = random.pick(&[2, 2, 2, 3, people::PEOPLE_MAX]);
        let clients = (0..people).map(|person| {
            let skew_ms = random.pick(&[0, 0, 1_000, 120_000]);
            Client::new(person, random.below(people::RELAYS), skew_ms)
        });
        let mut clients: Vec<_> = clients.collect();
        for client in &mut clients {
            client.start(BEGINNING_MS);
        }
        Self {
            random,
            faults,
            clients,
            relays: Relays::default(),
            now_ms: BEGINNING_MS,
            posts: 0,
            seen: Seen::default(),
            events: BinaryHeap::new(),
            sequence: 0,
            at_once: 0,
            posted: HashSet::new(),
            mover: None,
            is_calm: false,
            is_traced: std::env::var_os("CLIENT_TRACE").is_some(),
        }
    }

    pub(crate) fn later(&mut self, in_ms: u64, event: Event) {
        self.sequence += 1;
        self.events
            .push(Reverse(Queued(self.now_ms + in_ms, self.sequence, event)));
    }

    /// A time that something takes on its way.
    pub(crate) fn delay_ms(&mut self) -> u64 {
        let random_ms = self.random.within(1, self.faults.delay_ms) as u64;
        self.faults.steady_ms.unwrap_or(random_ms)
    }

    /// Lets time pass up to this moment.
    pub(crate) fn run_until(&mut self, end_ms: u64) {
        while let Some(Reverse(Queued(due_ms, ..))) = self.events.peek() {
            if *due_ms > end_ms {
                break;
            }
            let Some(Reverse(Queued(due_ms, _, event))) = self.events.pop() else {
                break;
            };
            self.at_once = if due_ms > self.now_ms { 0 } else { self.at_once + 1 };
            assert!(self.at_once < EVENTS_AT_ONCE_MAX, "no end of events at one moment");
            self.now_ms = due_ms;
            self.happen(event);
        }
        assert!(end_ms >= self.now_ms, "time goes on");
        self.now_ms = end_ms;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrives(address, envelope, times) => {
                for _ in 0..times {
                    self.arrive(address, envelope.clone());
                }
            }
            Event::Result(client, run, id, posted) => {
                if self.clients[client].run == run {
                    let random = u32::try_from(self.random.next() >> 32).expect("32 bits");
                    self.call(client, |account, now_ms| {
                        account.handle_posted(id, posted, now_ms, random)
                    });
                }
            }
            Event::Delivered(client, session, number) => self.deliver(client, session, number),
            Event::Wake(client) => {
                // One that was put off, or was of an earlier run, does nothing but find that out.
                if self.clients[client].wakes_ms == Some(self.now_ms) {
                    self.clients[client].wakes_ms = None;
                    self.call(client, Account::advance);
                }
            }
            Event::Starts(client) => {
                self.clients[client].start(self.now_ms);
                self.log_in(client);
            }
            Event::LogsIn(client, run) => {
                if self.clients[client].run == run && !self.clients[client].is_online {
                    self.log_in(client);
                }
            }
            Event::Acts(client) => self.act(client),
        }
    }

    fn arrive(&mut self, address: Address, envelope: Envelope) {
        let until_ms = self.now_ms + u64::from(self.faults.ttl_s) * 1000;
        let number = self.relays.store(address, envelope, until_ms);
        let (person, relay) = address;
        let client = &self.clients[person];
        if client.is_online && client.relay == relay {
            let session = client.session;
            let in_ms = self.delay_ms();
            self.later(in_ms, Event::Delivered(person, session, number));
        }
    }

    /// Logs a client in at its relay: what has expired is reported, what is there comes.
    pub(crate) fn log_in(&mut self, person: usize) {
        let client = &mut self.clients[person];
        client.is_online = true;
        client.session += 1;
        let (run, session) = (client.run, client.session);
        let (expired, stored) = self.relays.log_in((person, client.relay), self.now_ms);
        self.call(person, Account::handle_login);
        if expired > 0 && self.clients[person].run == run {
            self.seen.expired += expired;
            self.call(person, |account, now_ms| account.handle_expired(expired, now_ms));
        }
        for number in stored {
            let in_ms = self.delay_ms();
            self.later(in_ms, Event::Delivered(person, session, number));
        }
    }

    fn deliver(&mut self, person: usize, session: u64, number: u64) {
        let client = &self.clients[person];
        let address = (person, client.relay);
        if client.session != session || !client.is_online {
            return;
        }
        let Some(stored) = self.relays.get(address, number) else {
            return;
        };
        let mail = stored.envelope.open(&client.keys);
        let is_stored = mail.is_none_or(|mail| self.call(person, |account, now_ms| account.handle_mail(mail, now_ms)));
        if happens(&mut self.random, self.faults.cut) && self.clients[person].is_online {
            // What was read, but not acknowledged, comes again.
            self.clients[person].is_online = false;
            let away_ms = self.random.within(1, self.faults.away_ms) as u64;
            let run = self.clients[person].run;
            self.later(away_ms, Event::LogsIn(person, run));
        } else if is_stored {
            self.relays.acknowledge(address, number);
        }
    }

    /// Calls a client's account, if it runs, and does what it asks for, unless it crashes in between. Returns whether
    /// what has changed is stored.
    pub(crate) fn call(&mut self, person: usize, call: impl FnOnce(&mut Account, u64) -> Output) -> bool {
        let now_ms = self.now_ms + self.clients[person].skew_ms;
        let Some(account) = self.clients[person].account.as_mut() else {
            return false;
        };
        let output = call(account, now_ms);
        if self.crashes(person) {
            return false;
        }
        self.clients[person].commit(&output);
        for post in output.posts {
            if self.crashes(person) {
                return true;
            }
            self.post(person, &post);
        }
        if self.crashes(person) {
            return true;
        }
        self.clients[person].show(&output.reports);
        for report in &output.reports {
            self.seen.reports[number_of(report)] += 1;
        }
        if self.random.once_in(200) {
            self.clients[person].check_restart(self.now_ms);
        }
        self.wake(person);
        true
    }

    fn wake(&mut self, person: usize) {
        let client = &self.clients[person];
        let Some(due_ms) = client.account().next_wakeup_ms() else {
            return;
        };
        let at_ms = due_ms.saturating_sub(client.skew_ms).max(self.now_ms);
        if client.wakes_ms.is_none_or(|wakes_ms| at_ms < wakes_ms) {
            self.clients[person].wakes_ms = Some(at_ms);
            self.later(at_ms - self.now_ms, Event::Wake(person));
        }
    }

    fn crashes(&mut self, person: usize) -> bool {
        if !happens(&mut self.random, self.faults.crash) {
            return false;
        }
        self.seen.crashes += 1;
        self.stop(person);
        true
    }

    /// Ends a client's run. It comes back.
    pub(crate) fn stop(&mut self, person: usize) {
        self.clients[person].crash();
        let away_ms = self.random.within(1, self.faults.away_ms) as u64;
        self.later(away_ms, Event::Starts(person));
    }

    fn post(&mut self, person: usize, post: &Post) {
        self.posts += 1;
        let to = people::person(post.to);
        let contact = self.clients[person].account().contact(post.to).expect("somebody known");
        let address = (to, people::relay(&contact.origin));
        let envelope = self.clients[person].seal(post);
        let faults = self.faults.clone();
        let random = &mut self.random;
        let mut times = if happens(random, faults.double) { 2 } else { 1 };
        let posted = if happens(random, faults.refuse) {
            times = 0;
            self.seen.refused += 1;
            Posted::Refused {
                status: random.pick(&[503, 507, 429]),
                retry_after_s: random.pick(&[None, Some(1), Some(30)]),
            }
        } else if happens(random, faults.unanswered) {
            times *= random.below(2);
            self.seen.unanswered += 1;
            Posted::Unknown
        } else {
            Posted::Taken { ttl_s: faults.ttl_s }
        };
        let is_first = matches!(&post.what, What::Message(hash) if self.posted.insert(*hash));
        if happens(random, faults.lose) || is_first && happens(random, faults.lose_first) {
            times = 0;
            self.seen.lost += 1;
        }
        self.trace(person, post, posted, times);
        self.count(person, to, &post.what);
        let run = self.clients[person].run;
        let (mut there_ms, mut back_ms) = (self.delay_ms(), self.delay_ms());
        if self.faults.steady_ms.is_some() {
            (there_ms, back_ms) = (1, 1);
        }
        if times > 0 {
            self.later(there_ms, Event::Arrives(address, envelope, times));
        }
        self.later(there_ms + back_ms, Event::Result(person, run, post.id, posted));
    }
}

impl World {
    fn count(&mut self, person: usize, to: usize, what: &What) {
        match what {
            What::Message(hash) => {
                let there = self.clients[to].store.message(*hash);
                self.seen.needless += u64::from(there.is_some());
            }
            What::Content(content) => {
                let is_want = content.windows(8).any(|part| part == b"\"want\":[");
                self.seen.requests += u64::from(is_want);
            }
            What::Text1(..) => self.seen.requests += 1,
        }
        debug_assert_ne!(person, to);
    }

    /// With `CLIENT_TRACE`, prints a post.
    fn trace(&self, person: usize, post: &Post, posted: Posted, times: usize) {
        if !self.is_traced {
            return;
        }
        let (to, ms) = (people::person(post.to), self.now_ms - BEGINNING_MS);
        let what = match &post.what {
            What::Content(content) => String::from_utf8_lossy(content).into_owned(),
            other => format!("{other:?}"),
        };
        println!("{ms:>10} {person} to {to}, {times} times, {posted:?}: {what}");
    }
}

fn number_of(report: &npchat::client::account::Report) -> usize {
    use npchat::client::account::Report;
    match report {
        Report::Message(..) => 0,
        Report::Request(..) => 1,
        Report::Missing(..) => 2,
        Report::MaybeLost(..) => 3,
        Report::Filled(..) => 4,
        Report::Taken(..) => 5,
        Report::Delivered(..) => 6,
        Report::Failed(..) => 7,
        Report::Changed(..) => 8,
        Report::Expired(..) => 9,
        Report::LoggedIn | Report::LoggedOut(..) => 10,
    }
}
