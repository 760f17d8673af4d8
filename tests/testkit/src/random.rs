//! Numbers that look random and follow from a seed alone: `SplitMix64` (Steele, Lea and Flood, 2014).
//!
//! Not for secrets. Small ranges only, so the bias of a remainder doesn't matter here.

/// A sequence of numbers that its seed determines.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    #[expect(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to `end`, exclusive; 0 if `end` is.
    pub fn below(&mut self, end: usize) -> usize {
        // The remainder of a division by a usize is one.
        usize::try_from(self.next() % (end.max(1) as u64)).unwrap_or(0)
    }

    /// From `low` to `high`, both inclusive.
    pub fn within(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// Once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}
