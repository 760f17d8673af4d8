//! A growing array of values with stable `u32` indices, the slot freed last being taken first.
//!
//! It knows nothing of what it holds. An index is only good until its value is removed: there are no generations.

use std::mem;
use std::ops::{Index, IndexMut};

use super::arena::NONE;

/// The free list runs through the vacant slots. A slot takes no more room than a `T` that has a niche.
#[derive(Debug)]
pub(super) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: u32,
    len: u32,
}

#[derive(Debug)]
pub(super) enum Slot<T> {
    Vacant { next: u32 },
    Taken(T),
}

impl<T> Slab<T> {
    pub(super) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: NONE,
            len: 0,
        }
    }

    pub(super) const fn len(&self) -> u32 {
        self.len
    }

    pub(super) fn insert(&mut self, value: T) -> u32 {
        self.len += 1;
        if let Some(slot) = self.slots.get_mut(self.free as usize)
            && let Slot::Vacant { next } = *slot
        {
            *slot = Slot::Taken(value);
            return mem::replace(&mut self.free, next);
        }
        self.slots.push(Slot::Taken(value));
        self.len - 1
    }

    pub(super) fn remove(&mut self, index: u32) -> Option<T> {
        let slot = self.slots.get_mut(index as usize)?;
        let vacant = Slot::Vacant { next: self.free };
        match mem::replace(slot, vacant) {
            Slot::Taken(value) => {
                self.free = index;
                self.len -= 1;
                Some(value)
            }
            was @ Slot::Vacant { .. } => {
                *slot = was;
                None
            }
        }
    }

    /// The value at `index`; `None` for [`NONE`] and for a vacant slot.
    pub(super) fn get(&self, index: u32) -> Option<&T> {
        match self.slots.get(index as usize) {
            Some(Slot::Taken(value)) => Some(value),
            _ => None,
        }
    }

    /// Like [`Slab::get`], for changing it.
    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        match self.slots.get_mut(index as usize) {
            Some(Slot::Taken(value)) => Some(value),
            _ => None,
        }
    }
}

/// For links, which are the slab's owner's own work and never lead to a vacant slot.
impl<T> Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, index: u32) -> &T {
        match self.get(index) {
            Some(value) => value,
            None => unreachable!("a link leads to a vacant slot"),
        }
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        match self.get_mut(index) {
            Some(value) => value,
            None => unreachable!("a link leads to a vacant slot"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slot_freed_last_is_taken_first() {
        let mut slab = Slab::new();
        let indices: Vec<u32> = (0..4).map(|value| slab.insert(value)).collect();
        assert_eq!(indices, [0, 1, 2, 3]);
        assert_eq!((slab.remove(1), slab.remove(3)), (Some(1), Some(3)));
        assert_eq!((slab.insert(10), slab.insert(11), slab.insert(12)), (3, 1, 4));
        assert_eq!((slab[0], slab[1], slab[3], slab.len()), (0, 11, 10, 5));
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
