//! Ids that look random and are the same in every run.

use npchat::protocol::id::RecipientId;
use testkit::Random;

/// So many ids, whose first `shared` bytes are the same.
pub(crate) fn ids(count: usize, shared: usize) -> Vec<RecipientId> {
    let mut random = Random::new(0);
    let mut id = || {
        let mut id = [7; 32];
        for word in id[shared..].chunks_exact_mut(8) {
            word.copy_from_slice(&random.next().to_be_bytes());
        }
        RecipientId::from_bytes(id)
    };
    (0..count).map(|_| id()).collect()
}
