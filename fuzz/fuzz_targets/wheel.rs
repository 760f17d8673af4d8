//! The timer wheel against the sorted set that the tests have: whatever is done in whatever order, nothing expires
//! early, late or twice.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

use crate::pair::Pair;

#[path = "../../tests/mailboxes/wheel/pair.rs"]
mod pair;

/// An entry's index is a byte.
const ENTRIES: u32 = 256;

#[derive(Debug, Arbitrary)]
struct Input {
    start: Span,
    ops: Vec<Op>,
}

#[derive(Debug, Arbitrary)]
enum Op {
    /// Expires so long after now.
    Insert {
        index: u8,
        delay: Span,
    },
    /// Should have expired so long before now.
    InsertPast {
        index: u8,
        ago: Span,
    },
    Cancel {
        index: u8,
    },
    /// The clock goes on, and so many steps are taken.
    Advance {
        ticks: Span,
        steps: u8,
    },
    /// Everything that is due is expired.
    Settle,
    /// Time goes on to when the wheel asks to be looked at.
    Sleep,
}

/// Ticks, with a liking for the edges of slots.
#[derive(Debug, Arbitrary)]
enum Span {
    Short(u8),
    /// Whole slots of a level, one tick more or less.
    Slots {
        level: u8,
        slots: u8,
        off: u8,
    },
    Any(u32),
    /// So many before the last tick there is.
    Late(u8),
}

impl Span {
    fn ticks(&self) -> u32 {
        match *self {
            Self::Short(ticks) => ticks.into(),
            Self::Slots { level, slots, off } => {
                let slots = u32::from(slots) % 130;
                (slots << (6 * (level % 5)))
                    .wrapping_add(u32::from(off) % 3)
                    .wrapping_sub(1)
            }
            Self::Any(ticks) => ticks,
            Self::Late(before) => u32::MAX - u32::from(before),
        }
    }
}

fuzz_target!(|input: Input| {
    let mut pair = Pair::new(input.start.ticks(), ENTRIES);
    for op in &input.ops {
        apply(&mut pair, op);
        pair.check();
    }
    pair.finish();
});

fn apply(pair: &mut Pair, op: &Op) {
    match op {
        Op::Insert { index, delay } => pair.insert((*index).into(), pair.now.saturating_add(delay.ticks())),
        Op::InsertPast { index, ago } => pair.insert((*index).into(), pair.now.saturating_sub(ago.ticks())),
        Op::Cancel { index } => pair.cancel((*index).into()),
        Op::Advance { ticks, steps } => pair.advance(ticks.ticks(), (*steps).into()),
        Op::Settle => pair.settle(),
        Op::Sleep => pair.sleep(),
    }
}
