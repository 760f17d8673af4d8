//! Mailboxes against a model of plain lists: what is given, refused, kept, freed and lost, over random sequences of operations.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::Index;

use npchat::identity::RecipientId;
use npchat::limits::{LIVE_ONLY_HOLD_SECONDS, SEGMENT_MIN_BYTES};
use npchat::mailboxes::{Attachment, Budget, Caps, Deliveries, Hold, Mailboxes, Room, Sequence, Stats};
use npchat::token::{SessionAddress, Token};

use crate::model::{Model, Outcome};

mod model;

/// So small that caps and budget are met often.
const TIGHT: Limits = Limits {
    caps: Caps {
        mailbox_messages: 6,
        mailbox_bytes: 90,
        sessions: 3,
    },
    budget_bytes: 9 * SEGMENT_MIN_BYTES as u64,
};
/// So large that much can become vacant at once, and what lies behind it is moved.
const WIDE: Limits = Limits {
    caps: Caps {
        mailbox_messages: 200,
        mailbox_bytes: 50_000,
        sessions: 3,
    },
    budget_bytes: 500 * SEGMENT_MIN_BYTES as u64,
};

#[derive(Debug, Clone, Copy)]
struct Limits {
    caps: Caps,
    budget_bytes: u64,
}

#[derive(Debug, Clone)]
enum Op {
    Post {
        mailbox: u8,
        extra: usize,
        hold: Hold,
    },
    /// One after the other, the first of them for a short time: they leave many places before the others.
    PostMany {
        mailbox: u8,
        extra: usize,
        short: usize,
        long: usize,
    },
    Attach {
        mailbox: u8,
    },
    Detach(Index),
    Take {
        session: Index,
        max_bytes: usize,
        is_all_acknowledged: bool,
    },
    /// Confirms one of the deliveries that the session was given, an old one perhaps.
    Confirm {
        session: Index,
        delivery: Index,
    },
    ConfirmBogus {
        session: Index,
        ahead: u32,
    },
    Advance {
        millis: u64,
    },
    Expire {
        shard: usize,
        budget: usize,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let hold = prop_oneof![
        5 => (1..6_u32).prop_map(|ttl| Hold::Store { ttl }),
        2 => Just(Hold::Store { ttl: 1000 }),
        1 => Just(Hold::Store { ttl: 0 }),
        1 => Just(Hold::LiveOnly),
    ];
    let index = any::<Index>;
    prop_oneof![
        8 => (0..3_u8, 0..30_usize, hold).prop_map(|(mailbox, extra, hold)| Op::Post { mailbox, extra, hold }),
        3 => (0..3_u8).prop_map(|mailbox| Op::Attach { mailbox }),
        2 => index().prop_map(Op::Detach),
        6 => (index(), 0..60_usize, any::<bool>()).prop_map(|(session, max_bytes, is_all_acknowledged)| Op::Take {
            session,
            max_bytes,
            is_all_acknowledged,
        }),
        4 => (index(), index()).prop_map(|(session, delivery)| Op::Confirm { session, delivery }),
        1 => (index(), 50..u32::MAX - 500).prop_map(|(session, ahead)| Op::ConfirmBogus { session, ahead }),
        2 => (0..2500_u64).prop_map(|millis| Op::Advance { millis }),
        // Whole steps, so that deadlines are met to the millisecond.
        2 => (1..4_u64).prop_map(|steps| Op::Advance { millis: steps * 500 }),
        1 => Just(Op::Advance { millis: u64::from(LIVE_ONLY_HOLD_SECONDS) * 1000 }),
        3 => (0..4_usize, 0..6_usize).prop_map(|(shard, budget)| Op::Expire { shard, budget }),
    ]
}

/// Mostly posts of many messages, of which the first go soon.
fn moving_op() -> impl Strategy<Value = Op> {
    let many = (0..3_u8, 0..300_usize, 0..40_usize, 0..10_usize);
    prop_oneof![
        2 => many.prop_map(|(mailbox, extra, short, long)| Op::PostMany { mailbox, extra, short, long }),
        3 => op(),
    ]
}

/// What a session was given, by the serial in its body.
type Given = (u32, Sequence);

/// The mailboxes, the model, and what the sessions hold.
struct Pair {
    mailboxes: Arc<Mailboxes>,
    model: Model,
    limits: Limits,
    epoch: Instant,
    next_serial: u32,
    /// In the order of the model's sessions: each with what it was given.
    sessions: Vec<(Attachment, Vec<Given>)>,
}

impl Pair {
    fn new(limits: Limits) -> Self {
        let Limits { caps, budget_bytes } = limits;
        let epoch = Instant::now();
        let budget = Arc::new(Budget::new(budget_bytes));
        Self {
            mailboxes: Arc::new(Mailboxes::new(caps, 2, [3, 4], budget, epoch)),
            model: Model::new(caps, budget_bytes),
            limits,
            epoch,
            next_serial: 0,
            sessions: Vec::new(),
        }
    }

