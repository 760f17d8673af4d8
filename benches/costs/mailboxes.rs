//! Mailboxes without connections: whether a post takes longer when there are many, or when a stranger has chosen their
//! ids, and whether two threads are in each other's way.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion};
use npchat::protocol::id::RecipientId;
use npchat::server::mailboxes::{Attachment, Budget, Caps, Deliveries, Mailboxes, Retention, Room, Taken};
use npchat::server::token::{SessionAddress, Token};

use crate::clock::{CpuTime, cpu_time};
use crate::random::ids;

const SHARDS: usize = 64;
const COUNTS: [usize; 2] = [1000, 1_000_000];
/// Posts between two clean-ups, which aren't measured.
const BATCH: u64 = 10_000;
/// Sessions that each thread posts to.
const SESSIONS: usize = 1000;
const CAPS: Caps = Caps {
    mailbox_messages: 4096,
    mailbox_bytes: 1 << 20,
    sessions: 1,
};

pub(crate) fn benches(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("mailboxes");
    for count in COUNTS {
        for (kind, shared) in [("post, random ids", 0), ("post, ids that share 8 bytes", 8)] {
            let mut filled = None;
            group.bench_function(BenchmarkId::new(kind, count), |bencher| {
                let filled = filled.get_or_insert_with(|| Filled::new(count, shared));
                bencher.iter_custom(|posts| filled.time(posts));
            });
        }
    }
    for threads in [1, 2] {
        group.bench_function(BenchmarkId::new("post, take, confirm, threads", threads), |bencher| {
            bencher.iter_custom(|messages| time_threads(threads, messages));
        });
    }
    group.finish();
}

/// Mailboxes with a message each.
struct Filled {
    mailboxes: Mailboxes,
    ids: Vec<RecipientId>,
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
            let begun = cpu_time();
            for _ in 0..batch {
                self.post(1);
            }
            spent += cpu_time().saturating_sub(begun);
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
        let retention = Retention::Seconds(ttl);
        let posted = self.mailboxes.post(id, b"x", retention, self.now, &mut Vec::new());
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

/// What the slowest of so many threads takes for `messages` each, to sessions of its own, all at the same time.
fn time_threads(threads: usize, messages: u64) -> Duration {
    let now = Instant::now();
    let mailboxes = Mailboxes::new(CAPS, SHARDS, [1, 2], Arc::new(Budget::new(u64::MAX)), now);
    let mailboxes = &Arc::new(mailboxes);
    let ids = ids(threads * SESSIONS, 0);
    let start = &Barrier::new(threads);
    thread::scope(|scope| {
        let threads: Vec<_> = ids
            .chunks(SESSIONS)
            .map(|ids| {
                scope.spawn(move || {
                    let sessions: Vec<_> = ids.iter().map(|id| attach(mailboxes, id)).collect();
                    start.wait();
                    let begun = cpu_time();
                    pass_on(mailboxes, &sessions, messages, now);
                    cpu_time().saturating_sub(begun)
                })
            })
            .collect();
        let spent = threads.into_iter().map(|thread| thread.join().unwrap());
        spent.max().unwrap_or_default()
    })
}

fn attach(mailboxes: &Arc<Mailboxes>, id: &RecipientId) -> (RecipientId, Attachment) {
    let token = Token {
        index: 0,
        generation: 0,
    };
    let attachment = mailboxes.attach(id, SessionAddress { worker: 0, token });
    (*id, attachment.unwrap())
}

/// One message after the other to the next session, which takes and confirms it.
fn pass_on(mailboxes: &Mailboxes, sessions: &[(RecipientId, Attachment)], messages: u64, now: Instant) {
    let (mut wake, mut taken) = (Vec::new(), Deliveries::new());
    for (_, (id, attachment)) in (0..messages).zip(sessions.iter().cycle()) {
        let retention = Retention::Seconds(60);
        mailboxes.post(id, b"x", retention, now, &mut wake).unwrap();
        let left = attachment.take(now, Room::of_bytes(usize::MAX), true, &mut taken);
        assert!(left == Taken::All && taken.len() == 1);
        let last = taken.iter().last().unwrap().sequence;
        attachment.confirm(last, &mut wake);
        taken.clear();
        wake.clear();
    }
}
