//! Whether a post takes longer when there are many mailboxes, or when a stranger has chosen their ids.
//!
//! What is measured is one thread's `Mailboxes::post` to mailboxes that there are already; what it costs over a socket is not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion};

use npchat::identity::RecipientId;
use npchat::mailboxes::{Budget, Caps, Hold, Mailboxes};

const SHARDS: usize = 64;
const COUNTS: [usize; 2] = [1000, 1_000_000];
/// Posts between two clean-ups, which aren't measured.
const BATCH: u64 = 10_000;
const CAPS: Caps = Caps {
    mailbox_messages: 4096,
    mailbox_bytes: 1 << 20,
    sessions: 1,
};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("post");
    for count in COUNTS {
        for (kind, shared) in [("random ids", 0), ("ids that share 8 bytes", 8)] {
            let mut filled = None;
            group.bench_function(BenchmarkId::new(kind, count), |bencher| {
                let filled = filled.get_or_insert_with(|| Filled::new(count, shared));
                bencher.iter_custom(|posts| filled.time(posts));
            });
        }
    }
    group.finish();
    criterion.final_summary();
}

/// Mailboxes with a message each.
struct Filled {
    mailboxes: Mailboxes,
    ids: Vec<RecipientId>,
    body: Arc<[u8]>,
    next: usize,
    /// The time that the mailboxes are told.
    now: Instant,
}

impl Filled {
    /// `count` mailboxes, the first `shared` bytes of whose ids are the same.
    fn new(count: usize, shared: usize) -> Self {
        let now = Instant::now();
        let mut filled = Self {
            mailboxes: Mailboxes::new(CAPS, SHARDS, [1, 2], Arc::new(Budget::new(u64::MAX)), now),
            ids: ids(count, shared),
            body: Arc::from(*b"x"),
            next: 0,
            now,
        };
        for _ in 0..count {
            filled.post(u32::MAX);
        }
        filled
    }

    fn time(&mut self, posts: u64) -> Duration {
        let mut spent = Duration::ZERO;
        let mut left = posts;
        while left > 0 {
            let batch = left.min(BATCH);
            let begun = Instant::now();
            for _ in 0..batch {
                self.post(1);
            }
            spent += begun.elapsed();
            left -= batch;
            self.clean_up();
        }
        spent
    }

    /// One message to the next mailbox, in no order that a slab or a cache would know.
    fn post(&mut self, ttl: u32) {
        // Prime, and so in step with no count of mailboxes here.
        const STRIDE: usize = 1_000_003;
        let id = &self.ids[self.next];
        self.next = (self.next + STRIDE) % self.ids.len();
        let (body, hold) = (Arc::clone(&self.body), Hold::Store { ttl });
        let posted = self.mailboxes.post(id, body, hold, self.now, &mut Vec::new());
        assert_eq!(posted, Ok(()));
    }

    /// Has every message expire but the first of each mailbox.
    fn clean_up(&mut self) {
        self.now += Duration::from_secs(2);
        for shard in 0..self.mailboxes.shards() {
            while self
                .mailboxes
                .expire(shard, self.now, &mut BATCH.try_into().unwrap_or(usize::MAX))
            {}
        }
    }
}

/// Ids from a generator that gives the same ones in every run (`SplitMix64`).
fn ids(count: usize, shared: usize) -> Vec<RecipientId> {
    let mut state = 0_u64;
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    };
    let mut id = || {
        let mut id = [7; 32];
        for word in id[shared..].chunks_exact_mut(8) {
            word.copy_from_slice(&next().to_be_bytes());
        }
        RecipientId::from_bytes(id)
    };
    (0..count).map(|_| id()).collect()
}
