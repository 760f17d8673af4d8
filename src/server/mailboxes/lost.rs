//! How many messages of each mailbox expired, kept for the next login: the mailbox itself goes with its last
//! message.
//!
//! Counts, and no mail: what doesn't fit in here is a number that nobody is told.

use std::num::NonZeroU64;

use crate::server::limits::{LOST_HOLD_SECONDS, LOST_RECORDS_PER_LOCK};

use super::arena::NONE;
use super::key::Key;
use super::slab::Slab;
use super::table::Table;

/// At most so many counts, each by the id of its mailbox, in the order in which they were last added to.
///
/// Every operation is O(1). When there is no room for another id, the one that was added to the longest ago is
/// forgotten.
pub(super) struct Lost {
    table: Table,
    records: Slab<Record>,
    oldest: u32,
    newest: u32,
    capacity: usize,
}

struct Record {
    key: Key,
    messages: NonZeroU64,
    added_to_at_second: u32,
    older: u32,
    newer: u32,
}

impl Lost {
    pub(super) const fn new(capacity: usize) -> Self {
        Self {
            table: Table::new(),
            records: Slab::new(),
            oldest: NONE,
            newest: NONE,
            capacity,
        }
    }

    /// So many more messages of this mailbox have expired.
    pub(super) fn add(&mut self, key: Key, messages: NonZeroU64, now_seconds: u32) {
        if let Some(index) = self.find(&key) {
            self.unlink(index);
            let record = &mut self.records[index];
            record.messages = if record.is_stale(now_seconds) {
                messages
            } else {
                record.messages.saturating_add(messages.get())
            };
            record.added_to_at_second = now_seconds;
            self.link(index);
            return;
        }
        if self.records.len() >= self.capacity {
            self.remove(self.oldest);
        }
        self.push(key, messages, now_seconds);
    }

    /// How many messages of this mailbox have expired since this was last asked, and forgets it.
    pub(super) fn take(&mut self, key: &Key, now_seconds: u32) -> u64 {
        let record = self.find(key).and_then(|index| self.remove(index));
        record
            .filter(|record| !record.is_stale(now_seconds))
            .map_or(0, |record| record.messages.get())
    }

    /// Forgets what no login has asked for in time, at most [`LOST_RECORDS_PER_LOCK`] counts.
    pub(super) fn forget_stale(&mut self, now_seconds: u32) {
        for _ in 0..LOST_RECORDS_PER_LOCK {
            let oldest = self.records.get(self.oldest);
            if !oldest.is_some_and(|record| record.is_stale(now_seconds)) {
                return;
            }
            self.remove(self.oldest);
        }
    }

    fn find(&self, key: &Key) -> Option<u32> {
        self.table.find(key.hash, |index| self.records[index].key.id == key.id)
    }

    /// Appends a record of an id that has none.
    fn push(&mut self, key: Key, messages: NonZeroU64, now_seconds: u32) {
        let hash = key.hash;
        let index = self.records.insert(Record {
            key,
            messages,
            added_to_at_second: now_seconds,
            older: NONE,
            newer: NONE,
        });
        self.table.insert(hash, index);
        self.link(index);
    }

    fn remove(&mut self, index: u32) -> Option<Record> {
        self.records.get(index)?;
        self.unlink(index);
        let record = self.records.remove(index)?;
        self.table.remove(record.key.hash, index);
        Some(record)
    }

    /// Makes a record that is out of the order the newest.
    fn link(&mut self, index: u32) {
        let record = &mut self.records[index];
        (record.older, record.newer) = (self.newest, NONE);
        match self.records.get_mut(self.newest) {
            Some(newest) => newest.newer = index,
            None => self.oldest = index,
        }
        self.newest = index;
    }

    /// Takes a record out of the order.
    fn unlink(&mut self, index: u32) {
        let Record { older, newer, .. } = self.records[index];
        match self.records.get_mut(older) {
            Some(record) => record.newer = newer,
            None => self.oldest = newer,
        }
        match self.records.get_mut(newer) {
            Some(record) => record.older = older,
            None => self.newest = older,
        }
    }
}

impl Record {
    const fn is_stale(&self, now_seconds: u32) -> bool {
        now_seconds.saturating_sub(self.added_to_at_second) >= LOST_HOLD_SECONDS
    }
}

