//! Mailboxes against a model of plain lists: what is given, refused, kept, freed and lost, over random sequences of
//! operations.

use proptest::prelude::*;
use proptest::sample::Index;

use npchat::server::limits::{LIVE_ONLY_HOLD_SECONDS, SEGMENT_MIN_BYTES};
use npchat::server::mailboxes::{Caps, Retention};

use crate::pair::{MAILBOXES, Pair};

mod model;
mod pair;
mod wheel;

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

const LONGEST_TTL_SECONDS: u32 = 1000;

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
        retention: Retention,
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
    let retention = prop_oneof![
        5 => (1..6_u32).prop_map(Retention::Seconds),
        2 => Just(Retention::Seconds(LONGEST_TTL_SECONDS)),
        1 => Just(Retention::Seconds(0)),
        1 => Just(Retention::LiveOnly),
    ];
    let index = any::<Index>;
    prop_oneof![
        8 => (0..MAILBOXES, 0..30_usize, retention)
            .prop_map(|(mailbox, extra, retention)| Op::Post { mailbox, extra, retention }),
        3 => (0..MAILBOXES).prop_map(|mailbox| Op::Attach { mailbox }),
        2 => index().prop_map(Op::Detach),
        6 => (index(), 0..60_usize, any::<bool>()).prop_map(|(session, max_bytes, is_all_acknowledged)| Op::Take {
            session,
            max_bytes,
            is_all_acknowledged,
        }),
        4 => (index(), index()).prop_map(|(session, delivery)| Op::Confirm { session, delivery }),
        1 => (index(), any::<u32>()).prop_map(|(session, ahead)| Op::ConfirmBogus { session, ahead }),
        2 => (0..2500_u64).prop_map(|millis| Op::Advance { millis }),
        // Whole steps, so that deadlines are met to the millisecond.
        2 => (1..4_u64).prop_map(|steps| Op::Advance { millis: steps * 500 }),
        1 => Just(Op::Advance { millis: u64::from(LIVE_ONLY_HOLD_SECONDS) * 1000 }),
        3 => (0..4_usize, 0..6_usize).prop_map(|(shard, budget)| Op::Expire { shard, budget }),
    ]
}

/// Mostly posts of many messages, of which the first go soon.
fn moving_op() -> impl Strategy<Value = Op> {
    let many = (0..MAILBOXES, 0..300_usize, 0..40_usize, 0..10_usize);
    prop_oneof![
        2 => many.prop_map(|(mailbox, extra, short, long)| Op::PostMany { mailbox, extra, short, long }),
        3 => op(),
    ]
}

fn apply(pair: &mut Pair, op: &Op) {
    let pick = |index: &Index| index.index(pair.sessions().max(1));
    match op {
        Op::Post {
            mailbox,
            extra,
            retention,
        } => pair.post(*mailbox, *extra, *retention),
        Op::PostMany {
            mailbox,
            extra,
            short,
            long,
        } => {
            for (count, ttl) in [(*short, 1), (*long, LONGEST_TTL_SECONDS)] {
                (0..count).for_each(|_| pair.post(*mailbox, *extra, Retention::Seconds(ttl)));
            }
        }
        Op::Attach { mailbox } => pair.attach(*mailbox),
        Op::Advance { millis } => pair.advance(*millis),
        Op::Expire { shard, budget } => pair.expire(*shard, *budget),
        _ if pair.sessions() == 0 => {}
        Op::Detach(index) => pair.detach(pick(index)),
        Op::Take {
            session,
            max_bytes,
            is_all_acknowledged,
        } => pair.take(pick(session), *max_bytes, *is_all_acknowledged),
        Op::Confirm { session, delivery } => pair.confirm(pick(session), delivery.index(1 << 16)),
        Op::ConfirmBogus { session, ahead } => pair.confirm_bogus(pick(session), *ahead),
    }
    pair.check();
}

fn run(limits: Limits, ops: &[Op], settle_every: usize) {
    let mut pair = Pair::new(limits.caps, 2, limits.budget_bytes);
    for (step, op) in ops.iter().enumerate() {
        apply(&mut pair, op);
        if step % settle_every == 0 {
            pair.settle();
        }
    }
    pair.end(LONGEST_TTL_SECONDS.into());
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
