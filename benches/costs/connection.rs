//! The whole of a connection without its socket, visited as a worker does it: a POST, and a delivery with its share of
//! pings and pongs.
//!
//! What is posted expires, or is confirmed, in every round, so that no store grows. An expiry isn't measured where the
//! name doesn't say so, nor is the post of what is then delivered; both are the work of other connections or moments.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::Criterion;
use npchat::protocol::id::{ID_TEXT_BYTES, RecipientId};
use npchat::server::config::Config;
use npchat::server::limits::PING_SPACING_MILLIS;
use npchat::server::store::Wish;

use crate::MESSAGE_BYTES;
use crate::clock::{CpuTime, cpu_time};
use crate::common::{Identity, Lent, Opcode, Piped, post_request};
use crate::random::ids;

/// Posts, each to another mailbox, between two expiries.
const POSTS: usize = 10_000;
/// Sessions that get a message each in one round.
const SESSIONS: usize = 200;

pub(crate) fn benches(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("connection");
    let mut poster = None;
    group.bench_function("POST", |bencher| {
        let poster = poster.get_or_insert_with(Poster::new);
        bencher.iter_custom(|posts| poster.time(posts, false));
    });
    group.bench_function("POST and its expiry", |bencher| {
        let poster = poster.get_or_insert_with(Poster::new);
        bencher.iter_custom(|posts| poster.time(posts, true));
    });
    // Each session gets 500 messages a second: a ping follows each 50 of them.
    let busy = Duration::from_millis(2);
    let mut receivers = None;
    group.bench_function("delivery to a busy session", |bencher| {
        let receivers = receivers.get_or_insert_with(Receivers::new);
        bencher.iter_custom(|deliveries| receivers.time(deliveries, busy));
    });
    // Others, of whom none has mail that is not asked for yet.
    receivers = None;
    group.bench_function("delivery with a ping of its own", |bencher| {
        let receivers = receivers.get_or_insert_with(Receivers::new);
        bencher.iter_custom(|deliveries| receivers.time_alone(deliveries));
    });
    group.finish();
}

/// One keep-alive connection that posts to many mailboxes.
struct Poster {
    lent: Lent,
    connection: Piped,
    /// As much input as the kernel would give: one request, made for one mailbox after the other.
    request: Vec<u8>,
    id_at: usize,
    ids: Vec<[u8; ID_TEXT_BYTES]>,
}

impl Poster {
    fn new() -> Self {
        let lent = Lent::new(&Config::default(), Instant::now());
        let connection = lent.accept();
        let id = |id: &RecipientId| id.to_string().into_bytes().try_into().unwrap();
        let ids: Vec<[u8; ID_TEXT_BYTES]> = ids(POSTS, 0).iter().map(id).collect();
        let target = format!("/{}", str::from_utf8(&ids[0]).unwrap());
        let request = post_request(([127, 0, 0, 1], 8000).into(), &target, "", [b'x'; MESSAGE_BYTES]);
        Self {
            lent,
            connection,
            request,
            id_at: "POST /".len(),
            ids,
        }
    }

    fn time(&mut self, posts: u64, with_expiry: bool) -> Duration {
        let mut spent = Duration::ZERO;
        let mut left = usize::try_from(posts).unwrap();
        while left > 0 {
            let batch = left.min(POSTS);
            let begun = cpu_time();
            for index in 0..batch {
                self.post(index);
            }
            if with_expiry {
                self.expire();
                spent += cpu_time().saturating_sub(begun);
            } else {
                spent += cpu_time().saturating_sub(begun);
                self.expire();
            }
            left -= batch;
        }
        assert_eq!(self.lent.store.memory_used(), 0);
        spent
    }

    fn post(&mut self, index: usize) {
        self.request[self.id_at..][..ID_TEXT_BYTES].copy_from_slice(&self.ids[index]);
        let request = black_box(self.request.as_slice());
        let sent = self.lent.visit(&mut self.connection, request, |answer| {
            black_box(answer).starts_with(b"HTTP/1.1 200 ")
        });
        assert!(sent);
        black_box(self.connection.deadline(&self.lent.timeouts));
    }