    fn apply(&mut self, op: &Op) {
        let pick = |index: &Index| index.index(self.sessions.len().max(1));
        match op {
            Op::Post { mailbox, extra, hold } => self.post(*mailbox, *extra, *hold),
            Op::PostMany {
                mailbox,
                extra,
                short,
                long,
            } => {
                for (count, ttl) in [(*short, 1), (*long, 1000)] {
                    (0..count).for_each(|_| self.post(*mailbox, *extra, Hold::Store { ttl }));
                }
            }
            Op::Attach { mailbox } => self.attach(*mailbox),
            Op::Advance { millis } => self.model.advance(*millis),
            Op::Expire { shard, budget } => self.expire(*shard, *budget),
            _ if self.sessions.is_empty() => {}
            Op::Detach(index) => self.detach(pick(index)),
            Op::Take {
                session,
                max_bytes,
                is_all_acknowledged,
            } => self.take(pick(session), *max_bytes, *is_all_acknowledged),
            Op::Confirm { session, delivery } => self.confirm(pick(session), *delivery),
            Op::ConfirmBogus { session, ahead } => {
                let (attachment, given) = &self.sessions[pick(session)];
                let base = given.last().map_or(0, |(_, sequence)| sequence.0);
                if base != 0 {
                    attachment.confirm(Sequence(base.wrapping_add(*ahead)), &mut Vec::new());
                }
            }
        }
        self.check();
    }

    fn post(&mut self, mailbox: u8, extra: usize, hold: Hold) {
        let serial = self.serial();
        let mut body = serial.to_be_bytes().to_vec();
        body.resize(4 + extra, 0);
        if matches!(hold, Hold::LiveOnly | Hold::Store { ttl: 0 }) {
            // So that whether it is held shows in the count, which nothing else may change.
            self.settle();
            if self.model.has_overdue(mailbox) {
                return;
            }
        }
        let (len, used) = (body.len(), self.mailboxes.budget().used());
        let before = self.mailboxes.stats().messages;
        let mut woken = Vec::new();
        let got = self.mailboxes.post(&id(mailbox), &body, hold, self.now(), &mut woken);
        let is_held = self.mailboxes.stats().messages > before;
        let wake = self
            .model
            .post(serial, mailbox, len, hold, Outcome { used, is_held, got });
        let woken: Vec<u32> = woken.iter().map(|address| address.token.index).collect();
        assert!(
            wake.must.iter().all(|session| woken.contains(session)),
            "a wake-up is lost"
        );
        assert!(
            woken
                .iter()
                .all(|session| wake.must.contains(session) || wake.may.contains(session))
        );
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

    fn confirm(&mut self, at: usize, delivery: Index) {
        let (attachment, given) = &self.sessions[at];
        if !given.is_empty() {
            let &(serial, sequence) = delivery.get(given);
            attachment.confirm(sequence, &mut Vec::new());
            self.model.confirm(at, serial);
        }
    }

    fn expire(&self, shard: usize, budget: usize) {
        let mut left = budget;
        if self.mailboxes.expire(shard, self.now(), &mut left) {
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
        for mailbox in 0..3 {
            self.attach(mailbox);
            self.detach(0);
        }
        self.model.check_told(self.mailboxes.expired());
    }

    fn check(&self) {
        let stats = self.mailboxes.stats();
        let used = self.mailboxes.budget().used();
        let (least, most) = self.model.held();
        assert!(
            (least.messages..=most.messages).contains(&stats.messages),
            "lost, or kept"
        );
        assert!((least.least_cost()..=most.most_cost()).contains(&used));
        // Mailboxes of sessions alone are made even when the budget is spent.
        assert!(used <= self.limits.budget_bytes + 2 * SEGMENT_MIN_BYTES as u64);
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

fn id(mailbox: u8) -> RecipientId {
    RecipientId::from_bytes([mailbox; 32])
}

fn serial_of(body: &[u8]) -> u32 {
    let first = body.first_chunk().copied().unwrap_or_default();
    u32::from_be_bytes(first)
}

fn run(limits: Limits, ops: &[Op], settle_every: usize) {
    let mut pair = Pair::new(limits);
    for (step, op) in ops.iter().enumerate() {
        pair.apply(op);
        if step % settle_every == 0 {
            pair.settle();
        }
    }
    while !pair.sessions.is_empty() {
        pair.detach(0);
        pair.check();
    }
    pair.tell_all();
    pair.model.advance(2_000_000);
    pair.tell_all();
    assert_eq!(pair.mailboxes.stats(), Stats::default());
    assert_eq!(pair.mailboxes.budget().used(), 0);
}

proptest! {
    #[test]
    fn mailboxes_do_what_the_model_says(
        ops in prop::collection::vec(op(), 1..150),
        settle_every in 5..60_usize,
    ) {
        run(TIGHT, &ops, settle_every);
    }

    #[test]
    fn mailboxes_do_what_the_model_says_while_what_lies_in_them_moves(
        ops in prop::collection::vec(moving_op(), 1..40),
        settle_every in 2..10_usize,
    ) {
        run(WIDE, &ops, settle_every);
    }
}
