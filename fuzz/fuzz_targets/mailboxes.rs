//! Mailboxes against the model of plain lists that the tests have: what is given, refused, kept, freed and lost.

#![no_main]

use std::sync::Arc;
use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

use npchat::identity::RecipientId;
use npchat::limits::SEGMENT_MIN_BYTES;
use npchat::mailboxes::{Attachment, Budget, Caps, Deliveries, Hold, Mailboxes, Room, Sequence, Stats};
use npchat::token::{SessionAddress, Token};

use crate::model::{Model, Outcome};

#[path = "../../tests/mailboxes/model.rs"]
mod model;

const MAILBOXES: u8 = 3;

#[derive(Debug, Arbitrary)]
struct Input {
    /// Messages that one mailbox holds, and segments that the budget is for.
    most: (u8, u8),
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
        is_all_acknowledged: bool,
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
    sessions: Vec<(Attachment, Vec<(u32, Sequence)>)>,
}

impl Pair {
    fn new(input: &Input) -> Self {
        let caps = Caps {
            mailbox_messages: u32::from(input.most.0 % 40) + 1,
            mailbox_bytes: 400,
            sessions: 3,
        };
        let limit = u64::from(input.most.1 % 60) * SEGMENT_MIN_BYTES as u64;
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
            Op::Take {
                session,
                max_bytes,
                is_all_acknowledged,
            } => self.take(pick(session), max_bytes.into(), is_all_acknowledged),
            Op::Confirm { session, delivery } => self.confirm(pick(session), delivery.into()),
            Op::ConfirmBogus { session, ahead } => self.confirm_bogus(pick(session), ahead),
        }
    }

    fn post(&mut self, mailbox: u8, extra: u8, hold: Hold) {
        let serial = self.serial();
        let mut body = serial.to_be_bytes().to_vec();
        body.resize(4 + usize::from(extra), 0);
        if matches!(hold, Hold::LiveOnly | Hold::Store { ttl: 0 }) {
            // So that whether it is held shows in the count, which nothing else may change.
            self.settle();
            if self.model.has_overdue(mailbox) {
                return;
            }
        }
        let (length, used) = (body.len(), self.mailboxes.budget().used());
        let before = self.mailboxes.stats().messages;
        let mut woken = Vec::new();
        let got = self.mailboxes.post(&id(mailbox), &body, hold, self.now(), &mut woken);
        let is_held = self.mailboxes.stats().messages > before;
        let outcome = Outcome { used, is_held, got };
        let wake = self.model.post(serial, mailbox, length, hold, outcome);
        let woken: Vec<u32> = woken.iter().map(|address| address.token.index).collect();
        assert!(
            wake.must.iter().all(|session| woken.contains(session)),
            "a wake-up is lost"
        );
        let known = |session| wake.must.contains(session) || wake.may.contains(session);
        assert!(woken.iter().all(known), "woken for nothing");
    }

    fn attach(&mut self, mailbox: u8) {
        self.settle_all_of(mailbox);
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
        if self.model.owes(at) {
            self.settle_all_of(self.model.sessions[at].mailbox);
        }
        self.sessions.remove(at);
        self.model.detach(at);
    }

    fn take(&mut self, at: usize, max_bytes: usize, is_all_acknowledged: bool) {
        let now = self.now();
        let (attachment, given) = &mut self.sessions[at];
        let mut deliveries = Deliveries::new();
        let left = attachment.take(now, Room::of_bytes(max_bytes), is_all_acknowledged, &mut deliveries);
        let serials: Vec<u32> = deliveries.iter().map(|delivery| serial_of(delivery.body)).collect();
        given.extend(
            deliveries
                .iter()
                .map(|delivery| (serial_of(delivery.body), delivery.sequence)),
        );
        assert_eq!((serials, left), self.model.take(at, max_bytes, is_all_acknowledged));
    }

    fn confirm(&mut self, at: usize, delivery: usize) {
        let (attachment, given) = &self.sessions[at];
        if !given.is_empty() {
            let (serial, sequence) = given[delivery % given.len()];
            attachment.confirm(sequence, &mut Vec::new());
            self.model.confirm(at, serial);
        }
    }

    fn confirm_bogus(&self, at: usize, ahead: u32) {
        let (attachment, given) = &self.sessions[at];
        // Far enough ahead of all that was posted, and not so far that it comes round.
        if let Some(last) = given.last() {
            let ahead = (ahead % (u32::MAX - 2000)) + 1000;
            attachment.confirm(Sequence(last.1.0.wrapping_add(ahead)), &mut Vec::new());
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

    /// Nothing is left whose time is over: which message is the first would hang on how much of that has been freed.
    fn settle_all_of(&mut self, mailbox: u8) {
        self.settle();
        if self.model.has_overdue(mailbox) {
            self.model.advance(1000 - self.model.now_millis % 1000);
            self.settle();
        }
    }

    /// Somebody logs in to each mailbox, and is told the last of what was lost there.
    fn tell_all(&mut self) {
        // To a whole second, so that nothing more expires before the last of them.
        self.model.advance(999 - (self.model.now_millis + 999) % 1000);
        self.settle();
        for mailbox in 0..MAILBOXES {
            self.attach(mailbox);
            self.detach(0);
        }
        self.model.check_told(self.mailboxes.expired());
    }

    fn check(&self) {
        let (stats, budget) = (self.mailboxes.stats(), self.mailboxes.budget());
        let (least, most) = self.model.held();
        assert!(
            (least.messages..=most.messages).contains(&stats.messages),
            "lost, or kept"
        );
        assert!((least.least_cost()..=most.most_cost()).contains(&budget.used()));
        // Mailboxes of sessions alone are made even when the budget is spent.
        assert!(budget.used() <= budget.limit() + 4 * SEGMENT_MIN_BYTES as u64);
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

fn serial_of(body: &[u8]) -> u32 {
    let first = body.first_chunk().copied().unwrap_or_default();
    u32::from_be_bytes(first)
}
