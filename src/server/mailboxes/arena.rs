//! Equal places in segments: which are used, which is taken next, and which moves so that segments become empty.
//!
//! What lies in a place is its owner's, [`super::dense`]'s or [`super::blocks`]'. Indices are only good until a place
//! is put back: there are no generations.

use std::sync::Arc;

use super::pool::Pool;
use super::segment::{Line, Segment};
use crate::server::timer_wheel::INDEX_END;

/// The index of nothing.
pub(super) const NONE: u32 = u32::MAX;

/// Bits of a word.
const WORD: usize = u64::BITS as usize;
/// Words of a line.
const LINE: usize = 8;

/// Places for values of one or more lines each, in segments from the pool.
///
/// A segment begins with a bit for each of its places, set while the place is used, and with a word for each if the
/// owner wants one. The places that this prefix lies in are used from the start. The vacant place with the lowest index
/// is taken first, so that the segments at the end become empty, and an empty one goes back to the pool at once.
pub(super) struct Arena {
    pool: Arc<Pool>,
    segments: Vec<Segment>,
    /// The state of each segment, by the same index.
    states: Vec<State>,
    /// A bit for each segment, set while a place in it is vacant.
    with_room: Vec<u64>,
    layout: Layout,
    used: u32,
    vacant: u32,
    /// Segments that are held and in which no place is used.
    unused_segments: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// Used places, the prefix not counted.
    used: u32,
    /// No word of the bits before this one has a vacant place.
    hint: usize,
}

/// Places that have been taken together, in the order of their indices.
#[derive(Debug)]
pub(super) struct Run {
    start: u32,
    slots: u64,
}

impl Iterator for Run {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        if self.slots == 0 {
            return None;
        }
        let slot = self.slots.trailing_zeros();
        self.slots &= self.slots - 1;
        Some(self.start + slot)
    }
}

/// How a segment is divided.
#[derive(Debug, Clone, Copy)]
struct Layout {
    /// Its places are two to the power of this.
    place_bits: u32,
    /// Lines of a place are two to the power of this.
    line_bits: u32,
    /// Places that the prefix takes.
    prefix: u32,
}

impl Layout {
    fn new(segment_lines: usize, place_lines: usize, has_words: bool) -> Self {
        let places = segment_lines / place_lines;
        let words = places.div_ceil(WORD) + if has_words { places } else { 0 };
        let prefix = words.div_ceil(LINE).div_ceil(place_lines);
        Self {
            place_bits: places.ilog2(),
            line_bits: place_lines.ilog2(),
            prefix: u32::try_from(prefix).unwrap_or(u32::MAX),
        }
    }

    const fn places(self) -> u32 {
        1 << self.place_bits
    }

    /// Places of a segment that can be taken.
    const fn room(self) -> u32 {
        self.places() - self.prefix
    }

    const fn bit_words(self) -> usize {
        (self.places() as usize).div_ceil(WORD)
    }
}

impl Arena {
    /// Places of `place_lines` lines, a power of two, each with a word beside it or none.
    pub(super) fn new(pool: Arc<Pool>, place_lines: usize, has_words: bool) -> Self {
        Self {
            layout: Layout::new(pool.segment_lines(), place_lines, has_words),
            pool,
            segments: Vec::new(),
            states: Vec::new(),
            with_room: Vec::new(),
            used: 0,
            vacant: 0,
            unused_segments: 0,
        }
    }

    /// How many places are used.
    pub(super) const fn len(&self) -> u32 {
        self.used
    }

    /// Sees to it that [`Arena::take`] can be called so many times; `false`, and nothing changed, if the budget has no
    /// room.
    pub(super) fn reserve(&mut self, places: u32) -> bool {
        let missing = self.missing_segments(places);
        if missing == 0 {
            return true;
        }
        if !self.can_index(missing) || !self.pool.try_charge(missing) {
            return false;
        }
        (0..missing).for_each(|_| self.add_segment());
        true
    }

    /// Bytes that [`Arena::reserve`] would charge.
    pub(super) fn missing_bytes(&self, places: u32) -> u64 {
        self.pool.bytes_of(self.missing_segments(places))
    }

    /// Like [`Arena::reserve`] for one place, beyond the budget if need be; `false` if there is no index for it.
    pub(super) fn reserve_beyond_budget(&mut self) -> bool {
        if self.vacant > 0 {
            return true;
        }
        let can_index = self.can_index(1);
        if can_index {
            self.pool.charge(1);
            self.add_segment();
        }
        can_index
    }

    /// Takes a vacant place, which has been reserved: the one with the lowest index.
    pub(super) fn take(&mut self) -> u32 {
        let run = self.take_run(1);
        run.start + run.slots.trailing_zeros()
    }

