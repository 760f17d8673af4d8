//! Values of one cache line each, with `u32` indices that stay until a value is removed or moved.
//!
//! It knows nothing of what it holds, nor where its indices are stored.
//!
//! Mailboxes and messages lie here and not in the crate `slab`, as what a shard has fewer of does ([`super::slab`]),
//! for four reasons.
//!
//! 1. A slab is one array that doubles, and the allocator of npchatd copies it: with a million messages in one shard
//!    that takes 34 ms of processor time or more, under the shard's lock. The longest post into segments takes less
//!    than 1 ms.
//! 2. A doubled array is charged at once or not at all: for 1.1 million messages 151 MB, nearly half of it vacant,
//!    where segments are charged 71 MB. While it is copied, the old array exists beside the new one.
//! 3. A slab gives nothing back but behind its last value. Segments become empty, go to whichever shard needs one, and
//!    so the budget's memory serves bodies, messages and mailboxes by turns.
//! 4. A mailbox and a message are a cache line each and have no niche, as plain bytes. A slab's slots of them take
//!    72 bytes, and most lie across two lines.

use std::marker::PhantomData;
use std::ops::{Index, IndexMut};
use std::sync::Arc;

use bytemuck::Pod;

use super::arena::Arena;
use super::pool::Pool;
use super::segment::Line;

/// Values in an [`Arena`] of their own.
pub(super) struct Dense<T> {
    arena: Arena,
    values: PhantomData<T>,
}

impl<T: Pod> Dense<T> {
    pub(super) fn new(pool: Arc<Pool>) -> Self {
        const { assert!(size_of::<T>() == size_of::<Line>() && align_of::<T>() <= align_of::<Line>()) };
        Self {
            arena: Arena::new(pool, 1, false),
            values: PhantomData,
        }
    }

    pub(super) const fn len(&self) -> u32 {
        self.arena.len()
    }

    /// Sees to it that one more value can be inserted; `false` if the budget has no room for it.
    pub(super) fn reserve(&mut self) -> bool {
        self.arena.reserve(1)
    }

    /// Bytes that [`Dense::reserve`] would charge.
    pub(super) fn missing_bytes(&self) -> u64 {
        self.arena.missing_bytes(1)
    }

    /// Like [`Dense::reserve`], beyond the budget if need be; `false` if there is no index for it.
    pub(super) fn reserve_beyond_budget(&mut self) -> bool {
        self.arena.reserve_beyond_budget()
    }

    /// Gives back what was reserved for nothing.
    pub(super) fn give_back_unused(&mut self) {
        self.arena.give_back_unused();
    }

    /// Adds a value, for which there is a place.
    pub(super) fn insert(&mut self, value: T) -> u32 {
        let index = self.arena.take();
        self[index] = value;
        index
    }

    pub(super) fn remove(&mut self, index: u32) {
        self.arena.put_back(index);
    }

    /// The value at `index`; `None` for [`NONE`](super::arena::NONE).
    #[inline]
    pub(super) fn get(&self, index: u32) -> Option<&T> {
        self.arena.line(index).map(bytemuck::cast_ref)
    }

    /// Like [`Dense::get`], for changing it.
    #[inline]
    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.arena.line_mut(index).map(bytemuck::cast_mut)
    }

    /// While many places are vacant, moves a value: where it was and where it is. Then its neighbours must be shown.
    pub(super) fn move_one(&mut self) -> Option<(u32, u32)> {
        let (from, to) = self.arena.next_move()?;
        self[to] = self[from];
        self.arena.put_back(from);
        Some((from, to))
    }
}

/// For links, which are the owner's own work and never lead to a vacant place.
impl<T: Pod> Index<u32> for Dense<T> {
    type Output = T;

    #[inline]
    fn index(&self, index: u32) -> &T {
        match self.get(index) {
            Some(value) => value,
            None => unreachable!("a link leads to a vacant place"),
        }
    }
}

impl<T: Pod> IndexMut<u32> for Dense<T> {
    #[inline]
    fn index_mut(&mut self, index: u32) -> &mut T {
        match self.get_mut(index) {
            Some(value) => value,
            None => unreachable!("a link leads to a vacant place"),
        }
    }
}
