//! The timer wheel against a `BTreeMap`: whatever is done in whatever order, nothing expires early, late or twice.

#![no_main]

use std::collections::BTreeMap;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

use npchat::server::timer_wheel::{Node, Nodes, WheelStep, Wheel};

/// An entry's index is a byte.
const ENTRIES: usize = 256;

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
    let mut pair = Pair::new(input.start.ticks());
    for op in &input.ops {
        pair.apply(op);
        pair.check();
    }
    pair.now = u32::MAX;
    pair.settle();
    pair.check();
    assert!(pair.wheel.is_empty());
});

struct Slots(Vec<Node>);

impl Nodes for Slots {
    fn node(&self, index: u32) -> &Node {
        &self.0[index as usize]
    }

    fn node_mut(&mut self, index: u32) -> &mut Node {
        &mut self.0[index as usize]
    }
}

/// The wheel, and what it should hold: for each tick the indices that wait for it.
struct Pair {
    wheel: Wheel,
    slots: Slots,
    model: BTreeMap<u32, Vec<u32>>,
    now: u32,
}

impl Pair {
    fn new(now: u32) -> Self {
        Self {
            wheel: Wheel::new(now),
            slots: Slots((0..ENTRIES).map(|_| Node::new()).collect()),
            model: BTreeMap::new(),
            now,
        }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Insert { index, delay } => self.insert(*index, self.now.saturating_add(delay.ticks())),
            Op::InsertPast { index, ago } => self.insert(*index, self.now.saturating_sub(ago.ticks())),
            Op::Cancel { index } => {
                self.forget((*index).into());
                self.wheel.cancel(&mut self.slots, (*index).into());
            }
            Op::Advance { ticks, steps } => {
                self.now = self.now.saturating_add(ticks.ticks());
                for _ in 0..*steps {
                    if !self.step() {
                        self.check_nothing_is_due();
                        break;
                    }
                }
            }
            Op::Settle => self.settle(),
            Op::Sleep => {
                self.now = self.now.max(self.wheel.next_tick().unwrap_or(0));
                assert!(self.wheel.is_empty() || self.step(), "woken for nothing");
            }
        }
    }

    fn insert(&mut self, index: u8, tick: u32) {
        self.forget(index.into());
        self.model.entry(tick).or_default().push(index.into());
        self.wheel.insert(&mut self.slots, index.into(), tick);
    }

    fn forget(&mut self, index: u32) -> bool {
        if !self.slots.node(index).is_linked() {
            return false;
        }
        let tick = self.slots.node(index).tick();
        self.remove(tick, index)
    }

    fn remove(&mut self, tick: u32, index: u32) -> bool {
        let Some(waiting) = self.model.get_mut(&tick) else {
            return false;
        };
        let before = waiting.len();
        waiting.retain(|other| *other != index);
        let found = waiting.len() < before;
        if waiting.is_empty() {
            self.model.remove(&tick);
        }
        found
    }

    /// Takes one step; whether there was one to take.
    fn step(&mut self) -> bool {
        match self.wheel.pop_expired(&mut self.slots, self.now) {
            WheelStep::Expired(index) => {
                let tick = self.slots.node(index).tick();
                assert!(tick <= self.now, "early");
                assert!(self.remove(tick, index), "not there, or twice");
                assert!(!self.slots.node(index).is_linked());
            }
            WheelStep::Cascaded => {}
            WheelStep::Idle => return false,
        }
        true
    }

    fn settle(&mut self) {
        // Each entry comes down at most five levels before it expires.
        let steps = (0..=ENTRIES * 6).take_while(|_| self.step()).count();
        assert!(steps <= ENTRIES * 6, "steps without end");
        self.check_nothing_is_due();
    }

    fn check_nothing_is_due(&self) {
        assert!(self.first().is_none_or(|tick| tick > self.now), "late");
    }

    fn check(&self) {
        let waiting: usize = self.model.values().map(Vec::len).sum();
        assert_eq!(self.wheel.len() as usize, waiting);
        assert_eq!(self.wheel.is_empty(), waiting == 0);
        assert_eq!(self.wheel.next_tick().is_some(), waiting > 0);
        if let (Some(next), Some(first)) = (self.wheel.next_tick(), self.first()) {
            assert!(next <= first.max(self.now), "the poll would sleep too long");
        }
    }

    fn first(&self) -> Option<u32> {
        self.model.first_key_value().map(|(tick, _)| *tick)
    }
}