    fn expire(&mut self) {
        self.lent.now += Config::default().message_ttl + Duration::from_secs(1);
        let store = &self.lent.store;
        for shard in 0..store.shards() {
            while store.expire(shard, self.lent.now, &mut usize::MAX.clone()) {}
        }
    }
}

type Pong = [u8; 10];

/// Sessions of as many ids on one worker.
struct Receivers {
    lent: Lent,
    receivers: Vec<Receiver>,
}

struct Receiver {
    id: RecipientId,
    connection: Piped,
    /// The answer to the ping that has come.
    pong: Option<Pong>,
}

impl Receivers {
    fn new() -> Self {
        let mut lent = Lent::new(&Config::default(), Instant::now());
        let mut receiver = |_| {
            let identity = Identity::generate();
            Receiver {
                id: RecipientId::parse(identity.id.as_bytes()).unwrap(),
                connection: lent.log_in(&identity),
                pong: None,
            }
        };
        let receivers = (0..SESSIONS).map(&mut receiver).collect();
        Self { lent, receivers }
    }

    /// Rounds in which every session gets a message, `pause` apart. Their pings are answered before the next one.
    fn time(&mut self, deliveries: u64, pause: Duration) -> Duration {
        let mut spent = Duration::ZERO;
        let mut left = usize::try_from(deliveries).unwrap();
        while left > 0 {
            let round = left.min(SESSIONS);
            self.lent.now += pause;
            self.post(round);
            let begun = cpu_time();
            for receiver in &mut self.receivers[..round] {
                receiver.answer_ping(&mut self.lent);
                receiver.deliver(&mut self.lent);
            }
            spent += cpu_time().saturating_sub(begun);
            left -= round;
        }
        spent
    }

    /// The same with so much time between two messages that each is asked for with a ping of its own, in the same
    /// write.
    fn time_alone(&mut self, deliveries: u64) -> Duration {
        let mut spent = Duration::ZERO;
        let mut left = usize::try_from(deliveries).unwrap();
        while left > 0 {
            let round = left.min(SESSIONS);
            self.lent.now += Duration::from_millis(PING_SPACING_MILLIS);
            self.post(round);
            let begun = cpu_time();
            for receiver in &mut self.receivers[..round] {
                receiver.deliver(&mut self.lent);
            }
            for receiver in &mut self.receivers[..round] {
                assert!(receiver.pong.is_some());
                receiver.answer_ping(&mut self.lent);
            }
            spent += cpu_time().saturating_sub(begun);
            left -= round;
        }
        spent
    }

    fn post(&mut self, count: usize) {
        let Lent { store, now, wake, .. } = &mut self.lent;
        for receiver in &self.receivers[..count] {
            let body = [b'x'; MESSAGE_BYTES].as_slice();
            store.post(&receiver.id, body, Wish::Default, *now, wake).unwrap();
        }
        assert_eq!(wake.len(), count, "each session is told once");
        wake.clear();
    }
}

impl Receiver {
    fn deliver(&mut self, lent: &mut Lent) {
        const FRAME_BYTES: usize = 4 + MESSAGE_BYTES;
        self.connection.note_mail();
        let (length, ping) = lent.visit(&mut self.connection, b"", |sent| {
            (sent.len(), pong_to(&black_box(sent)[FRAME_BYTES..]))
        });
        assert!(length == FRAME_BYTES || ping.is_some());
        self.pong = ping.or(self.pong.take());
        black_box(self.connection.deadline(&lent.timeouts));
    }

    fn answer_ping(&mut self, lent: &mut Lent) {
        let Some(pong) = self.pong.take() else { return };
        // If more was sent behind the ping, the next one may follow at once.
        self.pong = lent.visit(&mut self.connection, black_box(&pong), |sent| pong_to(black_box(sent)));
        black_box(self.connection.deadline(&lent.timeouts));
    }
}

/// What the peer answers to the ping that these bytes are, if they are one. Its mask is zero, which costs as much as
/// any.
fn pong_to(bytes: &[u8]) -> Option<Pong> {
    const HEADER: [u8; 2] = [0x80 | Opcode::PING, 4];
    let [first, second, third, last] = bytes.strip_prefix(&HEADER)?.try_into().ok()?;
    Some([0x80 | Opcode::PONG, 0x84, 0, 0, 0, 0, first, second, third, last])
}