    /// Takes vacant places, which have been reserved: those with the lowest indices, one at least and `most` at most.
    pub(super) fn take_run(&mut self, most: usize) -> Run {
        let found = self.with_room.iter().position(|word| *word != 0);
        let Some(word) = found else {
            unreachable!("a place is reserved before it is taken")
        };
        let at = word * WORD + self.with_room[word].trailing_zeros() as usize;
        let (segment, state) = (&mut self.segments[at], &mut self.states[at]);
        let mut word = state.hint;
        while *bit_word(segment, word) == u64::MAX {
            word += 1;
        }
        state.hint = word;
        let bits = bit_word(segment, word);
        let slots = lowest(!*bits, most);
        *bits |= slots;
        let count = slots.count_ones();
        if state.used == 0 {
            self.unused_segments -= 1;
        }
        state.used += count;
        if state.used == self.layout.room() {
            self.with_room[at / WORD] &= !(1 << (at % WORD));
        }
        self.used += count;
        self.vacant -= count;
        Run {
            start: self.index(at, word * WORD),
            slots,
        }
    }

    /// Gives up a place.
    pub(super) fn put_back(&mut self, index: u32) {
        let (at, slot) = self.locate(index);
        let word = slot / WORD;
        let bits = bit_word(&mut self.segments[at], word);
        debug_assert!(*bits >> (slot % WORD) & 1 == 1, "a place is put back twice");
        *bits &= !(1 << (slot % WORD));
        let state = &mut self.states[at];
        state.used -= 1;
        state.hint = state.hint.min(word);
        self.with_room[at / WORD] |= 1 << (at % WORD);
        self.used -= 1;
        self.vacant += 1;
        if self.states[at].used == 0 {
            self.unused_segments += 1;
            self.drop_segment(at);
        }
    }

    /// Gives back segments that were reserved and in which no place has been taken. Costs nothing where there is none,
    /// as at most refusals of a full relay.
    pub(super) fn give_back_unused(&mut self) {
        for at in (0..self.segments.len()).rev() {
            if self.unused_segments == 0 {
                return;
            }
            if self.states.get(at).is_some_and(|state| state.used == 0) && !self.segments[at].is_empty() {
                self.drop_segment(at);
            }
        }
    }

    /// While many places are vacant: the last used one, and a vacant one before it that has been taken for what lies in
    /// it.
    ///
    /// The caller moves that, and puts the first one back. So what is held is never much more than what is used.
    pub(super) fn next_move(&mut self) -> Option<(u32, u32)> {
        // Two segments at least, or filling and emptying one by turns would move all that is in it.
        if self.vacant <= 2 * self.layout.room() + self.used / 8 {
            return None;
        }
        let from = self.last_used()?;
        let to = self.take();
        debug_assert!(to < from, "vacant places are taken from the front");
        Some((from, to))
    }

    /// The lines of the place at `index`; `None` for [`NONE`].
    #[inline]
    pub(super) fn line(&self, index: u32) -> Option<&Line> {
        let (at, slot) = self.locate(index);
        self.segments.get(at)?.get(slot << self.layout.line_bits)
    }

    /// Like [`Arena::line`], for changing it.
    #[inline]
    pub(super) fn line_mut(&mut self, index: u32) -> Option<&mut Line> {
        let (at, slot) = self.locate(index);
        self.segments.get_mut(at)?.get_mut(slot << self.layout.line_bits)
    }

    /// All lines of a used place.
    #[inline]
    pub(super) fn lines(&self, index: u32) -> &[Line] {
        let (at, slot) = self.locate(index);
        let start = slot << self.layout.line_bits;
        &self.segments[at][start..start + (1 << self.layout.line_bits)]
    }

    /// Like [`Arena::lines`], for changing them.
    #[inline]
    pub(super) fn lines_mut(&mut self, index: u32) -> &mut [Line] {
        let (at, slot) = self.locate(index);
        let start = slot << self.layout.line_bits;
        &mut self.segments[at][start..start + (1 << self.layout.line_bits)]
    }

    /// The word beside a used place.
    #[inline]
    pub(super) fn word(&self, index: u32) -> u64 {
        let (at, slot) = self.locate(index);
        let word = self.layout.bit_words() + slot;
        self.segments[at][word / LINE].0[word % LINE]
    }

    /// Like [`Arena::word`], for changing it.
    #[inline]
    pub(super) fn word_mut(&mut self, index: u32) -> &mut u64 {
        let (at, slot) = self.locate(index);
        let word = self.layout.bit_words() + slot;
        &mut self.segments[at][word / LINE].0[word % LINE]
    }

