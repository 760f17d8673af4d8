//! The timer wheel against a `BTreeSet` of (tick, index): nothing early, nothing late, nothing twice.

use std::collections::BTreeSet;

use proptest::prelude::*;

use npchat::server::timer_wheel::{Node, Nodes, Wheel, WheelStep};

const ENTRIES: u32 = 48;

struct Slots(Vec<Node>);

impl Nodes for Slots {
    fn node(&self, index: u32) -> &Node {
        &self.0[index as usize]
    }

    fn node_mut(&mut self, index: u32) -> &mut Node {
        &mut self.0[index as usize]
    }
}

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
    ]
}

struct Pair {
    wheel: Wheel,
    slots: Slots,
    model: BTreeSet<(u32, u32)>,
    now: u32,
}

impl Pair {
    fn new(now: u32) -> Self {
        Self {
            wheel: Wheel::new(now),
            slots: Slots((0..ENTRIES).map(|_| Node::new()).collect()),
            model: BTreeSet::new(),
            now,
        }
    }

    fn insert(&mut self, index: u32, tick: u32) {
        self.model.retain(|&(_, other)| other != index);
        self.model.insert((tick, index));
        self.wheel.insert(&mut self.slots, index, tick);
    }

    /// Takes at most `budget` steps; whether nothing was left to do.
    fn step(&mut self, budget: usize) -> bool {
        for _ in 0..budget {
            match self.wheel.pop_expired(&mut self.slots, self.now) {
                WheelStep::Expired(index) => {
                    let tick = self.slots.node(index).tick();
                    assert!(tick <= self.now, "early");
                    assert!(self.model.remove(&(tick, index)), "not there, or twice");
                }
                WheelStep::Cascaded => {}
                WheelStep::Idle => return true,
            }
        }
        false
    }

    fn settle(&mut self) {
        // Each entry comes down at most five levels before it expires.
        assert!(self.step(ENTRIES as usize * 6 + 1), "steps without end");
        assert!(self.model.first().is_none_or(|&(tick, _)| tick > self.now), "late");
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Insert { index, delay } => self.insert(index, self.now.saturating_add(delay)),
            Op::InsertPast { index, ago } => self.insert(index, self.now.saturating_sub(ago)),
            Op::Cancel { index } => {
                self.model.retain(|&(_, other)| other != index);
                self.wheel.cancel(&mut self.slots, index);
            }
            Op::Advance { ticks, budget } => {
                self.now = self.now.saturating_add(ticks);
                self.step(budget);
            }
            Op::Settle => self.settle(),
        }
    }

    fn check(&self) {
        assert_eq!(self.wheel.len() as usize, self.model.len());
        assert_eq!(self.wheel.is_empty(), self.model.is_empty());
        let linked = self.slots.0.iter().filter(|node| node.is_linked()).count();
        assert_eq!(linked, self.model.len());
        let (next, first) = (self.wheel.next_tick(), self.model.first());
        assert_eq!(next.is_some(), first.is_some());
        if let (Some(next), Some(&(tick, _))) = (next, first) {
            assert!(next <= tick.max(self.now), "the poll would sleep too long");
        }
    }
}

proptest! {
    #[test]
    fn a_wheel_expires_what_a_sorted_set_says(
        start in prop_oneof![Just(0), any::<u32>(), u32::MAX - 100_000..=u32::MAX],
        ops in prop::collection::vec(op(), 1..200),
    ) {
        let mut pair = Pair::new(start);
        for op in &ops {
            pair.apply(op);
            pair.check();
        }
        pair.now = u32::MAX;
        pair.settle();
        prop_assert!(pair.wheel.is_empty());
    }
}
