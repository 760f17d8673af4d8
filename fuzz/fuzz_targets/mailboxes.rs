//! Mailboxes against the model of plain lists that the tests have: what is given, refused, kept, freed and lost.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

use npchat::server::limits::SEGMENT_MIN_BYTES;
use npchat::server::mailboxes::{Caps, Retention};

use crate::pair::{MAILBOXES, Pair};

#[path = "../../tests/mailboxes/model.rs"]
mod model;
#[path = "../../tests/mailboxes/pair.rs"]
mod pair;

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
    let caps = Caps {
        mailbox_messages: u32::from(input.most.0 % 40) + 1,
        mailbox_bytes: 400,
        sessions: 3,
    };
    let budget_bytes = u64::from(input.most.1 % 60) * SEGMENT_MIN_BYTES as u64;
    let mut pair = Pair::new(caps, usize::from(input.shards % 4), budget_bytes);
    // A model of plain lists takes quadratic time.
    for op in input.ops.iter().take(300) {
        apply(&mut pair, op);
        pair.check();
    }
    pair.end(u32::MAX.into());
});

fn apply(pair: &mut Pair, op: &Op) {
    let pick = |index: u8| usize::from(index) % pair.sessions().max(1);
    match *op {
        Op::Post {
            mailbox,
            extra,
            ref ttl,
        } => pair.post(mailbox % MAILBOXES, extra.into(), ttl.hold()),
        Op::Attach { mailbox } => pair.attach(mailbox % MAILBOXES),
        Op::Advance { millis } => pair.advance(millis.into()),
        Op::AdvanceHalves { steps } => pair.advance(u64::from(steps) * 500),
        Op::Expire { shard, budget } => pair.expire((shard % 5).into(), (budget % 8).into()),
        Op::Settle => pair.settle(),
        _ if pair.sessions() == 0 => {}
        Op::Detach { session } => pair.detach(pick(session)),
        Op::Take {
            session,
            max_bytes,
            is_all_acknowledged,
        } => pair.take(pick(session), max_bytes.into(), is_all_acknowledged),
        Op::Confirm { session, delivery } => pair.confirm(pick(session), delivery.into()),
        Op::ConfirmBogus { session, ahead } => pair.confirm_bogus(pick(session), ahead),
    }
}

impl Ttl {
    fn hold(&self) -> Retention {
        match *self {
            Self::Seconds(ttl) => Retention::Seconds(ttl.into()),
            Self::Long(ttl) => Retention::Seconds(ttl),
            Self::LiveOnly => Retention::LiveOnly,
        }
    }
}