    #[inline]
    const fn locate(&self, index: u32) -> (usize, usize) {
        let slot = index & (self.layout.places() - 1);
        ((index >> self.layout.place_bits) as usize, slot as usize)
    }

    #[expect(clippy::cast_possible_truncation, reason = "it is below INDEX_END: `can_index`")]
    const fn index(&self, at: usize, slot: usize) -> u32 {
        (at << self.layout.place_bits | slot) as u32
    }

    /// Whether the places of so many more segments have indices below [`INDEX_END`].
    fn can_index(&self, segments: usize) -> bool {
        (self.segments.len() + segments) << self.layout.place_bits < INDEX_END as usize
    }

    fn missing_segments(&self, places: u32) -> usize {
        places.saturating_sub(self.vacant).div_ceil(self.layout.room()) as usize
    }

    fn add_segment(&mut self) {
        let mut segment = self.pool.take();
        let (words, prefix) = (self.layout.bit_words(), self.layout.prefix as usize);
        for word in 0..words {
            *bit_word(&mut segment, word) = 0;
        }
        for slot in 0..prefix {
            *bit_word(&mut segment, slot / WORD) |= 1 << (slot % WORD);
        }
        // What lies beyond the last place of a small segment can't be taken.
        for slot in self.layout.places() as usize..words * WORD {
            *bit_word(&mut segment, slot / WORD) |= 1 << (slot % WORD);
        }
        // The first one that has been given back, or one at the end.
        let at = self.segments.iter().position(|segment| segment.is_empty());
        let at = at.unwrap_or_else(|| {
            self.segments.push(Segment::default());
            self.states.push(State::default());
            self.segments.len() - 1
        });
        self.segments[at] = segment;
        self.states[at] = State::default();
        if at / WORD == self.with_room.len() {
            self.with_room.push(0);
        }
        self.with_room[at / WORD] |= 1 << (at % WORD);
        self.vacant += self.layout.room();
        self.unused_segments += 1;
    }

    fn drop_segment(&mut self, at: usize) {
        self.pool.give_back(std::mem::take(&mut self.segments[at]));
        self.unused_segments -= 1;
        self.with_room[at / WORD] &= !(1 << (at % WORD));
        self.vacant -= self.layout.room();
        while self.segments.last().is_some_and(|segment| segment.is_empty()) {
            self.segments.pop();
            self.states.pop();
        }
        self.with_room.truncate(self.segments.len().div_ceil(WORD));
    }

    fn last_used(&mut self) -> Option<u32> {
        let at = self.segments.len().checked_sub(1)?;
        let prefix = self.layout.prefix as usize;
        let end = self.layout.places() as usize;
        for word in (0..self.layout.bit_words()).rev() {
            let mut bits = *bit_word(&mut self.segments[at], word);
            // Neither the prefix nor what lies beyond the last place can move.
            if word == prefix / WORD {
                bits &= u64::MAX << (prefix % WORD);
            }
            if end < (word + 1) * WORD {
                bits &= (1 << (end % WORD)) - 1;
            }
            if word >= prefix / WORD && bits != 0 {
                let slot = word * WORD + bits.ilog2() as usize;
                return Some(self.index(at, slot));
            }
        }
        None
    }
}

/// The lowest set bits, `most` at most and one at least if one is set.
fn lowest(bits: u64, most: usize) -> u64 {
    let (mut rest, mut left) = (bits, most);
    while rest != 0 && left > 0 {
        rest &= rest - 1;
        left -= 1;
    }
    bits ^ rest
}

#[inline]
fn bit_word(segment: &mut [Line], word: usize) -> &mut u64 {
    &mut segment[word / LINE].0[word % LINE]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::mailboxes::budget::Budget;

    #[test]
    fn segments_in_which_nothing_was_taken_are_counted_and_given_back() {
        let budget = Arc::new(Budget::new(1 << 20));
        let mut arena = Arena::new(Arc::new(Pool::new(Arc::clone(&budget), 1)), 1, false);
        let room = arena.layout.room();
        assert!(arena.reserve(3 * room));
        assert_eq!(arena.unused_segments, 3);
        let index = arena.take();
        assert_eq!(arena.unused_segments, 2);
        arena.give_back_unused();
        assert_eq!((arena.unused_segments, arena.segments.len()), (0, 1));
        assert_eq!(budget.used(), arena.pool.bytes_of(1));
        arena.put_back(index);
        assert_eq!((arena.unused_segments, arena.segments.len()), (0, 0));
        assert_eq!(budget.used(), 0);
    }
}
