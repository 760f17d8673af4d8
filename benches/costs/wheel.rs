//! The timer wheel with few and with very many entries: its operations are O(1), and what remains is the memory's.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion};
use npchat::server::timer_wheel::{Node, Nodes, Wheel, WheelStep};
use testkit::Random;

use crate::clock::{CpuTime, cpu_time};

const COUNTS: [u32; 3] = [10_000, 1_000_000, 10_000_000];
/// Entries expire within a day of one-second ticks.
const SPAN_TICKS: u32 = 24 * 60 * 60;
/// Operations between two clean-ups, which aren't measured.
const BATCH: u32 = 1000;

pub(crate) fn benches(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("wheel");
    for count in COUNTS {
        let mut pending = None;
        for (name, time) in [
            ("insert", Pending::time_insert as fn(&mut Pending, u32) -> Duration),
            ("cancel", Pending::time_cancel),
            ("expire", Pending::time_expire),
        ] {
            group.bench_function(BenchmarkId::new(name, count), |bencher| {
                let pending = pending.get_or_insert_with(|| Pending::new(count));
                bencher.iter_custom(|operations| in_batches(operations, |batch| time(pending, batch)));
            });
        }
    }
    group.finish();
}

fn in_batches(operations: u64, mut time: impl FnMut(u32) -> Duration) -> Duration {
    let mut left = operations;
    let mut spent = Duration::ZERO;
    while left > 0 {
        let batch = left.min(BATCH.into());
        spent += time(u32::try_from(batch).unwrap());
        left -= batch;
    }
    spent
}

/// A wheel in which so many entries wait between two batches.
struct Pending {
    wheel: Wheel,
    nodes: Entries,
    count: u32,
    /// The tick of the last entry that expired.
    now_tick: u32,
    random: Random,
    /// Entries that a batch is about.
    picked: Vec<u32>,
}

struct Entries(Vec<Node>);

impl Nodes for Entries {
    fn node(&self, index: u32) -> &Node {
        &self.0[index as usize]
    }

    fn node_mut(&mut self, index: u32) -> &mut Node {
        &mut self.0[index as usize]
    }
}

fn below(random: &mut Random, end: u32) -> u32 {
    u32::try_from(random.below(end as usize)).unwrap()
}

impl Pending {
    fn new(count: u32) -> Self {
        let nodes = (0..count + BATCH).map(|_| Node::new()).collect();
        let mut pending = Self {
            wheel: Wheel::new(0),
            nodes: Entries(nodes),
            count,
            now_tick: 0,
            random: Random::new(0),
            picked: Vec::new(),
        };
        for index in 0..count {
            pending.insert(index);
        }
        pending
    }

    fn insert(&mut self, index: u32) {
        let tick = self.now_tick + below(&mut self.random, SPAN_TICKS);
        self.wheel.insert(&mut self.nodes, index, tick);
    }

    /// Inserts further entries.
    fn time_insert(&mut self, batch: u32) -> Duration {
        let begun = cpu_time();
        for index in 0..batch {
            self.insert(self.count + index);
        }
        let spent = cpu_time().saturating_sub(begun);
        for index in 0..batch {
            self.wheel.cancel(&mut self.nodes, self.count + index);
        }
        spent
    }

    /// Cancels entries from anywhere in the slab.
    fn time_cancel(&mut self, batch: u32) -> Duration {
        self.picked.clear();
        for _ in 0..batch {
            self.picked.push(below(&mut self.random, self.count));
        }
        let begun = cpu_time();
        for index in &self.picked {
            self.wheel.cancel(&mut self.nodes, *index);
        }
        let spent = cpu_time().saturating_sub(begun);
        self.insert_picked();
        spent
    }

    /// Expires those that are due first, with their way down the levels.
    fn time_expire(&mut self, batch: u32) -> Duration {
        self.picked.clear();
        let begun = cpu_time();
        while self.picked.len() < batch as usize {
            match self.wheel.pop_expired(&mut self.nodes, u32::MAX) {
                WheelStep::Expired(index) => self.picked.push(index),
                WheelStep::Cascaded => {}
                WheelStep::Idle => panic!("entries wait"),
            }
        }
        let spent = cpu_time().saturating_sub(begun);
        if let Some(last) = self.picked.last() {
            self.now_tick = self.nodes.node(*last).tick();
        }
        self.insert_picked();
        spent
    }

    fn insert_picked(&mut self) {
        for index in std::mem::take(&mut self.picked) {
            self.insert(index);
        }
    }
}
