//! What a shard has of sessions and counts, by stable `u32` indices. Mailboxes and messages lie in [`super::dense`],
//! which says why.
//!
//! It is the crate `slab` with indices as small as they are stored. An index is only good until its value is removed:
//! there are no generations.

use std::ops::{Index, IndexMut};

/// A growing array of values, the slot freed last being taken first.
#[derive(Debug)]
pub(super) struct Slab<T> {
    slots: slab::Slab<T>,
}

impl<T> Slab<T> {
    pub(super) const fn new() -> Self {
        const {
            assert!(
                slot_bytes::<T>() == size_of::<T>(),
                "a slot takes more room than its value"
            );
        };
        Self {
            slots: slab::Slab::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn insert(&mut self, value: T) -> u32 {
        match u32::try_from(self.slots.insert(value)) {
            Ok(index) => index,
            Err(_) => unreachable!("the caps on sessions and counts leave indices over"),
        }
    }

    pub(super) fn remove(&mut self, index: u32) -> Option<T> {
        self.slots.try_remove(index as usize)
    }

    /// The value at `index`; `None` for [`NONE`](super::arena::NONE) and for a vacant slot.
    pub(super) fn get(&self, index: u32) -> Option<&T> {
        self.slots.get(index as usize)
    }

    /// Like [`Slab::get`], for changing it.
    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.slots.get_mut(index as usize)
    }
}

/// For links, which are the slab's owner's own work and never lead to a vacant slot.
impl<T> Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, index: u32) -> &T {
        &self.slots[index as usize]
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        &mut self.slots[index as usize]
    }
}

/// Bytes of a slot, vacant or taken. The crate's own type of it is private, and this one has the same variants.
pub(super) const fn slot_bytes<T>() -> usize {
    #[expect(dead_code, reason = "only its size is asked for")]
    enum SlabEntry<T> {
        Vacant(usize),
        Taken(T),
    }
    size_of::<SlabEntry<T>>()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;
    use std::ptr;

    use super::*;
    use crate::server::mailboxes::arena::NONE;
    use crate::server::mailboxes::mailbox::Mailbox;
    use crate::server::mailboxes::message::Message;
    use crate::server::mailboxes::segment::LINE_BYTES;

    #[test]
    fn a_slot_of_the_crate_takes_as_many_bytes_as_is_assumed() {
        let mut slab = Slab::new();
        let [first, second] = [1, 2].map(|value| slab.insert((NonZeroU64::MIN, value)));
        let stride = ptr::from_ref(&slab[second]).addr() - ptr::from_ref(&slab[first]).addr();
        assert_eq!((stride, slot_bytes::<(NonZeroU64, u64)>()), (16, 16));
    }

    #[test]
    fn mail_would_take_more_than_a_cache_line_each_in_a_slab() {
        assert!(slot_bytes::<Mailbox>() > LINE_BYTES && slot_bytes::<Message>() > LINE_BYTES);
    }

    #[test]
    fn the_slot_freed_last_is_taken_first() {
        let mut slab = Slab::new();
        let indices = ["a", "b", "c", "d"].map(|value| slab.insert(value));
        assert_eq!(indices, [0, 1, 2, 3]);
        assert_eq!((slab.remove(1), slab.remove(3)), (Some("b"), Some("d")));
        assert_eq!((slab.insert("e"), slab.insert("f"), slab.insert("g")), (3, 1, 4));
        assert_eq!((slab[0], slab[1], slab[3], slab.len()), ("a", "f", "e", 5));
    }

    #[test]
    fn removing_twice_frees_once() {
        let mut slab = Slab::new();
        let index = slab.insert("a");
        assert_eq!(slab.remove(index), Some("a"));
        assert_eq!(slab.remove(index), None);
        assert_eq!((slab.get(index), slab.get(NONE), slab.len()), (None, None, 0));
        assert_eq!((slab.insert("b"), slab.insert("c")), (0, 1));
    }
}
