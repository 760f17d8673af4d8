//! Mailboxes against the model of plain lists that the tests have: what is given, refused, kept, freed and lost.

#![no_main]

use std::sync::Arc;
use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

use npchat::identity::RecipientId;
use npchat::limits::MAILBOX_OVERHEAD_BYTES;
use npchat::mailboxes::{Attachment, Budget, Caps, Delivery, Hold, Mailboxes, Room, Sequence, Stats};
use npchat::token::{SessionAddress, Token};

use crate::model::Model;

#[path = "../../tests/mailboxes/model.rs"]
mod model;

const MAILBOXES: u8 = 3;

#[derive(Debug, Arbitrary)]
struct Input {
    /// Messages that one mailbox holds, and that the budget is for.
    messages: (u8, u8),
    shards: u8,
    ops: Vec<Op>,
}

#[derive(Debug, Arbitrary)]
enum Op {
    Post {
        mailbox: u8,
        extra: u8,
        ttl: Ttl,
    },
    Attach {
        mailbox: u8,
    },
    Detach {
        session: u8,
    },
    Take {
        session: u8,
        max_bytes: u8,
    },
    /// Confirms one of the deliveries that the session was given, an old one perhaps.
    Confirm {
        session: u8,
        delivery: u8,
    },
    /// Confirms what nobody was given.
    ConfirmBogus {
        session: u8,
        ahead: u32,
    },
    Advance {
        millis: u16,
    },
    /// Whole steps, so that deadlines are met to the millisecond.
    AdvanceHalves {
        steps: u8,
    },
    Expire {
        shard: u8,
        budget: u8,
    },
    Settle,
}

#[derive(Debug, Arbitrary)]
enum Ttl {
    Seconds(u8),
    Long(u32),
    LiveOnly,
}

fuzz_target!(|input: Input| {
    let mut pair = Pair::new(&input);
    // A model of plain lists takes quadratic time.
    for op in input.ops.iter().take(300) {
        pair.apply(op);
        pair.check();
    }
    while !pair.sessions.is_empty() {
        pair.detach(0);
        pair.check();
    }
    pair.tell_all();
    pair.model.advance((u64::from(u32::MAX) + 2) * 1000);
    pair.tell_all();
    assert_eq!(pair.mailboxes.stats(), Stats::default());
    assert_eq!(pair.mailboxes.budget().used(), 0);
});

/// The mailboxes, the model, and what the sessions hold.
struct Pair {
    mailboxes: Arc<Mailboxes>,
    model: Model,
    epoch: Instant,
    next_serial: u32,
    /// In the order of the model's sessions: each with what it was given.
    sessions: Vec<(Attachment, Vec<Delivery>)>,
}

impl Pair {
    fn new(input: &Input) -> Self {
        let caps = Caps {
            mailbox_messages: u32::from(input.messages.0 % 40) + 1,
            mailbox_bytes: 400,
            sessions: 3,
        };
        let limit = MAILBOX_OVERHEAD_BYTES + (u64::from(input.messages.1 % 60) + 1) * 150;
        let epoch = Instant::now();
        let budget = Arc::new(Budget::new(limit));
        let shards = usize::from(input.shards % 4);
        Self {
            mailboxes: Arc::new(Mailboxes::new(caps, shards, [3, 4], budget, epoch)),
            model: Model::new(caps, limit),
            epoch,
            next_serial: 0,
            sessions: Vec::new(),
        }
    }

    fn apply(&mut self, op: &Op) {
        let pick = |index: u8| usize::from(index) % self.sessions.len().max(1);
        match *op {
            Op::Post {
                mailbox,
                extra,
                ref ttl,
            } => self.post(mailbox % MAILBOXES, extra, ttl.hold()),
            Op::Attach { mailbox } => self.attach(mailbox % MAILBOXES),
            Op::Advance { millis } => self.model.advance(millis.into()),
            Op::AdvanceHalves { steps } => self.model.advance(u64::from(steps) * 500),
            Op::Expire { shard, budget } => self.expire(shard, budget),
            Op::Settle => self.settle(),
            _ if self.sessions.is_empty() => {}
            Op::Detach { session } => self.detach(pick(session)),
            Op::Take { session, max_bytes } => self.take(pick(session), max_bytes.into()),
            Op::Confirm { session, delivery } => self.confirm(pick(session), delivery.into()),
            Op::ConfirmBogus { session, ahead } => self.confirm_bogus(pick(session), ahead),
        }
    }

