//! The timer wheel against a `BTreeSet` of (tick, index): nothing early, nothing late, nothing twice.

mod pair;

use proptest::prelude::*;

use self::pair::Pair;

const ENTRIES: u32 = 48;

#[derive(Debug, Clone)]
enum Op {
    /// Expires so long after now.
    Insert {
        index: u32,
        delay: u32,
    },
    /// Should have expired so long before now.
    InsertPast {
        index: u32,
        ago: u32,
    },
    Cancel {
        index: u32,
    },
    /// The clock goes on, and at most so many steps are taken.
    Advance {
        ticks: u32,
        budget: usize,
    },
    /// Everything that is due is expired.
    Settle,
    /// Time goes on to when the wheel asks to be looked at.
    Sleep,
}

/// Spans of every level of the wheel, and the edges of its slots.
fn span() -> impl Strategy<Value = u32> {
    prop_oneof![
        4 => 0..200_u32,
        2 => (0..6_u32, 1..4_u32, 0..3_u32).prop_map(|(level, slots, off)| (slots << (6 * level.min(4))) + off - 1),
        1 => 0..20_000_000_u32,
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..ENTRIES, span()).prop_map(|(index, delay)| Op::Insert { index, delay }),
        1 => (0..ENTRIES, span()).prop_map(|(index, ago)| Op::InsertPast { index, ago }),
        2 => (0..ENTRIES).prop_map(|index| Op::Cancel { index }),
        3 => (span(), 0..6_usize).prop_map(|(ticks, budget)| Op::Advance { ticks, budget }),
        1 => Just(Op::Settle),
        1 => Just(Op::Sleep),
    ]
}

fn apply(pair: &mut Pair, op: &Op) {
    match *op {
        Op::Insert { index, delay } => pair.insert(index, pair.now.saturating_add(delay)),
        Op::InsertPast { index, ago } => pair.insert(index, pair.now.saturating_sub(ago)),
        Op::Cancel { index } => pair.cancel(index),
        Op::Advance { ticks, budget } => pair.advance(ticks, budget),
        Op::Settle => pair.settle(),
        Op::Sleep => pair.sleep(),
    }
}

proptest! {
    #[test]
    fn a_wheel_expires_what_a_sorted_set_says(
        start in prop_oneof![Just(0), any::<u32>(), u32::MAX - 100_000..=u32::MAX],
        ops in prop::collection::vec(op(), 1..200),
    ) {
        let mut pair = Pair::new(start, ENTRIES);
        for op in &ops {
            apply(&mut pair, op);
            pair.check();
        }
        pair.finish();
    }
}