#[cfg(test)]
mod tests {
    use crate::protocol::id::RecipientId;
    use crate::server::limits::{LOST_RECORD_BYTES, LOST_RECORDS_MAX, SHARDS_MAX};
    use crate::server::mailboxes::slab::slot_bytes;

    use super::*;

    fn key(n: u8) -> Key {
        // Some share a hash.
        Key::new(RecipientId::from_bytes([n; 32]), u64::from(n / 2))
    }

    fn add(lost: &mut Lost, ids: &[u8], now_seconds: u32) {
        for id in ids {
            lost.add(key(*id), NonZeroU64::MIN, now_seconds);
        }
    }

    fn take_all(lost: &mut Lost, now_seconds: u32) -> [u64; 5] {
        [0, 1, 2, 3, 4].map(|id| lost.take(&key(id), now_seconds))
    }

    #[test]
    fn a_record_takes_no_more_memory_than_is_said() {
        // Of a table's buckets, nine bytes each, a quarter at least is taken.
        assert!(slot_bytes::<Record>() + 4 * 9 <= LOST_RECORD_BYTES);
        // An array that grows by doubling ends at just what is needed.
        assert!(LOST_RECORDS_MAX.is_power_of_two() && (LOST_RECORDS_MAX / SHARDS_MAX).is_power_of_two());
    }

    #[test]
    fn a_count_is_taken_once() {
        let mut lost = Lost::new(4);
        add(&mut lost, &[1, 3, 1, 1], 0);
        assert_eq!(take_all(&mut lost, 0), [0, 3, 0, 1, 0]);
        assert_eq!(take_all(&mut lost, 0), [0; 5]);
        add(&mut lost, &[1], 0);
        assert_eq!(take_all(&mut lost, 0), [0, 1, 0, 0, 0]);
        assert_eq!((lost.records.len(), lost.oldest, lost.newest), (0, NONE, NONE));
    }

    #[test]
    fn a_count_ends_at_its_largest_value() {
        let mut lost = Lost::new(4);
        lost.push(key(1), NonZeroU64::MAX, 0);
        add(&mut lost, &[1], 0);
        assert_eq!(lost.take(&key(1), 0), u64::MAX);
    }

    #[test]
    fn when_there_is_no_room_the_id_that_was_added_to_the_longest_ago_is_forgotten() {
        let mut lost = Lost::new(3);
        add(&mut lost, &[0, 1, 2, 0, 3, 4], 0);
        assert_eq!(lost.records.len(), 3);
        assert_eq!(take_all(&mut lost, 0), [2, 0, 0, 1, 1]);
        add(&mut lost, &[0, 1, 2], 0);
        assert_eq!(lost.take(&key(1), 0), 1);
        add(&mut lost, &[3, 4], 0);
        assert_eq!(take_all(&mut lost, 0), [0, 0, 1, 1, 1]);
    }

    #[test]
    fn a_count_that_nobody_asks_for_is_forgotten_in_time() {
        let mut lost = Lost::new(4);
        add(&mut lost, &[0, 1, 2], 7);
        add(&mut lost, &[0, 3], 8);
        lost.forget_stale(6 + LOST_HOLD_SECONDS);
        assert_eq!(lost.records.len(), 4);
        assert_eq!(lost.take(&key(2), 7 + LOST_HOLD_SECONDS), 0);
        lost.forget_stale(7 + LOST_HOLD_SECONDS);
        assert_eq!(lost.records.len(), 2);
        assert_eq!(take_all(&mut lost, 7 + LOST_HOLD_SECONDS), [2, 0, 0, 1, 0]);
    }

    #[test]
    fn one_lock_forgets_only_its_share() {
        let mut lost = Lost::new(LOST_RECORDS_PER_LOCK + 1);
        for n in (0_u8..).take(LOST_RECORDS_PER_LOCK + 1) {
            add(&mut lost, &[n], 0);
        }
        lost.forget_stale(LOST_HOLD_SECONDS);
        assert_eq!(lost.records.len(), 1);
        lost.forget_stale(LOST_HOLD_SECONDS);
        assert_eq!(lost.records.len(), 0);
    }
}
