//! A hierarchical timer wheel whose links live in the caller's slab: O(1) insert, cancel and expire, nothing allocated.
//!
//! It knows ticks, not time: how long a tick is, and how many steps a turn may take, is the caller's to say.

use bytemuck::{Pod, Zeroable};

#[cfg(test)]
mod tests;

/// Every entry's index is below this.
pub const INDEX_END: u32 = FIRST;

const LEVELS: u32 = 6;
const SLOTS: u32 = 64;
const SLOT_BITS: u32 = SLOTS.trailing_zeros();
/// No entry.
const NONE: u32 = u32::MAX;
/// In [`Node::prev`]: this entry is the first of its list, whose number the other bits hold.
const FIRST: u32 = 1 << 31;

const _: () = {
    assert!(LEVELS * SLOT_BITS >= u32::BITS, "the levels cover every tick");
    assert!(LEVELS * SLOTS < NONE - FIRST, "no list's number looks like NONE");
};

/// The wheel's part of an entry: where the entry stands in its list, and when it expires.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Node {
    next: u32,
    /// The entry before this one, or [`FIRST`] and the number of the list, or [`NONE`] when it is in no list.
    prev: u32,
    tick: u32,
}

impl Node {
    /// A node in no list.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            next: NONE,
            prev: NONE,
            tick: 0,
        }
    }

    /// Whether the entry waits in a wheel.
    #[must_use]
    pub const fn is_linked(&self) -> bool {
        self.prev != NONE
    }

    /// The entries before and after it in its list; [`u32::MAX`], or the number of the list, where there is none.
    pub(crate) const fn neighbours(&self) -> [u32; 2] {
        [self.prev, self.next]
    }

    /// The tick that it was last inserted with; 0 if it never was.
    #[must_use]
    pub const fn tick(&self) -> u32 {
        self.tick
    }
}

impl Default for Node {
    fn default() -> Self {
        Self::new()
    }
}

/// Where the entries live. The wheel asks only for indices that were inserted and neither cancelled nor expired since.
pub trait Nodes {
    /// The node of the entry at `index`.
    fn node(&self, index: u32) -> &Node;
    /// The node of the entry at `index`, to be changed.
    fn node_mut(&mut self, index: u32) -> &mut Node;
}

/// What one step of a wheel came to. Each costs about the same, so a budget counts steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum WheelStep {
    /// This entry has expired and is in the wheel no more.
    Expired(u32),
    /// One entry, not known to be due, came down a level: go on.
    Cascaded,
    /// Nothing is due.
    Idle,
}

/// A timer wheel of 6 levels of 64 slots: every `u32` is a tick, and ticks don't wrap.
///
/// An entry stands at the level of the highest base-64 digit in which its tick differs from `elapsed`, in the slot
/// which that digit of its tick names. So at each level above 0 the occupied slots lie ahead of `elapsed`'s own digit.
/// The one exception is a slot whose time has come and which is being emptied, one entry a step: `elapsed`
/// stays at its start until it is empty.
#[derive(Debug)]
pub struct Wheel {
    elapsed: u32,
    len: u32,
    /// For each level, the slots that aren't empty.
    occupied: [u64; LEVELS as usize],
    /// First entry of each slot, level by level.
    heads: [u32; (LEVELS * SLOTS) as usize],
}

impl Wheel {
    /// An empty wheel that stands at `now_tick`.
    #[must_use]
    pub const fn new(now_tick: u32) -> Self {
        Self {
            elapsed: now_tick,
            len: 0,
            occupied: [0; LEVELS as usize],
            heads: [NONE; (LEVELS * SLOTS) as usize],
        }
    }

    /// How many entries wait.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Whether no entry waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Has the entry at `index`, which is below [`INDEX_END`], expire at `tick`, or at the next step if that has
    /// passed.
    ///
    /// An entry that waits already is moved.
    pub fn insert(&mut self, nodes: &mut impl Nodes, index: u32, tick: u32) {
        debug_assert!(index < INDEX_END, "the top bit of a link has its own meaning");
        self.cancel(nodes, index);
        let list = self.list_for(tick.max(self.elapsed));
        let head = self.heads[list.number()];
        if head != NONE {
            nodes.node_mut(head).prev = index;
        }
        *nodes.node_mut(index) = Node {
            next: head,
            prev: FIRST | list.0,
            tick,
        };
        self.heads[list.number()] = index;
        self.occupied[list.level()] |= 1 << list.slot();
        self.len += 1;
    }

