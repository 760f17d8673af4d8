//! Numbers that look random and are the same in every run (`SplitMix64`), and ids made of them.

use npchat::protocol::id::RecipientId;

pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u32) -> u32 {
        (((self.next() >> 32) * u64::from(end)) >> 32) as u32
    }
}

/// So many ids, whose first `shared` bytes are the same.
pub(crate) fn ids(count: usize, shared: usize) -> Vec<RecipientId> {
    let mut random = Random(0);
    let mut id = || {
        let mut id = [7; 32];
        for word in id[shared..].chunks_exact_mut(8) {
            word.copy_from_slice(&random.next().to_be_bytes());
        }
        RecipientId::from_bytes(id)
    };
    (0..count).map(|_| id()).collect()
}
