//! Where a shard finds its mailboxes: indices by the hash of the id.
//!
//! It knows no ids: whether an index is the one that is looked for is the caller's to say.

use hashbrown::HashTable;

/// Indices by 32 bits of a keyed hash, which stand beside each, so that growing is one pass over this table and nothing
/// else: the shard's lock is held meanwhile.
pub(super) struct Table {
    entries: HashTable<TableEntry>,
}

#[derive(Debug, Clone, Copy)]
struct TableEntry {
    hash: u32,
    index: u32,
}

impl Table {
    pub(super) const fn new() -> Self {
        Self {
            entries: HashTable::new(),
        }
    }

    /// The index under `hash` that `is_it`.
    pub(super) fn find(&self, hash: u32, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let found = self
            .entries
            .find(spread(hash), |entry| entry.hash == hash && is_it(entry.index));
        found.map(|entry| entry.index)
    }

    /// Adds an index that isn't in it yet.
    pub(super) fn insert(&mut self, hash: u32, index: u32) {
        let entry = TableEntry { hash, index };
        self.entries
            .insert_unique(spread(hash), entry, |entry| spread(entry.hash));
    }

    pub(super) fn remove(&mut self, hash: u32, index: u32) {
        if let Ok(entry) = self.entries.find_entry(spread(hash), |entry| entry.index == index) {
            entry.remove();
        }
        // Half empty afterwards, so that it doesn't grow again at once.
        if self.entries.len() < self.entries.capacity() / 8 && self.entries.allocation_size() > UNCHARGED_BYTES {
            self.entries
                .shrink_to(2 * self.entries.len(), |entry| spread(entry.hash));
        }
    }

    /// Bytes that it takes beyond the first few, which every shard has.
    pub(super) fn charged_bytes(&self) -> u64 {
        self.entries.allocation_size().saturating_sub(UNCHARGED_BYTES) as u64
    }

    /// Bytes that the next [`Table::insert`] may add to that.
    pub(super) fn growth_bytes(&self) -> u64 {
        if self.entries.len() < self.entries.capacity() {
            return 0;
        }
        // It doubles.
        let grown = (2 * self.entries.allocation_size()).saturating_sub(UNCHARGED_BYTES);
        grown as u64 - self.charged_bytes()
    }
}

/// A table of so many bytes is charged for nothing: a shard's part of what the process takes at its start.
const UNCHARGED_BYTES: usize = 512;

/// The table picks a bucket by the lowest bits and distinguishes what is in it by the highest seven.
const fn spread(hash: u32) -> u64 {
    let hash = hash as u64;
    hash << 32 | hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_keeps_its_size() {
        assert_eq!(size_of::<TableEntry>(), 8);
    }

    #[test]
    fn what_is_in_is_found_however_the_table_has_grown() {
        let hash = |index: u32| index.wrapping_mul(0x9E37_79B9);
        let mut table = Table::new();
        for index in 0..5000 {
            table.insert(hash(index), index);
        }
        for index in (0..5000).step_by(2) {
            table.remove(hash(index), index);
        }
        for index in 0..5000 {
            let found = table.find(hash(index), |other| other == index);
            assert_eq!(found, (index % 2 == 1).then_some(index));
        }
    }

    #[test]
    fn a_table_that_has_become_empty_takes_next_to_nothing() {
        let hash = |index: u32| index.wrapping_mul(0x9E37_79B9);
        let mut table = Table::new();
        (0..5000).for_each(|index| table.insert(hash(index), index));
        assert!(table.charged_bytes() > 5000 * 9);
        (0..5000).for_each(|index| table.remove(hash(index), index));
        assert_eq!(table.charged_bytes(), 0);
    }

    #[test]
    fn indices_of_one_hash_are_told_apart() {
        let mut table = Table::new();
        for index in 0..3 {
            table.insert(7, index);
        }
        table.remove(7, 1);
        let find = |index| table.find(7, |other| other == index);
        assert_eq!([find(0), find(1), find(2)], [Some(0), None, Some(2)]);
    }
}