    /// Takes the entry at `index` out; nothing happens if it isn't in.
    pub fn cancel(&mut self, nodes: &mut impl Nodes, index: u32) {
        let node = nodes.node_mut(index);
        if !node.is_linked() {
            return;
        }
        let (next, prev) = (node.next, node.prev);
        node.next = NONE;
        node.prev = NONE;
        if next != NONE {
            nodes.node_mut(next).prev = prev;
        }
        if prev & FIRST == 0 {
            nodes.node_mut(prev).next = next;
        } else {
            let list = List(prev & !FIRST);
            self.heads[list.number()] = next;
            if next == NONE {
                self.occupied[list.level()] &= !(1 << list.slot());
            }
        }
        self.len -= 1;
    }

    /// The entry that was at `from` is at `to` now, its node with it: its neighbours are shown.
    pub(crate) fn note_move(&mut self, nodes: &mut impl Nodes, from: u32, to: u32) {
        let Node { next, prev, .. } = *nodes.node(to);
        if prev == NONE {
            return;
        }
        if next != NONE {
            nodes.node_mut(next).prev = to;
        }
        if prev & FIRST == 0 {
            nodes.node_mut(prev).next = to;
        } else {
            debug_assert_eq!(self.heads[List(prev & !FIRST).number()], from);
            self.heads[List(prev & !FIRST).number()] = to;
        }
    }

    /// Takes one step towards `now_tick`, which expires at most one entry.
    ///
    /// Entries with an earlier tick expire first, those with the same tick in no promised order. Called until it is
    /// [`WheelStep::Idle`], it has expired exactly the entries whose tick is at most `now_tick`.
    pub fn pop_expired(&mut self, nodes: &mut impl Nodes, now_tick: u32) -> WheelStep {
        let Some(Due { start, list }) = self.earliest().filter(|due| due.start <= now_tick) else {
            self.elapsed = self.elapsed.max(now_tick);
            return WheelStep::Idle;
        };
        self.elapsed = self.elapsed.max(start);
        let index = self.heads[list.number()];
        if list.level() == 0 {
            self.cancel(nodes, index);
            return WheelStep::Expired(index);
        }
        let tick = nodes.node(index).tick;
        self.insert(nodes, index, tick);
        WheelStep::Cascaded
    }

    /// Some of the entries that expire at the next steps towards `now_tick`, in that order, if any is known to be due.
    pub(crate) fn due<N: Nodes>(&self, nodes: &N, now_tick: u32) -> impl Iterator<Item = u32> {
        let due = self
            .earliest()
            .filter(|due| due.start <= now_tick && due.list.level() == 0);
        let mut next = due.map_or(NONE, |due| self.heads[due.list.number()]);
        std::iter::from_fn(move || {
            let index = next;
            (index != NONE).then(|| {
                next = nodes.node(index).next;
                index
            })
        })
    }

    /// When to step next: no entry expires before this tick. `None` if there is no entry.
    ///
    /// Exact if the earliest entry is at level 0, else the start of its slot, at which it comes down a level.
    #[must_use]
    pub fn next_tick(&self) -> Option<u32> {
        self.earliest().map(|due| due.start)
    }

    fn list_for(&self, tick: u32) -> List {
        let level = ((self.elapsed ^ tick) | 1).ilog2() / SLOT_BITS;
        List::new(level, (tick >> (level * SLOT_BITS)) % SLOTS)
    }

    /// The slot that starts first. A half emptied slot is the earliest or as early as level 0, never passed over.
    fn earliest(&self) -> Option<Due> {
        (0..LEVELS)
            .filter_map(|level| self.earliest_of(level))
            .min_by_key(|due| due.start)
    }

    fn earliest_of(&self, level: u32) -> Option<Due> {
        let occupied = self.occupied[level as usize];
        if occupied == 0 {
            return None;
        }
        let slot = occupied.trailing_zeros();
        // Above a level's own digit all that waits there agrees with `elapsed`.
        let above = self.elapsed.checked_shr((level + 1) * SLOT_BITS).unwrap_or(0);
        Some(Due {
            start: (above << SLOT_BITS | slot) << (level * SLOT_BITS),
            list: List::new(level, slot),
        })
    }
}

/// An occupied slot and its first tick.
struct Due {
    start: u32,
    list: List,
}

/// The number of a slot, counted level by level.
#[derive(Clone, Copy)]
struct List(u32);

impl List {
    const fn new(level: u32, slot: u32) -> Self {
        Self(level << SLOT_BITS | slot)
    }

    const fn number(self) -> usize {
        self.0 as usize
    }

    const fn level(self) -> usize {
        (self.0 / SLOTS) as usize
    }

    const fn slot(self) -> u32 {
        self.0 % SLOTS
    }
}
