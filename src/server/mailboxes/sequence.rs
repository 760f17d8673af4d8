//! The numbers of a mailbox's messages, which wrap.

use bytemuck::{Pod, Zeroable};

/// Where a message stands among all that its mailbox has ever held: one more each, wrapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(transparent)]
pub struct Sequence(pub u32);

impl Sequence {
    /// A mailbox begins here, near the wrap, so that wrapping is no rare event.
    pub(super) const FIRST: Self = Self(u32::MAX - 7);

    pub(super) const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// Distance from `oldest`, which neither may lie before.
    pub(super) const fn since(self, oldest: Self) -> u32 {
        self.0.wrapping_sub(oldest.0)
    }

    pub(super) const fn is_before(self, other: Self, oldest: Self) -> bool {
        self.since(oldest) < other.since(oldest)
    }

    pub(super) const fn max_from(self, other: Self, oldest: Self) -> Self {
        if self.is_before(other, oldest) { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_compare_across_the_wrap() {
        let oldest = Sequence(u32::MAX - 1);
        let wrapped = oldest.next().next();
        assert_eq!(wrapped, Sequence(0));
        assert!(oldest.is_before(wrapped, oldest) && !wrapped.is_before(oldest, oldest));
        assert_eq!(oldest.max_from(wrapped, oldest), wrapped);
    }
}