    fn post(&mut self, mailbox: u8, extra: u8, hold: Hold) {
        let serial = self.serial();
        let mut body = serial.to_be_bytes().to_vec();
        body.resize(4 + usize::from(extra), 0);
        let (length, used) = (body.len(), self.mailboxes.budget().used());
        let mut woken = Vec::new();
        let got = self
            .mailboxes
            .post(&id(mailbox), body.into(), hold, self.now(), &mut woken);
        let wake = self.model.post(serial, mailbox, length, hold, used, got);
        let woken: Vec<u32> = woken.iter().map(|address| address.token.index).collect();
        assert!(
            wake.must.iter().all(|session| woken.contains(session)),
            "a wake-up is lost"
        );
        let known = |session| wake.must.contains(session) || wake.may.contains(session);
        assert!(woken.iter().all(known), "woken for nothing");
    }

    fn attach(&mut self, mailbox: u8) {
        let serial = self.serial();
        let token = Token {
            index: serial,
            generation: 0,
        };
        let attachment = self.mailboxes.attach(&id(mailbox), SessionAddress { worker: 0, token });
        assert_eq!(attachment.is_ok(), self.model.attach(serial, mailbox));
        if let Ok(attachment) = attachment {
            self.model.tell(mailbox, attachment.take_lost(self.now()));
            self.sessions.push((attachment, Vec::new()));
        }
    }

    fn detach(&mut self, at: usize) {
        self.sessions.remove(at);
        self.model.detach(at);
    }

    fn take(&mut self, at: usize, max_bytes: usize) {
        let now = self.now();
        let (attachment, given) = &mut self.sessions[at];
        let before = given.len();
        let more = attachment.take(now, Room::of_bytes(max_bytes), given);
        let serials: Vec<u32> = given[before..].iter().map(serial_of).collect();
        assert_eq!((serials, more), self.model.take(at, max_bytes));
    }

    fn confirm(&mut self, at: usize, delivery: usize) {
        let (attachment, given) = &self.sessions[at];
        if !given.is_empty() {
            let delivery = &given[delivery % given.len()];
            attachment.confirm(delivery.sequence);
            self.model.confirm(at, serial_of(delivery));
        }
    }

    fn confirm_bogus(&self, at: usize, ahead: u32) {
        let (attachment, given) = &self.sessions[at];
        // Far enough ahead of all that was posted, and not so far that it comes round.
        if let Some(last) = given.last() {
            let ahead = (ahead % (u32::MAX - 2000)) + 1000;
            attachment.confirm(Sequence(last.sequence.0.wrapping_add(ahead)));
        }
    }

    fn expire(&self, shard: u8, budget: u8) {
        let mut left = usize::from(budget % 8);
        if self.mailboxes.expire(usize::from(shard % 5), self.now(), &mut left) {
            assert_eq!(left, 0, "it stopped with budget left");
        }
    }

    fn settle(&mut self) {
        for shard in 0..self.mailboxes.shards() {
            while self.mailboxes.expire(shard, self.now(), &mut 3) {}
        }
        self.model.settle();
        self.check();
    }

    /// Somebody logs in to each mailbox, and is told the last of what was lost there.
    fn tell_all(&mut self) {
        self.settle();
        for mailbox in 0..MAILBOXES {
            self.attach(mailbox);
            self.detach(0);
        }
        self.model.check_told(self.mailboxes.expired());
    }

    fn check(&self) {
        let (stats, budget) = (self.mailboxes.stats(), self.mailboxes.budget());
        let (least, most) = self.model.held(None);
        assert!(
            (least.messages..=most.messages).contains(&stats.messages),
            "lost, or kept"
        );
        assert!((least.cost()..=most.cost()).contains(&budget.used()));
        assert!(budget.used() <= budget.limit());
        assert_eq!(stats.sessions, self.sessions.len() as u64);
        let lost = self.model.lost(None);
        assert!(lost.contains(&self.mailboxes.expired()), "miscounted what was lost");
    }

    fn now(&self) -> Instant {
        self.epoch + Duration::from_millis(self.model.now_millis)
    }

    fn serial(&mut self) -> u32 {
        self.next_serial += 1;
        self.next_serial
    }
}

impl Ttl {
    fn hold(&self) -> Hold {
        match *self {
            Self::Seconds(ttl) => Hold::Store { ttl: ttl.into() },
            Self::Long(ttl) => Hold::Store { ttl },
            Self::LiveOnly => Hold::LiveOnly,
        }
    }
}

fn id(mailbox: u8) -> RecipientId {
    RecipientId::from_bytes([mailbox; 32])
}

fn serial_of(delivery: &Delivery) -> u32 {
    let first = delivery.body.first_chunk().copied().unwrap_or_default();
    u32::from_be_bytes(first)
}
