//! Mailboxes against a model of plain lists: what is given, refused, kept, freed and lost, over random sequences of operations.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::Index;

use npchat::identity::RecipientId;
use npchat::limits::{LIVE_ONLY_HOLD_SECONDS, MAILBOX_OVERHEAD_BYTES};
use npchat::mailboxes::{Attachment, Budget, Caps, Delivery, Hold, Mailboxes, Room, Sequence, Stats};
use npchat::token::{SessionAddress, Token};

use crate::model::Model;

mod model;

const CAPS: Caps = Caps {
    mailbox_messages: 6,
    mailbox_bytes: 90,
    sessions: 3,
};
const BUDGET_BYTES: u64 = 9 * 150 + 2 * MAILBOX_OVERHEAD_BYTES;

#[derive(Debug, Clone)]
enum Op {
    Post {
        mailbox: u8,
        extra: usize,
        hold: Hold,
    },
    Attach {
        mailbox: u8,
    },
    Detach(Index),
    Take {
        session: Index,
        max_bytes: usize,
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
        6 => (index(), 0..60_usize).prop_map(|(session, max_bytes)| Op::Take { session, max_bytes }),
        4 => (index(), index()).prop_map(|(session, delivery)| Op::Confirm { session, delivery }),
        1 => (index(), 50..u32::MAX - 500).prop_map(|(session, ahead)| Op::ConfirmBogus { session, ahead }),
        2 => (0..2500_u64).prop_map(|millis| Op::Advance { millis }),
        // Whole steps, so that deadlines are met to the millisecond.
        2 => (1..4_u64).prop_map(|steps| Op::Advance { millis: steps * 500 }),
        1 => Just(Op::Advance { millis: u64::from(LIVE_ONLY_HOLD_SECONDS) * 1000 }),
        3 => (0..4_usize, 0..6_usize).prop_map(|(shard, budget)| Op::Expire { shard, budget }),
    ]
}

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
    fn new() -> Self {
        let epoch = Instant::now();
        let budget = Arc::new(Budget::new(BUDGET_BYTES));
        Self {
            mailboxes: Arc::new(Mailboxes::new(CAPS, 2, [3, 4], budget, epoch)),
            model: Model::new(CAPS, BUDGET_BYTES),
            epoch,
            next_serial: 0,
            sessions: Vec::new(),
        }
    }

    fn apply(&mut self, op: &Op) {
        let pick = |index: &Index| index.index(self.sessions.len().max(1));
        match op {
            Op::Post { mailbox, extra, hold } => self.post(*mailbox, *extra, *hold),
            Op::Attach { mailbox } => self.attach(*mailbox),
            Op::Advance { millis } => self.model.advance(*millis),
            Op::Expire { shard, budget } => self.expire(*shard, *budget),
            _ if self.sessions.is_empty() => {}
            Op::Detach(index) => self.detach(pick(index)),
            Op::Take { session, max_bytes } => self.take(pick(session), *max_bytes),
            Op::Confirm { session, delivery } => self.confirm(pick(session), *delivery),
            Op::ConfirmBogus { session, ahead } => {
                let (attachment, given) = &self.sessions[pick(session)];
                let base = given.last().map_or(0, |delivery| delivery.sequence.0);
                if base != 0 {
                    attachment.confirm(Sequence(base.wrapping_add(*ahead)));
                }
            }
        }
        self.check();
    }

    fn post(&mut self, mailbox: u8, extra: usize, hold: Hold) {
        let serial = self.serial();
        let mut body = serial.to_be_bytes().to_vec();
        body.resize(4 + extra, 0);
        let (len, used) = (body.len(), self.mailboxes.budget().used());
        let mut woken = Vec::new();
        let got = self
            .mailboxes
            .post(&id(mailbox), body.into(), hold, self.now(), &mut woken);
        let wake = self.model.post(serial, mailbox, len, hold, used, got);
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
        let serials: Vec<u32> = given.iter().skip(before).map(serial_of).collect();
        assert_eq!((serials, more), self.model.take(at, max_bytes));
    }

    fn confirm(&mut self, at: usize, delivery: Index) {
        let (attachment, given) = &self.sessions[at];
        if !given.is_empty() {
            let delivery = delivery.get(given);
            attachment.confirm(delivery.sequence);
            self.model.confirm(at, serial_of(delivery));
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

    /// Somebody logs in to each mailbox, and is told the last of what was lost there.
    fn tell_all(&mut self) {
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
        let (least, most) = self.model.held(None);
        assert!(
            (least.messages..=most.messages).contains(&stats.messages),
            "lost, or kept"
        );
        assert!((least.cost()..=most.cost()).contains(&used));
        assert!(used <= BUDGET_BYTES);
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

fn serial_of(delivery: &Delivery) -> u32 {
    let first = delivery.body.first_chunk().copied().unwrap_or_default();
    u32::from_be_bytes(first)
}

proptest! {
    #[test]
    fn mailboxes_do_what_the_model_says(
        ops in prop::collection::vec(op(), 1..150),
        settle_every in 5..60_usize,
    ) {
        let mut pair = Pair::new();
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
        prop_assert_eq!(pair.mailboxes.stats(), Stats::default());
        prop_assert_eq!(pair.mailboxes.budget().used(), 0);
    }
}
