//! What a mailbox is found by within its shard.

use crate::protocol::id::RecipientId;

/// An id and the half of its keyed hash that the table has. The other half picks the shard.
pub(super) struct Key {
    pub(super) id: RecipientId,
    pub(super) hash: u32,
}

impl Key {
    pub(super) const fn new(id: RecipientId, hash: u64) -> Self {
        Self {
            id,
            hash: (hash & 0xffff_ffff) as u32,
        }
    }
}
