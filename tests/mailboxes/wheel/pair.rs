//! A timer wheel and a sorted set beside it, through the same operations: nothing early, nothing late, nothing twice.

use std::collections::BTreeSet;

use npchat::server::timer_wheel::{Node, Nodes, Wheel, WheelStep};

/// The wheel, and what it should hold.
pub(crate) struct Pair {
    wheel: Wheel,
    slots: Slots,
    /// Tick and index of each entry.
    model: BTreeSet<(u32, u32)>,
    pub(crate) now: u32,
}

struct Slots(Vec<Node>);

impl Nodes for Slots {
    fn node(&self, index: u32) -> &Node {
        &self.0[index as usize]
    }

    fn node_mut(&mut self, index: u32) -> &mut Node {
        &mut self.0[index as usize]
    }
}

impl Pair {
    /// None of so many entries waits.
    pub(crate) fn new(now: u32, entries: u32) -> Self {
        Self {
            wheel: Wheel::new(now),
            slots: Slots((0..entries).map(|_| Node::new()).collect()),
            model: BTreeSet::new(),
            now,
        }
    }

    pub(crate) fn insert(&mut self, index: u32, tick: u32) {
        self.forget(index);
        self.model.insert((tick, index));
        self.wheel.insert(&mut self.slots, index, tick);
    }

    pub(crate) fn cancel(&mut self, index: u32) {
        self.forget(index);
        self.wheel.cancel(&mut self.slots, index);
    }

    /// The clock goes on, and at most so many steps are taken.
    pub(crate) fn advance(&mut self, ticks: u32, steps: usize) {
        self.now = self.now.saturating_add(ticks);
        if (0..steps).any(|_| !self.step()) {
            self.check_nothing_is_due();
        }
    }

    /// Expires everything that is due.
    pub(crate) fn settle(&mut self) {
        // Each entry comes down at most five levels before it expires.
        let most = self.slots.0.len() * 6;
        let steps = (0..=most).take_while(|_| self.step()).count();
        assert!(steps <= most, "steps without end");
        self.check_nothing_is_due();
    }

    /// Time goes on to when the wheel asks to be looked at.
    pub(crate) fn sleep(&mut self) {
        self.now = self.now.max(self.wheel.next_tick().unwrap_or(0));
        assert!(self.wheel.is_empty() || self.step(), "woken for nothing");
    }

    pub(crate) fn check(&self) {
        assert_eq!(self.wheel.len() as usize, self.model.len());
        assert_eq!(self.wheel.is_empty(), self.model.is_empty());
        let linked = self.slots.0.iter().filter(|node| node.is_linked()).count();
        assert_eq!(linked, self.model.len());
        let (next, first) = (self.wheel.next_tick(), self.first());
        assert_eq!(next.is_some(), first.is_some());
        if let (Some(next), Some(first)) = (next, first) {
            assert!(next <= first.max(self.now), "the poll would sleep too long");
        }
    }

    /// The end of time: all has expired.
    pub(crate) fn finish(mut self) {
        self.now = u32::MAX;
        self.settle();
        self.check();
        assert!(self.wheel.is_empty());
    }

    fn forget(&mut self, index: u32) {
        if self.slots.node(index).is_linked() {
            let tick = self.slots.node(index).tick();
            assert!(self.model.remove(&(tick, index)), "it waits for another tick");
        }
    }

    /// Takes one step; whether there was one to take.
    fn step(&mut self) -> bool {
        match self.wheel.pop_expired(&mut self.slots, self.now) {
            WheelStep::Expired(index) => {
                let tick = self.slots.node(index).tick();
                assert!(tick <= self.now, "early");
                assert!(self.model.remove(&(tick, index)), "not there, or twice");
                assert!(!self.slots.node(index).is_linked());
            }
            WheelStep::Cascaded => {}
            WheelStep::Idle => return false,
        }
        true
    }

    fn check_nothing_is_due(&self) {
        assert!(self.first().is_none_or(|tick| tick > self.now), "late");
    }

    fn first(&self) -> Option<u32> {
        self.model.first().map(|(tick, _)| *tick)
    }
}
